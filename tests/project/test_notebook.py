"""The notebook in docs/ runs from its first cell to its last, and is stored without outputs."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.common import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert not any(cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.slow
def test_the_notebook_trains_calibrates_and_detects(notebook):
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=300, resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.get("text", "") for output in outputs)
    before, after = re.findall(r"accuracy ([\d.]+)%, mean confidence ([\d.]+)%", text)
    assert float(after[0]) > 95
    assert float(before[1]) < 50 < 90 < float(after[1])
    accepted = dict(re.findall(r"^(.*): ([\d.]+)% accepted", text, re.M))
    assert float(accepted["test digits"]) > 85
    assert float(accepted["noise"]) < 50
    assert any("image/png" in output.get("data", {}) for output in outputs)
