"""Processes that decode images: how they start, wait, fail and end."""

import multiprocessing
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from data import streaming, workers
from data.streaming import ImageFiles
from tests.common import ROOT
from utils import interruption, program

READING = """
import sys
from pathlib import Path
import numpy as np
import torch
from data.streaming import ImageFiles
paths = np.array([str(path).encode() for path in sorted(Path(sys.argv[1]).iterdir())])
files = ImageFiles(paths, torch.zeros(len(paths)), (), (64, 64))
"""


@pytest.fixture
def many(tmp_path):
    """A folder of 40 images, three batches of 16."""
    (tmp_path / "many").mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "many" / f"{number:02}.png")
    return tmp_path / "many"


def test_a_damaged_image_among_more_than_are_decoded_at_once_ends_a_program(many, script, tmp_path):
    body = (many / "01.png").read_bytes()
    for number in range(520):
        (many / f"more{number}.png").write_bytes(body[: 90 if number == 300 else len(body)])
    done = script(
        "main.py",
        "--ood",
        str(many),
        "--device",
        "cpu",
        "--runs",
        str(tmp_path / "runs"),
        timeout=100,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*more300\.png cannot be read as an image \(.*\n", done.stderr)


def test_a_program_ends_with_its_images_half_read(many, script, monkeypatch):
    """As one does where an error holds what reads them.

    That the environment is not torchrun's ends no import.
    """
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "x")
    done = script(
        "-c",
        READING + "reader = files.batches(16)\nnext(reader)\nsys.exit(5)",
        str(many),
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (5, "")


@pytest.mark.slow
def test_with_little_shared_memory_images_take_another_way(many):
    command = (
        f"{sys.executable} -c '{READING}print(sum(each.sum() for each in "
        f"files.batches(16)).item())' {many}"
    )
    mounted = [
        "unshare",
        "-m",
        "sh",
        "-c",
        f"mount -t tmpfs -o size=256k tmpfs /dev/shm || exit 3; {command}",
    ]
    done = subprocess.run(
        mounted, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode == 3 or "unshare" in done.stderr:
        pytest.skip("needs the right to mount a file system")
    paths = np.array([str(path).encode() for path in many.iterdir()])
    assert int(done.stdout) == ImageFiles(paths, torch.zeros(40), (), (64, 64)).first(40).sum()
    assert done.stderr.count("UserWarning: /dev/shm is full") == 1


@pytest.mark.parametrize(("asked", "raised"), [(True, KeyboardInterrupt), (False, ValueError)])
def test_a_disk_that_does_not_answer_ends_the_wait(many, monkeypatch, asked, raised):
    paths = np.array([str(path).encode() for path in many.iterdir()])
    monkeypatch.setattr(streaming, "decode_to_resize", lambda *_: time.sleep(1000))
    monkeypatch.setattr(workers, "TIMEOUT", 0.2)
    monkeypatch.setattr(workers, "STALLED", 1000 if asked else 0)
    monkeypatch.setattr(interruption, "_asked", asked)
    # How long its end is waited for.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    with pytest.raises(raised):
        list(ImageFiles(paths, torch.zeros(40), (), (8, 8)).batches(16))
    assert not multiprocessing.active_children()


class Masks(torch.utils.data.Dataset):
    def __getitem__(self, _):
        return torch.tensor(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))


def test_a_process_that_decodes_gets_no_signal_from_its_start_on():
    """Ctrl-C reaches it before it can ignore it, and what ends it then is no interruption."""
    loader = torch.utils.data.DataLoader(Masks(), batch_size=None, sampler=[0], num_workers=1)
    with workers.started(loader) as batches:
        assert {*next(batches).tolist()} >= {
            signal.SIGINT,
            signal.SIGTERM,
            signal.SIGUSR1,
            signal.SIGHUP,
        }
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_killed_process_that_decodes_is_no_damaged_record(capsys):
    def work():
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    assert program.exit_status(work, "") == 1
    assert capsys.readouterr().err.endswith(
        "a process that decodes images was killed (out of memory?): try again\n"
    )


@pytest.mark.parametrize(("error", "said"), [("BrokenPipeError", ""), ("KeyError", "KeyError: 1")])
def test_a_process_that_decodes_says_nothing_if_its_parent_stops(script, error, said):
    code = "import sys; from data import workers; workers._begin(0); "
    done = script("-c", f"{code} sys.excepthook({error}, {error}(1), None)")
    assert done.stderr.strip() == said
