"""FPR: mosaics, the classes of their quadrants, and the batches that it refuses."""

import re

import pytest
import torch
from scipy.special import logsumexp
from torch import nn

import losses
from losses import fpr
from tests.heads import C, D, batch, build


def numbered_images(count, height=2, width=2):
    """Images of one colour each: the image's number. A mosaic's pixels then name its sources."""
    return torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, height, width).float()


def test_targets_name_the_classes_of_the_four_quadrants():
    _head, criterion = build("dismax")
    count, classes = 16, 5
    inputs, targets = criterion.preprocess(numbered_images(count), torch.arange(count) % classes)
    assert targets.dtype == torch.int64
    for image, quadrants in zip(inputs[8:, 0].long(), targets[8:], strict=True):
        (top_left, top_right), (bottom_left, bottom_right) = (image % classes).tolist()
        assert quadrants.tolist() == [top_left, bottom_left, top_right, bottom_right]
    for image, quadrants in zip(inputs[:8, 0].long(), targets[:8], strict=True):
        assert quadrants.tolist() == [image[0, 0] % classes, *[fpr.NO_CLASS] * 3]


@pytest.mark.parametrize(
    "part",
    [slice(0, 8), slice(8, 16), slice(2, 12), slice(9, 14)],
    ids=["first half", "second half", "middle", "few mosaics"],
)
def test_the_loss_of_a_part_of_a_preprocessed_batch_is_nan(part):
    head, criterion = build("dismax")
    features, classes = torch.randn(16, D, dtype=torch.float64), torch.arange(16) % C
    _inputs, targets = criterion.preprocess(numbered_images(16), classes)
    logits = head(features)
    assert criterion(logits, targets).isfinite()
    assert criterion(logits[part], targets[part]).isnan()
    assert criterion(logits, targets.flip(0)).isnan()


def test_one_hot_targets_of_four_classes_are_no_preprocessed_targets():
    head, criterion = build("dismax")
    one_hot = torch.eye(4, dtype=torch.int64).repeat(4, 1)
    assert criterion(head(torch.randn(16, D, dtype=torch.float64)), one_hot).isnan()


def test_fractional_targets_are_the_classes_shares_of_the_pixels():
    _head, criterion = build("dismax")
    count, classes = 16, 3
    inputs, targets = criterion.preprocess(
        numbered_images(count, 6, 4), torch.arange(count) % classes
    )
    shares = fpr.fractional_targets(targets[8:], classes, torch.float64)
    for image, expected in zip(inputs[8:, 0].long(), shares, strict=True):
        pixels = (image % classes).flatten()
        counts = torch.bincount(pixels, minlength=classes)
        assert (counts / len(pixels)).tolist() == expected.tolist()


def test_the_batch_is_shuffled_and_no_image_is_lost():
    _head, criterion = build("dismax")
    mixed, _targets = criterion.preprocess(numbered_images(16), torch.zeros(16).long())
    top_left = mixed[:, 0, 0, 0].tolist()
    assert top_left != sorted(top_left)
    assert sorted(top_left) == list(range(16))


def test_a_mosaics_quadrants_come_from_the_images_1_2_and_3_places_before_it():
    images = numbered_images(5)
    # The mosaic of image 4: images 4 and 2 at the top, images 3 and 1 at the bottom.
    assert fpr.mosaics(images)[4, 0].tolist() == [[4, 2], [3, 1]]


@pytest.mark.parametrize(("count", "plain"), [(7, 3), (8, 4), (9, 4), (64, 32)])
def test_the_smaller_half_of_a_batch_stays_plain(count, plain):
    _head, criterion = build("dismax")
    mixed, targets = criterion.preprocess(numbered_images(count), torch.arange(count) % C)
    assert [image.unique().numel() for image in mixed] == [1] * plain + [4] * (count - plain)
    logits, labels = criterion.unmixed(torch.zeros(count, C), targets)
    assert len(logits) == plain
    assert labels.equal(mixed[:plain, 0, 0, 0].long() % C)


@pytest.mark.parametrize(
    "copied",
    [
        torch.clone,
        lambda targets: targets[:],
        lambda targets: targets.int(),
        lambda targets: torch.stack(list(targets)),
    ],
)
def test_a_copy_of_the_targets_gives_the_same_loss_and_labels(copied):
    head, criterion = build("dismax")
    features, targets = batch()
    _, targets = criterion.preprocess(torch.zeros(len(targets), 1, 2, 2), targets)
    logits = head(features)
    assert criterion(logits, copied(targets)).equal(criterion(logits, targets))
    for plain, expected in zip(
        criterion.unmixed(logits, copied(targets)), criterion.unmixed(logits, targets), strict=True
    ):
        torch.testing.assert_close(plain, expected, rtol=0, atol=0, check_dtype=False)


def test_two_batches_may_be_preprocessed_before_either_is_trained_on():
    head, criterion = build("dismax")
    features, labels = batch()
    logits = head(features)
    images = torch.zeros(len(labels), 1, 2, 2)
    first, second = (criterion.preprocess(images, labels)[1] for _ in range(2))
    short = criterion.preprocess(images[:5], labels[:5], tail=True)[1]
    actual = [criterion(logits[: len(targets)], targets) for targets in (short, second, first)]
    other = losses.DisMaxLossSecondPart(head)  # it keeps nothing of a batch either
    expected = [other(logits[: len(targets)], targets) for targets in (short, second, first)]
    assert torch.stack(actual).equal(torch.stack(expected))
    assert len(criterion.unmixed(logits, first)[1]) == len(labels) // 2
    assert len(criterion.unmixed(logits[:5], short)[1]) == 5


def test_preprocess_repeats_with_its_generator_and_leaves_the_global_one():
    _head, criterion = build("dismax")
    inputs, targets = torch.randn(16, 3, 4, 4), torch.arange(16)
    before = torch.get_rng_state()
    first, second = (
        criterion.preprocess(inputs, targets, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert first[0].equal(second[0])
    assert first[1].equal(second[1])
    assert torch.get_rng_state().equal(before)


def test_a_batch_under_7_images_is_refused():
    _head, criterion = build("dismax")
    with pytest.raises(ValueError, match="batch of 6 is too small.*take 7 images"):
        criterion.preprocess(torch.zeros(6, 3, 4, 4), torch.zeros(6).long())


def test_images_of_odd_width_are_refused():
    _head, criterion = build("dismax")
    with pytest.raises(ValueError, match="even height and width, got 4×5"):
        criterion.preprocess(torch.zeros(8, 3, 4, 5), torch.zeros(8).long())


@pytest.mark.parametrize("shape", [[8, 48], [8, 6, 4], [8, 5, 7]])
def test_inputs_that_are_not_images_are_refused(shape):
    _head, criterion = build("dismax")
    message = re.escape(f"got {shape}") + ".*regularization=None"
    with pytest.raises(ValueError, match=message):
        criterion.preprocess(torch.zeros(shape), torch.zeros(8).long())


def test_inputs_that_are_no_tensor_are_refused():
    _head, criterion = build("dismax")
    with pytest.raises(TypeError, match="got dict and Tensor.*regularization=None"):
        criterion.preprocess({"ids": torch.zeros(8, 4)}, torch.zeros(8).long())


def test_soft_and_one_hot_targets_are_refused():
    _head, criterion = build("dismax")
    message = r"class indices \[8\], got torch.float32 \[8, 4\]: with soft labels"
    with pytest.raises(ValueError, match=message):
        criterion.preprocess(torch.zeros(8, 3, 4, 4), torch.eye(4).repeat(2, 1))


@pytest.mark.parametrize("label", [-1, -100, 4])
def test_a_label_that_is_no_class_is_an_error_in_a_mosaic(label):
    _head, criterion = build("dismax")
    targets = fpr.quadrant_classes(torch.tensor([0, 1, 2, 3, 0, 1, 2, label]))
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        criterion(torch.zeros(8, 4), targets)


def test_a_batch_is_not_preprocessed_twice():
    _head, criterion = build("dismax")
    mixed = criterion.preprocess(torch.zeros(8, 3, 4, 4), torch.zeros(8).long())
    with pytest.raises(RuntimeError, match="already"):
        criterion.preprocess(*mixed)


def test_a_batch_that_was_not_preprocessed_is_an_error():
    _head, criterion = build("dismax")
    for count in (6, 8):
        with pytest.raises(RuntimeError, match="criterion.preprocess.*regularization=None"):
            criterion(torch.zeros(count, C), torch.zeros(count).long())


@pytest.mark.parametrize(
    ("loss", "training"), [("dismax", False), ("dismax_nofpr", True), ("softmax", True)]
)
def test_a_preprocessed_batch_has_no_loss_without_fpr(loss, training):
    head, criterion = build(loss)
    head.train(training)
    with pytest.raises(ValueError, match=r"class indices \[B\], got \[8, 4\] and .* \[8, 4\]"):
        criterion(torch.zeros(8, C), torch.zeros(8, 4).long())


def test_wrong_arguments_of_the_criterion_are_refused():
    head, _criterion = build("dismax")
    with pytest.raises(ValueError, match="regularization"):
        losses.DisMaxLossSecondPart(head, regularization="mixup")
    with pytest.raises(TypeError, match="head"):
        losses.DisMaxLossSecondPart(nn.Linear(2, 2))


def test_a_tail_too_small_for_mosaics_trains_without_fpr():
    head, criterion = build("dismax")
    features, targets = batch()
    _inputs, returned = criterion.preprocess(torch.zeros(5, 1, 2, 2), targets[:5], tail=True)
    logits = head(features[:5])
    expected = -(
        10 * logits
        - torch.from_numpy(logsumexp(10 * logits.detach().numpy(), axis=1, keepdims=True))
    )
    assert criterion(logits, returned).item() == pytest.approx(
        expected[torch.arange(5), targets[:5]].mean().item()
    )


def test_evaluation_mode_does_not_mix_and_needs_no_preprocess():
    head, criterion = build("dismax")
    head.eval()
    inputs, targets = torch.randn(3, 3, 5, 5), torch.tensor([0, 1, 2])
    assert criterion.preprocess(inputs, targets) == (inputs, targets)
    logits = head(torch.randn(3, D).double())
    torch.testing.assert_close(
        criterion(logits, targets), nn.functional.cross_entropy(logits, targets)
    )


def test_a_class_that_does_not_exist_is_an_error():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        fpr.fractional_targets(torch.tensor([[0, 1, 2, C]]), C, torch.float32)


@pytest.mark.parametrize("label", [-100, -2, C])
def test_a_label_of_no_class_is_an_error_in_a_mosaic_too(label):
    head, criterion = build("dismax")
    logits = head(torch.randn(8, D))
    _, targets = criterion.preprocess(torch.randn(8, 3, 4, 4), torch.full((8,), 1))
    targets[4:] = label
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        criterion(logits, targets)
