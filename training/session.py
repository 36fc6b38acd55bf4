"""A run's training: from its last checkpoint, wherever that was written, to its last epoch."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from data import fingerprint
from experiment import lock, records
from experiment.folder import differences
from utils import interruption
from utils.output import print_line

from . import checkpoint
from .curves import Curves
from .epoch_sums import Summary
from .progress import Progress
from .run import Run

# Requests after a step. All processes obey the strongest.
CONTINUE, SAVE, STOP = range(3)

START_AFRESH = f"delete {records.LAST} and {records.PREVIOUS} to start afresh"


@dataclass
class Session:
    """A run in training, with what a checkpoint holds besides the trainer's state."""

    run: Run
    epochs: list[dict[str, Any]] = field(default_factory=list)  # the training log
    # The best epoch so far, and the model's state then.
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "accuracy": -1.0})
    seconds: float = 0.0  # of training, up to the last checkpoint
    # The log entry of an epoch that is trained but not evaluated yet.
    trained: dict[str, Any] | None = None
    kept: str = "no checkpoint was written yet"  # printed if an error or a signal ends the run

    HISTORY = ("epochs", "best", "seconds", "trained")

    def __post_init__(self):
        config, data = self.run.config, self.run.data
        self.writer = checkpoint.CheckpointWriter(config.folder, config.checkpoint_every)
        # Of the images that training depends on.
        split = data.calibration_split
        self.fingerprints = {
            "train": fingerprint.of(data.train),
            split: fingerprint.of(data.evaluation[split]),
        }
        # Of the weights that the run began with; None if they were random, or if it is not known.
        self.began_with = self.run.model.began_with
        self.counted_until = time.monotonic()  # `seconds` counts up to this moment

    def resume(self) -> None:
        """Collective: go back to the last whole checkpoint, if there is one.

        Raises ValueError if all checkpoints are damaged, or if they are of another run.
        """
        run, folder = self.run, self.run.config.folder
        saved, warning = checkpoint.load_latest(folder)
        if warning and run.world.first:
            print_line(f"warning: {warning}")
        if saved is not None:
            self._load(saved)
        if not run.world.agree(run.trainer.epoch << 32 | run.trainer.steps):
            raise ValueError(
                f"the processes see different checkpoints in {folder}: --runs must be a folder "
                "that all of them see"
            )
        if saved is not None and run.world.first:
            if warning:  # the next write would keep the damaged checkpoint as the one before
                (folder / records.LAST).unlink(missing_ok=True)
            print_line(f"resuming {self._position()} of {run.config.epochs}")

    def _load(self, saved: dict[str, Any]) -> None:
        folder = self.run.config.folder
        if reasons := differences(saved.get("identity"), self.run.config.identity()):
            raise ValueError(
                f"{folder}: its checkpoint is of another run ({'; '.join(reasons)}): "
                f"{START_AFRESH}, or choose another folder with --runs"
            )
        fingerprints = saved.get("data", {})  # earlier versions saved none
        changed = [
            name for name, value in fingerprints.items() if self.fingerprints.get(name) != value
        ]
        if changed:
            raise ValueError(
                f"{folder}: the content of {' and '.join(changed)} has changed since its "
                f"checkpoint: restore it, or {START_AFRESH}"
            )
        # All weights come from the checkpoint, whatever the file of --weights holds now.
        self.began_with = saved.get("weights")
        try:
            self.run.trainer.load_state_dict(saved["trainer"])
            for name in self.HISTORY:
                setattr(self, name, saved["history"][name])
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{folder}: its checkpoint does not fit ({reason}): continue where it began, or "
                f"{START_AFRESH}"
            ) from error
        self._note_kept()

    def train(self) -> None:
        """Train to the last epoch, and give the model its weights of the best epoch.

        Raises KeyboardInterrupt, after a checkpoint is written, if a signal came.
        """
        run = self.run
        with (
            interruption.deferred(),
            closing(self._make_progress()) as self.progress,
            closing(self._make_curves()) as self.curves,
        ):
            try:
                self._train_epochs()
            except KeyboardInterrupt:
                self._save()
                raise
            except ValueError:
                # An image is damaged. The user can repair it. Of several processes only one has
                # this error, and in `_save` it would wait for the others.
                if run.world.size == 1:
                    self.fingerprints = {}  # a repaired image changes them
                    self._save()
                raise
            self._save()  # the evaluation that follows can fail too
            if self._request() == STOP:
                raise KeyboardInterrupt
        run.model.load_state_dict(self.best["model"])

    def _train_epochs(self) -> None:
        epochs = self.run.config.epochs
        while len(self.epochs) < epochs:
            if self.trained is None:
                self._train_epoch()
            self._evaluate_epoch()
            if len(self.epochs) < epochs:
                self._obey(self._request(len(self.epochs)))

    def _train_epoch(self) -> None:
        trainer = self.run.trainer
        learning_rate, started = trainer.learning_rate, time.monotonic()
        images: list[int] = []  # of each step; a resumed epoch has fewer steps

        def after_step(count: int, so_far: Summary | None) -> None:
            images.append(count)
            self.progress.report(count, so_far)
            # The epoch's own points follow its last step.
            if trainer.steps < len(trainer.batches.sizes):
                self.curves.report(self._steps(), so_far, trainer.last_rate)
            self._obey(self._request())

        summary = trainer.run_epoch(after_step)
        speed = round(sum(images) / (time.monotonic() - started), 1) if images else None
        self.trained = {
            "epoch": trainer.epoch,
            "learning_rate": learning_rate,
            "loss": summary.loss,
            "train_accuracy": summary.accuracy,
            "images_per_second": speed,
        }

    def _evaluate_epoch(self) -> None:
        """Measure the accuracy on the calibration split, and write the epoch's log entry."""
        run, split = self.run, self.run.data.calibration_split
        accuracy = run.accuracy(run.data.evaluation[split])
        if accuracy >= self.best["accuracy"]:  # the latest of equally good epochs
            state = {name: value.clone() for name, value in run.model.state_dict().items()}
            self.best = {"epoch": run.trainer.epoch, "accuracy": accuracy, "model": state}
        entry = (self.trained or {}) | {f"{split}_accuracy": accuracy}
        self.trained = None
        self.epochs.append(entry)
        last_rate = {"learning_rate": run.trainer.last_rate}
        self.curves.epoch_done(self._steps(), entry | last_rate, split)
        if run.world.first:
            records.write_lines(run.config.folder / records.EPOCHS, self.epochs)
        self.progress.epoch_done(entry, split)

    def _request(self, epoch: int | None = None) -> int:
        """Collective: the strongest of the processes' requests."""
        request = CONTINUE
        if interruption.asked():
            request = STOP
        elif self.run.world.first and self.writer.due(epoch):
            request = SAVE
        return self.run.world.all_max(request)

    def _obey(self, request: int) -> None:
        if request == STOP:
            raise KeyboardInterrupt
        if request == SAVE:
            self._save()

    def _save(self) -> None:
        """Collective: write a checkpoint."""
        now = time.monotonic()
        self.seconds += now - self.counted_until
        self.counted_until = now
        state = self.run.trainer.state_dict()
        if self.run.world.first:
            lock.check(self.run.config.folder)
            self.curves.flush()
            content = {
                "identity": self.run.config.identity(),
                "data": self.fingerprints,
                "weights": self.began_with,
                "trainer": state,
                "history": {name: getattr(self, name) for name in self.HISTORY},
            }
            self.writer.write(content)
        self.run.world.barrier()  # torchrun kills the first process soon after the others end
        self._note_kept()

    def _note_kept(self) -> None:
        self.kept = f"the checkpoint {self._position()} is kept in {self.run.config.folder}"

    def _position(self) -> str:
        trainer = self.run.trainer
        if trainer.begun:
            return f"after step {trainer.steps} of epoch {trainer.epoch + 1}"
        return f"after epoch {trainer.epoch}"

    def _steps(self) -> int:
        """All steps that are done."""
        trainer = self.run.trainer
        return trainer.epoch * len(trainer.batches.sizes) + trainer.steps

    def _make_progress(self) -> Progress:
        trainer, epochs = self.run.trainer, self.run.config.epochs
        sizes = trainer.batches.sizes
        images = trainer.epoch * sum(sizes) + sum(sizes[: trainer.steps])
        silent = not self.run.world.first
        return Progress(epochs, epochs * sum(sizes), len(self.epochs), images, silent)

    def _make_curves(self) -> Curves:
        """The run's curves up to the last step, without points that will be written again."""
        config, trainer, steps = self.run.config, self.run.trainer, self._steps()
        # The epoch is trained, but its points are written after its evaluation.
        if steps > 0 and steps == (len(self.epochs) + 1) * len(trainer.batches.sizes):
            steps -= 1
        silent = not (config.tensorboard and self.run.world.first)
        return Curves(config.folder, steps, silent)
