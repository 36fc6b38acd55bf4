"""Training and test sets in several formats: their classes are matched, and their greyness."""

import numpy as np
import pytest
import torch
from PIL import Image

from data import files, npz, sources
from experiment.config import RunConfig
from experiment.data import load_data


def save(path, pixels, labels, **more):
    np.savez(path, images=pixels, labels=labels, **more)


def class_folders(place, pixels, labels, names):
    for number, (each, label) in enumerate(zip(pixels, labels, strict=True)):
        (place / names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(place / names[label] / f"{number:04}.png")


@pytest.mark.parametrize(
    "coloured", [[], [0], [150], [299], range(300)], ids=["none", "first", "middle", "last", "all"]
)
def test_greyness_depends_on_all_images_in_every_format(tmp_path, coloured, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (300, 4, 4, 1)).astype(np.uint8), 3, axis=3)
    pixels[list(coloured), 0, 0] = (255, 0, 0)
    labels, names = np.arange(300) // 150, ("a", "b")
    save(tmp_path / "train.npz", pixels, labels, class_names=np.array(names))
    class_folders(tmp_path / "folders" / "train", pixels, labels, names)
    mixed = np.concatenate(
        [
            np.repeat(rng.integers(0, 256, (150, 4, 4, 1)).astype(np.uint8), 3, axis=3),
            pixels[:1] * 0 + (255, 0, 0),
        ]
    )
    mixed = mixed.astype(np.uint8)
    np.savez(tmp_path / "out.npz", images=mixed)
    class_folders(tmp_path / "out", mixed, np.zeros(151, int), ("x",))
    found = []
    for train in (
        npz.load(tmp_path / "train.npz"),
        files.load_split(tmp_path / "folders" / "train"),
    ):
        reference = sources.reference_image(train)
        found += [files.load_ood(tmp_path / name, reference).pixels for name in ("out.npz", "out")]
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    found.append(
        files.load_ood(
            tmp_path / "out",
            sources.reference_image(files.load_split(tmp_path / "folders" / "train")),
        ).first(151)
    )
    assert all(each.equal(found[0]) for each in found)
    grey = found[0].eq(found[0][:, :1]).flatten(1).all(1)
    assert grey[:150].all()
    assert bool(grey[150]) == (not coloured)
    # Grey images stay as they are.
    assert found[0][:150].equal(torch.from_numpy(mixed[:150]).permute(0, 3, 1, 2))


@pytest.mark.parametrize("named", [True, False], ids=["with names", "by number"])
def test_an_npz_without_images_of_a_class_says_so_too(tmp_path, named):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    (tmp_path / "mine").mkdir()
    names = {"class_names": np.array(["cat", "dog", "owl"])}
    save(tmp_path / "mine" / "train.npz", pixels, np.arange(6) % 3, **names)
    save(tmp_path / "mine" / "test.npz", pixels, np.arange(6) % 2, **(names if named else {}))
    _, test = sources.load_train_and_test(str(tmp_path / "mine"), tmp_path)
    assert "the test set has no images of 1 of 3 classes (owl)" in test.notes[0]
    save(tmp_path / "mine" / "train.npz", pixels, 1 + np.arange(6) % 2, **names)
    _, test = sources.load_train_and_test(str(tmp_path / "mine"), tmp_path)
    assert "the training set has no images of 1 of 3 classes (cat)" in test.notes[0]


@pytest.mark.parametrize("form", ["npz", "folders", "bytes"])
@pytest.mark.parametrize("place", ["test", "val"])
def test_a_test_set_is_matched_by_name_and_need_not_have_every_class(
    tmp_path, form, place, monkeypatch
):
    names = [f"class{number:03}" for number in range(200)]
    pixels = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3)).astype(np.uint8)
    root = tmp_path / "imagenet1k" if place == "val" else tmp_path / "mine"

    def load():
        return sources.load_train_and_test("imagenet1k" if place == "val" else str(root), tmp_path)

    class_folders(root / "train", pixels, np.arange(200), names)
    if form == "folders" or place == "val":
        class_folders(root / place, pixels[:3], np.arange(3), ["class199", "class007", "class150"])
    else:
        named = np.array(["class199", "class007", "class150"]).astype(
            "S" if form == "bytes" else "U"
        )
        save(root / "test.npz", pixels[:3], np.arange(3), class_names=named)
    train, test = load()
    assert test.classes == train.classes
    expected = [7, 150, 199] if form == "folders" or place == "val" else [199, 7, 150]
    assert test.labels.tolist() == expected
    assert (
        f"no images of 197 of 200 classes (class000, {', '.join(names[1:5])} and 192 more)"
        in test.notes[0]
    )
    if form == "folders" or place == "val":
        (root / place / "class007").rename(root / place / "class7")
    else:
        save(
            root / "test.npz",
            pixels[:3],
            np.arange(3),
            class_names=np.array(["class7", "class199", "class150"]),
        )
    with pytest.raises(
        ValueError,
        match=r"different classes: of the test set's, class7 is not among the training set's",
    ) as error:
        load()
    assert len(str(error.value)) < 400 + len(str(root))


@pytest.mark.parametrize(
    "names",
    [[str(i) for i in range(1, 13)], [f"class{i}" for i in range(12)], ["1", "2", "3"]],
    ids=["1 to 12", "class0 to class11", "1 to 3"],
)
def test_test_labels_that_may_number_the_folders_in_two_ways_are_refused(tmp_path, names):
    count = len(names)
    pixels = np.zeros((count, 4, 4, 3), np.uint8)
    class_folders(tmp_path / "train", pixels, np.arange(count), names)
    save(tmp_path / "test.npz", pixels, np.arange(count))
    with pytest.raises(
        ValueError, match=r"test: the labels have no names, and may number .* in two ways"
    ):
        sources.load_train_and_test(str(tmp_path), tmp_path)
    save(tmp_path / "test.npz", pixels, np.arange(count), class_names=np.array(names))
    train, test = sources.load_train_and_test(str(tmp_path), tmp_path)
    assert [train.classes[label] for label in test.labels] == names


@pytest.mark.parametrize(
    "names", [["2019", "2020", "2021"], ["a-1", "a1", "b"], ["00", "01", "02"]]
)
def test_test_labels_that_number_the_folders_in_one_way_are_taken(tmp_path, names):
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    class_folders(tmp_path / "train", pixels, np.arange(3), names)
    save(tmp_path / "test.npz", pixels, np.arange(3))
    train, test = sources.load_train_and_test(str(tmp_path), tmp_path)
    assert [train.classes[label] for label in test.labels] == names


@pytest.mark.parametrize("form", ["npz", "list"])
def test_folders_named_by_numbers_match_labels_of_the_same_numbers(tmp_path, form):
    """The folders 0, 1, 10, 11, 2, ... are in the order of text, and their classes too."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3)).astype(np.uint8)
    class_folders(tmp_path / "train", pixels, np.arange(12), [*map(str, range(12))])
    if form == "npz":
        save(tmp_path / "test.npz", pixels, np.arange(12))
    else:
        lines = [f"train/{n}/{n:04}.png {n}" for n in range(12)]
        (tmp_path / "test.txt").write_text("\n".join(lines))
    train, test = sources.load_train_and_test(str(tmp_path), tmp_path)
    of_train = {train.classes[label]: image for label, image in labelled(train)}
    of_test = {test.classes[label]: image for label, image in labelled(test)}
    assert of_train.keys() == of_test.keys() == {*map(str, range(12))}
    assert all(of_train[name].equal(of_test[name]) for name in of_train)


def labelled(images):
    return zip(images.labels.tolist(), images.first(len(images)), strict=True)


@pytest.mark.parametrize("form", ["npz", "folders"])
def test_a_coloured_test_set_is_turned_grey_if_all_training_images_are_grey(
    tmp_path, form, monkeypatch
):
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8), 3, axis=3)
    coloured = rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    labels, names = np.arange(40) // 20, ("a", "b")
    if form == "npz":
        save(tmp_path / "train.npz", grey, labels)
        save(tmp_path / "test.npz", coloured, labels)
    else:
        monkeypatch.setattr(files, "IN_MEMORY", 0)
        class_folders(tmp_path / "train", grey, labels, names)
        class_folders(tmp_path / "test", coloured, labels, names)
    np.savez(tmp_path / "out.npz", images=coloured)
    config = RunConfig(data=str(tmp_path), ood=(str(tmp_path / "out.npz"),), model="smallcnn")
    data = load_data(config)
    (_, out), test = data.ood[str(tmp_path / "out.npz")], data.evaluation["test"]
    assert test.first(40).equal(out.first(40))  # the same images in both roles are the same
    assert "turned grey" in "".join(data.notes)
