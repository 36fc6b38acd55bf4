"""Mahalanobis over several layers, against its definition."""

import weakref
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from detectors import NotApplicable, SetOutputs
from detectors.mahalanobis import fit_mahalanobis
from detectors.mahalanobis_layers import EPSILON, adversarial_layers, fit_mahalanobis_layers
from tests.detectors.sets import (
    MEAN,
    STD,
    C,
    feature_data,
    feature_set,
    network_set,
    seeded_generator,
    trained_data,
)


def test_scores_equal_the_penalised_regression_of_the_definition():
    data = trained_data(dtype=torch.float64, calibration=1000)
    network, test, labels = data.network, network_set(data.network, 2, 33), data.calibration.labels
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD)
    )
    torch.manual_seed(5)  # not the seed of the noise
    torch_state = torch.get_rng_state()
    fitted = fit_mahalanobis_layers(data)
    assert torch.get_rng_state().equal(torch_state)

    def inputs_of(images):
        return torch.cat(list(images.batches()))

    def clamped(inputs):
        return ((inputs * std + mean).clamp(0, 1) - mean) / std

    copy, x = deepcopy(network), inputs_of(data.calibration).requires_grad_()
    nn.functional.cross_entropy(copy(x), labels, reduction="sum").backward()
    x, sign = x.detach(), x.grad.sign()
    attacked = clamped(x + EPSILON * sign / std)
    # The detector draws the noise with its own seed, batch by batch of 50.
    generator = seeded_generator()
    noise = torch.cat([torch.randn(rows.shape, generator=generator) for rows in x.split(50)])
    noisy = clamped(x + EPSILON * noise.double() / std)
    with torch.no_grad():
        clean_right, noisy_right, attacked_right = (
            network(inputs).argmax(1) == labels for inputs in (x, noisy, attacked)
        )
    in_set = clean_right & noisy_right & ~attacked_right
    # Each of the three conditions excludes some images.
    for two_conditions in (
        noisy_right & ~attacked_right,
        clean_right & ~attacked_right,
        clean_right & noisy_right,
    ):
        assert (two_conditions & ~in_set).any()

    def columns(inputs):
        with torch.no_grad():
            layers = zip(
                network.layer_features(inputs),
                network.layer_features(inputs_of(data.train)),
                strict=True,
            )
            pairs = [(f, feature_data(train, labels=data.train.labels)) for f, train in layers]
        return np.stack([fit_mahalanobis(layer)(feature_set(f)) for f, layer in pairs], axis=1)

    positive, negative = columns(x[in_set]), columns(attacked[in_set])
    assert positive.shape[1] == 3  # the stem of smallcnn and its two resolutions
    both = np.concatenate([positive, negative])
    signs = np.repeat([1, -1], len(positive))
    middle, spread = both.mean(0), both.std(0)

    def objective(w):  # that of scikit-learn: C = 1, without a penalty on the intercept
        margins = signs * ((both - middle) / spread @ w[1:] + w[0])
        return np.logaddexp(0, -margins).sum() + w[1:] @ w[1:] / 2

    w = minimize(objective, np.zeros(4), tol=1e-10).x
    expected = (columns(inputs_of(test)) - middle) / spread @ w[1:] + w[0]
    np.testing.assert_allclose(fitted(test), expected, atol=1e-3 * np.abs(w).max())
    assert fitted.parameters == {"layers": 3, "epsilon": EPSILON, "images": int(in_set.sum())}


def test_calibration_images_without_labels_are_an_error():
    data = trained_data()
    with pytest.raises(ValueError, match="labelled"):
        fit_mahalanobis_layers(replace(data, calibration=SetOutputs({}, data.calibration.batches)))


def test_no_image_that_the_attack_changes_is_an_error():
    data = trained_data()
    wrong = replace(data.calibration, labels=(data.calibration.outputs["logits"].argmax(1) + 1) % C)
    with pytest.raises(
        NotApplicable, match="needs 4 or more calibration images.*got 0: take another detector"
    ):
        fit_mahalanobis_layers(replace(data, calibration=wrong))
    with pytest.raises(NotApplicable, match="got 0: take another detector"):
        fit_mahalanobis_layers(
            replace(data, calibration=SetOutputs({}, lambda: [], wrong.labels[:0]))
        )


def test_the_adversarial_set_needs_one_image_more_than_layers():
    data = trained_data()
    # With one image in each batch, the batches of the adversarial set tell which images it has.
    one_by_one = [one for inputs in data.calibration.batches() for one in inputs.split(1)]
    data = replace(data, calibration=replace(data.calibration, batches=lambda: one_by_one))
    fooled = torch.tensor([len(clean[0]) for clean, _ in adversarial_layers(data)]).nonzero()[:, 0]
    wrong = (data.calibration.outputs["logits"].argmax(1) + 1) % C

    def fitted_to(count):
        labels = wrong.scatter(0, fooled[:count], data.calibration.labels[fooled[:count]])
        return fit_mahalanobis_layers(
            replace(data, calibration=replace(data.calibration, labels=labels))
        )

    assert fitted_to(4).parameters["images"] == 4
    with pytest.raises(NotApplicable, match="got 3: take another detector"):
        fitted_to(3)


def test_noisy_and_attacked_images_have_pixels_in_0_to_1():
    data, shown = trained_data(dtype=torch.float64), []
    data.network.body[0].register_forward_hook(
        lambda module, inputs, output: shown.append(inputs[0].detach())
    )
    list(adversarial_layers(data))
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (MEAN, STD))
    pixels = torch.cat(shown) * std + mean
    assert (pixels.min().item(), pixels.max().item()) == pytest.approx((0, 1), abs=1e-6)


def test_at_most_two_batches_of_images_are_in_memory():
    data, made, most = trained_data(), [], 0
    inputs = torch.cat(list(data.calibration.batches()))

    def batches():
        nonlocal most
        for rows in inputs.split(50):
            batch = rows.clone()
            made.append(weakref.ref(batch))
            most = max(most, sum(reference() is not None for reference in made))
            yield batch
            del batch

    images = SetOutputs({}, batches, data.calibration.labels)
    fit_mahalanobis_layers(replace(data, train=images, calibration=images))(images)
    assert len(made) == 3 * 4  # for the Gaussians, for the regression, and for the scores
    assert most == 2  # a batch is made before the previous one is freed
