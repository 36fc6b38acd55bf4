"""A folder in which the commands and the Python of the pages can run."""

import pytest
from PIL import Image

import main
import models
from data.catalog import CATALOG
from detectors import DETECTORS
from losses import LOSSES
from reporting import columns
from utils.metrics import DETECTION

QUICK_RUN = ("--epochs", "3", "--precision", "fp32", "--device", "cpu")
TABLES = (LOSSES, DETECTORS, CATALOG, models.FAMILIES, DETECTION)


@pytest.fixture(scope="package")
def finished(tmp_path_factory):
    """A folder with what the pages assume: a short run of the digits, and an image."""
    folder = tmp_path_factory.mktemp("docs")
    run = ("--loss", "dismax", "--seed", "1", *QUICK_RUN)
    assert main.main([*run, "--runs", str(folder / "runs")]) == 0
    (folder / "path" / "to" / "images").mkdir(parents=True)
    Image.new("RGB", (12, 12)).save(folder / "path" / "to" / "images" / "black.png")
    return folder


@pytest.fixture
def workplace(finished, monkeypatch):
    """Work in that folder. What a page adds to the tables is undone."""
    monkeypatch.chdir(finished)
    monkeypatch.setattr(columns, "COLUMNS", [*columns.COLUMNS])
    rows_before = [dict(table) for table in TABLES]
    yield finished
    for table, rows in zip(TABLES, rows_before, strict=True):
        table.clear()
        table.update(rows)
