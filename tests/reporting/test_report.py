"""analyze.py --report: the page and its figures, from real finished runs of the digits."""

import base64
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from PIL import Image

import analyze
from experiment import records
from tests.reporting.tables import altered


@pytest.fixture(scope="module")
def page(finished):
    """The report's folder."""
    folder = finished.parent / "report"
    assert analyze.main(["--runs", str(finished), "--report", str(folder)]) == 0
    return folder


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
    own = ("data:image/png;base64,", "data:text/csv;charset=utf-8;base64,", "#")
    assert all(link.startswith(own) for link in links.asked)
    assert not re.search(r"@import|url\((?!#)", text)
    assert {"SoftMax (n=2)", "DisMax (n=1)", "Deep Ensemble of 2 (n=1)", "Operating points"} <= set(
        map(str.strip, links.text)
    )


def test_every_table_has_its_csv(page):
    text = (page / "index.html").read_text()
    urls = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="([^"]+)"', text)
    assert len(urls) == text.count("<table>") > 5
    names = [name for _, name in urls]
    assert len(set(names)) == len(names)
    main = next(url for url, name in urls if name.endswith("main-table.csv"))
    table = pd.read_csv(io.BytesIO(base64.b64decode(main)))
    assert table["method (runs)"][0] == "SoftMax (n=2)"
    assert table["ACC %"].between(0, 100).all()


def test_what_is_wider_than_the_page_has_a_place_for_its_sign(page):
    text = (page / "index.html").read_text()
    assert (
        text.count('<div class="wide"')
        == text.count('class="hint"')
        == text.count("<svg") + (text.count("<table>"))
    )


def test_the_head_says_from_what_it_was_made_and_the_section_what_it_shows(page):
    text = (page / "index.html").read_text()
    assert "<dt>Command</dt><dd><code>python " in text
    assert "<dt>AUROC</dt>" in text
    # The others have one run each.
    assert "no other method has two seeds in common with SoftMax" in text


def test_figures_lie_beside_it_as_png_and_pdf(page):
    names = {path.name for path in (page / "figures").iterdir()}
    assert names == {
        f"{name}.{suffix}"
        for name in ("1-reliability", "1-scores", "1-roc", "1-risk", "1-training", "all-ranks")
        for suffix in ("png", "pdf")
    }
    for path in (page / "figures").iterdir():
        if path.suffix == ".png":
            assert min(Image.open(path).size) > 200
        else:
            assert path.read_bytes().startswith(b"%PDF")


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


def test_missing_files_of_runs_are_noted_and_the_rest_is_shown(finished, tmp_path, capsys):
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
    assert text.count("<svg") == 6


def test_records_alone_make_a_page_of_tables(finished, tmp_path):
    for path in finished.rglob(records.METRICS):
        (tmp_path / path.relative_to(finished)).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / path.relative_to(finished))
    assert analyze.main(["--runs", str(tmp_path), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    assert "SoftMax (n=2)" in text
    assert text.count("<svg") == 1  # the ranks


def test_a_file_in_the_reports_place_is_an_error_in_one_line(finished, tmp_path, capsys):
    (tmp_path / "page").write_text("mine")
    capsys.readouterr()
    assert analyze.main(["--runs", str(finished), "--report", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "page").read_text() == "mine"


def test_names_are_not_markup_and_missing_data_are_noted(finished, tmp_path):
    run = shutil.copytree(
        finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "runs" / "1"
    )
    record = altered(
        records.read_record(run / records.METRICS), "detection", "photos", "title", value="$x^$ é"
    )
    record = altered(record, "titles", "data", value="<script>alert(1)</script>")
    records.write_json(run / records.METRICS, altered(record, "config", "limit_eval", value=5))
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    assert "$x^$ é" in text
    assert "<script>alert" not in text
    assert "No images of Digits 0-7 are shown" in text


def test_sets_of_one_title_have_different_titles_everywhere(finished, tmp_path):
    run = shutil.copytree(
        finished / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "runs" / "1"
    )
    record = altered(
        records.read_record(run / records.METRICS), "detection", "photos", "title", value="Noise"
    )
    records.write_json(run / records.METRICS, record)
    assert analyze.main(["--runs", str(tmp_path / "runs"), "--report", str(tmp_path / "page")]) == 0
    text = (tmp_path / "page" / "index.html").read_text()
    places = (
        ">{} AU",
        ">{} accepted %<",
        ">{}</text>",
        ">{}: highest scores<",
        "<summary>every score on {}<",
    )
    titles = "Noise (photos)", "Noise (noise)"
    assert [
        place.format(title)
        for title in titles
        for place in places
        if place.format(title) not in text
    ] == []


def test_a_name_that_is_not_utf8_does_not_stop_the_page(finished, tmp_path):
    folder = tmp_path / os.fsdecode(b"runs \xff")
    run = shutil.copytree(finished / "digits" / "smallcnn" / "dismax" / "1", folder / "1")
    (run / records.PREDICTIONS).write_bytes(b"")
    assert analyze.main(["--runs", str(folder), "--report", str(folder / "page")]) == 0
    assert "runs \\udcff" in (folder / "page" / "index.html").read_text()


def test_a_missing_package_is_an_error_in_one_line(finished, tmp_path, script):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('No module named matplotlib')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = script("analyze.py", "--runs", finished, "--report", tmp_path / "page", env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install -r requirements.txt" in done.stderr
    assert not (tmp_path / "page").exists()


def test_the_page_has_the_differences_and_the_ranks_with_their_picture(runs, tmp_path):
    folder, written = runs
    for record in written[:3]:  # a third method, since ranks need three
        isomax = altered(record, "titles", "loss", value="IsoMax")
        isomax["config"]["loss"] = "isomax"
        path = folder / "IsoMax" / str(record["config"]["seed"]) / records.METRICS
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(isomax))
    target = tmp_path / "page"
    options = ["--runs", str(folder), "--report", str(target), "--compare", "IsoMax"]
    assert analyze.main(options) == 0
    text = (target / "index.html").read_text()
    assert "minus that of IsoMax" in text
    assert "Friedman&#39;s test: p = " in text
    assert (target / "figures" / "all-ranks.png").exists()
