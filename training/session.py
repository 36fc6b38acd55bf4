"""A run's training: from its last checkpoint, wherever that was written, to its last epoch."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from data import fingerprint
from data.streaming import WHILE_WAITING
from experiment import lock, records
from utils import distributed, interruption
from utils.output import print_line

from . import checkpoint
from .curves import Curves
from .epoch_sums import Summary
from .progress import Progress
from .run import Run

GO_ON, KEEP, LEAVE = range(3)  # requests after a step; all processes obey the strongest

AFRESH = f"delete {records.LAST} and {records.PREVIOUS} to start afresh"


def leave_if_asked() -> None:
    """Raises KeyboardInterrupt if a signal came, in a process alone: several could not agree, and
    torchrun ends them itself.
    """
    if interruption.asked() and distributed.size() == 1:
        raise KeyboardInterrupt


WHILE_WAITING.append(leave_if_asked)


@dataclass
class Session:
    """A run in training, with what a checkpoint holds besides the trainer's state."""

    run: Run
    # An entry an epoch; the best epoch so far, with the model's state then; the seconds that
    # training took.
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "accuracy": -1.0})
    seconds: float = 0.0
    # The entry of an epoch that is trained and not yet judged.
    trained: dict[str, Any] | None = None
    kept: str = "no checkpoint was written yet"

    HISTORY = ("epochs", "best", "seconds", "trained")

    def __post_init__(self):
        config = self.run.config
        self.keeper = checkpoint.CheckpointWriter(config.folder, config.checkpoint_every)
        data = self.run.data
        # Of all that training sees.
        self.fingerprints = {
            "train": fingerprint.of(data.train),
            data.calibration_split: fingerprint.of(data.evaluation[data.calibration_split]),
        }
        self.resumed = time.monotonic()  # or when `seconds` was last brought up to date

    def all_fingerprints(self) -> dict[str, str]:
        """Split or source → fingerprint. Those that the session knows are not computed again."""
        others = {
            name: part
            for name, part in self.run.data.evaluation_sets.items()
            if name not in self.fingerprints
        }
        return self.fingerprints | {name: fingerprint.of(part) for name, part in others.items()}

    def resume(self) -> None:
        """Collective: go back to the last whole checkpoint, if there is one.

        Raises ValueError if all are damaged, or of another run.
        """
        run, folder = self.run, self.run.config.folder
        saved, said = checkpoint.load_latest(folder)
        if said and run.world.first:
            print_line(f"warning: {said}")
        if saved is not None:
            self._take_over(saved)
        if not run.world.agree(run.trainer.epoch << 32 | run.trainer.steps):
            raise ValueError(
                f"the processes see different checkpoints in {folder}: --runs must be a folder "
                "that all of them see"
            )
        if saved is not None and run.world.first:
            if said:  # or the next write would keep the damaged one as the one before
                (folder / records.LAST).unlink(missing_ok=True)
            print_line(f"resuming {self._place()} of {run.config.epochs}")

    def _take_over(self, saved: dict[str, Any]) -> None:
        folder = self.run.config.folder
        if differing := records.differences(saved.get("identity"), self.run.config.identity()):
            reason = "; ".join(differing)
            raise ValueError(
                f"{folder}: its checkpoint is of another run ({reason}): {AFRESH}, or choose "
                "another folder with --runs"
            )
        held = saved.get("data", {})  # earlier versions kept none
        if changed := [name for name in held if held[name] != self.fingerprints.get(name)]:
            raise ValueError(
                f"{folder}: the images or labels of {' and '.join(changed)} are others than those "
                "of its checkpoint: "
                f"put them back as they were, or {AFRESH}"
            )
        try:
            self.run.trainer.load_state_dict(saved["trainer"])
            for name in self.HISTORY:
                setattr(self, name, saved["history"][name])
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{folder}: its checkpoint does not fit ({reason}): go on where it began, or "
                f"{AFRESH}"
            ) from error
        self._say_kept()

    def train(self) -> None:
        """Train to the last epoch, and leave the model at its best one.

        Raises KeyboardInterrupt, with a checkpoint written, if a signal asked for it.
        """
        run, total = self.run, int(self.run.config.epochs or 0)
        with (
            interruption.deferred(),
            closing(self._progress(total)) as self.progress,
            closing(self._curves()) as self.curves,
        ):
            try:
                while len(self.epochs) < total:
                    if self.trained is None:
                        self._train_epoch()
                    self._judge_epoch()
                    if len(self.epochs) < total:
                        self._obey(self._agreed(len(self.epochs)))
            except KeyboardInterrupt:
                self._keep()
                raise
            except ValueError:
                # A damaged image, which can be mended; of several processes one alone would wait
                # for the others.
                if run.world.size == 1:
                    self.fingerprints = {}  # which mending it changes
                    self._keep()
                raise
            self._keep()  # what follows can fail too
            if self._agreed() == LEAVE:
                raise KeyboardInterrupt
        run.model.load_state_dict(self.best["model"])

    def _progress(self, epochs: int) -> Progress:
        trainer = self.run.trainer
        sizes = trainer.batches.sizes
        images = trainer.epoch * sum(sizes) + sum(sizes[: trainer.steps])
        return Progress(
            epochs, epochs * sum(sizes), len(self.epochs), images, silent=not self.run.world.first
        )

    def _curves(self) -> Curves:
        """The run's curves after the last step, but without the last epoch's points if they are
        still to come.
        """
        config, trainer, done = self.run.config, self.run.trainer, self._steps()
        to_come = done > 0 and done == (len(self.epochs) + 1) * len(trainer.batches.sizes)
        return Curves(
            config.folder, done - to_come, silent=not (config.tensorboard and self.run.world.first)
        )

    def _steps(self) -> int:
        """All steps done."""
        trainer = self.run.trainer
        return trainer.epoch * len(trainer.batches.sizes) + trainer.steps

    def _train_epoch(self) -> None:
        trainer, rate, started, seen = (
            self.run.trainer,
            self.run.trainer.learning_rate,
            time.monotonic(),
            0,
        )

        def after_step(images: int, so_far: Summary | None) -> None:
            nonlocal seen
            seen += images
            self.progress.report(images, so_far)
            # An epoch's last step has the epoch's own points.
            if trainer.steps < len(trainer.batches.sizes):
                self.curves.report(self._steps(), so_far, trainer.last_rate)
            self._obey(self._agreed())

        summary = trainer.run_epoch(after_step)
        # Since it was resumed, within an epoch.
        speed = round(seen / (time.monotonic() - started), 1) if seen else None
        self.trained = {
            "epoch": trainer.epoch,
            "learning_rate": rate,
            "loss": summary.loss,
            "train_accuracy": summary.accuracy,
        }
        self.trained["images_per_second"] = speed

    def _judge_epoch(self) -> None:
        run, deciding = self.run, self.run.data.calibration_split
        reached = run.accuracy(run.data.evaluation[deciding])
        if reached >= self.best["accuracy"]:  # of equally good epochs the latest
            state = {name: value.clone() for name, value in run.model.state_dict().items()}
            self.best = {"epoch": run.trainer.epoch, "accuracy": reached, "model": state}
        entry, self.trained = self.trained | {f"{deciding}_accuracy": reached}, None
        self.epochs.append(entry)
        self.curves.epoch_done(
            self._steps(), entry | {"learning_rate": run.trainer.last_rate}, deciding
        )
        if run.world.first:
            records.write_lines(run.config.folder / records.EPOCHS, self.epochs)
        self.progress.epoch_done(entry, deciding)

    def _agreed(self, epoch: int | None = None) -> int:
        """Collective: whether to go on, to write a checkpoint, or to write one and leave."""
        wish = (
            LEAVE
            if interruption.asked()
            else KEEP
            if self.run.world.first and self.keeper.due(epoch)
            else GO_ON
        )
        return self.run.world.all_max(wish)

    def _obey(self, agreed: int) -> None:
        if agreed == LEAVE:
            raise KeyboardInterrupt
        if agreed == KEEP:
            self._keep()

    def _keep(self) -> None:
        """Collective: write a checkpoint."""
        now = time.monotonic()
        self.seconds, self.resumed = self.seconds + now - self.resumed, now
        state = self.run.trainer.state_dict()
        if self.run.world.first:
            lock.check(self.run.config.folder)
            self.curves.flush()
            history = {name: getattr(self, name) for name in self.HISTORY}
            content = {
                "identity": self.run.config.identity(),
                "data": self.fingerprints,
                "trainer": state,
                "history": history,
            }
            self.keeper.write(content)
        self.run.world.barrier()  # torchrun kills the first soon after the others have left
        self._say_kept()

    def _say_kept(self) -> None:
        self.kept = f"the checkpoint {self._place()} is kept in {self.run.config.folder}"

    def _place(self) -> str:
        trainer = self.run.trainer
        return (
            f"after step {trainer.steps} of epoch {trainer.epoch + 1}"
            if trainer.begun
            else f"after epoch {trainer.epoch}"
        )
