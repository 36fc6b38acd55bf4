"""The pages: their Python runs, their commands parse, and their links lead to a file.

The pages are README.md, CONTRIBUTING.md, dismax/README.md, and everything in docs/.
"""

import importlib
import inspect
import re
import shlex
import subprocess
from itertools import dropwhile, pairwise

import pytest
import torch
import tyro
from PIL import Image

import analyze
import detect
import ensemble
import evaluate
import main
import predict
from benchmarks import picture
from experiment import records
from experiment.parsing import CommandLine
from tests.common import ROOT
from tests.pages import code_blocks, relative_links, run_python, without_code
from utils import program

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "dismax" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
OPTIONS = {
    "main.py": CommandLine,
    "detect.py": detect.Options,
    "ensemble.py": ensemble.Options,
    "evaluate.py": evaluate.Options,
    "predict.py": predict.Options,
    "analyze.py": analyze.Options,
}
# These commands are cheap: they are run, not only parsed, if their files are there.
CHEAP = {"analyze.py": analyze.main, "predict.py": predict.main}
# Commands that are not checked.
FOREIGN = {"git", "cd", "source", "parallel", "pip", "ruff", "pyrefly", "mkdocs", "pre-commit"}
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def commands(page):
    """Yield the commands in a page's bash blocks and sentences, as lists of words."""
    text = page.read_text()
    lines = [line for block in code_blocks(page, "bash") for line in block.splitlines()]
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


def check_script(script, arguments):
    """Check that a script is there, and every command that it would run."""
    assert (ROOT / script).is_file(), script
    if script.startswith(("run_cifar", "run_digits", "run_imagenet")):
        command = ["bash", script, *arguments, "--list"]
        environment = {"PATH": "/usr/bin:/bin"}
        listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert listed.returncode == 0, listed.stderr
        for line in listed.stdout.splitlines():
            check(shlex.split(line))


def check_module(name, arguments):
    """Check the options of `python -m`. Modules of other packages are not checked."""
    if name.startswith("benchmarks."):
        benchmark = importlib.import_module(name.replace("NAME", "heads")).main
        if inspect.signature(benchmark).parameters:  # else it does not parse with tyro
            tyro.extras.get_parser(benchmark).parse_args(arguments)
    else:
        assert name in ("venv", "pip", "dismax"), name


def check_program(name, arguments):
    """Check the options of one of the programs, and run it if it is cheap."""
    if "--plugin" in arguments:  # the page's Python has added the rows already
        start = arguments.index("--plugin")
        after = dropwhile(lambda word: not word.startswith("--"), arguments[start + 1 :])
        arguments = [*arguments[:start], *after]
    program.read(OPTIONS[name], name, arguments)
    if name == "main.py" and not any("path/to" in word for word in arguments):
        main.parse(arguments)
    if name in CHEAP and not any(word.startswith(("runs/cifar", "results")) for word in arguments):
        assert CHEAP[name](arguments) == 0, (name, arguments)


def check(command):
    """Fail for a command with a wrong option, or with a file that does not exist."""
    name, *rest = command
    if name == "torchrun":
        name, rest = "python", rest[rest.index("main.py") :]
    if name.startswith("./"):
        name, rest = "bash", [name.removeprefix("./"), *rest]
    if name == "bash":
        check_script(rest[0], rest[1:])
    elif name == "python" and rest[0] == "-m":
        check_module(rest[1], rest[2:])
    elif name == "python" and "--help" not in rest:
        check_program(rest[0], rest[1:])
    else:
        assert name in FOREIGN or "--help" in rest, command


@EACH_PAGE
def test_the_python_of_a_page_runs_and_its_commands_parse(page, workplace):
    torch.manual_seed(0)
    run_python(page)
    for block in code_blocks(page, "bash"):
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert done.returncode == 0, block
    for command in commands(page):
        check(command)


@pytest.mark.parametrize(
    "command",
    [
        "python main.py --losss dismax",
        "python main.py --loss nope",
        "bash run_cifar10_resnet43.sh",
        "./analyse.sh",
        "conda activate x",
    ],
)
def test_a_wrong_command_does_not_pass(workplace, command):
    with pytest.raises((ValueError, AssertionError)):
        check(command.split())


def test_the_table_of_rates_is_what_the_code_beside_it_computes(workplace):
    page = DOCS / "choose-a-threshold.md"
    rate = run_python(page)["rate"]
    rows = re.findall(r"^\| ([\d,]+) \| (.*) %.*\| (.*) %.*\| (.*) % \|$", page.read_text(), re.M)
    assert len(rows) == 4
    for images, *cells in rows:
        for tpr, cell in zip((0.95, 0.99, 0.999), cells, strict=True):
            low, high = rate(int(images.replace(",", "")), tpr).ppf([0.05, 0.95])
            assert cell == f"{100 * low:.1f} to {100 * high:.1f}", images


@pytest.mark.slow  # it trains 24 small networks
def test_the_tables_of_other_features_are_what_the_code_above_them_computes(workplace):
    """Other versions of the packages have other texts, and other machines round differently."""
    page = DOCS / "other-features.md"
    torch.manual_seed(0)
    names = run_python(page)
    computed = [*names["wine_means"].items(), *names["text_means"].items()]
    cells = [
        line.strip("| ").split(" | ")
        for line in page.read_text().splitlines()
        if "| own |" in line or "| combined |" in line
    ]
    assert len(cells) == len(computed) == 8
    for (method, score, *numbers), (row, means) in zip(cells, computed, strict=True):
        assert (method, score) == row
        assert list(map(float, numbers)) == pytest.approx(list(means), abs=6), row


def anchors(page):
    """Return the names that GitHub gives to a page's headings."""
    heads = re.findall(r"^#+ (.*)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("results/*/README.md")], ids=str)
def test_the_links_of_a_page_lead_to_files_and_headings(page):
    for link in relative_links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@EACH_PAGE
def test_the_tests_that_a_page_names_are_there(page):
    for path in re.findall(r"`(tests/[\w/]+(?:\.py|/)?)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_the_pages_have_links():
    assert sum(len(relative_links(page)) for page in PAGES) > 100


def test_the_index_names_every_page():
    links = relative_links(DOCS / "README.md")
    for page in (*DOCS.rglob("*.md"), *DOCS.glob("*.ipynb")):
        name = page.relative_to(DOCS).as_posix()
        assert name == "README.md" or name in links


def test_the_readme_is_at_most_8_kb():
    assert len(README.read_bytes()) <= 8192


def test_the_picture_of_the_readme_is_small_and_drawn_by_the_command_beside_it(finished, tmp_path):
    assert "(docs/picture.png)" in README.read_text()
    assert ["python", "-m", "benchmarks.picture"] in list(commands(README))
    assert (DOCS / "picture.png").stat().st_size < 150_000
    picture.main(finished / "runs" / "digits" / "smallcnn" / "dismax" / "1", tmp_path / "new.png")
    with Image.open(DOCS / "picture.png") as committed, Image.open(tmp_path / "new.png") as drawn:
        assert committed.size == drawn.size
    record = records.read_record(ROOT / "results/digits/runs/digits/smallcnn/dismax/1/metrics.json")
    before, after = (record["classification"]["test"][at]["ece"] for at in ("t1", "calibrated"))
    assert f"from {before:.2f} to {after:.2f}" in README.read_text()


def test_the_page_of_the_installed_package_has_no_relative_links():
    assert relative_links(ROOT / "dismax" / "README.md") == []
