"""Kills a run at random moments, by SIGKILL, until it ends: `python -m tests.killing RUNS LOSS
SEED`; prints where, as JSON.

Each attempt is a fork of this process, which has imported everything once. Half of them die at a
random moment; the others at a random operation on files, one of those that write a checkpoint or
another result, before it or, for a write, half-way through it.
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

GIVEN = (
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
    return ["--loss", loss, "--runs", runs, *GIVEN]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(position: int, log: int) -> None:
    """Have the process kill itself at its n-th operation on files, and say in the pipe which that
    was.
    """
    done = 0

    def counted(kind, name, half=None):
        real = getattr(kind, name)

        def call(*given, **options):
            nonlocal done
            done += 1
            if done == position:
                if half:
                    half(*given)
                os.write(log, f"{name} {Path(str(given[0])).name}".encode())
                die()
            return real(*given, **options)

        setattr(kind, name, call)

    def write_half(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])

    counted(Path, "write_bytes", write_half)
    for kind, name in (
        (os, "fsync"),
        (os, "replace"),
        (os, "link"),
        (Path, "unlink"),
        (Path, "write_text"),
    ):
        counted(kind, name)


def attempt(given: list[str], draw: random.Random, longest: float) -> tuple[bool, str]:
    """One fork, which lives for at most so many seconds: whether it was killed, and where."""
    reading, log = os.pipe()
    at_a_file = draw.random() < 0.5
    position, delay = draw.randint(1, 16), draw.uniform(0.05, longest)
    if not (child := os.fork()):
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if at_a_file:
            die_at(position, log)
        os._exit(main.main(given))
    os.close(log)
    if not at_a_file:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    where = os.read(reading, 1000).decode()  # returns when the child is gone
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, where
        return False, ""
    assert os.WTERMSIG(status) == signal.SIGKILL
    return True, where or "a moment"


def kill_until_done(runs: str, loss: str, seed: int) -> list[str]:
    """Where it was killed, each time."""
    draw, places = random.Random(seed), []
    given, folder = arguments(runs, loss), Path(runs) / "digits" / "smallcnn" / loss / "1"
    killed, longest = True, 1.0
    while killed:
        killed, where = attempt(given, draw, longest)
        longest *= 1.05  # or a slow machine would never end
        if killed:
            half = sorted(path.name.split(".")[1] for path in folder.glob(".*.*"))
            places.append(f"{where}{', a half-written ' + half[0] if half else ''}")
    return places


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(kill_until_done(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
