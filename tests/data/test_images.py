"""Images in memory change their size."""

import pytest
import torch
from torchvision.transforms import v2

from data import images


def test_images_of_another_shape_are_cropped_without_distortion():
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


@pytest.mark.parametrize(
    "pixels",
    [
        torch.rand(2, 3, 4, 4),
        torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        torch.zeros(2, 1, 4, 4).byte(),
    ],
    ids=["floats", "channels last", "one channel"],
)
def test_images_of_another_format_are_refused_wherever_they_come_from(pixels):
    message = r"images must be a torch tensor, uint8 \[N, 3, H, W\] from 0 to 255, got Tensor torch"
    with pytest.raises(ValueError, match=message):
        images.Images(pixels, torch.zeros(2).long(), ())
    with pytest.raises(ValueError, match=message):
        images.as_ood(pixels, torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_images_need_a_label_each():
    with pytest.raises(ValueError, match=r"2 images need labels \[2\], got \[3\]"):
        images.Images(torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long(), ())
