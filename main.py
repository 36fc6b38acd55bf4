#!/usr/bin/env python3
"""One run: train a network with a loss and a seed, calibrate its temperature, detect out-of-distribution data, record it all."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from data import sources
from data.batches import Normalizer, TrainingBatches, plain_batches
from data.catalog import title_of
from data.streaming import ImageSet
from experiment import EVALUATION_BATCH, Data, build_network, judged, load_data
from losses import get_loss
from models import Network, model_title
from utils import checkpoint, command_line, interruption, records, runtime
from utils.config import RunConfig
from utils.evaluation import calibrate, predict, temperature_results
from utils.metrics import accuracy
from utils.progress import Progress
from utils.training import RECIPES, NonFiniteLoss, Summary, Trainer


@dataclass
class Run:
    """Everything one run works with, once it is known to be possible."""

    config: RunConfig
    device: torch.device
    data: Data
    normalize: Normalizer
    model: Network
    trainer: Trainer

    def outputs(self, part: ImageSet) -> dict[str, Tensor]:
        """The head's named outputs for a set's images. Raises NonFiniteLoss for logits that are no numbers any more."""
        batches = plain_batches(part, self.normalize, EVALUATION_BATCH, self.device)
        outputs = predict(self.model, batches, self.trainer.context)
        if not outputs["logits"].isfinite().all():
            raise NonFiniteLoss(f"the logits became NaN or infinite by the end of epoch {self.trainer.epoch}")
        return outputs


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """The command line as a configuration with nothing left open. Raises ValueError for a value that cannot be."""
    given = command_line.read(RunConfig, "main.py", arguments)
    given.check()
    data = sources.describe(given.data)
    get_loss(given.loss)
    # The same data is the same run, however its path is written.
    ood = (
        tuple(f"{role}={sources.located(source)}" for role, source in sources.partners(given.data, given.ood)) if given.ood else ()
    )
    config = replace(given, data=sources.located(given.data), ood=ood)
    config = replace(config, model=given.model or data.model, epochs=given.epochs or data.epochs)
    model_title(str(config.model))
    if config.precision == "auto":
        held = records.begun(config.folder).get("precision")
        known = isinstance(held, str) and held in runtime.PRECISIONS
        config = replace(config, precision=held if known else runtime.fastest_precision(runtime.find_device(config.device)))
    return config


def build(config: RunConfig) -> Run:
    """Load and check all that the run needs. Raises ValueError or an OSError, in one line, for what cannot work."""
    device = runtime.find_device(config.device)
    runtime.make_repeatable()
    runtime.keep_freed_memory()
    data = load_data(config)
    normalize = Normalizer(data.mean, data.std, device)
    padding = max(data.train.size) // 8  # 4 at 32 pixels, as the paper has it
    flip = sources.describe(config.data).flip
    batches = TrainingBatches(data.train, normalize, config.batch_size, padding, flip, device)

    torch.manual_seed(config.seed)
    model = build_network(config, len(data.train.classes), device)
    criterion = get_loss(config.loss).criterion(model.classifier).to(device)
    # The method itself says, before anything is written, if it cannot take such batches.
    sample = data.train.first(config.batch_size)
    try:
        criterion.preprocess(sample, data.train.labels[: len(sample)], generator=torch.Generator())
    except ValueError as error:
        raise ValueError(f"--loss {config.loss} cannot train on {config.data}, {len(data.train)} images: {error}") from error
    if config.compile:
        if criterion.penalizes_inputs:
            raise ValueError(f"--compile cannot go with --loss {config.loss}, whose penalty needs second derivatives: leave it out")
        model.compile()
    trainer = Trainer(model, criterion, batches, RECIPES[config.recipe], int(config.epochs or 0), config.seed, config.precision)
    return Run(config, device, data, normalize, model, trainer)


def resume(run: Run) -> dict[str, Any]:
    """Go back to the last checkpoint, if there is one.

    Returns the history so far: `epochs` (a dict each), `best` (epoch, accuracy on the deciding split, and the model's state then)
    and `seconds`. Raises ValueError for a damaged checkpoint, or another run's.
    """
    path = run.config.folder / records.LAST
    if not path.exists():
        return {"epochs": [], "best": {"epoch": 0, "accuracy": -1.0}, "seconds": 0.0}
    saved = checkpoint.load(path)
    if saved.get("identity") != run.config.identity():
        raise ValueError(f"{path} is of another run: delete it to start afresh, or choose another folder with --runs")
    try:
        run.trainer.load_state_dict(saved["trainer"])
        history = {name: saved["history"][name] for name in ("epochs", "best", "seconds")}
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} does not fit this device or version ({reason}): go on where it began, or delete it") from error
    print(f"resuming after epoch {run.trainer.epoch} of {run.config.epochs}")
    return history


def train(run: Run, history: dict[str, Any]) -> None:
    """Train to the last epoch, adding to the history; leave the model at its best epoch."""
    config, trainer, folder = run.config, run.trainer, run.config.folder
    total, images = int(config.epochs or 0), len(run.data.train)
    deciding = run.data.deciding
    decide = run.data.evaluation[deciding]
    with closing(Progress(total, images, trainer.epoch)) as progress:

        def report(done: int, so_far: Summary | None) -> None:
            if interruption.asked():
                raise KeyboardInterrupt
            progress.report(done, so_far)

        while trainer.epoch < total:
            started, rate = time.monotonic(), trainer.learning_rate
            summary = trainer.run_epoch(report)
            trained = time.monotonic() - started
            reached = accuracy(run.outputs(decide)["logits"], decide.labels)
            if reached >= history["best"]["accuracy"]:  # of equally good epochs the latest
                state = {name: value.clone() for name, value in run.model.state_dict().items()}
                history["best"] = {"epoch": trainer.epoch, "accuracy": reached, "model": state}
            history["seconds"] += time.monotonic() - started
            speed = images / trained
            history["epochs"].append(
                {
                    "epoch": trainer.epoch,
                    "learning_rate": rate,
                    "loss": summary.loss,
                    "train_accuracy": summary.accuracy,
                    f"{deciding}_accuracy": reached,
                    "images_per_second": round(speed, 1),
                }
            )
            checkpoint.save(
                folder / records.LAST, {"identity": config.identity(), "trainer": trainer.state_dict(), "history": history}
            )
            records.write_lines(folder / records.EPOCHS, history["epochs"])
            progress.epoch_done(summary, reached, deciding, speed)
    run.model.load_state_dict(history["best"]["model"])


def finish(run: Run, history: dict[str, Any], started: str) -> dict[str, Any]:
    """Evaluate the trained model once on everything and write the run's files, the record last."""
    config, folder, trainer = run.config, run.config.folder, run.trainer
    begun, data, head = time.monotonic(), run.data, run.model.classifier
    labels, roles = {split: part.labels for split, part in data.evaluation.items()}, {}
    outputs = {split: run.outputs(part) for split, part in data.evaluation.items()}
    for source, (role, part) in data.outside.items():
        outputs[source], roles[source] = run.outputs(part), role
    temperature = temperature_results(outputs[data.deciding]["logits"], labels[data.deciding])
    calibrate(head, outputs[data.deciding], temperature["value"])
    loss, recipe = get_loss(config.loss), RECIPES[config.recipe]
    record = {
        "format": records.FORMAT,
        "config": config.as_json(),
        "titles": {"data": title_of(config.data), "model": model_title(str(config.model)), "loss": loss.title},
        "recipe": vars(recipe) | {"decay_after": recipe.epochs_of_decay(trainer.epoch)},
        "score": head.score_type,
        "scores_at": "t1" if config.protocol == "paper" else "calibrated",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "train_images": len(data.train),
        "best": {"epoch": history["best"]["epoch"], "accuracy": history["best"]["accuracy"], "split": data.deciding},
        "temperature": temperature | {"split": data.deciding},
        **judged(head.all_scores, outputs, labels, roles, temperature["value"]),
        "started": started,
        "seconds": {"training": round(history["seconds"], 1), "evaluation": round(time.monotonic() - begun, 1)},
        "environment": runtime.environment(run.device),
    }
    if config.keep_features:
        outputs["train"], labels["train"] = run.outputs(data.train), data.train.labels
    records.write_predictions(folder, outputs, labels, config.keep_features)
    network = {"config": config.as_json(), "classes": list(data.train.classes), "size": list(data.train.size)}
    network |= {"mean": list(data.mean), "std": list(data.std), "state_dict": run.model.state_dict()}
    checkpoint.save(folder / records.MODEL, network)
    records.write_json(folder / records.METRICS, record)
    (folder / records.LAST).unlink(missing_ok=True)
    return record


def summary(record: dict[str, Any]) -> str:
    """A run's outcome in a few lines."""
    at, score, test = record["scores_at"], record["score"], record["classification"]["test"]
    sets = [f"{found['title']} {found['scores'][at][score]['auroc']:.1%}" for found in record["detection"].values()]
    warned = "".join(f"\nwarning: {message}" for message in record["temperature"]["warnings"])
    return (
        f"accuracy {test['t1']['accuracy']:.2%} (epoch {record['best']['epoch']}), "
        f"ECE {test['t1']['ece']:.4f} -> {test['calibrated']['ece']:.4f} at T = {record['temperature']['value']:.3g}\n"
        f"AUROC [{score}, {'T = 1' if at == 't1' else 'fitted T'}]: {', '.join(sets)}{warned}"
    )


def perform(run: Run, history: dict[str, Any], started: str) -> int:
    """Train, evaluate and record; says how it went. Returns the exit status: 0 done, 1 failed."""
    config = run.config
    titles = f"{title_of(config.data)}, {model_title(str(config.model))}, {get_loss(config.loss).title}, seed {config.seed}"
    print(f"{titles}: {config.epochs} epochs of {len(run.data.train)} images on {run.device}")
    try:
        train(run, history)
        record = finish(run, history, started)
    except (NonFiniteLoss, ValueError, OSError) as error:  # a ValueError: a damaged image of a streamed set
        kept = f"the last whole epoch is kept in {config.folder}" if (config.folder / records.LAST).exists() else "no epoch is kept"
        print(f"error: {error}; {kept}", file=sys.stderr)
        return 1
    print(summary(record))
    print(f"written to {config.folder}")
    return 0


def start(arguments: Sequence[str] | None) -> int:
    """Check everything before anything is written, and perform the run. Returns the exit status: 0 done, 1 failed, 2 bad input."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        config = parse(arguments)
        if records.finished(config.folder, config.identity()):
            print(f"{config.folder} is finished: skipped")
            return 0
        run = build(config)
        history = resume(run)
        records.claim(config.folder, config.as_json())
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return perform(run, history, started)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 training failed, 2 bad input, 130 interrupted."""
    try:
        return start(arguments)
    except (KeyboardInterrupt, RuntimeError) as error:
        # A Ctrl-C reaches the processes that decode images too, and they may be the first to go.
        if isinstance(error, KeyboardInterrupt) or interruption.asked():
            print("\ninterrupted: the same command goes on from the last whole epoch", file=sys.stderr)
            return 130
        if not str(error).startswith("DataLoader worker"):  # torch has no class of its own for a killed process
            raise
        hint = "a process that decodes images was killed (out of memory?); the same command goes on from the last whole epoch"
        print(f"error: {' '.join(str(error).split())}: {hint}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
