"""reporting/rank_figure.py: the bars of the critical-difference diagram, and its files."""

import pytest

from reporting.pictures import rank_picture
from reporting.rank_figure import joined, rank_figure
from reporting.ranking import Ranking


def ranked(*means, p=0.01, difference=1.0):
    """A ranking of methods a, b, c, ... with these mean ranks."""
    return Ranking(dict(zip("abcdefgh", means, strict=False)), 9, p, difference, [])


@pytest.mark.parametrize(
    ("means", "groups"),
    [
        ((1, 1.5, 3, 3.9), [(1, 1.5), (3, 3.9)]),
        ((1, 1.6, 2.2, 4), [(1, 1.6), (1.6, 2.2)]),  # a and c are told apart
        ((1, 1.5, 1.9), [(1, 1.9)]),  # the smaller groups are in this one
        ((1, 2, 3), []),
    ],
)
def test_bars_join_methods_that_are_not_told_apart(means, groups):
    assert joined(ranked(*means)) == groups


def test_without_a_difference_one_bar_joins_all():
    assert joined(ranked(1, 2, 3, p=0.2)) == [(1, 3)]


def test_the_diagram_names_each_method_with_its_rank_and_draws_each_bar(tmp_path):
    found = ranked(1, 1.6, 2.2, 4)
    axes = rank_figure(found).axes[0]
    assert {text.get_text() for text in axes.texts} == {"a  1.00", "b  1.60", "2.20  c", "4.00  d"}
    bars = [line for line in axes.lines if line.get_linewidth() == 3]
    assert [tuple(bar.get_xdata()) for bar in bars] == [(1, 1.6), (1.6, 2.2)]
    picture = rank_picture(found, tmp_path)
    assert "<svg" in picture.svg
    assert {path.name for path in tmp_path.iterdir()} == {"all-ranks.png", "all-ranks.pdf"}
