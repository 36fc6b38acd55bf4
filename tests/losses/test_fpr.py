"""FPR: mosaics, their targets, and the batches it refuses."""

import re

import pytest
import torch
from scipy.special import logsumexp
from torch import nn

import losses
from losses import fpr
from tests.heads import C, D, batch, build


def test_mosaics_and_targets_follow_the_pixels():
    # Every image is one colour, its position: a mosaic's pixels then say which images it was made
    # of.
    _head, criterion = build("dismax")
    count, classes = 16, 4
    inputs = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 6, 4).float()
    targets = torch.arange(count) % classes
    mixed, returned = criterion.preprocess(inputs, targets)
    half = count // 2
    assert mixed.shape == inputs.shape
    for image, target in zip(mixed[:half], returned[:half], strict=True):
        assert image.unique().numel() == 1
        assert int(image[0, 0, 0]) % classes == target
    q = fpr.fractional_targets(returned[half:], classes, torch.float64)
    for image, target, shares in zip(mixed[half:], returned[half:], q, strict=True):
        assert image.unique().numel() == 4
        assert int(image[0, 0, 0]) % classes == target  # its own quadrant is top-left
        counted = (
            torch.bincount(image[0].flatten().long() % classes, minlength=classes)
            / image[0].numel()
        )
        assert counted.tolist() == shares.tolist()
    shown = torch.cat([mixed[:half, 0, 0, 0], mixed[half:, 0, 0, 0]])
    # The batch is shuffled, and no image is lost.
    assert sorted(shown.tolist()) == list(range(count))


def test_a_mosaics_quadrants_come_from_the_images_1_2_and_3_places_before_it():
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(-1, 1, 2, 2)
    # Image 4's mosaic, row by row: its own and that of image 2 on top, those of 3 and 1 below.
    assert fpr.mosaics(images)[4, 0].tolist() == [[4, 2], [3, 1]]


@pytest.mark.parametrize(("count", "plain"), [(7, 3), (8, 4), (9, 4), (64, 32)])
def test_the_smaller_half_of_a_batch_stays_plain(count, plain):
    _head, criterion = build("dismax")
    inputs = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    mixed, targets = criterion.preprocess(inputs, torch.arange(count) % C)
    assert [image.unique().numel() for image in mixed] == [1] * plain + [4] * (count - plain)
    logits, labels = criterion.unmixed(torch.zeros(count, C), targets)
    assert len(logits) == len(labels) == plain


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


def test_fpr_refuses_what_it_cannot_mix():
    head, criterion = build("dismax")
    few = torch.zeros(6).long()
    with pytest.raises(ValueError, match="batch of 6 is too small.*take 7 images"):
        criterion.preprocess(torch.zeros(6, 3, 4, 4), few)
    # What was refused is not trained on all the same.
    with pytest.raises(RuntimeError, match="preprocess"):
        criterion(torch.zeros(6, C), few)
    with pytest.raises(ValueError, match="even height and width, got 4×5"):
        criterion.preprocess(torch.zeros(8, 3, 4, 5), torch.zeros(8).long())
    for shape in ([8, 48], [8, 6, 4], [8, 5, 7]):  # tabular data, and sequences of vectors
        with pytest.raises(
            ValueError, match=re.escape(f"got {shape} and [8]") + ".*regularization=None"
        ):
            criterion.preprocess(torch.zeros(shape), torch.zeros(8).long())
    with pytest.raises(RuntimeError, match="preprocess"):
        criterion(torch.zeros(8, C), torch.zeros(8).long())
    mixed = criterion.preprocess(torch.zeros(8, 3, 4, 4), torch.zeros(8).long())
    with pytest.raises(RuntimeError, match="already"):
        criterion.preprocess(*mixed)
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


def test_evaluation_mode_neither_mixes_nor_needs_it():
    head, criterion = build("dismax")
    head.eval()
    inputs, targets = torch.randn(3, 3, 5, 5), torch.tensor([0, 1, 2])
    assert criterion.preprocess(inputs, targets) == (inputs, targets)
    logits = head(torch.randn(3, D).double())
    torch.testing.assert_close(
        criterion(logits, targets), nn.functional.cross_entropy(logits, targets)
    )


def test_hooks_keep_their_old_names_with_a_warning():
    _head, criterion = build("dismax")
    batch = torch.zeros(4, C), torch.arange(4)
    with pytest.warns(DeprecationWarning, match="labelled is now named unmixed"):
        assert criterion.labelled(*batch) == batch
    with pytest.warns(DeprecationWarning, match="Own.undecayed is now named no_decay_parameters"):

        class Own(type(criterion)):
            def undecayed(self):
                return list(self.classifier.parameters())

            def labelled(self, logits, targets):
                return super().labelled(logits, targets)

    head, _ = build("dismax")
    own = Own(head)
    assert own.parameter_groups(head, 0.1)[-1]["weight_decay"] == 0.0
    with pytest.warns(DeprecationWarning, match="labelled is now named unmixed"):
        assert own.unmixed(*batch) == batch
    with pytest.warns(DeprecationWarning, match="undecayed is now named no_decay_parameters"):
        assert criterion.undecayed() == []
