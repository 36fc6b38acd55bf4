"""Kills a run again and again with SIGKILL, at random moments, until it finishes:
`python -m tests.killing RUNS LOSS SEED` prints the places where it was killed, as JSON.

Each attempt is a fork of this process, which has imported everything once. Half of the attempts die
at a random moment. The others die at a random file operation, one of those that write checkpoints
and results: before the operation or, for a write, when half of the bytes are written.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

import main

OPTIONS = (
    "--epochs",
    "4",
    "--checkpoint-every",
    "0.000001",
    "minutes",
    "--precision",
    "fp32",
    "--device",
    "cpu",
)


def arguments(runs: str, loss: str) -> list[str]:
    """The arguments of main.py for the run that is killed."""
    return ["--loss", loss, "--runs", runs, *OPTIONS]


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(position: int, pipe: int) -> None:
    """Let this process kill itself at its n-th file operation, after it wrote into the pipe which
    operation that is.
    """
    operations = 0

    def replace(owner, name, half=None):
        original = getattr(owner, name)

        def counted(*args, **options):
            nonlocal operations
            operations += 1
            if operations == position:
                if half:
                    half(*args)
                os.write(pipe, f"{name} {Path(str(args[0])).name}".encode())
                die()
            return original(*args, **options)

        setattr(owner, name, counted)

    def write_half(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])

    replace(Path, "write_bytes", write_half)
    replace(os, "fsync")
    replace(os, "replace")
    replace(os, "link")
    replace(Path, "unlink")
    replace(Path, "write_text")


def attempt(args: list[str], draw: random.Random, longest: float) -> tuple[bool, str]:
    """Fork once. The fork lives for at most `longest` seconds.

    Returns whether it was killed, and where.
    """
    reading, writing = os.pipe()
    at_a_file = draw.random() < 0.5
    position = draw.randint(1, 16)
    delay = draw.uniform(0.05, longest)
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if at_a_file:
            die_at(position, writing)
        os._exit(main.main(args))
    os.close(writing)
    if not at_a_file:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    place = os.read(reading, 1000).decode()  # returns when the child has ended
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, place
        return False, ""
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True, place or "a moment"


def kill_until_finished(runs: str, loss: str, seed: int) -> list[str]:
    """Repeat attempts until one finishes. Returns the place of each kill."""
    draw = random.Random(seed)
    args = arguments(runs, loss)
    folder = Path(runs) / "digits" / "smallcnn" / loss / "1"
    places = []
    longest = 1.0
    while True:
        killed, place = attempt(args, draw, longest)
        if not killed:
            return places
        longest *= 1.05  # otherwise a slow machine would never finish
        half_written = sorted(path.name.split(".")[1] for path in folder.glob(".*.*"))
        if half_written:
            place += f", a half-written {half_written[0]}"
        places.append(place)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(kill_until_finished(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
