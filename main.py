#!/usr/bin/env python3
"""One run: train a network with a loss and a seed, calibrate its temperature, detect
out-of-distribution data, record it all.
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data import sources
from data.catalog import title_of
from experiment import lock, records
from experiment.config import RunConfig
from experiment.evaluation import calibrate, evaluation_results, temperature_results
from experiment.recipes import RECIPES
from losses import get_loss
from models import model_title
from training import checkpoint, failures
from training.run import Run, build
from training.session import Session
from utils import distributed, interruption, program, runtime
from utils.output import print_error, print_line

# Seconds in which a process that was killed, or is leaving, and those it had started let go of a
# run's folder.
PATIENCE = 10


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """The command line as a configuration. Nothing is left open but a precision `auto` of a run
    that has not begun.

    Raises ValueError for a value that cannot be.
    """
    given = program.read(RunConfig, "main.py", arguments)
    given.check()
    # The same data is the same run, however its path is written.
    source, *ood = (
        sources.absolute_source(each, given.data_dir) for each in (given.data, *given.ood)
    )
    recipe = given.recipe or sources.describe(source).recipe
    data, train = sources.by_recipe(source, recipe), RECIPES[recipe]
    get_loss(given.loss)
    named = sources.ood_sets(source, tuple(ood), recipe) if ood else ()
    config = replace(
        given,
        data=source,
        ood=tuple(map("=".join, named)),
        recipe=recipe,
        model=given.model or data.model,
    )
    epochs, batch_size = (
        given.epochs or train.epochs or data.epochs,
        given.batch_size or train.batch_size,
    )
    config = replace(config, epochs=epochs, batch_size=batch_size)
    model_title(str(config.model))
    return (
        replace(config, precision=begun_precision(config.folder))
        if config.precision == "auto"
        else config
    )


def begun_precision(folder: Path) -> str:
    """The precision that a run's folder was claimed with; auto where it has none.

    Raises as `records.begun`.
    """
    held = records.begun(folder).get("precision")
    return held if isinstance(held, str) and held in runtime.PRECISIONS else "auto"


def finish(session: Session, started: str) -> dict[str, Any]:
    """Evaluate the trained model once on everything and write the run's files, the record last; on
    the first process only.

    Returns the record; an empty one elsewhere.
    """
    run, config, folder, trainer = (
        session.run,
        session.run.config,
        session.run.config.folder,
        session.run.trainer,
    )
    begun, data, head = time.monotonic(), run.data, run.model.classifier
    labels = {split: part.labels for split, part in data.evaluation.items()}
    roles = {source: role for source, (role, _) in data.ood.items()}
    outputs = {name: run.outputs(part) for name, part in data.evaluation_sets.items()}
    seen = run.outputs(data.train) if config.keep_features else {}
    if not run.world.first:
        return {}
    split = data.calibration_split
    temperature = temperature_results(outputs[split]["logits"], labels[split])
    calibrate(head, outputs[split], temperature["value"])
    loss, recipe = get_loss(config.loss), RECIPES[str(config.recipe)]
    record = {
        "format": records.FORMAT,
        "config": config.as_json(),
        "titles": {
            "data": title_of(config.data),
            "model": model_title(str(config.model)),
            "loss": loss.title,
        },
        "recipe": recipe.as_record(trainer.epoch),
        "score": head.score_type,
        "scores_at": "t1" if config.protocol == "paper" else "calibrated",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "train_images": len(data.train),
        "fingerprints": session.all_fingerprints(),
        "best": {
            "epoch": session.best["epoch"],
            "accuracy": session.best["accuracy"],
            "split": data.calibration_split,
        },
        "temperature": temperature | {"split": data.calibration_split},
        **evaluation_results(head.all_scores, outputs, labels, roles, temperature["value"]),
        "started": started,
        "seconds": {
            "training": round(session.seconds, 1),
            "evaluation": round(time.monotonic() - begun, 1),
        },
        "environment": runtime.environment(run.device) | {"processes": run.world.size},
    }
    if config.keep_features:
        outputs["train"], labels["train"] = seen, data.train.labels
    lock.check(folder)
    records.write_predictions(folder, outputs, labels, config.keep_features)
    write_network(run)
    records.write_json(folder / records.METRICS, record)
    records.drop_checkpoints(folder)
    return record


def write_network(run: Run) -> None:
    """Keep the calibrated network, with all that it takes to use it."""
    config, data = run.config, run.data
    network = {
        "config": config.as_json(),
        "classes": list(data.train.classes),
        "size": list(data.train.size),
    }
    network |= {
        "mean": list(data.mean),
        "std": list(data.std),
        "margin": sources.describe(config.data).margin,
    }
    network |= {"state_dict": run.model.state_dict()}
    checkpoint.save(config.folder / records.MODEL, network)


def summary(record: dict[str, Any]) -> str:
    """A run's outcome in a few lines."""
    at, score, test = record["scores_at"], record["score"], record["classification"]["test"]
    sets = [
        f"{found['title']} {found['scores'][at][score]['auroc']:.1%}"
        for found in record["detection"].values()
    ]
    warned = "".join(f"\nwarning: {message}" for message in record["temperature"]["warnings"])
    return (
        f"accuracy {test['t1']['accuracy']:.2%} (epoch {record['best']['epoch']}), "
        f"ECE {test['t1']['ece']:.4f} -> {test['calibrated']['ece']:.4f} at T = "
        f"{record['temperature']['value']:.3g}\n"
        f"AUROC [{score}, {'T = 1' if at == 't1' else 'fitted T'}]: {', '.join(sets)}{warned}"
    )


def perform(session: Session, started: str) -> int:
    """Train, evaluate and record; says how it went.

    Returns the exit status: 0 where nothing was raised.
    """
    run, config = session.run, session.run.config
    titles = (
        f"{title_of(config.data)}, {model_title(str(config.model))}, "
        f"{get_loss(config.loss).title}, seed {config.seed}"
    )
    processes = f", {run.world.size} processes" if run.world.size > 1 else ""
    if run.world.first:
        for note in run.data.notes:
            print_line(f"warning: {note}")
        plural = "s" * (config.epochs != 1)
        print_line(
            f"{titles}: {config.epochs} epoch{plural} of {len(run.data.train)} images on "
            f"{run.device}{processes}"
        )
        if run.device.type == "cuda" and run.why_no_graph:
            print_line(f"the host starts every operation: no CUDA graph, since {run.why_no_graph}")
    session.train()
    record = finish(session, started)
    if run.world.first:
        print_line(summary(record))
        print_line(f"written to {config.folder}")
    return 0


def hold(run: Run, asked: str, stack: ExitStack) -> int:
    """Collective: take the run's folder for this run, of which the precision `asked` was given,
    until the stack ends.

    Returns -1, or the exit status if the run is not to be made: 0 already finished, 2 not possible,
    3 another process makes it.
    """
    folder, status = run.config.folder, -1
    if run.world.first:
        try:
            stack.enter_context(lock.locked(folder, wait=PATIENCE))
            held = begun_precision(folder) if asked == "auto" else asked
            # A trial takes seconds, and two may choose differently.
            if held not in (asked, run.config.precision):
                raise lock.Held(
                    f"another process has begun {folder} meanwhile, in {held}: run the same "
                    "command again"
                )
            if records.finished(folder, run.config.identity()):  # by another process, just now
                status = skipped(folder)
            else:
                records.sweep(folder)
                records.claim(folder, run.config.as_json())
        except lock.Held as error:
            status = print_error(error, status=3)
        except (ValueError, OSError) as error:
            status = print_error(error)
    return run.world.all_max(status)


def skipped(folder: Path) -> int:
    """Say that a run is finished. Returns the exit status."""
    records.drop_checkpoints(folder)  # which a process that was killed at its very end left
    print_line(f"{folder} is finished: skipped")
    return 0


def start(arguments: Sequence[str] | None) -> int:
    """Check everything before anything is written, and perform the run.

    Returns the exit status, as `main` has it.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with ExitStack() as stack:
        try:
            config = parse(arguments)
            # Of several processes one could see another's file before the rest do: the first looks
            # for all, under the lock.
            if distributed.size() == 1 and records.finished(config.folder, config.identity()):
                return skipped(config.folder)
            device = runtime.find_device(distributed.device_name(config.device))
            world = stack.enter_context(distributed.world(device))
            # One process may see a run that has begun before another sees it.
            config = replace(config, precision=world.broadcast_from_first(config.precision))
            run = build(config, device, world)
            if (status := hold(run, config.precision, stack)) >= 0:
                return status
            session = Session(run)
            session.resume()
        except (ValueError, OSError) as error:
            return print_error(error)
        status = failures.outcome(
            lambda: perform(session, started), lambda: session.kept, config.batch_size
        )
        return status or world.all_max(0)  # one that failed leaves at once, and the others notice


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 bad input, 3 another process makes this run, 75
    interrupted.
    """
    return failures.outcome(lambda: start(arguments), lambda: "nothing was lost")


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
