"""Built-in data sets: digits, photographs and noise."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from data import builtin, images, sources, splits

BUILT_IN = ("digits89", "photos", "noise")


def test_digits_are_scikit_learns_and_split_without_overlap():
    train, test = sources.load_train_and_test("digits", Path("nowhere"))
    stay, out = splits.hold_out(train, 0.5)
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
    again, _ = splits.hold_out(sources.load_train_and_test("digits", Path("nowhere"))[0], 0.5)
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
    # Not distorted: neighbours differ as much across as down, as they do in square crops.
    crops = builtin.photos((8, 64)).float()
    across, down = crops.diff(dim=3).abs().mean(), crops.diff(dim=2).abs().mean()
    assert 0.6 < across / down < 1.2
    assert builtin.photos((8, 8)).equal(builtin.photos((8, 8)))
    assert len(builtin.digits89()) == (load_digits().target >= 8).sum()
