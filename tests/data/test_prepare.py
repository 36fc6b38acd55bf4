"""Downloads from servers that do what they should not."""

import gzip
import hashlib
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time

import pytest
from torchvision import datasets

from data import download, prepare
from data.catalog import CATALOG
from tests.common import ROOT, until
from utils import interruption

OK = b"HTTP/1.1 200 OK\r\n"


def redirect(to: bytes) -> list[bytes]:
    return [b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\n\r\n"]


def slowly(before: bytes):
    """Pieces of which one comes now and then."""
    yield before
    for _ in range(600):
        time.sleep(0.1)
        yield b"x"


# What a server sends, in pieces, and what is said of it.
HOSTILE = {
    "nothing": ([], "Remote end closed connection"),
    "an endless body": ([OK + b"\r\n", *[b"x" * 10**6] * 30], "the server sends more than"),
    "endless chunks": (
        [
            OK + b"Transfer-Encoding: chunked\r\n\r\n",
            *[b"100000\r\n" + b"x" * 2**20 + b"\r\n"] * 30,
        ],
        "more than",
    ),
    "an absurd length": (
        [OK + b"Content-Length: 99999999999999\r\n\r\nx"],
        "the server sends more than",
    ),
    "a negative length": ([OK + b"Content-Length: -5\r\n\r\nabc"], "has the MD5"),
    "a length that is no number": ([OK + b"Content-Length: many\r\n\r\nabc"], "has the MD5"),
    "fewer bytes than announced": (
        [OK + b"Content-Length: 10\r\n\r\nabc"],
        "closed after 3 of 10 bytes|IncompleteRead",
    ),
    "a chunk cut": ([OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc"], "IncompleteRead"),
    "a chunk of no size": (
        [OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc"],
        "IncompleteRead",
    ),
    "no status": ([b"\x1b[31mhello\r\n\r\n"], "hello"),
    "a long line": (
        [OK + b"X: " + b"x" * 70000 + b"\r\n\r\n"],
        "got more than 65536 bytes when reading header line",
    ),
    "many headers": ([OK + b"X: x\r\n" * 200 + b"\r\n"], "got more than 100 headers"),
    "an error": ([b"HTTP/1.1 503 Busy\r\n\r\n"], "HTTP Error 503: Busy"),
    "a way to a file": (redirect(b"file:///etc/passwd"), "is not allowed"),
    "a way to no port": (redirect(b"http://127.0.0.1:port/"), "nonnumeric port"),
    "a way to half an address": (redirect(b"http://[::1/x"), "Invalid IPv6 URL"),
    "a way to a name that cannot be": (
        redirect(b"http://" + b"a" * 70 + b".invalid/"),
        "label|Name|name",
    ),
    "a way around": (redirect(b"/"), "HTTP Error 302"),
    "a byte now and then": (slowly(OK + b"\r\n"), "it sends less than"),
    "a header's byte now and then": (slowly(OK + b"X: "), "it sends less than"),
}


@pytest.fixture
def sends():
    """Starts a server that sends the given pieces to every request. Returns its address."""
    running = []

    def start(pieces) -> str:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(10000)
                try:
                    for piece in pieces:
                        self.request.sendall(piece)
                except OSError:  # nobody listens any more
                    pass

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        running.append(server)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in running:
        server.shutdown()
        server.socket.close()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_server_is_named_and_waited_for_no_longer_than_a_while(
    tmp_path, monkeypatch, sends, case
):
    pieces, said = HOSTILE[case]
    monkeypatch.setattr(download, "TIMEOUT", 1)
    monkeypatch.setattr(download, "LARGEST", 10**7)
    address = sends(pieces)
    with pytest.raises((OSError, ValueError), match=said) as raised:
        download.download_file(f"{address}/file", tmp_path / "file", "md5")
    assert address in str(raised.value) or "run it again to go on" in str(raised.value)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10**7
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_one_bad_server_stops_no_other_set(tmp_path, monkeypatch, capsys, sends):
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setattr(download, "TIMEOUT", 1)
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{sends(HOSTILE['no status'][0])}/file")
    body = b"some"
    splits = {"train": [sends([OK + b"\r\n" + body]), "some.mat", hashlib.md5(body).hexdigest()]}
    monkeypatch.setattr(datasets.SVHN, "split_list", splits | {"test": splits["train"]})
    assert prepare.main(["cifar10", "svhn"]) == 1
    out, err = capsys.readouterr()
    assert out == f"SVHN: ready in {tmp_path}\n"
    assert re.fullmatch(
        r"CIFAR-10: failed: .*\nerror: 1 of 2 failed; try again: bash prepare-cifar.sh cifar10\n",
        err,
    )


@pytest.mark.parametrize("cut", [False, True])
def test_mnist_comes_from_the_first_server_that_has_it_and_a_cut_file_is_unpacked_again(
    tmp_path, monkeypatch, sends, cut
):
    images, labels = (
        bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6]),
        bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1]),
    )
    names = [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ]
    bodies = dict(zip(names, [images, labels] * 2, strict=True))
    packed = {name: gzip.compress(body) for name, body in bodies.items()}
    monkeypatch.setattr(
        datasets.FashionMNIST,
        "resources",
        [(f"{n}.gz", hashlib.md5(b).hexdigest()) for n, b in packed.items()],
    )
    # The first has nothing; each other one has one file, whatever it is asked for.
    sent = [[], *([OK + b"\r\n" + body] for body in packed.values())]
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{sends(pieces)}/" for pieces in sent])
    raw, fetch = tmp_path / "FashionMNIST" / "raw", CATALOG["fashionmnist"].download
    fetch(tmp_path)
    if cut:
        (raw / names[0]).write_bytes(images[:-3])
        fetch(tmp_path)
    assert datasets.FashionMNIST(tmp_path).data.flatten().tolist() == [5, 6]


def test_a_signal_ends_the_preparation_and_what_has_arrived_is_kept(tmp_path, sends):
    address = sends(slowly(OK + b"\r\n" + b"x" * download.CHUNK))
    program = (
        "import runpy, sys; from torchvision import datasets; datasets.CIFAR10.url = "
        f"'{address}/file'; "
        "sys.argv[1:] = ['cifar10']; runpy.run_module('data.prepare', run_name='__main__')"
    )
    command, environment = [sys.executable, "-c", program], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        until(process, lambda: list(tmp_path.rglob("*.part")))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == interruption.STATUS
    assert err.endswith(
        "interrupted: what has arrived is kept; run the same command again to continue\n"
    )


def test_a_set_is_ready_whether_or_not_that_can_be_printed(tmp_path):
    """A full disk, or `| head`."""
    program = (
        "from data import prepare; done = lambda root: None; "
        "prepare.DOWNLOADS = {'svhn': done, 'mnist': done}; "
        "sys.exit(prepare.main(['svhn', 'mnist']))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "import sys; " + program],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")
