"""Options that users know from other programs, and what does the same here."""

from collections.abc import Container, Sequence
from typing import NamedTuple


class Habit(NamedTuple):
    """What to answer to options that a program does not have."""

    options: tuple[str, ...]
    needs: str  # the answer makes sense for programs that have this argument
    answer: str


# The first row that fits is the answer.
HABITS = (
    Habit(
        ("--resume",),
        "checkpoint_every",
        "an interrupted run continues by itself: give the same command again without this option",
    ),
    Habit(
        ("--gpus", "--gpu"),
        "sync_batchnorm",
        "--device cuda:N chooses a GPU; torchrun --nproc-per-node=N main.py ... trains one run on "
        "N GPUs",
    ),
    Habit(("--gpus", "--gpu"), "device", "--device cuda:N chooses a GPU"),
    Habit(
        ("--pretrained",),
        "weights",
        "--weights pretrained starts with the weights of timm or torchvision, --weights FILE with "
        "those of a file",
    ),
    Habit(
        ("--imglist", "--imglists"),
        "limit_train",
        "--ood takes image lists (.txt), and --data a folder with train.txt and test.txt",
    ),
)


def answer(arguments: Sequence[str], parameters: Container[str]) -> str | None:
    """The answer to the first habit on a command line that a program did not understand.

    Args:
        arguments: the command line.
        parameters: the names of the program's own arguments, such as `batch_size`.

    Returns None if there is no habit that the program has an answer to.
    """
    for argument in arguments:
        option = argument.partition("=")[0]
        for habit in HABITS:
            if option in habit.options and habit.needs in parameters:
                return f"there is no option {option}: {habit.answer}"
    return None
