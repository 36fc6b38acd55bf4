"""predict.py on a finished run of the digits."""

import shutil

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

import predict
from data.images import to_grey
from dismax.detector import Detector
from experiment import records
from tests.finished_runs import read_rows


@pytest.mark.parametrize("suffix", ["csv", "JSON"])
def test_the_rows_of_the_file_are_what_the_detector_returns(run, tmp_path, suffix):
    folder, images, expected = run
    out = tmp_path / f"found.{suffix}"
    assert predict.main([str(folder), str(images), "--device", "cpu", "--out", str(out)]) == 0
    rows = read_rows(out)
    files = [str(images / "some" / f"{number}.png") for number in range(7)]
    assert [row["file"] for row in rows] == files
    names = Detector.load(folder / records.MODEL).class_names
    assert [row["class"] for row in rows] == [names[number] for number in expected.classes]
    scores, probabilities = (
        torch.tensor([float(row[column]) for row in rows]) for column in ("score", "probability")
    )
    torch.testing.assert_close(scores, expected.scores)
    torch.testing.assert_close(probabilities, expected.probabilities.amax(1))
    accepted = [str(bool(value)) for value in expected.accepted]
    assert [str(row["in_distribution"]) for row in rows] == accepted


def test_the_table_marks_rejected_images_and_names_the_threshold(run, capsys):
    folder, images, expected = run
    assert predict.main([str(folder), str(images), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert all(str(images / "some" / f"{number}.png") in printed for number in range(7))
    assert printed.count("REFUSED") == int((~expected.accepted).sum())
    threshold = float(printed.split("at least ")[1].split(",")[0])
    detector = Detector.load(folder / records.MODEL)
    assert threshold == pytest.approx(detector.threshold(0.95), rel=1e-3)


@pytest.mark.parametrize("score", ["own", "combined"])
def test_the_chosen_score_decides(run, tmp_path, score):
    folder, images, _ = run
    out = tmp_path / "found.json"
    chosen = ["--score", score, "--out", str(out), "--device", "cpu"]
    assert predict.main([str(folder), str(images), *chosen]) == 0
    pixels = torch.stack([pil_to_tensor(Image.open(row["file"])) for row in read_rows(out)])
    expected = Detector.load(folder / records.MODEL, score=score)(pixels)
    assert [row["score"] for row in read_rows(out)] == pytest.approx(expected.scores.tolist())
    accepted = [row["in_distribution"] for row in read_rows(out)]
    assert accepted == expected.accepted.tolist()


def test_an_unknown_score_is_an_error_that_names_those_of_the_run(run, capsys):
    folder, images, _ = run
    assert predict.main([str(folder), str(images), "--score", "knn"]) == 2
    err = capsys.readouterr().err
    assert "it has no score knn, only own, combined: `python detect.py RUN --deploy knn`" in err


def test_a_model_file_says_what_its_run_says_and_knows_its_images_were_grey(run, capsys):
    folder, images, _ = run
    printed = []
    for network in (folder, folder / records.MODEL):
        assert predict.main([str(network), str(images), "--device", "cpu"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "accepted: the combined score is at least " in printed[0]
    assert Detector.load(folder / records.MODEL).grey is True


@pytest.fixture
def mixed(run, tmp_path):
    """A folder of 150 copies of the images, of which seven cannot be read."""
    for number in range(150):
        path = tmp_path / "mixed" / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(run[1] / "some" / f"{number % 7}.png", path)
        if number % 20 == 10:
            path.write_bytes(path.read_bytes()[:50])
    return path.parent


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_a_file_that_cannot_be_read_is_a_row_and_does_not_change_the_others(
    run, mixed, tmp_path, capsys, suffix
):
    folder, _, expected = run
    out = tmp_path / f"found.{suffix}"
    assert predict.main([str(folder), str(mixed), "--out", str(out), "--device", "cpu"]) == 1
    printed, error = capsys.readouterr()
    assert printed.startswith("150 images: ")
    assert "7 could not be read" in printed.splitlines()[0]
    assert len(printed.splitlines()) < 20
    assert error.startswith(f"error: 7 images could not be read:\n  {mixed}/010.png: cannot be")
    rows = read_rows(out)
    assert [row["file"] for row in rows] == [str(mixed / f"{n:03}.png") for n in range(150)]
    for number, row in enumerate(rows):
        assert bool(row["error"]) == (number % 20 == 10) == (not row["class"])
        if not row["error"]:
            assert float(row["score"]) == pytest.approx(float(expected.scores[number % 7]))


def test_verbose_lists_many_images_and_probabilities_and_a_sheet_are_written(
    run, mixed, tmp_path, capsys
):
    out, drawn = tmp_path / "found.json", tmp_path / "sheet.png"
    asked = ["--out", str(out), "--probabilities", "--sheet", str(drawn), "--verbose"]
    assert predict.main([str(run[0]), str(mixed), *asked, "--device", "cpu"]) == 1
    assert len(capsys.readouterr().out.splitlines()) > 150
    for row in (row for row in read_rows(out) if not row["error"]):
        best, second = sorted(row["probabilities"], key=row["probabilities"].get)[:-3:-1]
        assert (row["class"], row["second_class"]) == (best, second)
        assert row["second_probability"] == row["probabilities"][second]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    with Image.open(drawn) as image:
        assert image.width > 1000


def test_colour_is_turned_grey_as_in_the_evaluation_and_warned_of(run, tmp_path, capsys):
    folder, _, _ = run
    coloured = torch.randint(256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    for number, pixels in enumerate(coloured.byte()):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    out = tmp_path / "found.json"
    given = [str(folder), str(tmp_path), "--out", str(out), "--device", "cpu"]
    assert predict.main(given) == 0
    assert capsys.readouterr().err.startswith("warning: 2 of 2 images have colour, ")
    grey = Detector.load(folder / records.MODEL)(to_grey(coloured.byte())).scores.tolist()
    assert [row["score"] for row in read_rows(out)] == pytest.approx(grey, rel=1e-4)


def test_a_lower_rate_rejects_more_images(run, capsys):
    folder, images, _ = run
    assert predict.main([str(folder), str(images), "--tpr", "0"]) == 0
    printed = capsys.readouterr().out
    assert "at 0% TPR" in printed
    assert printed.count("REFUSED") > 4


def test_an_image_of_another_size_is_resized(run, tmp_path, capsys):
    folder, _, _ = run
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.webp")
    assert predict.main([str(folder), str(tmp_path / "red.webp")]) == 0
    assert "red.webp" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "is named: name a network first"),
        (["RUN", "nowhere.png"], "nowhere.png is no file: name image files, or folders of them"),
        (["RUN", "TMP/empty"], "empty holds no image files (.bmp, "),
        (
            ["IMAGES", "IMAGES"],
            "model.pt is no file: name a finished run, its model.pt, or one of cifar10",
        ),
        (["RUN", "IMAGES", "--tpr", "2"], "--tpr is a share in [0, 1], got 2.0"),
        (["RUN", "IMAGES", "--out", "IMAGES"], "--out takes a .csv or a .json file, got "),
        (["RUN", "IMAGES", "--out", "x.txt"], "--out takes a .csv or a .json file, got x.txt"),
        (["RUN", "IMAGES", "--out", "."], "--out takes a .csv or a .json file, got ."),
        (["RUN", "IMAGES", "--out", "/"], "--out takes a .csv or a .json file, got /"),
        (["RUN", "IMAGES", "--sheet", "x.jpg"], "--sheet takes a .png file, got x.jpg"),
        (["RUN", "IMAGES", "--sheet", "IMAGES/some/1.png"], "1.png is one of the images"),
        (["RUN", "IMAGES", "--probabilities"], "--probabilities adds to the file of --out"),
        (
            ["RUN", "IMAGES", "--out", "RUN/metrics.json"],
            "metrics.json would overwrite a file of a run: name another",
        ),
    ],
)
def test_bad_input_is_an_error_in_one_line(run, tmp_path, capsys, arguments, message):
    folder, images, _ = run
    (tmp_path / "empty").mkdir()
    for name, place in (("RUN", folder), ("IMAGES", images), ("TMP", tmp_path)):
        arguments = [word.replace(name, str(place)) for word in arguments]
    assert predict.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
