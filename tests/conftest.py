"""What all tests share: one thread a worker, so that two workers share two cores."""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from tests.common import ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(1)


@pytest.fixture
def run_main(tmp_path, capsys):
    """Runs main.py's `main` into a temporary runs folder; gives exit status, standard output and
    error.
    """
    import main

    def run(*arguments: str):
        # The same on every machine, if the test does not say otherwise.
        status = main.main(
            ["--precision", "fp32", "--runs", str(tmp_path / "runs"), "--device", "cpu", *arguments]
        )
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def script():
    """Runs a Python file of the repository in a process of its own."""
    import subprocess

    def run(*arguments: str, timeout=300, **options):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            **options,
        )

    return run


@pytest.fixture
def server():
    """A web server on this machine that serves bytes with ranges, and can cut a connection."""
    content: dict[str, bytes] = {}
    cut: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in content:
                return self.send_error(404)
            body = content[self.path]
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : cut.pop(self.path, len(body))])
            return None

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", content, cut
        running.shutdown()
