"""Detectors of logits and features as modules that can be saved and exported."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from detectors import DETECTORS
from losses import LOSSES
from tests.detectors.sets import C, network_set, untrained_data

CASES = [
    # Only a linear head has all of them.
    (name, "softmax" if row.refuses(LOSSES["dismax"].head(2, C)) else "dismax")
    for name, row in DETECTORS.items()
    if row.needs != "network"
]


class Deployed(nn.Module):
    """Features to scores in float32, as in a deployed network."""

    def __init__(self, score, head):
        super().__init__()
        self.score = copy.deepcopy(score).float()
        self.head = copy.deepcopy(head)

    def forward(self, features):
        outputs = {"features": features, **self.head.named_outputs(features)}
        return self.score(outputs, self.head)


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_a_deployed_score_equals_the_detectors_in_onnx_too(name, loss, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    data = untrained_data(loss)
    fitted = DETECTORS[name].fit(data)
    images = network_set(data.network, 2, 33)
    features = images.outputs["features"]
    deployed = Deployed(fitted.deployable, data.head).eval()
    with torch.no_grad():
        scores = deployed(features)
    assert scores.dtype == torch.float32
    path = str(tmp_path / "score.onnx")
    batch = {0: torch.export.Dim("batch", min=1)}
    torch.onnx.export(
        deployed, (features[:2],), path, dynamic_shapes=(batch,), dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(path)
    (exported,) = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    # A rank of the combined score can move by one where two scores are almost equal.
    tolerance = 0.1 if name == "combined" else 1e-4
    for others in (scores.numpy(), exported):
        np.testing.assert_allclose(others, fitted(images), rtol=1e-4, atol=tolerance)
