"""Scaled Cosine, against its definition in numpy."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from tests.heads import batch, build, predicted_scale, with_changed_batch_norms


@pytest.mark.parametrize("training", [True, False])
def test_scaled_cosine_equals_its_definition(training):
    head = with_changed_batch_norms(build("scaledcosine")[0]).train(training)
    features, _ = batch()
    scale = np.exp(predicted_scale(head.scale, features.numpy(), training))
    cosine = cosine_similarity(features.numpy(), head.weight.detach().numpy())
    outputs = head.named_outputs(features)
    np.testing.assert_allclose(outputs["logits"].detach(), scale * cosine, rtol=1e-10)
    assert (np.abs(outputs["logits"].detach().numpy()) <= scale * (1 + 1e-12)).all()
    np.testing.assert_allclose(head.scores(outputs).detach(), cosine.max(1), rtol=1e-10)
