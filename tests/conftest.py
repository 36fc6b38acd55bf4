"""Fixtures of all tests. Each test worker uses one thread, so that two workers share two cores."""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from tests.common import ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for processes that tests start
torch.set_num_threads(1)


@pytest.fixture
def run_main(tmp_path, capsys):
    """A function that calls main.py's `main` with a temporary folder for its runs. It returns the
    exit status, standard output and standard error.
    """
    import main

    def run(*arguments: str):
        # These defaults give the same numbers on every machine. A test may override them.
        status = main.main(
            ["--precision", "fp32", "--runs", str(tmp_path / "runs"), "--device", "cpu", *arguments]
        )
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def script():
    """A function that runs Python with some arguments in the repository, in a new process."""
    import subprocess

    def run(*arguments: str, timeout=900, **options):
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
    """A web server on this machine that serves byte ranges and can cut a connection.

    Yields its address; a dict path → content; and a dict path → where to cut the next answer.
    """
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
