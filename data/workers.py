"""Processes that decode images while the network trains."""

import atexit
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from utils import interruption, torchrun

TIMEOUT = 5  # seconds to wait for a batch; then `_receive` decides whether to wait longer
STALLED = 600  # seconds without a batch after which reading fails


def read(images: Dataset, indices: Iterator[Any], count: int | None = None) -> Iterator[Any]:
    """Yield `images[index]`, a decoded batch, for each index; other processes decode it.

    A batch is a tensor, or a NamedTuple with a tensor `pixels` and otherwise plain values.

    Args:
        images: returns a batch for an index.
        indices: of the batches.
        count: number of processes; by default one for each processor, at most 8.

    Raises:
        ValueError: an image is damaged (the message names it), or no batch comes for `STALLED`
            seconds.
        OSError: the processes cannot be started.
        KeyboardInterrupt: a signal came, and no batch comes.
    """
    loader = DataLoader(
        images,
        batch_size=None,  # each index is a whole batch
        sampler=indices,
        collate_fn=_share,
        num_workers=count or _count(),
        prefetch_factor=4,  # batches that each process decodes ahead
        timeout=TIMEOUT,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # the global generator belongs to the training
        worker_init_fn=_begin,
    )
    with started(loader) as batches:
        yield from _receive(batches)


def _count() -> int:
    """Return how many processes decode: 1 to 8.

    The processes that torchrun started on this machine share its processors.
    """
    try:
        sharing = torchrun.local_size()
    except ValueError:  # main.py names the wrong variable
        sharing = 1
    return max(1, min(8, (os.cpu_count() or 1) // sharing))


def _begin(_: int) -> None:
    """Make a decoding process ignore signals, and say nothing if the parent process stops.

    Ctrl-C reaches this process too, but the last step still needs its images. The parent process
    ends it.
    """
    for number in interruption.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _note_error


def _note_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Called for an error in the thread that hands batches over.

    An interruption can stop the parent process while it takes a batch.
    """
    if not isinstance(error, (ConnectionError, EOFError)):
        sys.__excepthook__(kind, error, trace)


@contextmanager
def started(loader: DataLoader) -> Iterator[Iterator]:
    """Give a loader's iterator. Its processes end with the block, or with the program.

    Raises OSError if the processes cannot be started.
    """
    others = active_children()
    processes: list[Any] = []
    iterator: Any = None

    def end() -> None:
        if iterator is not None:
            # Asks the processes to end, and waits for some seconds. It is private to torch.
            iterator._shutdown_workers()  # pyrefly: ignore
        for process in processes:
            process.kill()  # a process that waits for a disk does not end when it is asked to
            process.join(1)

    # At exit, Python itself would send SIGTERM, which the processes ignore, and wait for ever.
    atexit.register(end)
    try:
        try:
            with _blocked_signals():
                iterator = iter(loader)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot start processes that decode images ({error.strerror}): too little room in "
                "/dev/shm, or too many processes or open files",
            ) from error
        finally:
            processes = [child for child in active_children() if child not in others]
        yield iterator
    finally:
        # The garbage collector may be late: an error from the loader refers to itself, and keeps
        # the loader alive.
        end()
        atexit.unregister(end)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Delay signals until the block ends. A process that starts in the block never gets any."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, interruption.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _share(batch: Any) -> Any:
    """Return a batch with its pixels in shared memory, for the parent process.

    If shared memory is full, the pixels are an array: it is sent through a pipe.
    """
    if isinstance(batch, tuple):
        return batch._replace(pixels=_share(batch.pixels))  # pyrefly: ignore
    try:
        return batch.share_memory_()
    except RuntimeError:
        return batch.numpy()


def _as_tensor(batch: Any) -> Any:
    """Return a batch whose pixels are a tensor again. Warns if shared memory was full."""
    if isinstance(batch, tuple):
        return batch._replace(pixels=_as_tensor(batch.pixels))  # pyrefly: ignore
    if isinstance(batch, Tensor):
        return batch
    warnings.warn(
        "/dev/shm is full, and images take a slower way: enlarge it (docker run --shm-size=8g)",
        stacklevel=3,
    )
    return torch.from_numpy(batch)


def _receive(loader: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches of a loader. Raises as `read`."""
    last = time.monotonic()
    while True:
        try:
            batch = next(loader, None)
        except ValueError as error:
            raise ValueError(_last_line(error)) from None
        except RuntimeError as error:
            if not str(error).startswith("DataLoader timed out"):
                raise
            # One of several processes must not stop alone: torchrun ends all of them.
            if interruption.asked() and torchrun.size() == 1:
                raise KeyboardInterrupt from None
            if time.monotonic() - last > STALLED:
                raise ValueError(
                    f"no images came for {STALLED} seconds: see whether their disk or network "
                    "answers"
                ) from None
            continue
        if batch is None:
            return
        yield _as_tensor(batch)
        last = time.monotonic()


def _last_line(error: ValueError) -> str:
    """Return the message of an error in another process, without that process's traceback."""
    lines = str(error).rpartition("Traceback (most recent call last):\n")[2].splitlines()
    text = " ".join(line for line in lines if not line.startswith(" "))
    kind, _, message = text.partition(": ")
    return message or kind
