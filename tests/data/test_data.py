"""The data: what is built in, a user's own, batches, and downloads from a real (local) server."""

import codecs
import hashlib
import io
import math
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from sklearn.datasets import load_digits
from torchvision.transforms import v2

import main
from data import builtin, catalog, download, files, images, npz, sources
from data.archives import Archive
from data.batches import Normalizer, TrainingBatches, plain_batches
from data.catalog import CATALOG
from data.entries import ROLES, TrainingSet
from data.streaming import ImageFiles, decode
from experiment import records

BUILT_IN = ("digits89", "photos", "noise")


def test_digits_are_scikit_learns_and_split_without_overlap():
    train, test = sources.load_train_and_test("digits", Path("nowhere"))
    stay, out = sources.hold_out(train, 0.5)
    original = load_digits()
    bytes_of = [(image * 255 / 16).round().astype(np.uint8).tobytes() for image in original.images]
    known = dict(zip(bytes_of, original.target, strict=True))
    parts = [stay, out, test]
    assert sum(map(len, parts)) == (original.target < 8).sum()
    seen = [pixels[0].numpy().tobytes() for part in parts for pixels in part.pixels]
    labels = torch.cat([part.labels for part in parts]).tolist()
    assert [known[image] for image in seen] == labels
    assert len(set(seen)) == len(seen)
    whole = torch.tensor([(original.target == digit).sum() for digit in range(8)])
    for part, share in zip(parts, (0.25, 0.25, 0.5), strict=True):  # stratified
        assert (torch.bincount(part.labels, minlength=8) - share * whole).abs().max() <= 1
    again, _ = sources.hold_out(sources.load_train_and_test("digits", Path("nowhere"))[0], 0.5)
    assert again.pixels.equal(stay.pixels)


def test_built_in_sets_have_the_format_of_the_in_distribution_images():
    grey, colour = (
        torch.zeros(3, 3, 8, 8, dtype=torch.uint8),
        torch.randint(256, (3, 3, 20, 12), dtype=torch.uint8),
    )
    for source in (*BUILT_IN, "digits"):
        for reference in (grey, colour):
            pixels = sources.load_ood(source, Path("nowhere"), reference).pixels
            assert pixels.dtype == torch.uint8
            assert pixels.shape[1:] == reference.shape[1:]
            assert images.is_grey(pixels) == (images.is_grey(reference) or "digits" in source)
    assert builtin.photos((8, 8)).equal(builtin.photos((8, 8)))
    assert len(builtin.digits89()) == (load_digits().target >= 8).sum()


def test_a_folder_of_grey_images_beside_grey_ones_stays_as_it_is(tmp_path):
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    Image.fromarray(values[0].numpy()).save(tmp_path / "1.png")
    assert sources.load_ood(str(tmp_path), tmp_path, values[None]).first(1).equal(values[None])


def test_every_partner_is_in_the_catalog():
    for name, entry in CATALOG.items():
        for recipe in (None, *getattr(entry, "recipes", ())):
            chosen = sources.ood_sets(name, (), recipe) if isinstance(entry, TrainingSet) else []
            assert {source for _, source in chosen} <= set(CATALOG) - {name}
            assert {role for role, _ in chosen} <= set(ROLES)


def test_partners_take_roles():
    assert sources.ood_sets("cifar10", ("svhn", "near=x.npz", "y")) == [
        ("very_far", "svhn"),
        ("near", "x.npz"),
        ("far", "y"),
    ]
    with pytest.raises(ValueError, match="'svhn' is given twice"):
        sources.ood_sets("cifar10", ("svhn", "far=svhn"))
    for given in ("near=", "far=cifar10"):
        with pytest.raises(ValueError, match=f"--ood {given} names"):
            sources.ood_sets("cifar10", (given,))


def save_npz(path, count=20, size=6, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
        "labels": np.arange(count) % 4,
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def save_folders(root, arrays):
    for index, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:03}.png")


def test_npz_and_folders_load_the_same_images(tmp_path):
    arrays = save_npz(
        tmp_path / "train.npz", class_names=np.array([f"class{label}" for label in range(4)])
    )
    save_folders(tmp_path / "test", arrays)
    train, test = sources.load_train_and_test(str(tmp_path), Path("nowhere"))
    assert train.pixels.numpy().transpose(0, 2, 3, 1).tobytes() == arrays["images"].tobytes()
    order = sorted(range(20), key=lambda index: (index % 4, index))
    assert test.pixels.equal(train.pixels[order])
    assert test.labels.equal(train.labels[order])
    out = sources.load_ood(
        str(tmp_path / "test"),
        Path("nowhere"),
        torch.randint(256, (1, 3, 10, 8), dtype=torch.uint8),
    )
    assert out.pixels.shape == (20, 3, 10, 8)
    save_npz(tmp_path / "train.npz")  # numbers cannot be matched with the folders' names
    with pytest.raises(ValueError, match="different classes"):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))
    save_npz(tmp_path / "test.npz")
    assert sources.load_train_and_test(str(tmp_path), Path("nowhere"))[1].classes == (
        "0",
        "1",
        "2",
        "3",
    )
    Image.new("RGB", (6, 6)).save(tmp_path / "test" / "stray.png")
    (tmp_path / "test.npz").unlink()
    with pytest.raises(ValueError, match="in no class folder"):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((20, 6, 6, 3), np.float32)}, "uint8"),
        ({"images": np.zeros((20, 6, 6), np.uint8)}, "uint8"),
        ({"images": np.zeros((0, 6, 6, 3), np.uint8), "labels": np.zeros(0, int)}, "uint8"),
        ({"labels": np.zeros(19, int)}, "labels must be integers"),
        ({"labels": np.zeros(20)}, "labels must be integers"),
        ({"labels": np.array([{}] * 20)}, "holds pickled objects"),
        ({"labels": None}, "images and labels"),
        ({"labels": np.arange(20) - 1}, "without a gap, got -1, 0, 1"),
        ({"labels": np.arange(20) % 4 * 2**60}, "without a gap, got 0, 1152921504606846976"),
        ({"labels": np.zeros(20, int)}, "one class only"),
        ({"class_names": np.array(["a", "b", "b", "c"])}, "given twice"),
        ({"class_names": np.array(["a", "b"])}, "from 0 to 3, outside 0 to 1"),
    ],
)
def test_bad_arrays_are_named(tmp_path, changes, message):
    save_npz(tmp_path / "train.npz", **changes)
    save_npz(tmp_path / "test.npz")
    with pytest.raises(ValueError, match=message):
        sources.load_train_and_test(str(tmp_path), Path("nowhere"))


def test_damaged_files_are_named(tmp_path):
    whole = tmp_path / "whole.npz"
    save_npz(whole)
    for length in (0, 10, 500, whole.stat().st_size - 30):
        (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"cut\.npz cannot be read"):
            npz.load(tmp_path / "cut.npz")
    save_folders(
        tmp_path / "folder", {"images": np.zeros((4, 6, 6, 3), np.uint8), "labels": np.arange(4)}
    )
    (tmp_path / "folder" / "class1" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        files.load_split(tmp_path / "folder")
    Image.new("RGB", (9, 5)).save(tmp_path / "folder" / "class1" / "broken.png")
    np.save(tmp_path / "array", np.zeros(3))
    with pytest.raises(ValueError, match=r"array\.npy cannot be read as an \.npz"):
        npz.load(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="several sizes"):
        files.load_split(tmp_path / "folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image files"):
        files.load_split(tmp_path / "empty")
    with pytest.raises(ValueError, match="no train"):
        sources.load_train_and_test(str(tmp_path / "empty"), Path("nowhere"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashionmnist"])
def test_missing_downloads_name_the_command_that_fetches_them(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"bash prepare-cifar.sh {name}"):
        sources.load_train_and_test(name, tmp_path)
    with pytest.raises(FileNotFoundError, match="bash prepare-cifar.sh lsun_resize"):
        sources.load_ood("lsun_resize", tmp_path, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def idx(kind, *shape):
    """A file of MNIST's format: a head of big-endian numbers, then the values."""
    head = (0x800 | len(shape)).to_bytes(4, "big") if kind is None else kind
    return head + b"".join(size.to_bytes(4, "big") for size in shape) + bytes(math.prod(shape))


@pytest.mark.parametrize("name", ["mnist", "fashionmnist"])
@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x00\x00",
        idx(b"\x00\x00\x09\x03", 4, 28, 28),
        idx(b"\x00\x00\x0f\x03", 4, 28, 28),
        # Fmt: skip.
        idx(None, 4, 28, 28)[:-1],
        idx(None, 4, 28),
        b"\xff" * 99,
    ],
)
def test_a_damaged_download_names_the_command_that_fetches_it(tmp_path, name, damaged):
    folder = tmp_path / {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}[name] / "raw"
    folder.mkdir(parents=True)
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(None, 4, 28, 28))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx(None, 4))
    reference = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    assert len(sources.load_ood(name, tmp_path, reference)) in (4, 8)
    (folder / "train-images-idx3-ubyte").write_bytes(damaged)
    with pytest.raises(FileNotFoundError, match=f"damaged in .*bash prepare-cifar.sh {name}"):
        CATALOG[name].load_ood.__self__.load_split("train", tmp_path)


def batches_of(pixels, **options):
    normalize = Normalizer((0.0,) * 3, (1.0,) * 3, torch.device("cpu"))
    settings = {
        "batch_size": 8,
        "padding": 2,
        "flip": True,
        "device": torch.device("cpu"),
    } | options
    return TrainingBatches(
        images.Images(pixels, torch.arange(len(pixels)), ()), normalize, **settings
    )


def test_augmented_images_are_shifted_or_mirrored_originals_each_in_its_own_way():
    pixels = torch.randint(
        1, 256, (50, 3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    padded = torch.nn.functional.pad(pixels, (2,) * 4)
    seen = []
    for inputs, targets in batches_of(pixels, batch_size=25).epoch(
        torch.Generator().manual_seed(1)
    ):
        ways = []
        for image, target in zip(
            (inputs * 255).round().to(torch.uint8), targets.tolist(), strict=True
        ):
            windows = {
                (top, left, mirrored): padded[target, :, top : top + 6, left : left + 8].flip(
                    -1 if mirrored else ()
                )
                for top in range(5)
                for left in range(5)
                for mirrored in (False, True)
            }
            ways.append(next(way for way, window in windows.items() if image.equal(window)))
        tops, lefts, mirrored = map(set, zip(*ways, strict=True))
        assert tops == lefts == set(range(5))  # within one batch
        assert mirrored == {False, True}
        seen += targets.tolist()
    assert sorted(seen) == list(range(50))


def test_every_way_to_crop_and_flip_is_as_likely():
    # Each pixel tells where it was.
    place = torch.arange(1, 145, dtype=torch.uint8).view(1, 1, 12, 12)
    (inputs, _), *_ = batches_of(place.expand(10_000, 3, -1, -1), batch_size=10_000).epoch(
        torch.Generator().manual_seed(2)
    )
    here, beside = ((inputs[:, 0, 6, column] * 255).round().long() - 1 for column in (6, 7))
    mirrored = beside < here
    ways = (here // 12) * 24 + (here % 12) * 2 + mirrored
    counts = ways.bincount()
    counts = counts[counts > 0]
    assert len(counts) == 5 * 5 * 2
    assert chisquare(counts).pvalue > 1e-3


def test_without_padding_and_flip_batches_are_the_images():
    pixels = torch.randint(256, (20, 3, 4, 4), dtype=torch.uint8)
    mean, std = images.channel_statistics(pixels.split(3))
    normalize = Normalizer(mean, std, torch.device("cpu"))
    batches = batches_of(pixels, padding=0, flip=False)
    batches.normalize = normalize
    plain = torch.cat(
        list(
            plain_batches(
                images.Images(pixels, torch.zeros(20), ()), normalize, 7, torch.device("cpu")
            )
        )
    )
    for inputs, targets in batches.epoch(torch.Generator()):
        assert inputs.equal(plain[targets])
    torch.testing.assert_close(plain.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        plain.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_no_batch_is_of_one_image(count, sizes):
    pixels = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8)
    batches = batches_of(pixels, batch_size=4)
    generator = torch.Generator().manual_seed(0)
    epochs = [list(batches.epoch(generator)) for _ in range(20)]
    assert all([len(targets) for _, targets in epoch] == sizes for epoch in epochs)
    seen = [set(torch.cat([targets for _, targets in epoch]).tolist()) for epoch in epochs]
    assert set.union(*seen) == set(range(count))  # none is left out for good


def test_folders_that_are_links_are_followed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / name / "1.png")
    (tmp_path / "data" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "a" / "1.png")
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    assert files.load_split(tmp_path / "data").classes == ("a", "b")


def test_a_cut_download_goes_on_and_a_wrong_one_is_refused(tmp_path, server):
    address, content, cut = server
    body = bytes(range(256)) * 100
    content["/file"], cut["/file"] = body, 1000
    md5 = hashlib.md5(body).hexdigest()
    with pytest.raises(OSError, match="1000 of 25600|IncompleteRead"):
        download.download_file(f"{address}/file", tmp_path / "file", md5)
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 1000
    download.download_file(f"{address}/file", tmp_path / "file", md5)
    assert (tmp_path / "file").read_bytes() == body
    content.clear()
    download.download_file(
        f"{address}/file", tmp_path / "file", md5
    )  # there and right: nothing is asked
    content["/file"] = b"another"
    with pytest.raises(ValueError, match="MD5"):
        download.download_file(f"{address}/file", tmp_path / "other", md5)
    assert not list(tmp_path.glob("other*"))


def test_of_a_zip_only_the_sets_own_folder_is_unpacked(tmp_path, server):
    address, content, _ = server
    image, zipped = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in (
            "some/train/0.png",
            "some/val/images/0.png",
            "some/val/images/1.png",
            "../escaped.png",
        ):
            archive.writestr(name, image.getvalue())
    content["/zip"] = zipped.getvalue()
    entry = Archive(
        "some",
        "Some",
        f"{address}/zip",
        hashlib.md5(content["/zip"]).hexdigest(),
        "some/val/images",
        2,
        ".zip",
    )
    entry.download(tmp_path / "root")
    assert len(files.image_files(tmp_path / "root" / "some" / "val" / "images")) == 2
    assert len([*tmp_path.rglob("*.png")]) == 2
    cut = content["/zip"][:-30]
    content["/zip"] = cut
    entry = Archive(
        "some", "Cut", f"{address}/zip", hashlib.md5(cut).hexdigest(), "cut/val", 2, ".zip"
    )
    with pytest.raises(ValueError, match="cannot be unpacked"):
        entry.download(tmp_path / "root")


def test_images_of_another_shape_are_covered_without_distortion():
    wide = torch.zeros(1, 3, 20, 60, dtype=torch.uint8)
    wide[..., 20:40] = 255  # the middle square
    assert images.resize_and_center_crop(wide, (20, 20)).eq(255).all()
    for size in ((7, 7), (10, 8), (33, 20)):
        assert images.resize_and_center_crop(wide, size).shape[-2:] == size
    square = torch.randint(256, (2, 3, 9, 9), dtype=torch.uint8)
    assert images.resize_and_center_crop(square, (9, 9)).equal(square)
    assert images.resize_and_center_crop(square, (6, 6)).equal(images.resize(square, (6, 6)))


def test_images_of_any_size_are_resized_and_cropped_as_torchvision_does():
    torch.manual_seed(0)
    noise = torch.randint(256, (3, 640, 640), dtype=torch.uint8)
    usual = v2.Compose([v2.Resize(32, antialias=True), v2.CenterCrop(32)])
    sizes = [(height, width) for height in range(32, 101) for width in range(32, 101)]
    sizes += [(427, 640), (640, 427), (333, 500), (500, 333), (50, 150), (150, 50), (20, 61)]
    for height, width in sizes:
        pixels = noise[:, :height, :width]
        assert images.resize_and_center_crop(pixels, (32, 32)).equal(usual(pixels)), (height, width)
    larger = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    for height, width in [(427, 640), (640, 427), (333, 500), (500, 333), (224, 224), (90, 150)]:
        pixels = noise[:, :height, :width]
        assert images.resize_and_center_crop(pixels, (224, 224), 32).equal(larger(pixels)), (
            height,
            width,
        )


@pytest.mark.parametrize(
    ("shape", "size", "margin", "scaled"),
    [
        ((20, 61), (10, 8), 0, (10, 30)),  # the height binds, and 30.5 is rounded down
        ((61, 20), (8, 10), 0, (30, 10)),
        ((20, 25), (8, 16), 0, (12, 16)),  # the width binds, though it is the longer side: 12.8
        ((20, 25), (8, 16), 4, (16, 20)),  # 12 × 20 with a margin, of which the width binds
        ((3, 7), (1, 2), 0, (1, 2)),
    ],
)
def test_one_side_fits_a_target_of_any_shape_exactly(shape, size, margin, scaled):
    pixels = torch.randint(256, (3, *shape), dtype=torch.uint8)
    resized = v2.functional.resize(pixels, list(scaled), antialias=True)
    expected = v2.functional.center_crop(resized, list(size))
    assert images.resize_and_center_crop(pixels, size, margin).equal(expected)


def save_idx(folder, name, array):
    """A file in MNIST's format."""
    folder.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    (folder / name).write_bytes(head + array.tobytes())


def test_mnist_is_all_of_it_and_fashion_mnist_keeps_its_splits(tmp_path):
    rng, given = np.random.default_rng(0), {}
    for name in ("MNIST", "FashionMNIST"):
        for split, count in (("train", 50), ("t10k", 30)):
            given[name, split] = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
            folder = tmp_path / name / "raw"
            save_idx(folder, f"{split}-images-idx3-ubyte", given[name, split])
            save_idx(folder, f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    reference = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    whole = sources.load_ood("mnist", tmp_path, reference)
    expected = np.concatenate([given["MNIST", "train"], given["MNIST", "t10k"]])
    assert whole.pixels[:, 0].numpy().tobytes() == expected.tobytes()
    assert whole.labels.tolist() == [-1] * 80
    assert catalog.title_of("mnist") == "MNIST, all 70,000"
    with pytest.raises(ValueError, match="unknown data set 'mnist'"):
        main.parse(["--data", "mnist"])
    train, test = sources.load_train_and_test("fashionmnist", tmp_path)
    assert (len(train), len(test)) == (50, 30)
    outside = sources.load_ood("fashionmnist", tmp_path, reference)
    assert outside.pixels[:, 0].numpy().tobytes() == given["FashionMNIST", "t10k"].tobytes()


# Paths of images in a data directory: spaces, no UTF-8, upper case.
PATHS = (b"plain.png", b"a folder/two  words.png", b"caf\xe9.bmp", b"deep/er/1.PNG")


@pytest.fixture
def root(tmp_path):
    """A data directory with the images at `PATHS`, 8×8."""
    rng, root = np.random.default_rng(0), tmp_path / "root"
    for name in PATHS:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return root


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("begin", [b"", codecs.BOM_UTF8])
def test_a_list_names_out_of_distribution_images(root, tmp_path, end, begin):
    photograph = tmp_path / "elsewhere 7.jpg"
    Image.effect_noise((13, 21), 50).save(photograph)
    names = [*PATHS, os.fsencode(photograph), PATHS[0]]  # an absolute path, and one again
    labels = [b"-1", b"0", b"123456789123456789123456789", b"+3", b"-7", b"-1"]
    spaces = (b" ", b"\t", b"   ") * 2
    lines = [b"".join(parts) for parts in zip(names, spaces, labels, strict=True)]
    lines[2:2] = [b"", b" \t"]
    (tmp_path / "near.txt").write_bytes(begin + end.join(lines) + end)
    reference = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
    found = sources.load_ood(str(tmp_path / "near.txt"), root, reference)
    expected = [
        images.resize_and_center_crop(decode(root / os.fsdecode(name)), (8, 8)) for name in names
    ]
    assert found.pixels.equal(torch.stack(expected))
    assert (found.labels.tolist(), found.classes) == ([-1] * 6, ())


def test_a_list_of_large_images_is_streamed(root, tmp_path, monkeypatch):
    (tmp_path / "far.txt").write_bytes(b"".join(name + b" -1\n" for name in PATHS))
    grey = torch.zeros(1, 3, 6, 6, dtype=torch.uint8)
    in_memory = sources.load_ood(str(tmp_path / "far.txt"), root, grey)
    assert images.is_grey(in_memory.pixels)
    monkeypatch.setattr(files, "IN_MEMORY", 0)
    streamed = sources.load_ood(str(tmp_path / "far.txt"), root, grey)
    assert isinstance(streamed, ImageFiles)
    assert streamed.first(4).equal(in_memory.pixels)


GONE = "the image {root}/gone.png is missing (paths are relative to --data-dir {root}): correct"
BAD_LISTS = [
    (b"plain.png 1\nplain.png\n", ", line 2: 'plain.png' is not `PATH LABEL`: write both"),
    (b" 5\n", ", line 1: '5' is not `PATH LABEL`: write both"),
    (b"\n\nplain.png one\n", ", line 3: the label 'one' is not an integer: write a whole number"),
    (b"plain.png 1.0\n", ", line 1: the label '1.0' is not an integer: write"),
    (b"caf\xe9 menu.png\n", ", line 1: the label 'menu.png' is not an integer: write"),
    (b"plain.png " + b"9" * 5000, f", line 1: the label '{'9' * 80}...' is not an integer: write"),
    (b"y" * 5000, f", line 1: '{'y' * 80}...' is not `PATH LABEL`: write both"),
    (b"plain.heic 1\n", ", line 1: 'plain.heic' is no image file (.bmp, .gif, "),
    (b"gone.png 1\n", f", line 1: {GONE}"),
    (b"plain.png 1\ndeep 1.png 1\n", ", line 2: the image {root}/deep 1.png is missing"),
    (b"folder.png 1\n", ", line 1: the image {root}/folder.png is missing"),
    (b"x" * 5000 + b".png 1\n", ", line 1: the image {root}/xxx"),
    (b"", " lists no images: write a line `PATH LABEL` for each image"),
    (b"\n \r\n", " lists no images: write a line `PATH LABEL` for each image"),
    (b"\x89PNG\r\n\x1a\n\x00\x00", " is no text file: write a line `PATH LABEL`"),
]


@pytest.mark.parametrize(("content", "message"), BAD_LISTS)
def test_a_bad_list_is_said_in_one_line(root, tmp_path, run_main, content, message):
    (root / "folder.png").mkdir()
    path = tmp_path / "near.txt"
    path.write_bytes(content)
    status, _, err = run_main("--ood", f"near={path}", "--data-dir", str(root))
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {path}{message.replace('{root}', str(root))}")
    assert not (tmp_path / "runs").exists()
    split = tmp_path / "mine"
    split.mkdir()
    (split / "train.txt").write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as found:
        sources.load_train_and_test(str(split), root)
    assert str(found.value).startswith(f"{split}/train.txt{message.replace('{root}', str(root))}")


def test_a_folder_or_a_missing_file_that_is_named_as_a_list(root, tmp_path, run_main):
    (tmp_path / "set.txt").mkdir()
    (tmp_path / "set.txt" / "1.png").write_bytes((root / "plain.png").read_bytes())
    reference = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    found = sources.load_ood(str(tmp_path / "set.txt"), root, reference)
    assert found.pixels.equal(decode(root / "plain.png")[None])  # as any folder of images
    status, _, err = run_main("--ood", "near=gone.txt")
    assert (status, err.count("\n")) == (2, 1)
    assert "unknown out-of-distribution set 'gone.txt'" in err
    assert "or give an .npz, an image list (.txt) or a folder of images" in err


def save_lists(folder, arrays):
    """The images of `save_folders` in one folder, and a list of them, which is returned."""
    folder.mkdir(parents=True)
    lines = []
    for index, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        Image.fromarray(image).save(folder / f"{index:03}.png")
        lines.append(f"{folder.name}/{index:03}.png {label}\n")
    return "".join(lines)


def test_lists_serve_as_train_and_test_as_folders_and_npz_do(tmp_path, monkeypatch):
    arrays = save_npz(tmp_path / "arrays.npz")
    mine, root = tmp_path / "mine", tmp_path / "root"
    mine.mkdir()
    lines = save_lists(root / "pool", arrays)
    (mine / "train.txt").write_text(lines)
    (mine / "test.txt").write_text(lines.replace(" 0\n", " 1\n"))
    (mine / "train").mkdir()  # a list counts before a folder, which may be where its images lie
    train, test = sources.load_train_and_test(str(mine), root)
    assert train.pixels.numpy().transpose(0, 2, 3, 1).tobytes() == arrays["images"].tobytes()
    assert train.labels.tolist() == arrays["labels"].tolist()
    assert test.labels.tolist() == [max(1, label) for label in arrays["labels"]]
    assert train.classes == test.classes == ("0", "1", "2", "3")

    monkeypatch.setattr(files, "IN_MEMORY", 0)
    streamed, _ = sources.load_train_and_test(str(mine), root)
    assert isinstance(streamed, ImageFiles)
    assert streamed.first(20).equal(train.pixels)
    monkeypatch.undo()

    (mine / "test.txt").rename(mine / "test")  # no list any more
    with pytest.raises(ValueError, match=r"no test\.npz, no test\.txt and no folder test"):
        sources.load_train_and_test(str(mine), root)
    save_npz(mine / "train.npz", class_names=np.array(["a", "b", "c", "d"]))  # counts before a list
    (mine / "test").rename(mine / "test.txt")
    assert sources.load_train_and_test(str(mine), root)[1].classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("split", "old", "new", "message"),
    [
        ("train", "3.png 3", "3.png -1", r"train\.txt, line 4: the label -1 is no class: .* --ood"),
        ("test", "3.png 3", "3.png -1", r"test\.txt, line 4: the label -1 is no class"),
        ("test", "3.png 3", f"3.png {2**63}", r"test\.txt, line 4: the label 92.* is no class"),
        ("test", "3.png 3", "3.png 4", "test: labels run from 0 to 4, outside 0 to 3"),
        ("train", " 1\n", " 7\n", "without a gap, got 0, 2, 3, 7: renumber them"),
        ("train", "003.png", "larger.png", r"train\.txt holds .* several sizes .*larger\.png 9×7"),
    ],
)
def test_a_list_to_train_or_test_on_has_classes_and_one_size(tmp_path, split, old, new, message):
    lines = save_lists(tmp_path / "pool", save_npz(tmp_path / "arrays.npz"))
    Image.new("RGB", (7, 9)).save(tmp_path / "pool" / "larger.png")
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(lines.replace(old, new) if name == split else lines)
    with pytest.raises(ValueError, match=message):
        sources.load_train_and_test(str(tmp_path), tmp_path)


def test_a_run_of_lists(tmp_path, run_main, monkeypatch):
    mine, root = tmp_path / "mine", tmp_path / "root"
    mine.mkdir()
    lines = save_lists(root / "pool", save_npz(tmp_path / "arrays.npz", count=80, size=8))
    for split in ("train", "test"):
        (mine / f"{split}.txt").write_text(lines)
    Image.new("RGB", (30, 17), "red").save(root / "red one.png")
    (tmp_path / "other.txt").write_bytes(b"red one.png -1\r\npool/000.png -1\r\n")
    monkeypatch.chdir(tmp_path)
    given = ("--data", "mine", "--model", "smallcnn", "--epochs", "1", "--data-dir", str(root))
    assert run_main(*given, "--ood", "near=other.txt")[::2] == (0, "")
    folder = tmp_path / "runs" / "mine" / "smallcnn" / "dismax" / "1"
    record = records.read_record(folder / records.METRICS)
    assert record["config"]["ood"] == [f"near={tmp_path}/other.txt"]
    (found,) = record["detection"].values()
    assert (found["title"], found["role"], found["n"]) == ("other", "near", 2)
    monkeypatch.chdir(root)
    status, out, _ = run_main(*given[:1], str(mine), *given[2:], "--ood", "near=../other.txt")
    assert (status, out.count("is finished: skipped")) == (0, 1)


def make_tar(members: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
        if link:
            member = tarfile.TarInfo("link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member)
    return buffer.getvalue()


def test_archives_are_unpacked_whole_and_never_outside(tmp_path, server):
    address, content, _ = server
    image = io.BytesIO()
    Image.new("RGB", (4, 4)).save(image, "PNG")
    members = {f"Some/{index}.png": image.getvalue() for index in range(3)}
    content["/good"] = make_tar(members)
    archive = Archive(
        "some", "Some", f"{address}/good", hashlib.md5(content["/good"]).hexdigest(), "Some", 3
    )
    archive.download(tmp_path)
    assert len(files.load_ood(tmp_path / "Some", torch.zeros(1, 3, 4, 4, dtype=torch.uint8))) == 3
    content.clear()
    archive.download(tmp_path)  # complete: nothing is asked
    content["/cut"] = make_tar(members)[:-20]
    cut = Archive(
        "some", "Cut", f"{address}/cut", hashlib.md5(content["/cut"]).hexdigest(), "Cut", 3
    )
    (tmp_path / "Cut").mkdir()  # an empty folder is not taken for the images
    with pytest.raises(ValueError, match="cannot be unpacked"):
        cut.download(tmp_path)
    for bad in (
        make_tar({"../escaped.png": b"x"}),
        make_tar({"/tmp/escaped.png": b"x", **members}),
        make_tar(members, "/etc/passwd"),
    ):
        content["/bad"] = bad
        evil = Archive("some", "Evil", f"{address}/bad", hashlib.md5(bad).hexdigest(), "Evil", 3)
        root = tmp_path / "root"
        with pytest.raises(ValueError, match="cannot be unpacked safely"):
            evil.download(root)
        assert not (tmp_path / "escaped.png").exists()
        assert not Path("/tmp/escaped.png").exists()
        assert not any(path.is_symlink() for path in root.rglob("*"))
        (root / "Evil.tar.gz").unlink()


@pytest.mark.parametrize("name", ["fifo.txt", "fifo.npz"])
def test_a_pipe_is_no_out_of_distribution_set(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is neither a file nor a folder"):
        files.load_ood(tmp_path / name, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    "names", [["images", "labels"], ["images.npy", "labels.npy"], ["class_names"], ["images"]]
)
def test_a_zip_of_text_is_no_npz(tmp_path, names):
    path = tmp_path / "train.npz"
    if names in (["class_names"], ["images"]):
        save_npz(path, **dict.fromkeys(names))
    with zipfile.ZipFile(path, "a") as archive:
        for name in names:
            archive.writestr(name, "some text")
    for read in (
        npz.load,
        lambda path: files.load_ood(path, torch.zeros(1, 3, 8, 8, dtype=torch.uint8)),
    ):
        with pytest.raises(ValueError, match=r"train\.npz cannot be read as an \.npz"):
            read(path)


@pytest.mark.parametrize("labels", [None, np.zeros(3), np.array(["a", "b"])])
def test_an_out_of_distribution_npz_may_have_any_labels_or_none(tmp_path, labels):
    save_npz(tmp_path / "out.npz", labels=labels)
    found = files.load_ood(tmp_path / "out.npz", torch.zeros(1, 3, 6, 6, dtype=torch.uint8))
    assert found.labels.tolist() == [-1] * 20


@pytest.mark.parametrize(
    "class_names",
    [np.array([["a", "b"], ["c", "d"]]), np.array([0.5, 1, 2, 3]), np.array([1j] * 4)],
)
def test_class_names_that_are_none_are_said(tmp_path, class_names):
    save_npz(tmp_path / "train.npz", class_names=class_names)
    with pytest.raises(ValueError, match=r"train\.npz: class_names must be text \[C\]"):
        npz.load(tmp_path / "train.npz")


@pytest.mark.parametrize(
    ("model", "size"),
    [("densenetbc22", 1), ("densenetbc22", 2), ("densenetbc22", 3), ("smallcnn", 1)],
)
def test_images_that_are_too_small_for_a_network_are_said_in_one_line(
    tmp_path, run_main, model, size
):
    for split in ("train", "test"):
        save_npz(tmp_path / f"{split}.npz", size=size)
    given = (
        "--data",
        str(tmp_path),
        "--model",
        model,
        "--loss",
        "softmax",
        "--epochs",
        "1",
        "--ood",
        "noise",
    )
    status, _, err = run_main(*given, "--protocol", "paper")
    if model == "smallcnn":  # which takes any
        assert (status, err) == (0, "")
        return
    assert (status, err.count("\n")) == (2, 1)
    assert (
        f"--model {model} cannot take images of {size}×{size} pixels: take larger ones, or "
        "another network" in err
    )
    assert not (tmp_path / "runs").exists()
