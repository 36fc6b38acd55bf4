"""The variants of FPR in results/fpr_variants."""

from unittest import mock

import pytest
import torch

from losses import LOSSES, DisMaxLossFirstPart, DisMaxLossSecondPart

with mock.patch.dict(LOSSES):  # the plugin adds rows, which no other test may see
    from results.fpr_variants import variants


@pytest.fixture
def head():
    torch.manual_seed(0)
    return DisMaxLossFirstPart(8, 5).train()


def batch(count=64):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images, torch.randint(5, (count,), generator=generator)


def prepared(criterion, count=64):
    """Return a preprocessed batch and the loss of random logits."""
    inputs, targets = criterion.preprocess(
        *batch(count), generator=torch.Generator().manual_seed(2)
    )
    logits = -torch.rand(count, 5, generator=torch.Generator().manual_seed(3))
    return inputs, targets, criterion(logits, targets)


def test_half_of_the_batch_is_dismax(head):
    ours, dismax = (prepared(make(head)) for make in (variants.OtherMosaics, DisMaxLossSecondPart))
    assert torch.equal(ours[0], dismax[0])
    assert torch.equal(ours[1], dismax[1])
    assert ours[2].item() == pytest.approx(dismax[2].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("epoch", "mosaics"), [(1, 0), (2, 0), (3, 6), (6, 16), (11, 32), (15, 32)]
)
def test_the_share_of_mosaics_grows(head, epoch, mosaics):
    criterion = variants.GrowingShare(head)
    criterion.before_epoch(epoch)
    _, targets, loss = prepared(criterion)
    assert (targets[:, 1] >= 0).sum() == mosaics
    assert loss.isfinite()


def test_a_quarter_of_the_batch_is_mosaics_and_counts_a_quarter(head):
    criterion = variants.QuarterOfTheBatch(head)
    _, targets, _ = prepared(criterion)
    assert (targets[:, 1] >= 0).tolist() == [False] * 48 + [True] * 16
    certain = torch.full((64, 5), -10.0).scatter(1, targets[:, :1], 0.0)  # right for plain images
    log_p = torch.log_softmax(10 * certain[48:], 1)
    q = torch.stack([torch.bincount(row, minlength=5) / 4 for row in targets[48:]])
    expected = torch.nn.functional.kl_div(log_p, q, reduction="batchmean") / 4
    assert criterion(certain, targets).item() == pytest.approx(expected.item(), rel=1e-5)


def test_blended_seams_are_mosaics_away_from_the_seams_and_smooth_there(head):
    blended, _, _ = prepared(variants.BlendedSeams(head))
    sharp, _, _ = prepared(DisMaxLossSecondPart(head))
    corner, middle = slice(0, 12), slice(12, 20)
    torch.testing.assert_close(blended[..., corner, corner], sharp[..., corner, corner])
    assert not torch.allclose(blended[32:, :, middle], sharp[32:, :, middle])
    ones = variants.BlendedSeams(head).mosaics(torch.ones(4, 3, 32, 32))
    torch.testing.assert_close(ones, torch.ones_like(ones))
    for source in range(4):  # each image has a quarter of the weight
        one = torch.zeros(4, 1, 32, 32)
        one[source] = 1
        shares = variants.BlendedSeams(head).mosaics(one).mean((1, 2, 3))
        torch.testing.assert_close(shares, torch.full((4,), 0.25))


def test_evaluation_changes_nothing(head):
    images, labels = batch()
    head.eval()
    assert variants.OtherMosaics(head).preprocess(images, labels)[0] is images
