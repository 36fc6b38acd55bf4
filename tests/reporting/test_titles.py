"""What tables call things: no title stands for two of them, whatever they are and wherever they are
printed.
"""

import copy
import io
import json

import pandas as pd
import pytest

import detect
from experiment import detection, records, titles
from reporting.table import FORMULA
from tests.reporting.tables import SETS, printed, rows_of
from utils import output

METRICS = ("auroc", "aupr_in", "aupr_out", "tnr95", "fpr95_in", "fpr95_out", "dtacc")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"/d/svhn/test": "test", "/d/birds/test": "test"}, ["svhn/test", "birds/test"]),
        ({"/d/x/test.npz": "test", "/d/y/test.npz": "test"}, ["x/test", "y/test"]),
        (
            {"/a/x/test": "test", "/b/x/test": "test", "/c/y/test": "test"},
            ["a/x/test", "b/x/test", "y/test"],
        ),
        (
            {"/d/svhn.npz": "svhn", "/d/svhn": "svhn", "/d/svhn.txt": "svhn"},
            ["svhn.npz", "d/svhn", "svhn.txt"],
        ),
        (
            {"cifar100": "CIFAR-100", "/d/CIFAR-100.npz": "CIFAR-100"},
            ["CIFAR-100", "CIFAR-100.npz"],
        ),
        ({"/a/SVHN": "SVHN", "/b/svhn": "svhn"}, ["a/SVHN", "b/svhn"]),
        ({"/d/SVHN": "SVHN", "/d/svhn": "svhn"}, ["/d/SVHN [1]", "/d/svhn [2]"]),
        ({"/a/e\u0301": "e\u0301", "/b/\u00e9": "\u00e9"}, ["a/e\u0301", "b/\u00e9"]),
        ({"/a/x [MPS]": "x [MPS]", "/b/x": "x"}, ["a/x [MPS]", "b/x"]),
        ({"/a/x\x1b[1m": "x\x1b[1m", "/b/y\udcff": "y\udcff"}, ["x\\x1b[1m", "y\\udcff"]),
        ({"/d/one": "one", "svhn": "SVHN"}, ["one", "SVHN"]),
    ],
)
def test_sources_have_the_shortest_endings_that_tell_them_apart(sources, expected):
    assert [*titles.of_sources(sources).values()] == expected


def titled(loss, title, model=("net", "Net"), **config):
    """The parts of a record that its titles are made from."""
    return {
        "config": {"data": "digits", "model": model[0], "loss": loss} | config,
        "titles": {"data": "Digits", "model": model[1], "loss": title},
        "detection": {},
    }


def test_names_of_one_title_stand_behind_it():
    names = {"a": "Mine", "b": "mine", "c": "Mine of 3", "d": "Mine, preprocessing", "e": "Other"}
    found = titles.with_unique_titles([titled(*pair) for pair in names.items()])
    assert [each["titles"]["loss"] for each in found] == [
        "Mine (a)",
        "mine (b)",
        "Mine of 3 (c)",
        "Mine, preprocessing (d)",
        "Other",
    ]


def test_methods_from_elsewhere_with_one_folder_name_have_rows_of_their_own():
    given = [
        titled("mixup", "Mixup", outputs="1"),
        titled("mixup", "Mixup+", outputs="2"),
        titled("mixup", "Mixup", ("net", "Net+"), outputs="3"),
        titled("logitnorm", "LogitNorm"),
        titled("logitnorm", "LogitNorm", outputs="4"),
        titled("softmax", "SoftMax"),
        titled("mixup", "mixup", outputs="5"),
    ]
    found = titles.with_unique_titles(given)
    assert [(each["titles"]["loss"], each["titles"]["model"]) for each in found] == [
        ("Mixup", "Net"),
        ("Mixup+", "Net"),
        ("Mixup", "Net+"),
        ("LogitNorm (logitnorm)", "Net"),
        ("LogitNorm (trained elsewhere)", "Net"),
        ("SoftMax", "Net"),
        ("Mixup", "Net"),
    ]


def with_sets(folder, sources, change=lambda record: None):
    """Writes one run that was judged by sets of these titles and roles; the metrics of the k-th are
    all k tenths.
    """
    path = folder / "SoftMax" / "1" / records.METRICS
    record = json.loads(path.read_text())
    for other in [*folder.rglob(records.METRICS)]:
        other.unlink()
    record["detection"] = {}
    for number, (source, (title, role)) in enumerate(sources.items(), 1):
        scores = {name: dict.fromkeys(METRICS, number / 10) for name in ("MPS", "MMLES")}
        record["detection"][source] = {
            "title": title,
            "role": role,
            "n": 9,
            "scores": {"t1": scores, "calibrated": scores},
        }
    change(record)
    path.write_text(json.dumps(record))
    return path, record


ALIKE = [
    {"/d/svhn/test": ("test", "far"), "/d/birds/test": ("test", "far")},
    {"/d/x/test.npz": ("test", "near"), "/d/y/test.npz": ("test", "far")},
    {"cifar100": ("CIFAR-100", "near"), "/d/near": ("near", "near")},
    {"lsun_resize": ("LSUN-resize", "far"), "/d/LSUN": ("LSUN", "far")},
    {"/a/SVHN": ("SVHN", "far"), "/b/svhn": ("svhn", "far")},
    {"/a/ACC %": ("ACC %", "far"), "/b/ACC %": ("ACC %", "very_far")},
    {"/a/x [MPS]": ("x [MPS]", "near"), "/b/x": ("x", "near")},
    {"/a/a&amp;b": ("a&amp;b", "far"), "/a/a&b": ("a&b", "far")},
    {"/a/*x*": ("*x*", "far"), "/a/x": ("x", "far")},
]


@pytest.mark.parametrize("sources", ALIKE, ids=str)
def test_sets_whose_titles_are_alike_are_never_averaged(runs, capsys, sources):
    with_sets(runs[0], sources)
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown", "--detail")
    heads, rows = rows_of(out[: out.index("every score")])
    assert len(set(heads)) == len(heads)
    own = next(row for row in rows if row[0] == "SoftMax (n=1)")
    values = [cell.strip("*") for cell in own[4:]]
    near = [
        number
        for number, (_, role) in enumerate(sources.values(), 1)
        for _ in range(1 + (role == "near"))
    ]
    assert values == [f"{10 * number}.0" for number in near]
    headings = [line for line in out.splitlines() if ": every score on " in line]
    assert len(set(headings)) == len(headings) == 2
    assert "| 1 " in out
    assert "| 2 " not in out
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "csv")
    table = pd.read_csv(io.StringIO(out))
    assert [*table["source"].unique()] == [*sources]
    assert table["set"].nunique() == 2


def test_losses_networks_and_data_of_one_title_have_rows_and_tables_of_their_own(runs, capsys):
    folder, written = runs
    for path in folder.rglob(records.METRICS):
        record = json.loads(path.read_text())
        record["titles"]["loss"] = "Mine"
        path.write_text(json.dumps(record))
    _, out, _ = printed(capsys, "--runs", folder, "--format", "markdown", "--detail")
    assert {"Mine (SoftMax) (n=3)", "Mine (DisMax without FPR) (n=3)"} <= {
        row[0] for row in rows_of(out)[1]
    }
    for number, change in enumerate(({"data": "/b/CIFAR-10"}, {"model": "densenetbc101"})):
        path = folder / f"other{number}" / records.METRICS
        path.parent.mkdir()
        path.write_text(json.dumps(written[0] | {"config": written[0]["config"] | change}))
    _, out, _ = printed(capsys, "--runs", folder)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for heading in (
        "CIFAR-10, DenseNet-BC-100 (densenetbc100)",
        "b/CIFAR-10, DenseNet-BC-100 (densenetbc100)",
    ):
        assert heading in lines
    assert "CIFAR-10, DenseNet-BC-100 (densenetbc101)" in lines


def test_a_detector_titled_like_another_or_like_a_score_has_a_row_of_its_own(runs, capsys):
    def change(record):
        sets = {"/d/one": dict.fromkeys(METRICS, 0.5)}
        record["detectors"] = {
            name: {"title": title, "sets": sets}
            for name, title in (("a", "Mine"), ("b", "MINE"), ("c", "mps"))
        }

    with_sets(runs[0], {"/d/one": ("one", "far")}, change)
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown", "--detail")
    scores = [
        line.split("|")[2].strip()
        for line in out[out.index("every score on") :].splitlines()
        if line.startswith("| SoftMax")
    ]
    assert scores == ["MPS", "MMLES", "Mine (a)", "MINE (b)", "mps (c)"]


def odin(epsilon, temperature=1000.0, asked=None, version=2):
    """An entry of ODIN as detect.py writes it: what was asked for, and what was taken."""
    asked = epsilon if asked is None else asked
    return {
        "title": "ODIN",
        "version": version,
        "constants": {"epsilon": asked, "temperature": temperature},
        "parameters": {"epsilon": epsilon, "temperature": temperature},
    }


NEVER = [  # two entries that no row may average
    (odin(0.0014), odin(0.01)),
    (odin(0.0014), odin(0.0014, 10)),
    (odin(0.0, 10, version=1), odin(0.0, 1, version=1)),
    (odin(0.0, asked="chosen"), odin(0.0, asked=0.0)),
    (odin(0.0014), odin(0.0014, version=1)),
]
ALWAYS = [  # and two that stand in one
    (odin(0.0, asked="chosen"), odin(0.02, asked="chosen")),
    (odin(0.0, 10.0), odin(-0.0, 10)),
    (odin(0.0014), odin(0.0014, asked=0.0014)),
]


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [(*pair, n) for n, pairs in ((1, NEVER), (2, ALWAYS)) for pair in pairs],
)
def test_only_runs_scored_with_the_same_constants_are_averaged(runs, capsys, first, second, count):
    path, record = with_sets(runs[0], {"/d/one": ("one", "far")})
    for seed, entry in ((1, first), (2, second)):
        sets = {"/d/one": dict.fromkeys(METRICS, seed / 10)}
        run = record | {
            "config": record["config"] | {"seed": seed},
            "detectors": {"odin": entry | {"sets": sets}},
        }
        other = path.parent.parent / f"odin{seed}" / records.METRICS
        other.parent.mkdir()
        other.write_text(json.dumps(run))
    path.unlink()
    _, out, _ = printed(capsys, "--runs", runs[0], "--format", "markdown", "--detail")
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in out[out.index("every score on") :].splitlines()
        if "ODIN" in line
    ]
    assert [row[3] for row in rows] == [str(count)] * (3 - count)
    assert len({row[2] for row in rows}) == len(rows)


def test_an_epsilon_of_minus_zero_is_zero():
    for given in ("-0.0", "0"):
        options = detect.Options((), scores=("odin",), epsilon=float(given))
        row = options.detectors()["odin"]
        assert row.title == "ODIN, ε 0"
        assert str(detection.constants_of(row)) == "{'epsilon': 0.0, 'temperature': 1000.0}"


ODD = "=1+1|x*\x1b[31m\r\n\u202e\udcff"


@pytest.mark.parametrize("style", ["table", "markdown", "latex", "csv"])
def test_no_name_is_a_command_markup_or_a_formula(runs, capsys, style):
    def change(record):
        record["titles"] = dict.fromkeys(record["titles"], ODD)
        record["config"] |= {"data": ODD, "colour": ODD}
        scores = record["detection"][f"/d/{ODD}"]["scores"]
        for at in scores.values():
            at[ODD] = at["MPS"]
        record["detectors"] = {"x": {"title": f"{ODD}2", "not_applicable": "no"}}

    with_sets(runs[0], {f"/d/{ODD}": (ODD, "far")}, change)
    status, out, err = printed(capsys, "--runs", runs[0], "--format", style, "--detail")
    assert (status, err) == (0, "")
    assert not {*"\x1b\r\u202e\udcff\1"} & {*out}
    if style == "csv":
        table = pd.read_csv(io.StringIO(out))
        names = table.select_dtypes(exclude="number")
        assert names.shape[1] == 8
        assert not any(str(cell).startswith(FORMULA) for cell in names.to_numpy().ravel())
    if style == "markdown":
        lengths = {len(rows_of(part)[0]) for part in out.split("\n\n") if part.startswith("|")}
        assert lengths == {5, 8}
        assert "**" not in out
        assert "x*" not in out


@pytest.mark.parametrize(
    "text",
    ["plain", "two\nlines", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202eabc", "\udcff", "\u2028"],
)
def test_what_is_said_holds_no_commands_to_a_terminal(capsys, text):
    output.print_line(text)
    out = capsys.readouterr().out
    assert all(each.isprintable() for each in out.replace("\n", ""))
    assert out.replace("\n", "") == text.replace("\n", "") or "\\" in out


def test_the_titles_of_a_record_are_not_changed_in_place(runs):
    before = copy.deepcopy(runs[1])
    titles.with_unique_titles(runs[1])
    assert runs[1] == before
    assert len(SETS) == len(titles.with_unique_titles(runs[1])[0]["detection"])
