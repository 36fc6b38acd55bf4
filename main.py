#!/usr/bin/env python3
"""One run: train a network with a loss, calibrate it, detect out-of-distribution data, record it.

`perform` and `evaluate` have the steps of a run. The equations of DisMax are in losses/dismax.py.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()  # a signal during the imports below, which take seconds, prints one line

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from data.splits import limited
from dismax.score import FIT_IMAGES
from experiment.config import epochs_text
from experiment.evaluation import calibrate, temperature_results
from experiment.folder import is_finished, lock_folder, skip, with_begun_precision
from experiment.parsing import parse
from training.build import build
from training.record import make_record, summary, write_results
from training.run import Run
from training.score import fit_scores
from training.session import Session
from utils import distributed, program, runtime, torchrun
from utils.output import print_line

INTERRUPTED = "nothing was lost; run the same command again to continue"


def perform(arguments: Sequence[str] | None) -> int | None:
    """Make one run. Returns the exit status, None if the run is done."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    config = with_begun_precision(parse(arguments))  # a run keeps the precision that it began with
    # Of several processes, only the first one asks this, when it has locked the run's folder.
    if torchrun.size() == 1 and is_finished(config.folder, config.identity()):
        return skip(config)
    device = runtime.find_device(distributed.device_name(config.device))
    with ExitStack() as stack:
        world = stack.enter_context(distributed.world(device))
        # If only some processes saw that the run has begun, they would differ in the precision.
        config = replace(config, precision=world.broadcast_from_first(config.precision))
        run = build(config, device, world)
        status = lock_folder(run.config, config.precision == "auto", world, stack)
        if status is not None:  # finished, not possible, or made by another process
            return status
        session = Session(run)
        session.resume()
        try:
            describe(run)
            session.train()
            evaluate(session, started)
        except BaseException as error:
            error.add_note(session.kept)  # which checkpoint is kept: printed with the error
            if interruption.asked() or isinstance(error, KeyboardInterrupt):
                error.add_note("run the same command again to continue")
            raise
        world.barrier()  # fails if another process has failed
    return None


def describe(run: Run) -> None:
    """Print what is trained on what."""
    if not run.world.first:
        return
    config = run.config
    for note in run.data.notes:
        print_line(f"warning: {note}")
    if run.model.start_note:
        print_line(run.model.start_note)
    processes = f", {run.world.size} processes" if run.world.size > 1 else ""
    print_line(
        f"{', '.join(run.titles.values())}, seed {config.seed}: {epochs_text(config.epochs)} of "
        f"{len(run.data.train)} images on {run.device}{processes}"
    )
    if run.device.type == "cuda" and run.why_no_graph:
        print_line(f"the host starts every operation: no CUDA graph, since {run.why_no_graph}")


def evaluate(session: Session, started: str) -> None:
    """Calibrate the trained network, measure it, and write the run's results."""
    run, data, begun = session.run, session.run.data, time.monotonic()
    # Infer once, in all processes. Every reported number is computed from these outputs.
    outputs = {name: run.outputs(images) for name, images in data.evaluation_sets.items()}
    positions = limited(len(data.train), FIT_IMAGES)
    if run.config.keep_features:
        outputs["train"] = run.outputs(data.train)  # for detectors that detect.py adds later
        train = {name: values[positions] for name, values in outputs["train"].items()}
    else:
        train = run.outputs(data.train.take(positions))
    if not run.world.first:
        return
    # The temperature minimises the ECE of the calibration split. The thresholds for detection are
    # percentiles of its scores.
    split = data.calibration_split
    temperature = temperature_results(outputs[split]["logits"], data.evaluation[split].labels)
    calibrate(run.model.classifier, outputs[split], temperature["value"])
    record = make_record(session, outputs, temperature, started)
    record["seconds"]["evaluation"] = round(time.monotonic() - begun, 1)
    scores = fit_scores(run, train, positions, outputs[split])
    write_results(session, record, outputs, scores)
    print_line(summary(record))
    print_line(f"written to {run.config.folder}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 bad input, 3 another process makes this run,
    75 interrupted.
    """
    return program.exit_status(lambda: perform(arguments), INTERRUPTED)


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
