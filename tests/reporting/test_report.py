"""analyze.py --report: the page and its figures, from real finished runs of the digits."""

import base64
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import analyze
import ensemble
import main
from data import builtin, files
from data.streaming import ImageFiles
from experiment import records, search
from experiment.config import RunConfig
from experiment.data import load_data
from reporting import curves, examples, report
from reporting.outcomes import load_history, load_outcome
from tests.common import QUICK, in_time, special

LOSSES = ("softmax", "isomax", "dismax", "godin")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of finished runs: four losses, two seeds of SoftMax, and their ensemble."""
    root = tmp_path_factory.mktemp("finished") / "runs"
    for loss, seed in (*((loss, 1) for loss in LOSSES), ("softmax", 2)):
        options = [
            "--loss",
            loss,
            "--seed",
            str(seed),
            "--precision",
            "fp32",
            "--device",
            "cpu",
            "--runs",
            str(root),
            *QUICK,
        ]
        assert main.main(options) == 0
    assert ensemble.main([str(root / "digits" / "smallcnn" / "softmax")]) == 0
    return root


@pytest.fixture(scope="module")
def page(finished):
    """The report's folder."""
    folder = finished.parent / "report"
    assert analyze.main(["--runs", str(finished), "--report", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def outcomes(finished):
    return [
        load_outcome(folder, record) for folder, record in search.find_records(finished)[0].items()
    ]


class Links(HTMLParser):
    """What a page asks for, and its text."""

    def __init__(self):
        super().__init__()
        self.asked, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.asked += [
            value
            for name, value in attributes
            if name in ("src", "href", "xlink:href", "srcset", "data")
        ]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_no_other_file(page):
    text = (page / "index.html").read_text()
    links = Links()
    links.feed(text)
    assert len(links.asked) > 100  # images and the figures' own parts
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links.asked)
    assert not re.search(r"@import|url\((?!#)", text)
    assert {"SoftMax (n=2)", "DisMax (n=1)", "Deep Ensemble of 2 (n=1)", "Operating points"} <= set(
        map(str.strip, links.text)
    )


def test_figures_lie_beside_it_as_png_and_pdf(page):
    names = {path.name for path in (page / "figures").iterdir()}
    assert names == {
        f"1-{name}.{suffix}"
        for name in ("reliability", "scores", "roc", "training")
        for suffix in ("png", "pdf")
    }
    for path in (page / "figures").iterdir():
        if path.suffix == ".png":
            assert min(Image.open(path).size) > 300
        else:
            assert path.read_bytes().startswith(b"%PDF")


def test_recomputed_scores_are_those_of_the_records(outcomes):
    assert len(outcomes) == len(LOSSES) + 2
    rates = np.linspace(0, 1, 20_001)
    for run in outcomes:
        for source, found in run.record["detection"].items():
            recorded = found["scores"][run.record["scores_at"]][run.record["score"]]["auroc"]
            curve = curves.receiver_operating(run.scores["test"], run.scores[source], rates)
            assert np.trapezoid(curve, rates) == pytest.approx(recorded, abs=1e-3)


def test_reliability_diagrams_sum_to_the_ece(outcomes):
    for run in outcomes:
        for at, confidence in run.confidences.items():
            mean, accuracy, share = curves.reliability(confidence, run.correct)
            assert share.sum() == pytest.approx(1)
            assert share @ np.abs(accuracy - mean) == pytest.approx(
                run.record["classification"]["test"][at]["ece"], abs=1e-9
            )


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95, 0.99])
def test_operating_points_keep_the_rate_on_the_images_that_decide(outcomes, rate):
    for run in outcomes:
        split = run.record["temperature"]["split"]
        accepted = curves.operating_point(run.calibration_scores, run.scores, rate)
        assert rate <= accepted[split]
        assert accepted.keys() == {"test", split, *run.record["detection"]}
        if len(np.unique(run.calibration_scores)) == len(run.calibration_scores):
            assert accepted[split] < rate + 1 / len(run.calibration_scores)


def test_examples_are_the_images_with_the_extreme_scores(outcomes):
    run = next(run for run in outcomes if run.record["config"]["loss"] == "dismax")
    strips = examples.most_wrong(run, load_data(RunConfig.from_json(run.record["config"])))
    shown = {strip.title: strip.images for strip in strips}

    def pixels(strip):
        return np.asarray(
            Image.open(io.BytesIO(base64.b64decode(shown[strip][0][0].split(",")[1])))
        )

    outside = builtin.digits89()[run.scores["digits89"].argmax()]
    assert np.array_equal(pixels("Digits 8-9: highest scores"), outside.permute(1, 2, 0))
    _, test = builtin.digits()
    least = int(run.scores["test"].argmin())
    assert np.array_equal(pixels("Test images: lowest scores"), test.pixels[least].permute(1, 2, 0))
    assert shown["Test images: lowest scores"][0][1].endswith(
        f"is {test.classes[test.labels[least]]}"
    )


def test_examples_come_from_streamed_sets_too(outcomes, tmp_path, monkeypatch):
    run = next(run for run in outcomes if run.record["config"]["loss"] == "dismax")
    data = load_data(RunConfig.from_json(run.record["config"]))
    (tmp_path / "noise").mkdir()
    for number, pixels in enumerate(data.ood["noise"][1].pixels):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(
            tmp_path / "noise" / f"{number:04}.png"
        )
    in_memory = examples.most_wrong(run, data)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    data.ood["noise"] = "very_far", files.load_ood(tmp_path / "noise", data.train.pixels)
    assert isinstance(data.ood["noise"][1], ImageFiles)
    assert examples.most_wrong(run, data) == in_memory


def test_a_method_has_one_colour_in_all_figures(page):
    text = (page / "index.html").read_text()
    roc, training = (
        text[text.index(f"<h3>{title}</h3>") :].split("</figure>")[0]
        for title in ("ROC curves", "Training")
    )
    assert "Deep Ensemble" in roc
    assert "Deep Ensemble" not in training

    def colours(figure):
        lines = re.findall(r"stroke: (#\w{6})", figure[figure.index('id="legend') :])
        names = re.findall(r">([^<>]+)</text>", figure[figure.index('id="legend') :])
        return dict(zip(names, lines, strict=True))

    assert colours(training).items() <= colours(roc).items()


def test_what_runs_did_not_keep_is_said_and_the_rest_shown(finished, tmp_path, capsys):
    runs = shutil.copytree(finished, tmp_path / "runs") / "digits" / "smallcnn"
    (runs / "dismax" / "1" / records.PREDICTIONS).unlink()
    (runs / "isomax" / "1" / records.EPOCHS).write_text("{")
    log = (runs / "godin" / "1" / records.EPOCHS).read_text().splitlines()
    (runs / "godin" / "1" / records.EPOCHS).write_text("\n".join(log[:2]))
    capsys.readouterr()
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "page")]) == 0
    said = capsys.readouterr().out
    assert f"the figures lack DisMax 1: no {records.PREDICTIONS} is kept" in said
    assert "the training curves lack IsoMax 1: " in said
    assert f"{records.EPOCHS} has 2 epochs of {len(log)}" in said
    text = (tmp_path / "page" / "index.html").read_text()
    assert "DisMax (n=1)" in text
    assert text.count("<svg") == 4


def test_records_alone_make_a_page_of_tables(finished, tmp_path):
    for path in finished.rglob(records.METRICS):
        (tmp_path / path.relative_to(finished)).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / path.relative_to(finished))
    assert analyze.main(["--runs", str(tmp_path), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    assert "SoftMax (n=2)" in text
    assert "<svg" not in text


def test_a_file_in_the_reports_place_is_an_error_in_one_line(finished, tmp_path, capsys):
    (tmp_path / "page").write_text("mine")
    capsys.readouterr()
    assert analyze.main(["--runs", str(finished), "--report", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "page").read_text() == "mine"


def altered(record, *path, value=None):
    """A copy of a record in which something deep inside is another value."""
    changed = json.loads(json.dumps(record))
    inside = changed
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    "log", ["", '{"a": 1}\n' * 3, "[1]\n" * 3, '{"train_accuracy": null}\n' * 3, "{"]
)
def test_a_damaged_log_is_noted(finished, tmp_path, log):
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "1")
    (run / records.EPOCHS).write_text(log)
    notes = []
    assert (
        report._load_all(
            {run: records.read_record(run / records.METRICS)},
            load_history,
            "the curves lack",
            notes,
        )
        == {}
    )
    (note,) = notes
    assert note.startswith("the curves lack DisMax 1: ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("temperature",), {}),
        (("temperature", "value"), None),
        (("temperature", "value"), 0),
        (("classification", "test", "t1", "ece"), None),
        (("classification", "test", "n"), 5),
        (("detection", "noise", "n"), 5),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_damaged_record_is_noted(finished, path, value):
    run = finished / "digits" / "smallcnn" / "dismax" / "1"
    record, notes = records.read_record(run / records.METRICS), []
    assert len(report._load_all({run: record}, load_outcome, "", notes)["DisMax"]) == 1
    assert notes == []
    assert (
        report._load_all(
            {run: altered(record, *path, value=value)}, load_outcome, "the figures lack", notes
        )
        == {}
    )
    (note,) = notes
    assert note.startswith("the figures lack DisMax 1: ")


def test_names_are_neither_markup_nor_formulas_and_missing_data_are_noted(finished, tmp_path):
    run = shutil.copytree(
        finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "runs" / "1"
    )
    record = altered(
        records.read_record(run / records.METRICS), "detection", "photos", "title", value="$x^$ é"
    )
    record = altered(record, "titles", "data", value="<script>alert(1)</script>")
    records.write_json(run / records.METRICS, altered(record, "config", "data_dir", value=5))
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    assert "$x^$ é" in text
    assert "<script>alert" not in text
    assert "no images of Digits 0-7 are shown" in text


def test_sets_of_one_title_are_told_apart_in_tables_figures_and_examples(finished, tmp_path):
    run = shutil.copytree(
        finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "runs" / "1"
    )
    record = altered(
        records.read_record(run / records.METRICS), "detection", "photos", "title", value="Noise"
    )
    records.write_json(run / records.METRICS, record)
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    places = ">{} AU", ">{} accepted %<", ">{}</text>", ">{}: highest scores<", "<summary>{}<"
    titles = "Noise (photos)", "Noise (noise)"
    assert [
        place.format(title)
        for title in titles
        for place in places
        if place.format(title) not in text
    ] == []


@pytest.mark.parametrize("name", [records.PREDICTIONS, records.EPOCHS])
def test_a_pipe_in_the_place_of_a_kept_file_is_noted(finished, tmp_path, name):
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "1")
    special(run / name, "pipe")
    load, notes = {records.PREDICTIONS: load_outcome, records.EPOCHS: load_history}[name], []
    with in_time():
        assert (
            report._load_all({run: records.read_record(run / records.METRICS)}, load, "", notes)
            == {}
        )
    assert f"{name} is no regular file" in notes[0]


def test_a_name_that_is_not_utf8_does_not_stop_the_page(finished, tmp_path):
    folder = tmp_path / os.fsdecode(b"runs \xff")
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", folder / "1")
    (run / records.PREDICTIONS).write_bytes(b"")
    assert analyze.main(["--runs", str(folder), "--report", str(folder / "page")]) == 0
    assert "runs \\udcff" in (folder / "page" / "index.html").read_text()


def test_predictions_of_another_run_are_noticed(finished, tmp_path):
    runs, notes = finished / "digits" / "smallcnn", []
    run = shutil.copytree(runs / "isomax" / "1", tmp_path / "1")
    shutil.copy(runs / "dismax" / "1" / records.PREDICTIONS, run / records.PREDICTIONS)
    assert (
        report._load_all({run: records.read_record(run / records.METRICS)}, load_outcome, "", notes)
        == {}
    )
    assert "is not what its record was made of" in notes[0]


def test_a_missing_package_is_said_in_one_line(finished, tmp_path, script):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('No module named matplotlib')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = script("analyze.py", "--runs", finished, "--report", tmp_path / "page", env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install -r requirements.txt" in done.stderr
    assert not (tmp_path / "page").exists()
