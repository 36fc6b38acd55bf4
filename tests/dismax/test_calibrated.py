"""A calibrated network for inputs that are no images: vectors, tokens, and features."""

import math

import pytest
import torch
from torch import nn

import dismax
import losses
from dismax.calibrated import CalibratedNetwork
from dismax.detector import Detector
from tests.dismax.networks import Ending, plainly

CLASSES = 3
# The labels are random, so the best temperature is the highest.
pytestmark = pytest.mark.filterwarnings("ignore:the best temperature:UserWarning")


def calibrated(body, inputs):
    """Return an untrained, calibrated network of a body with 8 features, and a loader of inputs."""
    torch.manual_seed(0)
    network = nn.Sequential(body, losses.DisMaxLossFirstPart(8, CLASSES)).eval()
    loader = [(inputs, torch.randint(CLASSES, (len(inputs),)))]
    dismax.calibrate(network, loader, objective="nll")
    return network, loader


VECTORS, TOKENS = torch.randn(200, 5), torch.randint(20, (200, 12))
KINDS = pytest.mark.parametrize(
    ("body", "inputs"),
    [
        (nn.Linear(5, 8), VECTORS),
        (nn.EmbeddingBag(20, 8, padding_idx=0), TOKENS),
        (nn.Identity(), torch.randn(200, 8)),
    ],
    ids=["vectors", "tokens", "features"],
)


@KINDS
@pytest.mark.parametrize("score", ["own", "combined"])
def test_any_inputs_are_classified_and_accepted_by_the_threshold(body, inputs, score):
    network, loader = calibrated(body, inputs)
    fitted = dismax.fit_score(network, score, loader, loader)
    detector = CalibratedNetwork(network, list("abc"), tpr=0.9, score=fitted)
    found = detector(inputs)
    # The head's logits are divided by its temperature in evaluation mode.
    torch.testing.assert_close(found.logits, network(inputs))
    assert found.classes.equal(network(inputs).argmax(1))
    assert found.accepted.equal(found.scores >= fitted.threshold(0.9))
    assert detector.threshold() == fitted.threshold(0.9) != detector.threshold(0.5)
    if score == "own":  # "combined" ranks a training input among the others
        assert 0.9 <= found.accepted.float().mean() < 0.92


def test_an_input_that_is_not_finite_is_not_accepted():
    network, _ = calibrated(nn.Linear(5, 8), VECTORS)
    detector = CalibratedNetwork(network, tpr=1)
    inputs = VECTORS[:2].clone()
    inputs[1, 0] = math.nan
    assert detector(inputs).accepted.tolist() == [True, False]


def test_a_threshold_for_each_class():
    network, loader = calibrated(nn.Linear(5, 8), VECTORS)
    score = dismax.fit_score(network, "own", loader, loader)
    detector = CalibratedNetwork(network, tpr=0.5, score=score, per_class=True)
    found = detector(VECTORS)
    assert found.accepted.equal(found.scores >= detector.least[found.classes])
    with pytest.raises(ValueError, match="per_class needs a score with thresholds for each class"):
        CalibratedNetwork(network, per_class=True)


def test_the_precision_of_the_head_and_evaluation_mode_stay():
    network, _ = calibrated(nn.Linear(5, 8), VECTORS)
    detector = CalibratedNetwork(network).half().train()
    assert detector.body[0].weight.dtype == torch.float16
    assert detector.least.dtype == detector.head.prototypes.dtype == torch.float32
    assert not detector.training
    assert network[0].weight.dtype == torch.float32  # it is a copy


def test_a_saved_one_gives_the_same_outputs(tmp_path):
    network, loader = calibrated(nn.Linear(5, 8), VECTORS)
    score = dismax.fit_score(network, "combined", loader, loader)
    detector = CalibratedNetwork(network, score=score)
    torch.save(detector, tmp_path / "detector.pt")
    again = torch.load(tmp_path / "detector.pt", weights_only=False)
    for first, second in zip(detector(VECTORS), again(VECTORS), strict=True):
        assert first.equal(second)


def test_a_detector_of_images_is_one_that_normalises_first():
    network = Ending(plainly)
    images = torch.rand(20, 3, 4, 4)
    detector = Detector(network, (0.5,) * 3, (0.25,) * 3)
    plain = CalibratedNetwork(network)
    for first, second in zip(detector(images), plain((images - 0.5) / 0.25), strict=True):
        assert first.equal(second)


def test_a_head_alone_is_refused_and_the_message_says_what_to_do():
    head = losses.DisMaxLossFirstPart(8, CLASSES)
    with pytest.raises(ValueError, match=r"already: nn\.Sequential\(nn\.Identity\(\), head\)"):
        CalibratedNetwork(head)


@pytest.mark.parametrize("score", ["own", "energy"])
def test_other_thresholds_decide(score):
    network, loader = calibrated(nn.Linear(5, 8), VECTORS)
    fitted = None if score == "own" else dismax.fit_score(network, score, loader, loader)
    detector = CalibratedNetwork(network, tpr=0.9, score=fitted)
    other = 3 + torch.randn(150, 5)
    detector.set_thresholds(detector(other).scores)
    accepted = detector(other).accepted.float().mean()
    assert 0.9 <= accepted < 0.92
    assert detector.least.item() == pytest.approx(detector.threshold())
    by_class = CalibratedNetwork(
        network, tpr=0.5, score=dismax.fit_score(network, "own", loader, loader), per_class=True
    )
    with pytest.raises(ValueError, match="each class are set by dismax.fit_score"):
        by_class.set_thresholds(torch.randn(10))
