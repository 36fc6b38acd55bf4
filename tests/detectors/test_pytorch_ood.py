"""The detectors of pytorch-ood as detectors of ours."""

import inspect
import re
import sys
from copy import deepcopy

import pytest
import torch
from pytorch_ood import detector as package

from detectors import FitData, NotApplicable, get_detector
from detectors.pytorch_ood import HELD_OUT, LINEAR
from losses import LOSSES
from models import build_model
from tests.common import ROOT
from tests.detectors.sets import (
    MEAN,
    STD,
    C,
    fit_data,
    head_maker,
    network_set,
    trained_data,
    untrained_data,
)

NAMES = [name for name in package.__all__ if inspect.isclass(getattr(package, name))]
NOT_APPLICABLE = {
    "MCD": "needs a network with dropout",
    "MCM": "needs text_embeddings, which a run does not have",
    "WeightedEBO": "needs weights, which a run does not have",
}
# Name there → ours, which gives the same order.
EQUAL = {
    "MaxLogit": "maxlogit",
    "EnergyBased": "energy",
    "Mahalanobis": "mahalanobis",
    "ViM": "vim",
    "ReAct": "react",
    "ODIN": "odin",
}


def fitted_scores(name, data, other):
    return get_detector(name).fit(data)(other)


@pytest.mark.parametrize("name", NAMES)
def test_each_detector_gives_finite_scores_or_the_reason_why_not(name):
    data = trained_data()
    before = deepcopy(data.network.state_dict())
    other = network_set(data.network, 2, 33)
    if name in NOT_APPLICABLE:
        with pytest.raises(NotApplicable, match=NOT_APPLICABLE[name]):
            fitted_scores(f"pytorch_ood:{name}", data, other)
        return
    fitted = get_detector(f"pytorch_ood:{name}").fit(data)
    scores = fitted(other)
    assert (scores.shape, scores.dtype) == ((33,), torch.float64)
    assert scores.isfinite().all()
    assert len(scores.unique()) > 10
    torch.testing.assert_close(fitted(other), scores, rtol=0, atol=0)  # what it draws is seeded
    assert fitted.parameters["package"] == "pytorch-ood " + sys.modules["pytorch_ood"].__version__
    torch.testing.assert_close(data.network.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert not data.network.training


@pytest.mark.parametrize("name", EQUAL)
def test_a_detector_that_we_have_too_ranks_images_as_ours(name):
    data = trained_data()
    other = network_set(data.network, 2, 200)
    theirs = fitted_scores(f"pytorch_ood:{name}", data, other)
    ours = fitted_scores(EQUAL[name], data, other)
    ranks = torch.stack([theirs.argsort().argsort(), ours.argsort().argsort()]).double()
    assert ranks.corrcoef()[0, 1] > 0.99  # theirs rounds to float32


def test_knn_with_the_same_k_ranks_images_as_ours():
    data = trained_data()
    other = network_set(data.network, 2, 200)
    k = get_detector("knn").fit(data).parameters["k"]
    ours = fitted_scores("knn", data, other)
    theirs = package.KNN(None, k=k).fit_features(data.train.outputs["features"], data.train.labels)
    expected = -torch.as_tensor(theirs.predict_features(other.outputs["features"]))
    assert torch.stack([ours, expected]).corrcoef()[0, 1] > 0.999
    fifty = package.KNN(None).fit_features(data.train.outputs["features"], data.train.labels)
    expected = -torch.as_tensor(fifty.predict_features(other.outputs["features"]))
    torch.testing.assert_close(fitted_scores("pytorch_ood:KNN", data, other), expected)


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_detector_whose_paper_says_so_is_fitted_to_held_out_images(name):
    data = trained_data()
    theirs = getattr(package, name)(None)
    held_out = data.calibration
    theirs.fit_logits(held_out.outputs["logits"].double(), held_out.labels)
    expected = -theirs.predict_logits(data.train.outputs["logits"].double())
    scores = fitted_scores(f"pytorch_ood:{name}", data, data.train)
    torch.testing.assert_close(scores, expected.double())
    assert get_detector(f"pytorch_ood:{name}").needs == "logits"


@pytest.mark.parametrize("name", ["GradNorm", "GradUncertainty"])
def test_gradients_of_the_last_layer_are_those_of_the_whole_network(name):
    data = trained_data()
    other = network_set(data.network, 2, 20)
    ours = fitted_scores(f"pytorch_ood:{name}", data, other)
    last = {"classifier.weight", "classifier.bias"}
    theirs = getattr(package, name)(data.network, param_filter=last.__contains__)
    expected = -torch.cat([theirs.predict(inputs) for inputs in other.batches()])
    torch.testing.assert_close(ours, expected.detach().double(), rtol=1e-3, atol=1e-6)


def test_dropout_is_sampled_from_a_seed_of_its_own_and_the_network_keeps_its_thresholds():
    data = untrained_data("godin_dropout")
    data.network.classifier.set_thresholds(torch.randn(50))
    before = deepcopy(data.network.state_dict())
    other = network_set(data.network, 2, 33)
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scores.append(fitted_scores("pytorch_ood:MCD", data, other))
    torch.testing.assert_close(*scores, rtol=0, atol=0)
    assert len(scores[0].unique()) == 33
    assert (scores[0] < 0).all()  # minus a variance
    torch.testing.assert_close(data.network.state_dict(), before, rtol=0, atol=0)


def test_a_perturbation_is_in_units_of_pixels():
    data = trained_data()
    theirs = package.ODIN(deepcopy(data.network), norm_std=list(STD))
    expected = -torch.cat([theirs.predict(inputs.clone()) for inputs in data.train.batches()])
    scores = fitted_scores("pytorch_ood:ODIN", data, data.train)
    torch.testing.assert_close(scores, expected.detach().double())


@pytest.mark.parametrize("loss", ["dismax", "duq", "sngp"])
def test_what_needs_a_linear_head_refuses_other_heads_and_the_rest_works(loss):
    data = untrained_data(loss)
    other = network_set(data.network, 2, 20)
    for name in NAMES:
        row = get_detector(f"pytorch_ood:{name}")
        assert (row.refuses(data.head) == "needs a linear head") == (name in LINEAR)
        if name in LINEAR or name in NOT_APPLICABLE:
            continue
        if name == "SHE":  # an untrained network is right for few classes
            with pytest.raises(NotApplicable, match="pytorch-ood's SHE refuses: No correct pred"):
                row.fit(data)
            continue
        assert row.fit(data)(other).isfinite().all(), name


@pytest.mark.parametrize("name", ["ODIN", "MahalanobisODIN", "NACUE", "Gram", "GradNorm"])
@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
def test_scores_depend_neither_on_the_gradient_mode_nor_on_autocast(name, mode):
    data = trained_data()
    expected = fitted_scores(f"pytorch_ood:{name}", data, data.train)
    with mode():
        scores = fitted_scores(f"pytorch_ood:{name}", data, data.train)
    torch.testing.assert_close(scores, expected)


def test_a_network_without_known_layers_or_with_too_small_maps_is_refused():
    for model, name, reason in (
        ("timm/resnet10t", "Gram", "a network whose layers are known"),
        ("resnet10", "RankFeat", "feature maps of more than one pixel"),  # of 8×8 pixels
    ):
        data = fit_data(build_model(model, C, head_maker("softmax")).eval(), calibration=4)
        with pytest.raises(NotApplicable, match=reason):
            get_detector(f"pytorch_ood:{name}").fit(data)


def test_fitting_to_features_that_are_not_finite_is_an_error_of_ours():
    data = trained_data()
    data.train.outputs["features"][3, 2] = torch.nan
    for name in ("RMD", "ReAct"):
        with pytest.raises(ValueError, match="not all finite") as caught:
            get_detector(f"pytorch_ood:{name}").fit(data)
        assert not isinstance(caught.value, NotApplicable)


def test_a_linear_head_without_bias_counts_as_one_with_a_bias_of_zero():
    data = trained_data()
    bare = torch.nn.Linear(data.head.num_features, C, bias=False)
    bare.weight.data.copy_(data.head.weight.data)
    zero = LOSSES["softmax"].head(data.head.num_features, C)
    zero.load_state_dict({"weight": bare.weight.data, "bias": torch.zeros(C)})
    rows = [FitData(None, head, data.train, data.calibration, STD, MEAN) for head in (bare, zero)]
    scores = [fitted_scores("pytorch_ood:fDBD", each, data.train) for each in rows]
    torch.testing.assert_close(*scores)


def test_an_unknown_name_or_a_missing_package_is_one_clear_line(monkeypatch):
    with pytest.raises(ValueError, match=r"'pytorch_ood:knn': pytorch-ood .* has ASH, DICE.*KNN"):
        get_detector("pytorch_ood:knn")
    monkeypatch.setitem(sys.modules, "pytorch_ood.detector", None)
    with pytest.raises(ValueError, match=r"KNN needs the package pytorch-ood: pip install "):
        get_detector("pytorch_ood:KNN")


def test_the_page_has_a_row_for_each_detector_and_says_which_do_not_apply():
    page = (ROOT / "docs" / "pytorch-ood.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.M))
    assert set(rows) == set(NAMES)
    for name, cells in rows.items():
        assert ("n/a" in cells.split("|")[0]) == (name in ("MCM", "WeightedEBO")), name
        assert ("linear head" in cells) == (name in LINEAR), name
        assert ("held-out" in cells) == (name in HELD_OUT), name
        if name in EQUAL:
            assert f"`{EQUAL[name]}`" in cells, name
