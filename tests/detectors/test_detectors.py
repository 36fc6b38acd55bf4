"""Each detector recomputed by another route, and against pytorch-ood 0.4, whose scores are higher
for what is OOD.
"""

import json
import math
import weakref
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, mahalanobis
from scipy.special import logsumexp, softmax
from torch import nn

from detectors import (
    DETECTORS,
    FitData,
    NotApplicable,
    SetOutputs,
    fit_odin,
    fit_preprocessing,
    get_detector,
)
from detectors.ash import ash_b, ash_s
from detectors.common import energies
from detectors.energy import energy
from detectors.gen import gen
from detectors.mahalanobis_layers import EPSILON, adversarial
from detectors.maxlogit import maxlogit
from detectors.perturbation import EPSILONS, choose_epsilon, perturbed
from detectors.scale import scaled
from detectors.vim import principal_dimension
from losses import LOSSES
from models import build_model

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
C = 4
fit_knn, fit_mahalanobis, fit_mahalanobis_layers, fit_vim, fit_react = (
    DETECTORS[name].fit for name in ("knn", "mahalanobis", "mahalanobis_layers", "vim", "react")
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def part_of(network, seed, images):
    """Random images of random colours in batches of 50, through a network.

    A label says which of red and green is strong.
    """
    colours = torch.rand(images, 3, 1, 1, generator=seeded(seed + 100))
    pixels = (torch.rand(images, 3, 8, 8, generator=seeded(seed)) + 2 * colours - 1).clamp(0, 1)
    inputs = (pixels - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)
    inputs = inputs.to(next(network.parameters()).dtype)
    with torch.no_grad():
        features = network.forward_features(inputs)
        outputs = {"features": features, **network.classifier.named_outputs(features)}
    red, green, _ = (colours.flatten(1) > 0.5).T
    return SetOutputs(outputs, lambda: inputs.split(50), 2 * red + 1 * green)


def head_of(loss):
    def make(features, classes):
        head = LOSSES[loss].head(features, classes)
        if loss == "isomax":
            # Away from where they start, which makes all logits the same.
            nn.init.normal_(head.prototypes)
        return head

    return make


def known_of(loss="softmax", dtype=torch.float32):
    """A tiny real network, untrained, and what detectors are fitted to."""
    torch.manual_seed(1)
    network = build_model("smallcnn", C, head_of(loss)).to(dtype).eval()
    return known_by(network)


def known_by(network, deciding=70):
    parts = part_of(network, 0, 120), part_of(network, 1, deciding)
    return FitData(network, deepcopy(network.classifier), *parts, STD, MEAN)


@cache
def trained_network(loss="softmax"):
    """A tiny network that has learnt the labels a little: an attack changes what it says of some
    images.
    """
    known = known_of(loss)
    optimizer = torch.optim.Adam(known.network.parameters(), lr=0.01)
    inputs, labels = torch.cat(list(known.train.batches())), known.train.labels
    for _ in range(12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(known.network(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    return known.network


def trained_known(loss="softmax", dtype=torch.float32, deciding=200):
    return known_by(deepcopy(trained_network(loss)).to(dtype), deciding)


def features_known(features, head=None, labels=None):
    """What detectors of features alone are fitted to."""
    part = features_part(features, head, labels)
    return FitData(nn.Identity(), head, part, part, STD)


def features_part(features, head=None, labels=None):
    with torch.no_grad():
        outputs = {"features": features} | ({"logits": head(features)} if head else {})
    return SetOutputs(outputs, lambda: [], labels)


def some_features(n, d, seed=0):
    """Of different lengths and variances, some zero, as ReLU leaves them."""
    return (torch.randn(n, d, generator=seeded(seed)) * torch.linspace(0.5, 2, d) + 0.5).relu()


def linear_head(d, seed=3):
    torch.manual_seed(seed)
    return nn.Linear(d, C)


# --- the table ---


ACCEPTED = [
    (name, loss)
    for name, row in DETECTORS.items()
    for loss in LOSSES
    if not row.refuses(LOSSES[loss].head(2, C))
]


@pytest.mark.parametrize(("name", "loss"), ACCEPTED)
def test_every_row_gives_finite_scores_and_leaves_the_network_alone(name, loss):
    # An attack changes what a network says of an image only if it has learnt something.
    known, row = (
        (trained_known(loss) if name == "mahalanobis_layers" else known_of(loss)),
        DETECTORS[name],
    )
    before = deepcopy(known.network.state_dict())
    other = part_of(known.network, 2, 33)
    fitted = row.fit(known)
    scores = fitted(other)
    assert scores.shape == (33,)
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert not scores.requires_grad
    assert len(scores.unique()) > 30
    numbers = [
        value
        for value in json.loads(json.dumps(dict(fitted.parameters))).values()
        if not isinstance(value, str)
    ]
    assert all(map(math.isfinite, numbers))
    assert all(
        parameter.grad is None
        for parameter in (*known.network.parameters(), *known.head.parameters())
    )
    # Unset thresholds.
    torch.testing.assert_close(known.network.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert known.head(other.outputs["features"]).dtype == torch.float32


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs == "network"]
)
@pytest.mark.parametrize(
    "mode",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
def test_gradients_are_taken_whatever_the_callers_mode(name, mode):
    known = trained_known()
    expected = DETECTORS[name].fit(known)(known.train)
    with mode():
        # Labels and inputs are the mode's, too.
        parts = part_of(known.network, 0, 120), part_of(known.network, 1, 200)
        scores = DETECTORS[name].fit(FitData(known.network, known.head, *parts, STD, MEAN))(
            parts[0]
        )
    assert parts[0].labels.is_inference() is (mode is torch.inference_mode)
    if isinstance(mode(), torch.autocast):  # bf16's digits
        assert np.corrcoef(scores, expected)[0, 1] > 0.95
    else:
        torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    ("name", "gradients"), [("mahalanobis_layers", 4), ("odin", 1), ("preprocessing", 4 + 1)]
)
def test_graphs_are_built_for_the_inputs_gradients_alone(name, gradients):
    """Four batches of deciding images, where a detector needs them, and one of test images.

    Other passes keep no activations.
    """
    known, built = trained_known(), []
    other = part_of(known.network, 2, 33)
    known.network.body[0].register_forward_hook(
        lambda module, inputs, output: built.append(output.requires_grad)
    )
    DETECTORS[name].fit(known)(other)
    assert sum(built) == gradients
    assert len(built) > gradients


def test_heads_that_rob_a_score_of_its_meaning_are_refused():
    accepted = {row: {loss for name, loss in ACCEPTED if name == row} for row in DETECTORS}
    assert accepted == {
        name: {"softmax"} if name in ("vim", "ash_b", "ash_s", "scale") else set(LOSSES)
        for name in DETECTORS
    }
    assert not any(row.refuses(nn.Linear(8, C)) for row in DETECTORS.values())
    assert (
        DETECTORS["vim"].refuses(nn.Sequential(nn.Linear(8, C), nn.Tanh())) == "needs a linear head"
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_a_head_says_that_it_is_linear_if_it_is(loss):
    head = head_of(loss)(10, C).eval()
    one, other, none = some_features(20, 10), some_features(20, 10, seed=1), torch.zeros(20, 10)
    linear = torch.allclose(head(one + other) - head(other), head(one) - head(none), atol=1e-4)
    assert head.is_linear is linear


def test_an_unknown_name_is_answered_with_the_choices():
    assert get_detector("knn") is DETECTORS["knn"]
    for name in ("nothing", "ash"):  # the second was the name of ash_s
        with pytest.raises(
            ValueError,
            match=rf"'{name}': choose from maxlogit, energy.*ash_b, ash_s.*preprocessing",
        ):
            get_detector(name)


def test_the_two_forms_of_ash_have_titles_of_their_own():
    assert (DETECTORS["ash_b"].title, DETECTORS["ash_s"].title) == ("ASH-B", "ASH-S")


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs == "features"]
)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_is_fitted_to_features_that_are_not_finite(name, bad):
    head, features, labels = linear_head(12), some_features(80, 12), torch.arange(80) % C
    fitted = DETECTORS[name].fit(features_known(features, head, labels))
    assert fitted(features_part(torch.zeros(3, 12), head)).isfinite().all()
    features[5, 3] = bad
    if name not in ("ash_b", "ash_s", "scale"):  # which are fitted to nothing
        with pytest.raises(ValueError, match="not all finite"):
            DETECTORS[name].fit(features_known(features, head, labels))


@pytest.mark.parametrize(
    ("name", "loss"), [pair for pair in ACCEPTED if pair[1] in ("softmax", "isomax", "godin")]
)
def test_an_image_with_a_nan_gets_the_score_nan_and_changes_no_other(name, loss):
    known, row = (
        (trained_known(loss) if name == "mahalanobis_layers" else known_of(loss)),
        DETECTORS[name],
    )
    fitted, network = row.fit(known), known.network
    inputs = torch.cat(list(part_of(network, 2, 33).batches()))

    def scores(inputs):
        with torch.no_grad():
            features = network.forward_features(inputs)
            outputs = {"features": features, **network.classifier.named_outputs(features)}
        return fitted(SetOutputs(outputs, lambda: inputs.split(10)))

    expected = scores(inputs)
    for rows in ([4], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 32], range(33)):  # a whole batch, and all
        broken = inputs.clone()
        broken[list(rows), 1, 2, 3] = math.nan
        found = scores(broken)
        others = [i for i in range(33) if i not in rows]
        assert found[list(rows)].isnan().all()
        torch.testing.assert_close(found[others], expected[others])


def test_an_epsilon_is_not_chosen_by_scores_that_are_not_finite():
    known = known_of()
    inputs = torch.cat(list(known.deciding.batches()))
    inputs[3] = math.nan
    with pytest.raises(ValueError, match="not all finite"):
        fit_odin(replace(known, deciding=SetOutputs({}, lambda: [inputs])), "chosen")


@pytest.mark.parametrize(
    "name", [name for name, row in DETECTORS.items() if row.needs != "network"]
)
def test_half_precision_is_raised_before_anything_is_computed(name):
    head, features = linear_head(12), some_features(80, 12)
    outputs = {"features": features.bfloat16(), "logits": head(features).bfloat16()}

    def scores(dtype):
        part = SetOutputs(
            {name: output.to(dtype) for name, output in outputs.items()},
            lambda: [],
            torch.arange(80) % C,
        )
        return DETECTORS[name].fit(FitData(nn.Identity(), head, part, part, STD))(part)

    torch.testing.assert_close(scores(torch.bfloat16), scores(torch.float64), rtol=0, atol=0)


def test_many_features_go_through_the_head_in_pieces_with_the_result_of_one():
    head, features = linear_head(6), some_features(3000, 6).double()
    expected = logsumexp(
        features.numpy() @ head.weight.detach().double().numpy().T
        + head.bias.detach().double().numpy(),
        axis=1,
    )
    rows = []
    head.register_forward_hook(lambda module, inputs, output: rows.append(len(inputs[0])))
    np.testing.assert_allclose(energies(head, features), expected, rtol=1e-12)
    assert sum(rows) == 3000
    assert max(rows) <= 1024


# --- of logits ---


def some_logits(n=40, c=C, spread=3.0):
    return torch.randn(n, c, generator=seeded(), dtype=torch.float64) * spread


def test_maxlogit_and_energy_are_their_definitions_and_pytorch_oods():
    logits = some_logits()
    np.testing.assert_array_equal(maxlogit(logits), logits.numpy().max(1))
    np.testing.assert_allclose(energy(logits), logsumexp(logits.numpy(), axis=1), rtol=1e-14)
    torch.testing.assert_close(
        maxlogit(logits), -pytorch_ood.MaxLogit.score(logits), rtol=0, atol=0
    )
    torch.testing.assert_close(
        energy(logits), -pytorch_ood.EnergyBased.score(logits), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize(
    ("name", "function"), [("maxlogit", maxlogit), ("energy", energy), ("gen", gen)]
)
def test_the_rows_of_logits_score_a_sets_logits(name, function):
    part = SetOutputs({"logits": some_logits()}, lambda: [])
    assert (
        DETECTORS[name]
        .fit(FitData(nn.Identity(), nn.Identity(), part, part, STD))(part)
        .equal(function(some_logits()))
    )


@pytest.mark.parametrize("c", [2, 10, 150])  # 150: only 100 of them count
def test_gen_is_its_definition_and_pytorch_oods(c):
    logits = some_logits(c=c, spread=1.0)
    p = np.sort(softmax(logits.numpy(), axis=1), axis=1)[:, -100:]
    np.testing.assert_allclose(gen(logits), -((p * (1 - p)) ** 0.1).sum(1), rtol=1e-12)
    # Theirs is the mean of the terms, ours the sum, as in the paper.
    torch.testing.assert_close(
        gen(logits),
        -min(c, 100) * pytorch_ood.GEN.score(logits, gamma=0.1, M=100),
        rtol=1e-6,
        atol=0,
    )
    assert (gen(logits, gamma=0.5) != gen(logits)).all()


def test_gen_tells_probabilities_apart_that_round_to_1():
    """Where pytorch-ood does not: it bounds p away from 0."""
    surer = torch.tensor([[40.0, 0.0, 0.0], [50.0, 0.0, 0.0], [60.0, 0.0, 0.0]])
    q = np.exp(-np.array([40.0, 50.0, 60.0]))  # of the two others each, to within 1e-17
    np.testing.assert_allclose(gen(surer), -(2 * q**0.1 + (2 * q) ** 0.1), rtol=1e-12)
    assert gen(torch.tensor([[3.0]])) == 0  # a single class


# --- of features ---


def test_knn_is_brute_force_and_pytorch_oods():
    train, test = some_features(200, 12), 5 * some_features(40, 12, seed=1)
    scores = fit_knn(features_known(train), k=50)(features_part(test))
    directions = [
        f.numpy() / np.linalg.norm(f.numpy(), axis=1, keepdims=True)
        for f in (train.double(), test.double())
    ]
    np.testing.assert_allclose(
        scores, -np.sort(cdist(directions[1], directions[0]), axis=1)[:, 49], rtol=1e-7
    )
    theirs = pytorch_ood.KNN(None, k=50).fit_features(train.double(), torch.zeros(200).long())
    np.testing.assert_allclose(scores, -theirs.predict_features(test.double()), rtol=1e-5)


def test_knn_needs_as_many_images_as_neighbours():
    train = some_features(50, 6)
    farthest = -cdist(*(2 * [train.numpy() / train.norm(dim=1, keepdim=True).numpy()])).max(1)
    np.testing.assert_allclose(
        fit_knn(features_known(train), k=50)(features_part(train)), farthest, rtol=1e-5
    )
    with pytest.raises(ValueError, match="KNN needs 50 training images or more, got 49"):
        fit_knn(features_known(train[:49]), k=50)


@pytest.mark.parametrize(("images", "k"), [(1000, 50), (300, 300 // (2 * C)), (3, 1)])
def test_knn_takes_no_more_neighbours_than_half_a_class_has(images, k):
    assert fit_knn(features_known(some_features(images, 6), linear_head(6))).parameters == {"k": k}


def test_mahalanobis_is_scipys_with_numpys_covariance_and_pytorch_oods():
    train, test = some_features(200, 7), some_features(20, 7, seed=1)
    train[:100] += 1
    labels = torch.arange(200) // 50
    scores = fit_mahalanobis(features_known(train, labels=labels))(features_part(test))

    f = train.double().numpy()
    centred = np.concatenate([f[labels == c] - f[labels == c].mean(0) for c in range(C)])
    inverse = np.linalg.inv(np.cov(centred.T, bias=True))
    means = [f[labels == c].mean(0) for c in range(C)]
    expected = [
        -min(mahalanobis(row, mean, inverse) ** 2 for mean in means)
        for row in test.double().numpy()
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    # Theirs is half the squared distance, in float32, and its Σ the sum over the images where the
    # paper's is the mean.
    theirs = pytorch_ood.Mahalanobis(None).fit_features(train, labels)
    np.testing.assert_allclose(scores, -2 * 200 * theirs.predict_features(test), rtol=1e-3)


def test_mahalanobis_of_classes_without_images_and_features_that_do_not_vary():
    train, test = some_features(60, 5), some_features(20, 5, seed=1)
    labels = torch.arange(60) % 2
    expected = fit_mahalanobis(features_known(train, labels=labels))(features_part(test))
    # Classes 1 and 4 of 0 to 4 or more.
    sparse = fit_mahalanobis(features_known(train, labels=3 * labels + 1))(features_part(test))
    torch.testing.assert_close(sparse, expected)
    constant, anything = torch.tensor([0.0, 2.0]).expand(60, 2), some_features(20, 2, seed=2)
    wider = fit_mahalanobis(features_known(torch.cat([train, constant], 1), labels=labels))
    torch.testing.assert_close(wider(features_part(torch.cat([test, anything], 1))), expected)


def test_mahalanobis_keeps_its_digits_where_classes_are_far_apart():
    spread, labels = (
        torch.randn(400, 3, generator=seeded(), dtype=torch.float64),
        torch.arange(400) % 40,
    )
    centres = 1e6 * torch.randn(40, 3, generator=seeded(1), dtype=torch.float64)
    near = fit_mahalanobis(features_known(spread + centres[labels], labels=labels))(
        features_part(spread + centres[labels])
    )
    inverse = np.linalg.inv(
        np.cov(
            (spread - torch.stack([spread[labels == c].mean(0) for c in range(40)])[labels]).T,
            bias=True,
        )
    )
    means = [spread[labels == c].mean(0).numpy() for c in range(40)]
    expected = [
        -(mahalanobis(row, means[c], inverse) ** 2)
        for row, c in zip(spread.numpy(), labels, strict=True)
    ]
    np.testing.assert_allclose(near, expected, rtol=1e-6)


def test_mahalanobis_of_fewer_images_than_features_and_of_one_class():
    train, test = some_features(10, 30).double(), some_features(20, 30, seed=1).double()
    scores = fit_mahalanobis(features_known(train, labels=torch.zeros(10).long()))(
        features_part(test)
    )
    centred = train.numpy() - train.numpy().mean(0)
    inverse = np.linalg.pinv(centred.T @ centred / 10, rcond=1e-10, hermitian=True)
    expected = [-(mahalanobis(row, train.numpy().mean(0), inverse) ** 2) for row in test.numpy()]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    constant = fit_mahalanobis(features_known(torch.ones(10, 3), labels=torch.zeros(10).long()))
    assert constant(features_part(torch.rand(5, 3))).tolist() == [0] * 5


def test_mahalanobis_over_layers_is_the_penalised_regression_of_its_definition():
    known = trained_known(dtype=torch.float64, deciding=1000)
    network, test, labels = known.network, part_of(known.network, 2, 33), known.deciding.labels
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD)
    )
    torch.manual_seed(5)  # not the noise's own
    torch_state = torch.get_rng_state()
    fitted = fit_mahalanobis_layers(known)
    assert torch.get_rng_state().equal(torch_state)

    def inputs_of(part):
        return torch.cat(list(part.batches()))

    def clamped(inputs):
        return ((inputs * std + mean).clamp(0, 1) - mean) / std

    copy, x = deepcopy(network), inputs_of(known.deciding).requires_grad_()
    nn.functional.cross_entropy(copy(x), labels, reduction="sum").backward()
    x, sign = x.detach(), x.grad.sign()
    attacked = clamped(x + EPSILON * sign / std)
    # The noise of each batch of 50 in turn, by the detector's own seed.
    drawn = seeded()
    noise = torch.cat([torch.randn(rows.shape, generator=drawn) for rows in x.split(50)]).double()
    noisy = clamped(x + EPSILON * noise / std)
    with torch.no_grad():
        right, steady, fooled = (network(each).argmax(1) == labels for each in (x, noisy, attacked))
    chosen = right & steady & ~fooled
    # Each condition leaves some out.
    for two in (steady & ~fooled, right & ~fooled, right & steady):
        assert (two & ~chosen).any()

    def columns(inputs):
        with torch.no_grad():
            layers = zip(
                network.layer_features(inputs),
                network.layer_features(inputs_of(known.train)),
                strict=True,
            )
            pairs = [(f, features_known(train, labels=known.train.labels)) for f, train in layers]
        return np.stack([fit_mahalanobis(layer)(features_part(f)) for f, layer in pairs], axis=1)

    positive, negative = columns(x[chosen]), columns(attacked[chosen])
    assert positive.shape[1] == 3  # smallcnn's stem, and its two resolutions
    both = np.concatenate([positive, negative])
    signs = np.repeat([1, -1], len(positive))
    middle, spread = both.mean(0), both.std(0)

    def objective(w):  # scikit-learn's, C = 1, the intercept free
        margins = signs * ((both - middle) / spread @ w[1:] + w[0])
        return np.logaddexp(0, -margins).sum() + w[1:] @ w[1:] / 2

    w = minimize(objective, np.zeros(4), tol=1e-10).x
    expected = (columns(inputs_of(test)) - middle) / spread @ w[1:] + w[0]
    np.testing.assert_allclose(fitted(test), expected, atol=1e-3 * np.abs(w).max())
    assert fitted.parameters == {"layers": 3, "epsilon": EPSILON, "images": int(chosen.sum())}
    with pytest.raises(ValueError, match="labelled"):
        fit_mahalanobis_layers(replace(known, deciding=SetOutputs({}, known.deciding.batches)))


def test_mahalanobis_over_layers_needs_images_that_an_attack_fools():
    known = trained_known()
    wrong = replace(known.deciding, labels=(known.deciding.outputs["logits"].argmax(1) + 1) % C)
    with pytest.raises(
        NotApplicable, match="needs 4 or more deciding images.*got 0: take another detector"
    ):
        fit_mahalanobis_layers(replace(known, deciding=wrong))
    with pytest.raises(NotApplicable, match="got 0: take another detector"):
        fit_mahalanobis_layers(
            replace(known, deciding=SetOutputs({}, lambda: [], wrong.labels[:0]))
        )


def test_mahalanobis_over_layers_needs_one_such_image_more_than_layers():
    known = trained_known()
    # So that batches tell images.
    one_by_one = [one for inputs in known.deciding.batches() for one in inputs.split(1)]
    known = replace(known, deciding=replace(known.deciding, batches=lambda: one_by_one))
    fooled = torch.tensor([len(clean[0]) for clean, _ in adversarial(known)]).nonzero()[:, 0]
    wrong = (known.deciding.outputs["logits"].argmax(1) + 1) % C

    def fitted_to(count):
        labels = wrong.scatter(0, fooled[:count], known.deciding.labels[fooled[:count]])
        return fit_mahalanobis_layers(
            replace(known, deciding=replace(known.deciding, labels=labels))
        )

    assert fitted_to(4).parameters["images"] == 4
    with pytest.raises(NotApplicable, match="got 3: take another detector"):
        fitted_to(3)


def test_noisy_and_attacked_images_have_pixels_in_0_to_1():
    known, shown = trained_known(dtype=torch.float64), []
    known.network.body[0].register_forward_hook(
        lambda module, inputs, output: shown.append(inputs[0].detach())
    )
    list(adversarial(known))
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    pixels = torch.cat(shown) * std + mean
    assert (pixels.min().item(), pixels.max().item()) == pytest.approx((0, 1), abs=1e-6)


def test_mahalanobis_over_layers_holds_two_batches_of_images_at_most():
    known, made, most = trained_known(), [], 0
    images = torch.cat(list(known.deciding.batches()))

    def batches():
        nonlocal most
        for rows in images.split(50):
            batch = rows.clone()
            made.append(weakref.ref(batch))
            most = max(most, sum(reference() is not None for reference in made))
            yield batch
            del batch

    part = SetOutputs({}, batches, known.deciding.labels)
    fit_mahalanobis_layers(replace(known, train=part, deciding=part))(part)
    assert len(made) == 3 * 4  # for the layers' Gaussians, for the regression, and to score
    assert most == 2  # one is made before the last is dropped


def test_vim_is_its_definition_and_pytorch_oods():
    head = linear_head(12).double()
    train, test = some_features(200, 12).double(), some_features(40, 12, seed=1).double()
    fitted = fit_vim(features_known(train, head))
    scores = fitted(features_part(test, head))

    w, b = head.weight.detach().numpy(), head.bias.detach().numpy()
    origin = np.linalg.lstsq(w, -b, rcond=None)[0]  # the shortest solution
    principal = np.linalg.svd(train.numpy() - origin)[2][:6]

    def residual(f):
        f = f.numpy() - origin
        return np.linalg.norm(f - f @ principal.T @ principal, axis=1)

    alpha = (train.numpy() @ w.T + b).max(1).mean() / residual(train).mean()
    logits = test.numpy() @ w.T + b
    np.testing.assert_allclose(
        scores, logsumexp(logits, axis=1) - alpha * residual(test), rtol=1e-9
    )
    assert fitted.parameters == {"dimension": 6, "alpha": pytest.approx(alpha)}
    probability = softmax(
        np.concatenate([logits, alpha * residual(test)[:, None]], axis=1), axis=1
    )[:, -1]
    np.testing.assert_array_equal(np.argsort(probability), np.argsort(-scores.numpy()))
    theirs = pytorch_ood.ViM(None, d=6, w=head.weight.detach(), b=head.bias.detach())
    theirs.fit_features(train, torch.zeros(200).long())
    np.testing.assert_allclose(
        scores, -np.asarray(theirs.predict_features(test)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("features", "dimension"),
    [(4096, 1000), (2048, 1000), (2047, 512), (768, 512), (767, 383), (64, 32)],
)
def test_vims_subspace_has_the_papers_dimension(features, dimension):
    assert principal_dimension(features) == dimension


def test_vim_takes_a_head_without_bias_and_refuses_training_features_without_residual():
    torch.manual_seed(0)
    bare, zero = nn.Linear(12, C, bias=False), nn.Linear(12, C)
    zero.load_state_dict({**bare.state_dict(), "bias": torch.zeros(C)})
    train = some_features(50, 12)
    scores = [
        fit_vim(features_known(train, head))(features_part(train, head)) for head in (bare, zero)
    ]
    torch.testing.assert_close(*scores)
    for flat in (train[:6], torch.ones(50, 12), torch.cat([train[:, :5], torch.zeros(50, 7)], 1)):
        with pytest.raises(
            ValueError, match="ViM needs training features of more than 6 dimensions"
        ):
            fit_vim(features_known(flat, bare))


def test_react_clips_at_the_percentile_of_all_activations():
    head = linear_head(20)
    train, test = some_features(200, 20), some_features(40, 20, seed=1)
    fitted = fit_react(features_known(train, head))
    clip = fitted.parameters["clip"]
    assert (train > clip).sum() == train.numel() // 10
    assert fitted.parameters == {"percentile": 90, "images": "train", "clip": clip}
    with torch.no_grad():
        np.testing.assert_allclose(
            fitted(features_part(test)),
            head(test.minimum(torch.tensor(clip))).logsumexp(1),
            rtol=1e-5,
        )
        theirs = pytorch_ood.ReAct(lambda x: x, head, percentile=0.9).fit_feature_maps(
            train, torch.zeros(200).long()
        )
        np.testing.assert_allclose(
            fitted(features_part(test)), -theirs.predict_feature_maps(test), rtol=1e-5
        )


def test_react_takes_more_activations_than_older_releases_of_torch_quantile():
    train = torch.rand(1, 1, generator=seeded()).expand(2**16, 257)
    fitted = fit_react(features_known(train, linear_head(257)))
    assert fitted.parameters["clip"] == train[0, 0]


def test_ash_and_scale_of_five_features_by_hand():
    features = torch.tensor([[1.0, 3.0, 0.0, 4.0, 2.0]])  # their sum is 10
    # 60 % of five are 3 pruned: 3 and 4 stay.
    assert ash_b(features, 60).tolist() == [[0, 5, 0, 5, 0]]
    factor = math.exp(10 / 7)
    torch.testing.assert_close(ash_s(features, 60), torch.tensor([[0, 3, 0, 4, 0]]) * factor)
    torch.testing.assert_close(scaled(features, 60), features * factor)
    # 50 % of five, 2.5, and 10 %, 0.5, are rounded to the even 2 and 0: then the feature of 0
    # counts too.
    torch.testing.assert_close(ash_b(features, 50), torch.tensor([[0, 1, 0, 1, 1]]) * (10 / 3))
    torch.testing.assert_close(scaled(features, 50), features * math.exp(10 / 9))
    assert ash_b(features, 10).tolist() == [[2, 2, 2, 2, 2]]
    # 90 % of five, 4.5, is rounded to the even 4, and one stays however high the percentile.
    for percentile in (90, 100):
        assert ash_b(features, percentile).tolist() == [[0, 0, 0, 10, 0]]


def by_hand(f, percent, pruned):
    """ASH-S or SCALE of one vector: sorted, the lowest round(D·percent/100) first."""
    order = np.argsort(f)
    cut = round(len(f) * percent / 100)
    factor = np.exp(f.sum() / f[order[cut:]].sum())
    out = f * factor
    if pruned:
        out[order[:cut]] = 0
    return out


@pytest.mark.parametrize("d", [20, 64, 128, 342, 512])
def test_ash_and_scale_are_their_definitions(d):
    features = torch.rand(30, d, generator=seeded(), dtype=torch.float64)
    for function, percent, pruned in ((ash_s, 90, True), (scaled, 85, False)):
        expected = [by_hand(f, percent, pruned) for f in features.numpy()]
        np.testing.assert_allclose(function(features), expected, rtol=1e-12)
    kept = d - round(0.9 * d)
    assert ((ash_s(features) > 0).sum(1) == kept).all()
    values = ash_b(features).sort(1, descending=True).values
    torch.testing.assert_close(
        values[:, :kept], (features.sum(1, keepdim=True) / kept).expand(-1, kept)
    )
    assert (values[:, kept:] == 0).all()
    assert (ash_b(features) > 0).equal(ash_s(features) > 0)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("ash_b", lambda head: pytorch_ood.ASH(lambda x: x, head, variant="ash-b", percentile=0.9)),
        ("ash_s", lambda head: pytorch_ood.ASH(lambda x: x, head, variant="ash-s", percentile=0.9)),
        ("scale", lambda head: pytorch_ood.SCALE(lambda x: x, head, percentile=0.85)),
    ],
)
def test_ash_and_scale_are_pytorch_oods(name, theirs):
    head = linear_head(20)  # 90 and 85 % of 20 are whole
    train, test = some_features(50, 20), some_features(40, 20, seed=1)
    scores = DETECTORS[name].fit(features_known(train, head))(features_part(test))
    with torch.no_grad():
        expected = theirs(lambda maps: head(maps.flatten(1))).predict_feature_maps(
            test[:, :, None, None]
        )
    np.testing.assert_allclose(scores, -expected, rtol=1e-5)


# --- of the network ---


def test_odin_without_perturbation_and_temperature_is_mps():
    known = known_of()
    test = part_of(known.network, 2, 60)
    scores = fit_odin(known, epsilon=0.0, temperature=1.0)(test)
    mps = softmax(test.outputs["logits"].double().numpy(), axis=1).max(1)
    np.testing.assert_allclose(np.exp(scores.numpy()), mps, rtol=1e-5)
    np.testing.assert_array_equal(np.argsort(scores.numpy()), np.argsort(mps))


@pytest.mark.parametrize("temperature", [1.0, 7.0, 1000.0])
def test_odin_is_pytorch_oods(temperature):
    known = known_of(dtype=torch.float64)
    test = part_of(known.network, 2, 60)
    fitted = fit_odin(known, epsilon=0.03, temperature=temperature)
    assert fitted.parameters == {"epsilon": 0.03, "temperature": temperature}
    theirs = pytorch_ood.ODIN(
        deepcopy(known.network), eps=0.03, temperature=temperature, norm_std=list(STD)
    )
    expected = torch.cat([-theirs.predict(inputs) for inputs in test.batches()])
    np.testing.assert_allclose(
        np.exp(fitted(test).numpy() / temperature), expected.detach().numpy(), rtol=1e-10
    )
    assert DETECTORS["odin"].fit(known).parameters == {"epsilon": 0.0014, "temperature": 1000}


@pytest.mark.parametrize("loss", LOSSES)
def test_preprocessing_of_size_zero_is_the_heads_own_score(loss):
    known = known_of(loss)
    test = part_of(known.network, 2, 60)
    own = known.head.scores({name: value.double() for name, value in test.outputs.items()})
    torch.testing.assert_close(
        fit_preprocessing(known, epsilon=0.0)(test), own, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_preprocessing_is_the_score_of_the_perturbed_images(loss):
    known = known_of(loss, torch.float64)
    test = part_of(known.network, 2, 60)
    assert DETECTORS["preprocessing"].fit is fit_preprocessing
    fitted = fit_preprocessing(known, epsilon=0.01)
    copy, x = deepcopy(known.network), torch.cat(list(test.batches())).requires_grad_()

    def own(x):
        return copy.classifier.scores(copy.classifier.named_outputs(copy.forward_features(x)))

    own(x).sum().backward()
    with torch.no_grad():
        expected = own(x + 0.01 * x.grad.sign() / torch.tensor(STD, dtype=x.dtype).view(1, 3, 1, 1))
    torch.testing.assert_close(fitted(test), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "fit", [lambda known, epsilon: fit_odin(known, epsilon, temperature=1.0), fit_preprocessing]
)
def test_images_whose_probability_is_1_in_float32_are_told_apart_and_perturbed(fit):
    known = known_of()
    head = known.network.classifier
    with torch.no_grad():  # probabilities of 1 - 4e-11 or so for class 0, by the features
        head.weight[1:] = 0
        head.bias[:] = torch.tensor([25.0, 0, 0, 0])
    test = part_of(known.network, 2, 33)
    assert (test.outputs["logits"].softmax(1)[:, 0] == 1).all()
    before, after = (fit(known, epsilon=epsilon)(test) for epsilon in (0.0, 0.01))
    assert len(before.unique()) == 33
    assert (after > before).all()


def smooth_score():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 20), nn.Tanh(), nn.Linear(20, C))
    return lambda inputs: network(inputs).logsumexp(1)


def test_epsilon_is_in_pixels_and_raises_the_score():
    inputs, score = torch.randn(9, 3, 4, 4, generator=seeded()), smooth_score()
    previous = score(inputs).mean()
    for epsilon in EPSILONS[1:5]:
        changed = perturbed(inputs, score, epsilon, STD)
        in_pixels = (changed - inputs).abs() * torch.tensor(STD).view(-1, 1, 1)
        torch.testing.assert_close(in_pixels, torch.full_like(inputs, epsilon), rtol=0, atol=1e-6)
        assert score(changed).mean() > previous
        previous = score(changed).mean()
    assert not inputs.requires_grad
    torch.testing.assert_close(perturbed(inputs, score, 0.0, STD), inputs, rtol=0, atol=0)


@pytest.mark.parametrize("best", [0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08])  # the paper's
def test_the_chosen_epsilon_is_the_one_with_the_largest_mean_score(best):
    inputs = torch.randn(9, 3, 4, 4, generator=seeded(), dtype=torch.float64)
    # In every pixel as far away as is best for an image: for the four of the second batch, which
    # weigh less, that is another size.
    other = EPSILONS[0] if best == EPSILONS[-1] else EPSILONS[-1]
    # Where nothing is best, the score is largest nearer than the smallest step.
    sizes, weights = (
        torch.tensor([best or 0.001] * 5 + [other] * 4),
        torch.tensor([1e4] * 5 + [1] * 4),
    )
    target = inputs + sizes.view(-1, 1, 1, 1) * inputs.sign() / torch.tensor(
        STD, dtype=torch.float64
    ).view(-1, 1, 1)
    start = 0

    def score(x):  # largest at the target
        here = slice(start, start + len(x))
        return -(x - target[here]).square().sum((1, 2, 3)) * weights[here]

    def batches():
        nonlocal start
        for start, stop in ((0, 5), (5, 9)):
            yield inputs[start:stop]

    assert choose_epsilon(batches(), score, STD) == best


@pytest.mark.parametrize(
    ("fit", "score"),
    [
        (
            lambda known, epsilon="chosen": fit_odin(known, epsilon, 3.0),
            lambda logits: softmax(logits / 3, axis=1).max(1),
        ),
        (fit_preprocessing, lambda logits: softmax(logits, axis=1).max(1)),
    ],
)
def test_epsilon_is_chosen_on_the_deciding_images_alone(fit, score):
    known = known_of()
    known = FitData(
        known.network,
        known.head,
        SetOutputs({}, lambda: pytest.fail("the training images")),
        known.deciding,
        STD,
    )
    means = {
        epsilon: float(fit(known, epsilon=epsilon)(known.deciding).mean()) for epsilon in EPSILONS
    }
    assert fit(known).parameters["epsilon"] == max(means, key=means.get)
    # The score whose mean counts is the one reported: it orders images as the probability of the
    # definition does.
    with torch.no_grad():
        logits = (
            torch.cat([known.network(inputs) for inputs in known.deciding.batches()])
            .double()
            .numpy()
        )
    order = np.argsort(fit(known, epsilon=0.0)(known.deciding).numpy())
    np.testing.assert_array_equal(order, np.argsort(score(logits)))


@pytest.mark.parametrize("bad", [-0.01, 1.0, math.nan, math.inf, "choosen"])
def test_sizes_outside_0_to_1_are_refused(bad):
    known = known_of()
    for fit in (fit_odin, fit_preprocessing):
        with pytest.raises(ValueError, match=rf"ε.*\[0, 1\), .*got {bad!r}$"):
            fit(known, epsilon=bad)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match=f"temperature.*got {bad}$"):
        fit_odin(known_of(), temperature=bad)


def test_epsilon_is_not_chosen_without_images():
    with pytest.raises(ValueError, match="one deciding image or more"):
        choose_epsilon([], smooth_score(), STD)
