"""Standard output and error that are closed or cannot be written to."""

import subprocess
import sys

import pytest

from tests.common import QUICK, ROOT, record_of


@pytest.mark.parametrize("streams", [">&- 2>&-", "2>&1 | true", "> /dev/full 2>&1"])
def test_output_that_nobody_reads_stops_no_run(tmp_path, streams):
    options = ["--device", "cpu", "--precision", "fp32", *QUICK, "--runs", f"{tmp_path}/runs"]
    program = f"{sys.executable} main.py {' '.join(options)}"
    command = f"{program} {streams}; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0
    assert record_of(tmp_path)["best"]["epoch"]


def test_a_warning_to_a_closed_standard_error_is_not_printed_among_the_results(script):
    done = script(
        "-c",
        "import sys; from utils.output import print_line; sys.stderr = None; "
        "print_line('warning', sys.stderr); print_line('result')",
    )
    assert done.stdout == "result\n"
