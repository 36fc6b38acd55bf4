"""Images that do not fit into memory.

They stay in files, and other processes decode them while the network trains.
"""

import atexit
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .decoding import decode
from .images import Images, random_crop, resize_and_center_crop, to_grey

AHEAD = 4  # batches that each process has ready
POLL = 5  # seconds without a batch until the functions WHILE_WAITING are called, again and again
STALLED = 600  # seconds without a batch until reading fails
# One of them may raise an error to end the wait, as where a disk does not answer.
WHILE_WAITING: list[Callable[[], None]] = []
LEFT_TO_THE_PARENT = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
PIXELS = 2**23  # pixels that are decoded, or run through a network, at a time


def fitting(count: int, size: tuple[int, int]) -> int:
    """How many images of (height, width) to take at a time: `count`, or fewer if they are large."""
    return max(1, min(count, PIXELS // (size[0] * size[1])))


def _workers() -> int:
    """How many processes decode.

    The processes that torchrun started on this machine share its processors.
    """
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(
        1,
        min(
            8,
            (os.cpu_count() or 1) // (int(sharing) if sharing.isdecimal() and int(sharing) else 1),
        ),
    )


def _leave_signals_to_the_parent(_: int) -> None:
    """Ignores signals in a decoding process.

    Ctrl-C reaches it too, but the last step still needs its images.
    """
    for name in LEFT_TO_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Signals wait until the block ends.

    A process that is started inside never gets any, also before it ignores them.
    """
    masks = hasattr(signal, "pthread_sigmask")
    held = (
        signal.pthread_sigmask(
            signal.SIG_BLOCK, [getattr(signal, name) for name in LEFT_TO_THE_PARENT]
        )
        if masks
        else ()
    )
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def _started(loader: DataLoader) -> Iterator[Iterator]:
    """A loader's iterator. Its processes end when the block ends, or when the program does.

    Raises OSError if the processes cannot be started.
    """
    earlier, started, iterator = active_children(), [], None

    def end() -> None:
        if iterator is not None:
            iterator._shutdown_workers()  # asks them to end, and waits some seconds
        for process in started:
            process.kill()  # a process that waits for a disk does not end when asked
            process.join(1)

    atexit.register(end)  # Python would send SIGTERM, which they ignore, and wait for ever
    try:
        try:
            with _signals_waiting():
                iterator = iter(loader)
        except OSError as error:
            reason = "too little room in /dev/shm, or too many processes or open files"
            raise OSError(
                error.errno,
                f"cannot start processes that decode images ({error.strerror}): {reason}",
            ) from error
        finally:
            started = [child for child in active_children() if child not in earlier]
        yield iterator
    finally:
        # Not left to the garbage collector: an error from the loader keeps it alive in a reference
        # cycle.
        end()
        atexit.unregister(end)


def _to_hand_over(pixels: Tensor) -> Tensor | np.ndarray:
    """A decoded batch to send to the parent: in shared memory, or as an array, which goes through a
    pipe, if that is full.
    """
    try:
        return pixels.share_memory_()
    except RuntimeError:
        return pixels.numpy()


def _arriving(loader: Iterator[Tensor | np.ndarray]) -> Iterator[Tensor]:
    """A loader's batches.

    Raises ValueError for a damaged image, naming it, and if no batch comes for `STALLED` seconds.
    """
    last = time.monotonic()
    while True:
        try:
            batch = next(loader, None)
        except (
            ValueError
        ) as error:  # its message holds the process's whole traceback: keep the last line
            lines = str(error).rpartition("Traceback (most recent call last):\n")[2].splitlines()
            kind, _, message = " ".join(
                line for line in lines if not line.startswith(" ")
            ).partition(": ")
            raise ValueError(message or kind) from None
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
            for each in WHILE_WAITING:
                each()
            if time.monotonic() - last > STALLED:
                raise ValueError(
                    f"no images came for {STALLED} seconds: see whether their disk or network "
                    "answers"
                ) from None
            continue
        if batch is None:
            return
        if not isinstance(batch, Tensor):
            warnings.warn(
                "/dev/shm is full, and images take a slower way: enlarge it (docker run "
                "--shm-size=8g)",
                stacklevel=2,
            )
            batch = torch.from_numpy(batch)
        yield batch
        last = time.monotonic()


@dataclass(frozen=True)
class ImageFiles:
    """A data set's split in files, with the same methods as `Images`, which is in memory.

    Images of another size are resized and cropped: see `resize_and_center_crop`.
    """

    paths: np.ndarray  # as bytes: processes share an array, but copy a list of objects
    labels: Tensor  # int64 [N]
    classes: tuple[str, ...]
    size: tuple[int, int]
    margin: int = 0  # how much longer than `size` each side is before the centre is cropped
    crops: bool = False  # whether training sees random crops
    grey: bool = False  # whether images are turned grey
    notes: tuple[str, ...] = ()  # lines that say what was left out when it was loaded

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Sequence[tuple[int, int | None]]) -> Tensor:
        """The images at these (position, seed), uint8 [B, 3, H, W]: the centre, or a random crop if
        a seed is given.
        """
        return torch.stack(
            [self._seen(Path(os.fsdecode(self.paths[position])), seed) for position, seed in chosen]
        )

    def _seen(self, path: Path, seed: int | None) -> Tensor:
        pixels = decode(path)
        pixels = (
            resize_and_center_crop(pixels, self.size, self.margin)
            if seed is None
            else random_crop(pixels, self.size, seed)
        )
        return to_grey(pixels[None])[0] if self.grey else pixels

    def take(self, positions: Tensor) -> "ImageFiles":
        """The images at these positions."""
        return replace(self, paths=self.paths[positions.numpy()], labels=self.labels[positions])

    def first(self, count: int) -> Tensor:
        """uint8 [count, 3, H, W]."""
        return self[[(position, None) for position in range(min(count, len(self)))]]

    def decoded(self) -> Images:
        """All of it in memory."""
        pixels = torch.cat([*self.batches(fitting(500, self.size))])
        return Images(pixels, self.labels, self.classes, self.notes)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """All images in order, uint8 [B, 3, H, W]."""
        if len(self) <= batch_size:  # starting processes would take longer
            return iter([self.first(len(self))])
        return self.read(torch.arange(len(self)).split(batch_size))

    def read(
        self, batches: Iterable[Tensor], seeds: Iterable[Tensor | None] = repeat(None)
    ) -> Iterator[Tensor]:
        """The images at each batch's positions, uint8 [B, 3, H, W]: random crops if the batch has
        seeds, else centres.

        Raises ValueError, naming it, for a damaged image.
        """
        chosen = (
            [
                *zip(
                    batch.tolist(),
                    [None] * len(batch) if drawn is None else drawn.tolist(),
                    strict=True,
                )
            ]
            for batch, drawn in zip(batches, seeds, strict=False)
        )
        loader = DataLoader(
            self,
            batch_size=None,  # to the loader a batch is one item: `__getitem__` stacks its images
            sampler=chosen,
            collate_fn=_to_hand_over,
            num_workers=_workers(),
            prefetch_factor=AHEAD,
            timeout=POLL,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # not the global one, whose state is the run's
            worker_init_fn=_leave_signals_to_the_parent,
        )
        with _started(loader) as batches:
            yield from _arriving(batches)


ImageSet = Images | ImageFiles  # either serves wherever a set is only read
