"""What holds for every loss of the table."""

import math

import pytest
import torch
from torch import nn

from losses import LOSSES
from tests.heads import B, C, D, batch, build


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [-1.7, 1.7])
def test_gradients_equal_finite_differences(name, scale):
    head, criterion = build(name, scale=scale)
    features, targets = batch()
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    parameters = list(head.parameters())

    def loss(features, *_):
        torch.manual_seed(0)  # for the dropout
        return criterion(head(features), targets)

    # With many parameters, only along random directions.
    fast = any(parameter.numel() > 1000 for parameter in parameters)
    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), *parameters), fast_mode=fast)


@pytest.mark.parametrize("name", LOSSES)
def test_torch_compile_compiles_the_whole_head_and_changes_nothing(name):
    torch._dynamo.reset()  # dynamo limits recompilations, and all heads count together
    head, _criterion = build(name)
    features, targets = batch()

    def step(forward):
        head.zero_grad()
        inputs = features.clone().requires_grad_()
        torch.manual_seed(0)
        logits = forward(inputs)
        nn.functional.cross_entropy(logits, targets).backward()
        return [logits.detach(), inputs.grad, *(parameter.grad for parameter in head.parameters())]

    # aot_eager traces forward and backward as inductor does, but does not compile for minutes.
    # fullgraph makes a graph break an error.
    torch.testing.assert_close(
        step(torch.compile(head, backend="aot_eager", fullgraph=True)), step(head)
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_give_a_loss_that_is_not_finite(name, bad):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    features[:] = bad
    _, targets = criterion.preprocess(torch.zeros(B, 1, 2, 2), targets)
    assert not criterion(head(features), targets).isfinite()


@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_batch_gives_empty_logits(name):
    head, _ = build(name)
    assert head(torch.zeros(0, D)).shape == (0, C)
    assert head.scores(head.named_outputs(torch.zeros(0, D))).shape == (0,)


@pytest.mark.parametrize("name", LOSSES)
def test_a_small_temperature_and_a_large_scale_stay_finite(name):
    head, criterion = build(name, torch.float32)
    if hasattr(head, "distance_scale"):
        head.distance_scale.data.fill_(1e4)
    features, targets = batch(torch.float32)
    head.eval().temperature.fill_(0.001)
    logits = head(features)
    assert criterion(logits, targets).isfinite()
    for score in head.all_scores(head.named_outputs(features), 0.001).values():
        assert score.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32_and_float64_stays_float64(name):
    head, criterion = build(name, torch.float32)
    features, targets = batch(torch.float32)
    head.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features.bfloat16())
        assert logits.dtype == criterion(logits, targets).dtype == torch.float32
    torch.testing.assert_close(logits, head(features.bfloat16().float()), rtol=0, atol=0)
    assert head(features.double()).dtype == torch.float64
    outputs = {output: value.half() for output, value in head.named_outputs(features).items()}
    assert head.scores(outputs).dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int32, torch.uint64, torch.bool]
)
def test_labels_of_any_integer_type_train(name, dtype):
    head, criterion = build(name)
    features, targets = batch()
    targets = targets % 2
    _, wide = criterion.preprocess(
        torch.zeros(B, 1, 2, 2), targets, generator=torch.Generator().manual_seed(0)
    )
    torch.manual_seed(0)  # for the dropout
    expected = criterion(head(features), wide)
    _, narrow = criterion.preprocess(
        torch.zeros(B, 1, 2, 2), targets.to(dtype), generator=torch.Generator().manual_seed(0)
    )
    torch.manual_seed(0)
    torch.testing.assert_close(criterion(head(features), narrow), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_image_with_a_nan_is_never_accepted_and_changes_no_other_score(name, bad):
    head, _ = build(name)
    head.eval().temperature.fill_(0.5)
    features, _ = batch()
    clean = head.named_outputs(features)
    head.set_thresholds(head.scores(clean))
    features[3, 1] = bad
    features[7] = bad
    outputs = head.named_outputs(features)
    assert not (head.scores(outputs) >= head.threshold(0.0))[[3, 7]].any()
    others = [i for i in range(B) if i not in (3, 7)]
    before, after = head.all_scores(clean, 0.5), head.all_scores(outputs, 0.5)
    for score in after:
        assert after[score][[3, 7]].isnan().all(), score
        torch.testing.assert_close(after[score][others], before[score][others])
