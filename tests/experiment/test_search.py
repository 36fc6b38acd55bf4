"""Finding the finished runs below a folder."""

import os
import shutil

import pytest

from experiment import records, search
from tests.common import ROOT

RUN = next((ROOT / "results" / "cifar10_small" / "runs").rglob(records.METRICS)).parent


def copy_run(folder):
    """Copy a finished run's record into a folder."""
    folder.mkdir(parents=True)
    shutil.copy(RUN / records.METRICS, folder)
    return folder


def test_runs_are_found_in_the_folder_and_below_it_in_order(tmp_path):
    second = copy_run(tmp_path / "b")
    first = copy_run(tmp_path / "a" / "1")
    assert search.run_folders([tmp_path]) == [first, second]
    assert search.run_folders([first]) == [first]


def test_a_backup_beside_a_run_is_left_out_not_the_run(tmp_path):
    run = copy_run(tmp_path / "softmax" / "1")
    for name in ("1-old", "1.bak", "1 (copy)"):
        shutil.copytree(run, tmp_path / "softmax" / name)
    found, problems, _ = search.find_records(tmp_path)
    assert list(found) == [run]
    assert len(problems) == 3


def test_a_run_below_two_of_the_folders_is_found_once(tmp_path):
    run = copy_run(tmp_path / "a")
    assert search.run_folders([tmp_path, run]) == [run]


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    run = copy_run(tmp_path / "disk" / "run")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "link").symlink_to(tmp_path / "disk")
    (run / "circle").symlink_to(runs)
    files, unreadable = search.files_named(runs, records.METRICS)
    assert files == [runs / "link" / "run" / records.METRICS]
    assert unreadable == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    _, unreadable = search.files_named(tmp_path, records.METRICS)
    closed.chmod(0o700)
    assert unreadable == [str(closed)]


def test_no_folders_are_an_error():
    with pytest.raises(ValueError, match="no runs given"):
        search.run_folders([])


def test_a_folder_without_finished_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=f"no finished run in or below {tmp_path}"):
        search.run_folders([tmp_path])


def test_a_damaged_record_is_a_problem_and_the_others_are_read(tmp_path):
    run = copy_run(tmp_path / "a")
    (copy_run(tmp_path / "b") / records.METRICS).write_text("{}")
    found, problems, unreadable = search.find_records(tmp_path)
    assert list(found) == [run]
    assert len(problems) == 1
    assert str(tmp_path / "b" / records.METRICS) in problems[0]
    assert unreadable == []


def test_a_second_record_of_the_same_run_is_a_problem(tmp_path):
    first = copy_run(tmp_path / "a")
    second = copy_run(tmp_path / "b")
    found, problems, _ = search.find_records(tmp_path)
    assert list(found) == [first]
    expected = f"{second / records.METRICS} is the same run as {first / records.METRICS}"
    assert problems == [expected]


def test_a_long_search_prints_that_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "PATIENCE", -1)
    copy_run(tmp_path / "a")
    search.files_named(tmp_path, records.METRICS)
    err = capsys.readouterr().err
    assert f"searching {tmp_path}: 1 folders so far, 0 runs found" in err


def test_numbers_in_names_are_in_the_order_of_their_values(tmp_path):
    names = ["4-epochs/1", "4-epochs/2", "4-epochs/10", "15-epochs/1", "seed"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / records.METRICS).touch()
    files, _ = search.files_named(tmp_path, records.METRICS)
    assert [str(path.parent.relative_to(tmp_path)) for path in files] == names
