"""A threshold for each predicted class: its promise, and what is refused."""

import copy
import json

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from detectors import FitData, SetOutputs
from dismax import archive
from dismax.detector import Detector
from dismax.export import describe
from dismax.saved import add_scores
from dismax.score import fit_to_outputs
from losses import SoftMaxLossFirstPart
from losses.thresholds import class_percentiles, images_for
from tests.detectors.sets import MEAN, STD, trained_data
from tests.finished_runs import model_file_content

TPR, SPLITS = 0.9, 40


def digits_outputs():
    """A linear classifier of the digits, and its outputs for 1,397 images that did not train it."""
    pixels, labels = load_digits(return_X_y=True)
    features = torch.tensor(pixels / 16, dtype=torch.float32)
    trained = LogisticRegression(max_iter=1000).fit(features[:400], labels[:400])
    head = SoftMaxLossFirstPart(64, 10).eval()
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(trained.coef_))
        head.bias.copy_(torch.from_numpy(trained.intercept_))
        outputs = {"features": features[400:], **head.named_outputs(features[400:])}
    return head, outputs


def shares_of_fresh_digits():
    """Accepted fresh images of each predicted class [SPLITS, 2, 10], the number of them, and the
    number of held-out ones [SPLITS, 10]; first with one threshold for all, then with one each.
    """
    head, outputs = digits_outputs()
    predicted = outputs["logits"].argmax(1)
    accepted, fresh, held_out = [], [], []
    for seed in range(SPLITS):
        order = torch.randperm(len(predicted), generator=torch.Generator().manual_seed(seed))
        first, second = order.chunk(2)
        images = SetOutputs({name: value[first] for name, value in outputs.items()})
        score = fit_to_outputs("own", FitData(None, head, None, images, ()), 1.0)
        scores = score.of({name: value[second] for name, value in outputs.items()}, head)
        classes = predicted[second]
        limits = score.class_threshold(TPR)[classes]
        reached = [scores >= score.threshold(TPR), scores >= limits]
        accepted.append([classes[mask].bincount(minlength=10).tolist() for mask in reached])
        fresh.append(classes.bincount(minlength=10).tolist())
        held_out.append(score.class_counts.tolist())
    return np.array(accepted), np.array(fresh), np.array(held_out)


def test_on_fresh_digits_each_predicted_class_keeps_the_promise_and_one_threshold_does_not():
    accepted, fresh, held_out = shares_of_fresh_digits()
    one, each = accepted.sum(0) / fresh.sum(0)
    assert each.min() > TPR - 0.02
    assert one.min() < TPR - 0.05
    assert one.max() > TPR + 0.05
    # The number of accepted images has this distribution, whatever that of the scores.
    ranks = ((held_out + 1) * (1 - TPR) + 1e-9).astype(int)
    low, high = betabinom(fresh, held_out + 1 - ranks, ranks).ppf([[[0.005]], [[0.995]]])
    counts = accepted[:, 1]
    assert ((low <= counts) & (counts <= high)).mean() > 0.98


def test_class_percentiles_are_conformal_ranks():
    scores = torch.arange(1.0, 60)  # 59 scores of class 1
    rows = class_percentiles(scores, torch.ones(59, dtype=torch.int64), 3)
    assert rows[[0, 2]].isnan().all()
    # (59 + 1) · 5 % = 3: of 60 images, 57 are above the third lowest or on it.
    assert rows[1, 10] == 3
    assert rows[1, 0] == 1
    assert rows[1, -1] == 59
    assert [images_for(tpr) for tpr in (0.0, 0.9, 0.95, 0.999)] == [1, 9, 19, 999]


def detector_of(calibration, tpr=0.9, names=("zero", "one", "two", "three")):
    data = trained_data("softmax", calibration=calibration)
    score = fit_to_outputs("own", data, 0.5)
    network = copy.deepcopy(data.network)
    network.classifier.temperature.fill_(0.5)
    return Detector(network, MEAN, STD, names, tpr, score, per_class=True)


def test_a_detector_decides_by_the_threshold_of_the_predicted_class():
    detector = detector_of(400)
    found = detector(torch.rand(50, 3, 8, 8))
    assert len(detector.least.unique()) == 4
    assert found.accepted.equal(found.scores >= detector.least[found.classes])
    assert json.loads(describe(detector, None)["threshold"]) == detector.least.tolist()


def test_another_share_sets_the_threshold_of_each_class():
    changed = detector_of(400).double()
    kept = changed.least.clone()
    with pytest.raises(ValueError, match="too few"):
        changed.tpr = 0.9999
    assert changed.least.equal(kept)
    assert changed.tpr == 0.9
    changed.tpr = 0.5
    assert changed.least.equal(detector_of(400, 0.5).double().least)
    assert changed.least.dtype == torch.float64
    about = describe(changed, None)
    assert json.loads(about["tpr"]) == 0.5
    assert json.loads(about["threshold"]) == changed.least.tolist()


def test_classes_with_too_few_images_are_named():
    with pytest.raises(ValueError, match=r"at 0.95 needs 19 held-out .*, too few are \w+ \(") as e:
        detector_of(30, 0.95)
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="need a tpr below 1, got 1"):
        detector_of(400, 1)
    data = trained_data("softmax")
    with pytest.raises(ValueError, match=r'per_class needs a score .*fit_score\(network, "own"'):
        Detector(data.network, MEAN, STD, per_class=True)


def test_a_file_from_before_says_how_to_get_them(tmp_path):
    path = tmp_path / "model.pt"
    archive.save(path, model_file_content("softmax"))
    with pytest.raises(ValueError, match="no thresholds of its own .* detect.py RUN --deploy own"):
        Detector.load(path, per_class=True)
    content = model_file_content("softmax")
    weight = content["state_dict"]["classifier.weight"]
    head = SoftMaxLossFirstPart(weight.shape[1], len(weight)).eval()
    features = torch.randn(400, weight.shape[1])
    with torch.no_grad():
        outputs = {"features": features, **head.named_outputs(features)}
    score = fit_to_outputs("own", FitData(None, head, None, SetOutputs(outputs), ()), 1.0)
    add_scores(path, [score])
    assert Detector.load(path, 0.5, per_class=True).least.shape == (8,)
    score.class_thresholds = None
    add_scores(path, [score])
    with pytest.raises(ValueError, match="own has no thresholds for each class: fit it again"):
        Detector.load(path, per_class=True)
