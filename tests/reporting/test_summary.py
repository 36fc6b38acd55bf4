"""What predict.py prints of many images."""

from dataclasses import replace

import pytest

from experiment.classifier import Classifier
from reporting.rows import Row
from reporting.summary import Summary, decision_rule


def classifier(**options):
    return Classifier(lambda pixels: None, ["a"], (8, 8), **options)


def summary(rows, **options):
    counts = Summary(classifier(**options))
    for row in rows:
        counts.add(row)
    return counts


def image(name="a", accepted=True, size=(8, 8), coloured=False):
    return Row("x.png", None, name, 0.9, "b", 0.1, 1.0, accepted, (), coloured, size)


FAILED = [Row(f"{number}.png", error=f"reason {number}") for number in range(1200)]


def test_it_counts_what_was_accepted_refused_and_not_read():
    rows = [image()] * 1500 + [image(accepted=False)] + FAILED
    expected = "2,701 images: 1,500 accepted, 1 refused, 1,200 could not be read"
    assert summary(rows).counted() == expected
    assert summary([image()]).counted() == "1 image: 1 accepted, 0 refused"


def test_it_counts_the_most_frequent_classes_among_the_accepted_images_only():
    rows = [image(name) for name in "abcdefghijkl" for _ in range(ord(name))]
    rows += [image("refused", accepted=False)] * 5000
    lines = summary(rows).class_table().splitlines()[2:]
    assert [line.split()[0] for line in lines] == [*"lkjihgfedc", "2"]
    assert lines[-1].split() == ["2", "more", str(ord("a") + ord("b"))]


def test_it_names_the_first_failed_files_and_counts_the_others():
    text = summary(FAILED).failed_files()
    assert text.startswith("1,200 images could not be read:\n  0.png: reason 0\n  1.png")
    assert text.endswith("4.png: reason 4\n  and 1,195 more")


def test_few_images_are_listed_and_of_more_the_classes_are_counted():
    listed = [image()] * 20
    starts = [part.split()[0] for part in summary(listed).paragraphs(listed)]
    assert starts == ["file", "20", "accepted:"]
    starts = [part.split()[0] for part in summary([image()] * 21).paragraphs([])]
    assert starts == ["21", "class", "accepted:"]


@pytest.mark.parametrize(("grey", "warnings"), [(True, 1), (False, 0), (None, 0)])
def test_a_network_of_grey_images_is_warned_of_colour_in_one_line(grey, warnings):
    found = summary([image(coloured=True)] * 3 + [image()], grey=grey).warnings()
    assert len(found) == warnings
    assert all(line.startswith("3 of 4 images have colour") for line in found)


def test_images_of_more_than_four_times_the_size_are_counted_in_one_line():
    sizes = [(32, 32), (33, 33), (33, 1000), (32, 1000)]
    (line,) = summary([image(size=size) for size in sizes] + FAILED).warnings()
    assert line.startswith("2 of 4 images have a shorter side of more than 4 times the network's")
    assert not summary([image()]).warnings()


@pytest.mark.parametrize(
    ("known", "line"),
    [
        ({}, "accepted: the file decides, and does not tell by which score and threshold"),
        ({"threshold": -1.5}, "accepted: the score is at least -1.5"),
        (
            {"threshold": -1.5, "score": "own", "tpr": 0.9},
            "accepted: the head's own score is at least -1.5, as for 90% or more of the held-out "
            "images",
        ),
        ({"threshold": 2, "score": "knn"}, "accepted: the knn score is at least 2"),
    ],
)
def test_the_line_of_the_threshold_names_the_score(known, line):
    assert decision_rule(classifier(**known)) == line


def test_no_name_is_a_command_for_the_terminal():
    rows = [replace(image("\x1b[2J"), file="\x1b[2J.png")] * 21
    assert "\x1b" not in "".join(summary(rows).paragraphs(rows))
