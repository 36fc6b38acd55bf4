"""The tables in README.md and in the studies' pages have the numbers of the records."""

import shutil

import pytest

from experiment.records import METRICS
from results import pages
from tests.common import ROOT

STUDIES = [path.parent for path in (ROOT / "results").glob("*/README.md")]


def test_the_pages_have_the_numbers_of_the_records(capsys):
    assert pages.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_is_listed_and_its_records_are_in_a_table(study):
    listed = (ROOT / "results" / "README.md").read_text()
    (row,) = (line for line in listed.splitlines() if f"]({study.name}/README.md)" in line)
    if count := len([*(study / "runs").rglob(METRICS)]):
        assert f"| {count} (" in row
        page = (study / "README.md").read_text()
        assert f'[[[cog table("results/{study.name}' in page
        assert f'[[[cog runs("results/{study.name}' in page


def test_a_number_that_the_records_do_not_have_is_found(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", page)
    monkeypatch.setattr(pages, "PAGES", [page])
    page.write_text(page.read_text().replace("85.3±.3", "86.3±.3"))
    assert pages.main(["--check"]) == 5
    assert pages.main([]) == 0
    assert page.read_text() == (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "title", "rows", "message"),
    [
        ("no/such/folder", "", "", "no finished run below no/such/folder"),
        ("results/cifar10_small", "no such table", "", "no table 'no such table'"),
        ("results/cifar10_small", "", "no such row", "no row of '' matches 'no such row'"),
    ],
)
def test_a_table_that_does_not_exist_is_an_error(arguments, title, rows, message):
    with pytest.raises(RuntimeError, match=message):
        pages.table(arguments, title, rows)
