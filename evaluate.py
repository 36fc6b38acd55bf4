#!/usr/bin/env python3
"""Evaluates the outputs of any model, from any framework, and records them as a run."""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from torch import Tensor

from data import sources
from experiment import external, place, records
from experiment.config import identity_of
from experiment.folder import is_finished
from experiment.outputs import record_outputs
from experiment.place import Place
from losses import LOSSES
from losses.scores import SCORES
from utils import program, versions
from utils.output import print_line
from utils.plugins import WithPlugins


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
    default all sets in the files. A set without a role has that of the catalog for this data, or is
    far."""
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
        possible = all(0 <= seed < 2**32 for seed in self.all_seeds)
        if len(set(self.all_seeds)) < len(self.outputs) or not possible:
            raise ValueError(
                f"--seeds are different numbers, 0 or more and below 2^32, got {self.seeds}"
            )
        if self.score not in (None, external.GIVEN, *SCORES):
            raise ValueError(
                f"--score is one of {', '.join((external.GIVEN, *SCORES))}, got {self.score}"
            )
        if (self.like is None) == (self.data is None and self.model is None):
            raise ValueError("name either --like RUN, or both --data and --model")
        taken = {*LOSSES, *(place.folder_name(row.title) for row in LOSSES.values())}
        if place.folder_name(self.method) in taken:
            raise ValueError(
                f"--method {self.method} is a loss of main.py, and its runs have this name in the "
                "tables: choose another"
            )
        for name in ("method", "data", "model"):
            value = getattr(self, name)
            if not place.folder_name(value or "") and (value is not None or self.like is None):
                raise ValueError(f"--{name} is a name with a letter or digit, got {value!r}")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seed of each file."""
        return self.seeds or tuple(range(1, len(self.outputs) + 1))


def place_of(options: Options) -> Place:
    """Return the place that the options name. Raises ValueError if --like is no finished run."""
    if options.like is not None:
        return place.beside(options.like)
    return place.of_names(str(options.data), str(options.model))


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


class Plan(NamedTuple):
    """What is to be recorded of a file, and where."""

    folder: Path
    about: dict[str, Any]
    outputs: external.OutputsBySet
    labels: dict[str, Tensor]
    roles: dict[str, str]
    finished: bool  # whether the folder already has it


def plan(options: Options, where: Place, path: Path, digest: str, seed: int) -> Plan:
    """Read and check a file with this SHA-256. Raises ValueError if it cannot be recorded."""
    outputs, labels = external.read(path)
    roles = roles_of(options, path, outputs, where.roles)
    used = {name: outputs[name] for name in outputs if name in (*external.IN_SETS, *roles)}
    score = external.score_of(options.score, path, used)
    if options.like is not None:
        external.refuse_other_images(path, used, labels["test"], options.like)
    fitted = "validation" in labels
    config = where.config | {
        "loss": place.folder_name(options.method),
        "seed": seed,
        "protocol": "heldout" if fitted else "paper",
        "ood": _ood_of(where, roles),
        "outputs": digest,
    }
    config.setdefault("versions", versions.current(config))
    data, model = place.folder_name(Path(config["data"]).name), config["model"].replace("/", "_")
    folder = options.runs / data / model / config["loss"] / str(seed)
    about = {
        "config": config,
        "titles": where.titles | {"loss": options.method},
        "recipe": {},
        "score": score,
        "scores_at": "calibrated" if fitted else "t1",
    }
    if _outputs_in(folder) != digest:
        external.compare_with_other_seeds(folder, path, used, labels["test"], about)
    finished = is_finished(folder, identity_of(config))
    if finished:
        _check_finished(folder, options.method, score)
    return Plan(folder, about, used, labels, roles, finished)


def _outputs_in(folder: Path) -> str | None:
    """Return the SHA-256 of the outputs that a folder's record is of; None if it has no record."""
    if not (folder / records.METRICS).exists():
        return None
    return records.read_record(folder / records.METRICS)["config"].get("outputs")


def _check_finished(folder: Path, method: str, score: str) -> None:
    """Raises ValueError if a finished run has the same outputs under another name or score."""
    made = records.read_record(folder / records.METRICS)
    if (made["score"], made["titles"]["loss"]) != (score, method):
        raise ValueError(
            f"{folder} has these outputs with --method {made['titles']['loss']!r} and --score "
            f"{made['score']}: delete it, or choose another --method"
        )


def _ood_of(where: Place, roles: Mapping[str, str]) -> list[str]:
    """Return the out-of-distribution sets as a configuration has them: those of --like as there."""
    if "ood" in where.config and roles == where.roles:
        return where.config["ood"]
    return [f"{role}={source}" for source, role in roles.items()]


def record(planned: Plan) -> str:
    """Record a file as planned. Return the message about it."""
    if planned.finished:
        return f"{planned.folder} is finished: skipped"
    split = "validation" if "validation" in planned.labels else "test"
    accuracy = record_outputs(
        planned.folder,
        planned.about,
        external.all_scores,
        planned.outputs,
        planned.labels,
        planned.roles,
        split,
    )
    return f"accuracy {accuracy:.2%}, written to {planned.folder}"


def perform(options: Options) -> None:
    """Evaluate all files, or none. Raises ValueError or OSError for bad input."""
    options.check()
    where = place_of(options)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in options.outputs]
    if len(set(digests)) < len(digests):
        raise ValueError("two of the files are equal: each is the outputs of another seed")
    files = list(zip(options.outputs, digests, options.all_seeds, strict=True))
    # Every file is read twice, because the outputs of all of them may not fit in memory.
    scores, counts = set(), {}
    for path, digest, seed in files:
        planned = plan(options, where, path, digest, seed)
        scores.add(planned.about["score"])
        for name, count in external.image_counts(planned.outputs, planned.labels["test"]).items():
            if counts.setdefault(name, count) != count:
                raise ValueError(
                    f"{path} has other numbers of images of {name} than {files[0][0]}: all seeds "
                    "of a method have the same images"
                )
    if len(scores) > 1:
        raise ValueError(
            f"some files have SET/{external.GIVEN} and others not: all seeds of a method have the "
            "same score: name one with --score"
        )
    for file in files:
        print_line(record(plan(options, where, *file)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "evaluate.py", arguments)),
        "the files before are recorded",
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
