"""The environment variables by which torchrun numbers the processes."""

import pytest

from tests.common import QUICK
from utils import torchrun


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, (0, 1)), ({"RANK": "1"}, (0, 1)), ({"WORLD_SIZE": "3", "RANK": "2"}, (2, 3))],
)
def test_rank_and_size_come_from_torchrun(monkeypatch, variables, expected):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (torchrun.rank(), torchrun.size()) == expected


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "abc"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "x"},
        {"WORLD_SIZE": "0"},
    ],
)
def test_impossible_variables_of_torchrun_are_named(run_main, monkeypatch, variables):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status, _, err = run_main(*QUICK)
    assert status == 2
    size, rank = variables["WORLD_SIZE"], variables.get("RANK", "")
    assert f"WORLD_SIZE={size} and RANK={rank} name no process: use torchrun" in err


@pytest.mark.parametrize("count", ["x", "", "0", "-1", "2.0"])
def test_an_impossible_number_of_local_processes_is_named(run_main, monkeypatch, count):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", count)
    status, _, err = run_main(*QUICK)
    assert (status, err) == (
        2,
        f"error: the environment's LOCAL_WORLD_SIZE={count} is no number of processes: use "
        "torchrun, or unset it\n",
    )
