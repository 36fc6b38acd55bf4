"""Training and scoring keep all tensors on the GPU and never wait for it.

Tested on a pretended GPU (fake tensors), on the CPU by counting reads, and on a real GPU if the
machine has one.
"""

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from detectors import DETECTORS, FitData, SetOutputs
from experiment.evaluation import classify, predict
from experiment.recipes import RECIPES
from losses import LOSSES
from models import build_model
from training.trainer import Trainer
from utils import runtime


@pytest.mark.parametrize(
    ("model_name", "loss_name"),
    # Heads do not depend on the network, but SNGP changes its convolutions.
    [("smallcnn", loss) for loss in LOSSES]
    + [
        (model, loss)
        for model in ("densenetbc100", "resnet34", "wideresnet2810")
        for loss in ("dismax", "sngp")
    ],
)
def test_networks_losses_and_scores_stay_on_a_pretended_gpu(model_name, loss_name):
    with FakeTensorMode():
        with torch.device("cuda"):
            model = LOSSES[loss_name].wrap(build_model(model_name, 10, LOSSES[loss_name].head))
        criterion = LOSSES[loss_name].criterion(model.classifier)
        inputs = torch.rand(64, 3, 32, 32, device="cuda")
        labels = torch.zeros(64, dtype=torch.int64, device="cuda")
        inputs, targets = criterion.preprocess(inputs, labels)
        criterion.before_epoch(1)
        logits = model(inputs)  # a backward pass needs a real GPU
        results = [logits, criterion(logits, targets), *criterion.unmixed(logits, targets)]
        criterion.after_step(model, inputs, targets, logits)
        criterion.after_epoch(1)
        results += model.buffers()
        model.eval()
        results.append(criterion(model(inputs), labels))
        results.append(classify(model, [inputs, inputs], nullcontext()))
        outputs = model.classifier.named_outputs(model.forward_features(inputs))
        results += [
            model.classifier.scores(outputs),
            *model.classifier.all_scores(outputs, 0.1).values(),
        ]
        assert {result.device.type for result in results} == {"cuda"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_take_a_network_on_a_gpu(name):
    # With this seed, an attack changes the predictions of enough images.
    torch.manual_seed(0)
    network = build_model("smallcnn", 4, LOSSES["softmax"].head).cuda().eval()
    inputs = torch.rand(120, 3, 8, 8).cuda()
    outputs = predict(network, [inputs], nullcontext())
    images = SetOutputs(outputs, lambda: [inputs], torch.arange(120) % 4)
    head = copy.deepcopy(network.classifier).cpu()
    data = FitData(network, head, images, images, (0.2,) * 3)
    score = DETECTORS[name].fit(data)
    assert score(images).isfinite().all()


def test_a_pretended_gpu_refuses_reads_and_mixed_devices():
    with FakeTensorMode():
        values = torch.zeros(3, device="cuda")
        with pytest.raises(Exception, match="item|data-dependent|_local_scalar_dense"):
            values.sum().item()
        with pytest.raises(Exception, match="device"):
            values + torch.zeros(3)


def trainer_of(loss_name, device, precision="bf16"):
    """A trainer of a small network, with two batches of 64 images and one of 9."""
    row = LOSSES[loss_name]
    model = row.wrap(build_model("densenetbc22", 10, row.head)).to(device)
    criterion = row.criterion(model.classifier).to(device)
    pixels = torch.randint(256, (137, 3, 16, 16), dtype=torch.uint8)
    images = Images(pixels, torch.arange(137) % 10, ())
    batches = TrainingBatches(
        images, Normalizer((0.5,) * 3, (0.2,) * 3, device), 64, 2, True, device
    )
    return Trainer(model, criterion, batches, RECIPES["paper"], 2, 1, precision)


class CountsReads(TorchDispatchMode):
    """Counts the operations that make a program wait for the GPU. No CUDA graph can contain them.

    READING: they return a value or a shape to Python.

    WRITING: they read only on a GPU, and only if results must be repeatable. Then PyTorch sorts the
    positions to write tensors to them, and copies strides from the host. To write one number, it
    does not.
    """

    READING = ("local_scalar_dense", "nonzero", "equal", "unique", "masked_select")
    WRITING = ("scatter", "index_put", "index_add", "index_copy", "put")

    def __init__(self):
        super().__init__()
        self.reads = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        name = operation.overloadpacket.__name__.strip("_")
        by_mask = name in ("index", "index_put") and any(
            index is not None and index.dtype == torch.bool for index in arguments[1]
        )
        by_sort = name.startswith(self.WRITING) and operation._overloadname != "value"
        if name.startswith(self.READING) or by_mask or by_sort:
            self.reads.append(name)
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize(
    ("loss_name", "precision"),
    [
        *((loss, "bf16") for loss in LOSSES),
        # fp16 is slow on a CPU.
        *(pytest.param(loss, "fp16", marks=pytest.mark.slow) for loss in ("dismax", "duq")),
    ],
)
def test_a_training_epoch_reads_from_the_device_only_once_at_its_end(
    loss_name, precision, monkeypatch
):
    trainer = trainer_of(loss_name, torch.device("cpu"), precision)
    tolist = torch.Tensor.tolist
    lists = []

    def counted_tolist(tensor):
        lists.append(tensor)
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted_tolist)
    with CountsReads() as counted:
        trainer.run_epoch(lambda *_: None)
    assert counted.reads == []
    assert len(lists) == 1  # the sums, at the end of the epoch


@pytest.mark.parametrize(
    "read",
    [
        lambda loss: loss.item(),
        lambda loss: bool(loss > 0),
        lambda loss: loss[None].nonzero(),
        lambda loss: loss[None][loss[None] > 0],
        lambda loss: loss[None, None].scatter(
            1, torch.zeros(1, 1, dtype=torch.int64), loss[None, None]
        ),
    ],
    ids=["item", "bool", "nonzero", "mask", "scatter"],
)
def test_a_step_that_reads_from_the_device_is_counted(read, monkeypatch):
    trainer = trainer_of("softmax", torch.device("cpu"))
    loss_of = trainer.criterion.training_loss

    def training_loss(logits, targets):
        loss = loss_of(logits, targets)
        read(loss)
        return loss

    monkeypatch.setattr(trainer.criterion, "training_loss", training_loss)
    with CountsReads() as counted:
        trainer.run_epoch(lambda *_: None)
    assert len(counted.reads) >= 3  # steps


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_training_step_on_a_gpu_never_waits(loss_name, precision):
    runtime.make_repeatable()  # as every run does
    trainer = trainer_of(loss_name, torch.device("cuda"), precision)
    steps = []

    # Watch from the second step on. Before it, the epoch's plan is copied to the device, and
    # libraries are initialised.
    def watch(*_):
        steps.append(1)
        torch.cuda.set_sync_debug_mode("error" if len(steps) < 3 else "default")

    try:
        summary = trainer.run_epoch(watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(steps) == 3
    assert math.isfinite(summary.loss)
