"""What the README and the pages in docs/ show: their Python runs, their commands parse, their links
lead somewhere.
"""

import importlib
import inspect
import re
import shlex
import subprocess
from itertools import pairwise

import pytest
import torch
import tyro
from PIL import Image

import analyze
import detect
import ensemble
import main
import predict
from detectors import DETECTORS
from experiment.config import RunConfig
from losses import LOSSES
from tests.common import ROOT
from tests.stepping import make_trainer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONS = {
    "main.py": RunConfig,
    "detect.py": detect.Options,
    "ensemble.py": ensemble.Options,
    "predict.py": predict.Options,
}
OPTIONS |= {"analyze.py": analyze.Options}
# Run, not only parsed, where what they are given is there.
CHEAP = {"analyze.py": analyze.main, "predict.py": predict.main}
NOT_OURS = {"git", "cd", "source", "parallel", "pip"}
THE_PAGE = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.name if page.parent == ROOT else f"docs/{page.name}"
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder as the pages take it: with a short run of the digits, and a few images."""
    folder = tmp_path_factory.mktemp("docs")
    run = (
        "--loss",
        "dismax",
        "--seed",
        "1",
        "--epochs",
        "3",
        "--precision",
        "fp32",
        "--device",
        "cpu",
    )
    assert main.main([*run, "--runs", str(folder / "runs")]) == 0
    (folder / "path" / "to" / "images").mkdir(parents=True)
    Image.new("RGB", (12, 12)).save(folder / "path" / "to" / "images" / "black.png")
    return folder


@pytest.fixture
def there(finished, monkeypatch):
    """In that folder, with tables of losses and detectors to which a page may add."""
    monkeypatch.chdir(finished)
    tables = [(table, dict(table)) for table in (LOSSES, DETECTORS)]
    yield finished
    for table, rows in tables:
        table.clear()
        table.update(rows)


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


def ran(page):
    """The names that a page's Python leaves, run from its first line to its last."""
    namespace = {"__package__": "losses"}  # where a new loss would lie
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), namespace)
    return namespace


def test_the_loss_and_the_detector_that_a_page_adds_work_like_the_others(there, capsys):
    added = ran(ROOT / "docs" / "add-a-loss.md")
    trainer = make_trainer(LOSSES["softmax"].head, added["LogitNormLossSecondPart"], epochs=30)
    first, *_, last = (trainer.run_epoch(lambda *_: None).loss for _ in range(30))
    assert last < 0.8 * first
    assert (
        main.main(
            [
                "--loss",
                "logitnorm",
                "--epochs",
                "3",
                "--precision",
                "fp32",
                "--device",
                "cpu",
                "--runs",
                "added",
            ]
        )
        == 0
    )
    assert detect.main(["added", "--scores", "featurenorm"]) == 0
    capsys.readouterr()
    assert analyze.main(["--runs", "added", "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert "LogitNorm (n=1)" in printed
    assert re.search(r"LogitNorm +\| Feature norm \(at T = 1\) +\| 1 +\| \d", printed)


def test_the_table_of_rates_is_what_its_snippet_computes(there):
    page = ROOT / "docs" / "choose-a-threshold.md"
    rate = ran(page)["rate"]
    rows = re.findall(r"^\| ([\d,]+) \| (.*) %.*\| (.*) %.*\| (.*) % \|$", page.read_text(), re.M)
    assert len(rows) == 4
    for images, *cells in rows:
        for tpr, cell in zip((0.95, 0.99, 0.999), cells, strict=True):
            low, high = rate(int(images.replace(",", "")), tpr).ppf([0.05, 0.95])
            assert cell == f"{100 * low:.1f} to {100 * high:.1f}", images


def commands(page):
    """The commands of a page, in bash blocks and in sentences, as lists of words."""
    text = page.read_text()
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    lines += [
        " ".join(code.split())
        for code in re.findall(r"(?<!`)`((?:\w+=\S+ )*(?:python|bash|torchrun)\s[^`]+)`(?!`)", text)
    ]
    for line in lines:
        reader = shlex.shlex(line, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        words, command = list(reader), []
        for before, word in pairwise(["", *words, "&&"]):
            if word in ("&&", "|", ";"):
                yield command
                command = []
            elif not {word, before} & {"<", ">"} and (command or not re.match(r"\w+=", word)):
                command.append(word)


def check(command):
    """Fails for a command with a wrong option, or of a file that is not there."""
    program, *rest = command
    if program == "torchrun":
        program, rest = "python", rest[rest.index("main.py") :]
    if program == "bash":
        assert (ROOT / rest[0]).is_file(), command
        if rest[0].startswith(("run_cifar", "run_digits", "run_imagenet")):
            listed = subprocess.run(
                [*command, "--list"],
                cwd=ROOT,
                env={"PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
            )
            assert listed.returncode == 0, listed.stderr
            for line in listed.stdout.splitlines():
                check(shlex.split(line))
    elif program == "python" and rest[0] == "-m":
        benchmark = importlib.import_module(rest[1].replace("NAME", "heads")).main
        if inspect.signature(benchmark).parameters:  # else it is not made by tyro
            tyro.extras.get_parser(benchmark).parse_args(rest[2:])
    elif program == "python" and "--help" not in rest:
        name, *arguments = rest
        program.read(OPTIONS[name], name, arguments)
        if name == "main.py" and not any("path/to" in word for word in arguments):
            main.parse(arguments)
        if name in CHEAP and not any(word.startswith("runs/cifar") for word in arguments):
            assert CHEAP[name](arguments) == 0, command
    else:
        assert program in NOT_OURS or "--help" in rest, command


@THE_PAGE
def test_the_python_of_a_page_runs_and_its_commands_parse(page, there):
    torch.manual_seed(0)
    ran(page)
    for block in blocks(page, "bash"):
        assert (
            subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True).returncode
            == 0
        ), block
    for command in commands(page):
        check(command)


def test_commands_with_a_slip_do_not_pass(there):
    for slip in (
        "python main.py --losss dismax",
        "python main.py --loss nope",
        "bash run_cifar10_resnet43.sh",
        "conda activate x",
    ):
        with pytest.raises((ValueError, AssertionError)):
            check(slip.split())


def without_code(page):
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.S)


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    heads = re.findall(r"^#+ (.*)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@THE_PAGE
def test_the_links_of_a_page_lead_somewhere(page):
    links = [
        link
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page))
        if not link.startswith("https://")
    ]
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
