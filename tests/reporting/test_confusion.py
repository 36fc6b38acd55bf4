"""reporting/confusion.py: which classes are taken for which others."""

from dataclasses import replace

import numpy as np
import pytest

from reporting.confusion import LISTED, MATRIX_CLASSES, confusion_tables


def test_a_matrix_has_shares_of_each_classes_images_over_all_runs(outcomes):
    first = replace(outcomes[0], confusion=np.array([[3, 1], [0, 4]]))
    second = replace(outcomes[0], confusion=np.array([[4, 0], [2, 2]]))
    (table,) = confusion_tables({"SoftMax": [first, second]}, ["cat", "dog"])
    assert table.title == "SoftMax (n=2)"
    assert table.matrix
    assert table.heads == ["class", "cat", "dog"]
    assert table.rows == [["cat", "87.5", "12.5"], ["dog", "25.0", "75.0"]]


def test_the_matrix_of_a_run_agrees_with_its_accuracy(outcomes):
    for run in outcomes:
        share = np.trace(run.confusion) / run.confusion.sum()
        assert share == pytest.approx(run.record["classification"]["test"]["t1"]["accuracy"])


def test_many_classes_are_a_list_of_the_largest_confusions(outcomes):
    counts = 50 * np.eye(MATRIX_CLASSES + 1, dtype=int)
    counts[3, 5], counts[5, 3] = 30, 10
    run = replace(outcomes[0], confusion=counts)
    (table,) = confusion_tables({"SoftMax": [run, run]}, [])
    # 30 of 80 images, and 10 of 60.
    assert table.rows == [["3", "5", "30.0", "37.5"], ["5", "3", "10.0", "16.7"]]
    everything = replace(run, confusion=np.ones_like(counts))
    assert len(confusion_tables({"x": [everything]}, [])[0].rows) == LISTED


def test_names_of_other_classes_are_not_used(outcomes):
    run = replace(outcomes[0], confusion=np.eye(2, dtype=int))
    assert confusion_tables({"x": [run]}, ["a", "b", "c"])[0].heads == ["class", "0", "1"]
