"""Batches: augmented for training, plain for evaluation."""

import pytest
import torch
from scipy.stats import chisquare

from data import images
from data.batches import Normalizer, TrainingBatches, plain_batches
from tests.stepping import epoch_of


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
    for inputs, targets in epoch_of(batches_of(pixels, batch_size=25), 1):
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


def test_all_crops_and_flips_are_equally_likely():
    # Each pixel tells where it was.
    place = torch.arange(1, 145, dtype=torch.uint8).view(1, 1, 12, 12)
    batches = batches_of(place.expand(10_000, 3, -1, -1), batch_size=10_000)
    ((inputs, _),) = epoch_of(batches, 2)
    here, beside = ((inputs[:, 0, 6, column] * 255).round().long() - 1 for column in (6, 7))
    mirrored = beside < here
    ways = (here // 12) * 24 + (here % 12) * 2 + mirrored
    counts = ways.bincount()
    counts = counts[counts > 0]
    assert len(counts) == 5 * 5 * 2
    assert chisquare(counts).pvalue > 1e-3


def test_without_augmentation_batches_are_the_images():
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
    for inputs, targets in epoch_of(batches, 0):
        assert inputs.equal(plain[targets])
    torch.testing.assert_close(plain.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        plain.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("count", "sizes"), [(9, [4, 4]), (10, [4, 4, 2]), (8, [4, 4]), (3, [3])])
def test_no_batch_has_one_image(count, sizes):
    pixels = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8)
    batches = batches_of(pixels, batch_size=4)
    epochs = [epoch_of(batches, seed) for seed in range(20)]
    assert all([len(targets) for _, targets in epoch] == sizes for epoch in epochs)
    seen = [set(torch.cat([targets for _, targets in epoch]).tolist()) for epoch in epochs]
    assert set.union(*seen) == set(range(count))  # none is left out for good
