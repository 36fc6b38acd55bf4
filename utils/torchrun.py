"""Reads the environment variables by which torchrun numbers the processes of a run."""

import os


def rank() -> int:
    """This process's number among those of torchrun; 0 without torchrun.

    Process 0 prints the messages that are the same for all processes. Wrong variables give 0;
    `size` raises the error for them.
    """
    number = os.environ.get("RANK", "")
    return int(number) if number.isdecimal() and os.environ.get("WORLD_SIZE", "1") != "1" else 0


def size() -> int:
    """The number of processes that torchrun started; 1 without torchrun.

    Raises ValueError for environment variables that torchrun would not set.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    number = os.environ.get("RANK", "")
    if count == "1":
        return 1
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
        raise ValueError(
            f"the environment's WORLD_SIZE={count} and RANK={number} name no process: use "
            "torchrun, or unset them"
        )
    return int(count)


def local_size() -> int:
    """The number of processes that torchrun started on this machine; 1 without torchrun.

    Raises ValueError for an environment variable that torchrun would not set.
    """
    count = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if not (count.isdecimal() and int(count) > 0):
        raise ValueError(
            f"the environment's LOCAL_WORLD_SIZE={count} is no number of processes: use torchrun, "
            "or unset it"
        )
    return int(count)
