"""Nothing touches the CPU or asks for a value: tensors on a pretended GPU, and a real one where there is one."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from data.batches import Normalizer, TrainingBatches
from losses import LOSSES
from models import build_model


@pytest.mark.parametrize("model_name", ["densenetbc100", "resnet34", "wideresnet2810", "smallcnn"])
@pytest.mark.parametrize("loss_name", LOSSES)
def test_networks_losses_and_scores_stay_on_a_pretended_gpu(model_name, loss_name):
    with FakeTensorMode():
        with torch.device("cuda"):
            model = build_model(model_name, 10, LOSSES[loss_name].head)
        criterion = LOSSES[loss_name].criterion(model.classifier)
        inputs = torch.rand(64, 3, 32, 32, device="cuda")
        targets = torch.zeros(64, dtype=torch.int64, device="cuda")
        inputs, targets = criterion.preprocess(inputs, targets)
        logits = model(inputs)
        results = [logits, criterion(logits, targets), *criterion.labelled(logits, targets)]
        model.eval()
        logits = model(inputs)
        results += [criterion(logits, targets), model.classifier.scores(logits)]
        results += model.classifier.all_scores(model.classifier.named_outputs(model.forward_features(inputs)), 0.1).values()
        assert {result.device.type for result in results} == {"cuda"}


def test_a_value_or_a_mixed_device_would_be_noticed():
    with FakeTensorMode():
        there = torch.zeros(3, device="cuda")
        with pytest.raises(Exception, match="item|data-dependent|_local_scalar_dense"):
            there.sum().item()
        with pytest.raises(Exception, match="device"):
            there + torch.zeros(3)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("loss_name", LOSSES)
def test_a_training_step_on_a_gpu_waits_for_nothing(loss_name):
    device = torch.device("cuda")
    model = build_model("densenetbc22", 10, LOSSES[loss_name].head).to(device)
    criterion = LOSSES[loss_name].criterion(model.classifier)
    pixels = torch.randint(256, (128, 3, 32, 32), dtype=torch.uint8)
    batches = TrainingBatches(pixels, torch.arange(128) % 10, Normalizer((0.5,) * 3, (0.2,) * 3, device), 64, 4, True, device)
    epoch = batches.epoch(torch.Generator())
    next(epoch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        inputs, targets = criterion.preprocess(*next(epoch))
        loss = criterion(model(inputs), targets)
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
