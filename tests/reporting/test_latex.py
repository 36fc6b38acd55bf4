"""analyze.py --format latex: whole table environments, aligned numbers, escaped names."""

import re
import shutil
import subprocess

import pytest

from reporting.latex import escaped, latex_table
from reporting.table import BEST, Table
from tests.reporting.tables import changed, printed

ODD = r"a & b_c 50% #1 {x} \y ~z ^w $v <u> |t| [s] ε±×·−→ Ünï"
COLUMN = re.compile(r"r@\{\}l|l")
PDFLATEX = shutil.which("pdflatex")


def environments(out):
    """Return the table environments in a text."""
    return re.findall(r"\\begin\{table\}\n.*?\\end\{table\}", out, re.S)


def lines_of(table):
    """Return the columns of a table environment, and the cells of its rows."""
    columns = COLUMN.findall(re.search(r"\\begin\{tabular\}\{(.*)\}\n", table)[1])
    body = table[table.index("\\midrule\n") + 9 : table.index("\n\\bottomrule")]
    return columns, [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r" \\"))]
        for line in body.split("\n")
    ]


def made(rows, heads=("method (runs)", "ACC %")):
    return latex_table(Table("", heads, rows), "Title", "the rule", "label")


@pytest.mark.parametrize(
    ("cell", "pair"),
    [
        ("95.2±.1", ["95", r".2{\scriptsize$\pm$.1}"]),
        ("95.2±10.1", ["95", r".2{\scriptsize$\pm$10.1}"]),
        (".0045±.0021", ["", r".0045{\scriptsize$\pm$.0021}"]),
        (f"95.2±.1{BEST}", [r"\textbf{95}", r"\textbf{.2}{\scriptsize$\pm$.1}"]),
        ("27", ["27", ""]),
        ("-0.3", ["$-$0", ".3"]),
        ("+.0012", ["$+$", ".0012"]),
        ("", ["", ""]),
        ("n/a", [r"\multicolumn{2}{c}{n/a}"]),
    ],
)
def test_a_number_stands_in_two_cells_that_meet_at_the_point(cell, pair):
    columns, rows = lines_of(made([["SoftMax (n=3)", cell], ["x", "1.0"]]))
    assert columns == ["l", "r@{}l"]
    assert rows[0][1:] == pair


def test_the_caption_has_the_number_of_runs_if_it_is_one_for_all_rows():
    same = made([["SoftMax (n=3)", "1.0±.1"], ["DisMax (n=3)", "1.0±.1"]])
    assert r"Mean {\scriptsize$\pm$ standard deviation} over 3 runs." in same
    assert [row[0] for row in lines_of(same)[1]] == ["SoftMax", "DisMax"]
    different = made([["SoftMax (n=3)", "1.0±.1"], ["DisMax (n=2)", "1.0±.1"]])
    assert "over n runs." in different
    assert [row[0] for row in lines_of(different)[1]] == ["SoftMax ($n=3$)", "DisMax ($n=2$)"]
    assert "Each number is of one run." in made([["SoftMax (n=1)", "1.0"]])


def test_the_caption_says_what_bold_means_if_something_is_bold():
    assert "Bold: the rule." in made([["SoftMax (n=3)", f"1.0±.1{BEST}"]])
    assert "Bold" not in made([["SoftMax (n=3)", "1.0±.1"]])


def test_every_table_is_an_environment_with_a_label_of_its_own(runs, capsys):
    folder, _ = runs
    status, out, _ = printed(capsys, folder, "--format", "latex", "--detail", "--paper")
    assert status == 0
    tables = environments(out)
    # The paper's tables; of ours also the means, the calibration, the AUROCs, and each OOD set.
    assert len(tables) == 6 + 1 + 1 + 1 + 4
    rest = out
    for table in tables:
        rest = rest.replace(table, "")
        assert table.count(r"\caption{") == table.count(r"\centering") == 1
        assert table.count("{") == table.count("}")
        columns, rows = lines_of(table)
        for row in rows:
            wide = sum(cell.startswith(r"\multicolumn") for cell in row)
            assert len(row) + wide == len(columns) + columns.count("r@{}l")
    assert [line for line in rest.splitlines() if line and not line.startswith("%")] == []
    labels = re.findall(r"\\label\{tab:([a-z0-9-]+)\}", out)
    assert len(set(labels)) == len(labels) == len(tables)
    assert "cifar-10-densenet-bc-100" in labels


def test_tables_of_one_title_have_different_labels(runs, capsys):
    folder, _ = runs
    changed(folder, lambda record: record["config"].update(epochs=5))
    _, out, _ = printed(capsys, folder, "--format", "latex")
    main, means = "cifar-10-densenet-bc-100", "cifar-10-densenet-bc-100-means-of-near-and-far-sets"
    labels = re.findall(r"\\label\{tab:(.*)\}", out)
    assert sorted(labels) == sorted([main, means, f"{main}-2", f"{means}-2"])


def test_the_first_lines_say_which_command_printed_it_and_what_it_needs(runs, capsys):
    folder, _ = runs
    _, out, _ = printed(capsys, folder, "--format", "latex", "--only", "SoftMax\n\\x")
    assert out == ""
    _, out, _ = printed(capsys, folder, "--format", "latex", "--only", "SoftMax")
    first, second = out.splitlines()[:2]
    command = f"python analyze.py {folder} --format latex --only SoftMax"
    assert re.fullmatch(rf"% printed by {re.escape(command)} on \d{{4}}-\d\d-\d\d .*", first)
    assert second == r"% needs \usepackage{booktabs,graphicx}"


def test_what_means_something_to_latex_is_escaped():
    text = escaped(ODD)
    assert not re.search(r"(?<!\\)[&%#_~^]|[<>|ε±×·−→]", text)
    assert r"\textbackslash{}y" in text
    # Behind the end of a line it would be an option of the line break.
    assert "{[}s]" in text


@pytest.mark.slow
@pytest.mark.skipif(not PDFLATEX, reason="needs pdflatex, booktabs and graphicx (TeX Live)")
@pytest.mark.parametrize("options", [["--detail"], ["--group-by", "data"], ["--paper"]], ids=str)
def test_the_output_compiles_and_no_table_is_too_wide(runs, tmp_path, capsys, options):
    folder, _ = runs

    def change(record):
        record["titles"] = dict.fromkeys(record["titles"], ODD)
        record["config"] |= {"data": ODD, "colour": ODD}
        record["detection"]["svhn"]["title"] = f"[{ODD}"

    changed(folder, change)
    status, out, _ = printed(capsys, folder, "--format", "latex", *options)
    assert status == 0
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}"
        rf"\begin{{document}}{out}\end{{document}}"
    )
    (tmp_path / "tables.tex").write_text(document)
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "tables.pdf").read_bytes().startswith(b"%PDF")
