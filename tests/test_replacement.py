"""`replace_classifier` on networks that are not ours."""

import pytest
import torch
import torchvision
from torch import nn

import losses

TORCHVISION = torchvision.models.list_models(module=torchvision.models)
# Without a linear layer, and with auxiliary classifiers beside the last.
WITHOUT, SEVERAL = {"squeezenet1_0", "squeezenet1_1"}, {"googlenet": 3, "inception_v3": 2}


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_network_of_torchvision_gets_the_head_or_says_why_not(name):
    options = {"init_weights": False} if name in SEVERAL else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a RegNet computes its widths with tensors
        model = torchvision.models.get_model(name, weights=None, **options).to("meta")
    with torch.device("meta"):
        if name in WITHOUT:
            with pytest.raises(ValueError, match="SqueezeNet has no nn.Linear to replace"):
                losses.replace_classifier(model, losses.DisMaxLossFirstPart)
            return
        if name in SEVERAL:
            with pytest.raises(ValueError, match="several nn.Linear that could be its classifier"):
                losses.replace_classifier(model, losses.DisMaxLossFirstPart)
        head = losses.replace_classifier(model, losses.DisMaxLossFirstPart, num_classes=7, name="fc" if name in SEVERAL else None)
        assert head in set(model.modules())
        side = 299 if name == "inception_v3" else 224
        outputs = model.eval()(torch.zeros(2, 3, side, side))
        assert outputs.shape == (2, 7)


def test_sizes_device_and_precision_are_kept_and_the_choice_can_be_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 5)).double()
    with pytest.raises(ValueError, match=r"Sequential has several nn.Linear that could be its classifier \(1, 3\)"):
        losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart)
    with pytest.raises(ValueError, match="Sequential has no nn.Linear '2': it has 1, 3"):
        losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart, name="2")
    head = losses.replace_classifier(model, losses.IsoMaxPlusLossFirstPart, name="3")
    assert (head.num_features, head.num_classes, head.prototypes.dtype) == (5, 5, torch.float64)
    assert model[3] is head
    assert model(torch.zeros(2, 3, 2, 2, dtype=torch.float64)).shape == (2, 5)
    with pytest.raises(ValueError, match="nothing but its nn.Linear"):
        losses.replace_classifier(nn.Linear(2, 3), losses.SoftMaxLossFirstPart)
