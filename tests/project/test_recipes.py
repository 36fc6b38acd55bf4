"""What the pages "Add a ..." add works like the rows that are there."""

import re

import pytest

import analyze
import detect
import main
from losses import LOSSES
from tests.common import ROOT
from tests.pages import run_python
from tests.stepping import make_trainer

DOCS = ROOT / "docs"
QUICK_RUN = ("--epochs", "3", "--precision", "fp32", "--device", "cpu", "--runs", "added")

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def printed(capsys):
    """A function that returns what analyze.py prints of a folder."""

    def analyzed(runs):
        capsys.readouterr()
        assert analyze.main([runs, "--format", "markdown", "--detail"]) == 0
        return capsys.readouterr().out

    return analyzed


def test_a_loss_added_as_the_page_says_trains_and_is_printed(workplace, printed):
    added = run_python(DOCS / "add-a-loss.md")
    trainer = make_trainer(LOSSES["softmax"].head, added["LogitNormLossSecondPart"], epochs=30)
    first, *_, last = (trainer.run_epoch(lambda *_: None).loss for _ in range(30))
    assert last < 0.8 * first
    assert main.main(["--loss", "logitnorm", *QUICK_RUN]) == 0
    assert "LogitNorm (n=1)" in printed("added")


def test_a_detector_added_as_the_page_says_scores_a_run(workplace, printed):
    run_python(DOCS / "add-a-detector.md")
    assert detect.main(["runs", "--scores", "mean_distance"]) == 0
    assert re.search(r"DisMax +\| Mean distance \(at T = 1\) +\| 1 +\| \d", printed("runs"))


def test_a_network_added_as_the_page_says_trains(workplace, printed):
    run_python(DOCS / "add-a-network.md")
    assert main.main(["--model", "plaincnn4", *QUICK_RUN]) == 0
    assert "plain CNN with 4 layers" in printed("added/digits/plaincnn4")


def test_a_data_set_added_as_the_page_says_is_scored(workplace, printed):
    run_python(DOCS / "add-a-data-set.md")
    assert main.main(["--seed", "2", "--ood", "far=checkerboards", *QUICK_RUN]) == 0
    assert "Checkerboards AUROC %" in printed("added/digits/smallcnn/dismax/2")


def test_a_column_added_as_the_page_says_is_printed(workplace, printed):
    run_python(DOCS / "add-a-column.md")
    assert re.search(r"\| ECE +\| Brier +\|", printed("runs"))
