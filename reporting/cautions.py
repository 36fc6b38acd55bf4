"""Says what keeps the runs of a table from being comparable, or independent of each other."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from utils.output import visible

from .runs import Group, Runs, method_of


def split_by_precision(groups: Iterable[Group]) -> str:
    """Return a sentence if two groups differ in nothing but the precision, else ""."""
    others = [
        group._replace(fields=tuple(field for field in group.fields if field[0] != "precision"))
        for group in groups
    ]
    if len(set(others)) == len(others):
        return ""
    return (
        "Some tables differ in the precision alone, which --precision auto chooses for each run: "
        "name one for all seeds."
    )


def cautions(groups: Mapping[Group, Runs]) -> list[str]:
    """Return a sentence for each table whose runs differ in images, first weights or a plugin's
    code, and for each row whose runs share seeds or members.
    """
    sentences = []
    for group, runs in groups.items():
        content: dict[str, set[str]] = {}
        for record in runs.values():
            loss = record["config"]["loss"]
            for name, digest in record.get("fingerprints", {}).items():
                what = f"the images of {name}"
                if name == "--weights":
                    what = f"the weights that {loss} began with"
                content.setdefault(what, set()).add(digest)
            plugins = [(loss, path, digest) for path, digest in record.get("plugins", {}).items()]
            plugins += [
                (name, path, digest)
                for name, entry in record.get("detectors", {}).items()
                for path, digest in entry.get("plugin", {}).items()
            ]
            for user, path, digest in plugins:
                content.setdefault(f"the plugin {Path(path).name} of {user}", set()).add(digest)
        sentences += [f"{visible(group.data_title)}, {text}" for text in _dependent(runs)]
        if changed := [visible(name) for name, digests in content.items() if len(digests) > 1]:
            sentences.append(
                f"{visible(group.data_title)}, {visible(group.network)}: the runs differ in "
                f"{', '.join(changed)}, so compare them with care."
            )
    return sentences


def _dependent(runs: Runs) -> list[str]:
    """Return what makes runs of one row depend on each other: a seed or a member of several."""
    rows: dict[str, list[str]] = {}
    for record in runs.values():
        seeds = record.get("members", [record["config"]["seed"]])
        rows.setdefault(visible(method_of(record)), []).extend(map(str, seeds))
    return [
        f"{method}: some of its runs have the same seeds or members, so they are not independent."
        for method, seeds in rows.items()
        if len(set(seeds)) < len(seeds)
    ]
