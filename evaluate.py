#!/usr/bin/env python3
"""Evaluates the outputs of any model, from any framework, and records them as a run."""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from torch import Tensor

from data import sources
from data.catalog import CATALOG, title_of
from experiment import external, records
from experiment.config import identity_of
from experiment.folder import is_finished
from experiment.outputs import record_outputs
from experiment.recipes import ELSEWHERE
from losses import LOSSES
from losses.scores import SCORES
from models import model_title
from utils import program, versions
from utils.output import print_line
from utils.plugins import WithPlugins

GIVEN = "score"  # the score that a file has beside the logits


@dataclass(frozen=True)
class Options(WithPlugins):
    """Evaluate the outputs of any model, from any framework, and record them as a run, for
    analyze.py, detect.py and ensemble.py.
    """

    outputs: tyro.conf.Positional[tuple[Path, ...]]
    """One .npz file for each seed. It holds test/logits [N, C] and test/labels [N], and SET/logits
    for each out-of-distribution set. If it holds validation/logits and validation/labels, the
    temperature is fitted to these, else to the test set, which is optimistic. SET/score [N], if
    each set has it, is the method's own score; higher is more in-distribution."""
    method: str = tyro.MISSING
    """The method's name in tables."""
    like: Path | None = None
    """The folder of a finished run on the same data with the same network. The method then stands
    in one table with this run."""
    data: str | None = None
    """Without --like: the name of the in-distribution set, such as cifar10."""
    model: str | None = None
    """Without --like: the network's name in tables."""
    seeds: tuple[int, ...] = ()
    """The seed of each file; by default 1, 2, ..."""
    ood: tuple[str, ...] = ()
    """The out-of-distribution sets of the files, each SET, near=SET, far=SET or very_far=SET. By
    default all. Without a role, a set has the one that it has for this data, or is far."""
    score: str | None = None
    """The method's own score: "score" for SET/score, or MPS, ES, ... of the logits. By default
    SET/score if it is there, else MPS."""
    runs: Path = Path("runs")
    """Results go to RUNS/data/model/method/seed."""

    def check(self) -> None:
        """Raises ValueError for a bad value."""
        if not self.outputs:
            raise ValueError("no file is given: name an .npz file for each seed")
        if self.seeds and len(self.seeds) != len(self.outputs):
            raise ValueError(
                f"--seeds names {len(self.seeds)} for {len(self.outputs)} files: one for each"
            )
        if len(set(self.all_seeds)) < len(self.outputs) or min(self.all_seeds) < 0:
            raise ValueError(f"--seeds are different numbers, 0 or more, got {self.seeds}")
        if self.score not in (None, GIVEN, *SCORES):
            raise ValueError(f"--score is one of {', '.join((GIVEN, *SCORES))}, got {self.score}")
        if (self.like is None) == (self.data is None and self.model is None):
            raise ValueError("name either --like RUN, or both --data and --model")
        taken = {*LOSSES, *(folder_name(row.title) for row in LOSSES.values())}
        if folder_name(self.method) in taken:
            raise ValueError(
                f"--method {self.method} is a loss of main.py, and its runs have this name in the "
                "tables: choose another"
            )
        for name in ("method", "data", "model"):
            value = getattr(self, name)
            if not folder_name(value or "") and (value is not None or self.like is None):
                raise ValueError(f"--{name} is a name with a letter or digit, got {value!r}")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seed of each file."""
        return self.seeds or tuple(range(1, len(self.outputs) + 1))


def network_title(name: str) -> str:
    """Return a network's title: that of main.py's network of this name, or the name itself."""
    try:
        return model_title(name)
    except ValueError:
        return name


def folder_name(title: str) -> str:
    """Return a title as a folder's name: "My method" is my_method."""
    return re.sub(r"\W+", "_", title.lower()).strip("_")


class Place(NamedTuple):
    """Where the method stands in the tables."""

    config: dict[str, Any]
    titles: dict[str, str]
    roles: dict[str, str]  # of the usual out-of-distribution sets
    counts: dict[str, int]  # of the images of each set of --like


def place_of(options: Options) -> Place:
    """Return the place that the options name. Raises ValueError if --like is no finished run."""
    if options.like is not None:
        if not (options.like / records.METRICS).is_file():
            raise ValueError(f"--like {options.like} is no folder of a finished run")
        record = records.read_record(options.like / records.METRICS)
        roles = {source: entry["role"] for source, entry in record["detection"].items()}
        counts = {source: entry["n"] for source, entry in record["detection"].items()}
        counts["test"] = record["classification"]["test"]["n"]
        return Place(record["config"], record["titles"], roles, counts)
    data, model = str(options.data), str(options.model)
    config = {"data": data, "model": folder_name(model), "recipe": ELSEWHERE, "epochs": None}
    in_catalog = data in CATALOG
    titles = {"data": title_of(data) if in_catalog else data, "model": network_title(model)}
    roles = {name: role for role, name in sources.ood_sets(data, ())} if in_catalog else {}
    return Place(config, titles, roles, {})


def roles_of(
    options: Options, path: Path, outputs: external.OutputsBySet, usual: Mapping[str, str]
) -> dict[str, str]:
    """Return the role of each out-of-distribution set.

    Raises ValueError for a set that the file lacks.
    """
    there = [name for name in outputs if name not in external.IN_SETS]
    chosen = [sources.role_and_source(text) for text in options.ood]
    if len({name for _, name in chosen}) < len(chosen):
        raise ValueError(f"--ood names a set twice: {' '.join(options.ood)}")
    for _, name in chosen:
        if name not in there:
            raise ValueError(f"{path} has no set {name!r}, only {', '.join(there)}")
    everything = [("", name) for name in dict.fromkeys((*usual, *there)) if name in there]
    return {name: role or usual.get(name, "far") for role, name in chosen or everything}


def all_scores(outputs: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """Return the scores [N] of named outputs by name, as the `all_scores` of a head does."""
    logits = outputs["logits"] / temperature
    scores = {name: score(logits) for name, score in SCORES.items()}
    return scores | ({GIVEN: outputs[GIVEN]} if GIVEN in outputs else {})


def score_of(options: Options, path: Path, outputs: external.OutputsBySet) -> str:
    """Return the name of the method's own score. Raises ValueError if a set lacks it."""
    lacking = [name for name, values in outputs.items() if GIVEN not in values]
    score = options.score or ("MPS" if len(lacking) == len(outputs) else GIVEN)
    if score == GIVEN and (lacking := [name for name in lacking if name != "train"]):
        raise ValueError(f"{path} lacks {lacking[0]}/score: every set needs it, or none")
    return score


def evaluate(options: Options, place: Place, path: Path, digest: str, seed: int) -> str:
    """Record the outputs in a file, with this SHA-256, as a run. Return the message about it."""
    outputs, labels = external.read(path)
    roles, score = roles_of(options, path, outputs, place.roles), score_of(options, path, outputs)
    for name, count in place.counts.items():
        if name in outputs and (found := len(outputs[name]["logits"])) != count:
            raise ValueError(
                f"{path} has {found} images of {name}, and the run of --like has {count}: one "
                "table compares the same images"
            )
    split = "validation" if "validation" in labels else "test"
    config = place.config | {
        "loss": folder_name(options.method),
        "seed": seed,
        "protocol": "heldout" if split == "validation" else "paper",
        "ood": _ood_of(place, roles),
        "outputs": digest,
    }
    config["versions"] = versions.current(config)
    data, model = folder_name(Path(config["data"]).name), config["model"].replace("/", "_")
    folder = options.runs / data / model / config["loss"] / str(seed)
    if is_finished(folder, identity_of(config)):
        made = records.read_record(folder / records.METRICS)
        if (made["score"], made["titles"]["loss"]) != (score, options.method):
            raise ValueError(
                f"{folder} has these outputs with --method {made['titles']['loss']!r} and --score "
                f"{made['score']}: delete it, or choose another --method"
            )
        return f"{folder} is finished: skipped"
    external.compare_with_other_seeds(folder, score, digest)
    about = {
        "config": config,
        "titles": place.titles | {"loss": options.method},
        "recipe": {},
        "score": score,
        "scores_at": "calibrated" if split == "validation" else "t1",
    }
    used = {name: outputs[name] for name in outputs if name in (*external.IN_SETS, *roles)}
    accuracy = record_outputs(folder, about, all_scores, used, labels, roles, split)
    return f"accuracy {accuracy:.2%}, written to {folder}"


def _ood_of(place: Place, roles: Mapping[str, str]) -> list[str]:
    """Return the out-of-distribution sets as a configuration has them: those of --like as there."""
    if "ood" in place.config and roles == place.roles:
        return place.config["ood"]
    return [f"{role}={source}" for source, role in roles.items()]


def perform(options: Options) -> None:
    """Evaluate file by file. Raises ValueError or OSError for bad input."""
    options.check()
    place = place_of(options)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in options.outputs]
    if len(set(digests)) < len(digests):
        raise ValueError("two of the files are equal: each is the outputs of another seed")
    for path, digest, seed in zip(options.outputs, digests, options.all_seeds, strict=True):
        print_line(evaluate(options, place, path, digest, seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "evaluate.py", arguments)),
        "the files before are recorded",
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
