#!/usr/bin/env python3
"""Inference efficiency, as the paper's table has it: images/s with scores by each method, of those
with SoftMax.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from detectors import FitData, SetOutputs, fit_preprocessing
from experiment import records
from losses import LOSSES, get_loss
from models import Network, build_model, model_title
from utils.runtime import PRECISIONS, autocast, find_device, keep_freed_memory

from .ceiling import ceiling, flops
from .common import check_models, check_positive, in_turns, machine, show, start

METHODS = tuple(name for name in LOSSES if name != "dismax_nofpr")  # whose head is DisMax's
EPSILON = 0.01  # of preprocessed inputs: any will do, and choosing it is not inference


def network_of(method: str, model: str, classes: int, device: torch.device) -> Network:
    """An untrained network with a method's head, in evaluation mode."""
    loss = LOSSES[method]
    return (
        loss.wrap(build_model(model, classes, loss.head))
        .to(device, memory_format=torch.channels_last)
        .eval()
    )


def inference(networks: list[Network], images: Tensor, precision: str) -> Callable[[], Tensor]:
    """A function that gives a batch's scores: the head's own; of several networks, the maximum of
    their mean probabilities.
    """

    @torch.inference_mode()
    def call() -> Tensor:
        with autocast(images.device, precision):
            outputs = [
                network.classifier.named_outputs(network.forward_features(images))
                for network in networks
            ]
            if len(networks) == 1:
                return networks[0].classifier.scores(outputs[0])
            return torch.stack([each["logits"].softmax(1) for each in outputs]).mean(0).amax(1)

    return call


def preprocessed(network: Network, images: Tensor, precision: str) -> Callable[[], Tensor]:
    """A function that gives a batch's scores after a step along the input's gradient."""
    part = SetOutputs({}, lambda: [images])
    fitted = fit_preprocessing(
        FitData(network, network.classifier, part, part, (1.0,) * 3), EPSILON
    )

    def call() -> Tensor:
        with autocast(images.device, precision):
            return fitted(part)

    return call


def sides_of(
    methods: Iterable[str], model: str, classes: int, members: int, images: Tensor, precision: str
) -> dict[str, Callable[[], Tensor]]:
    """Each method's inference, by its name in tables; SoftMax's first, and with GODIN that of
    preprocessed inputs.
    """
    networks = {
        method: network_of(method, model, classes, images.device)
        for method in dict.fromkeys(["softmax", *methods])
    }
    sides = {
        LOSSES[method].title: inference([network], images, precision)
        for method, network in networks.items()
    }
    if "godin" in networks:
        sides["GODIN, preprocessing"] = preprocessed(networks["godin"], images, precision)
    others = [network_of("softmax", model, classes, images.device) for _ in range(members)]
    return sides | {f"Deep Ensemble of {members}": inference(others, images, precision)}


def main(
    models: tuple[str, ...] = ("densenetbc100", "resnet34", "wideresnet2810"),
    methods: tuple[str, ...] = METHODS,
    classes: int = 100,
    batch: int = 100,
    size: int = 32,
    members: int = 10,
    repeats: int = 15,
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    device: str = "auto",
    out: Path | None = None,
) -> None:
    """Print images/s with SoftMax, and the others' as shares of it; with --out keep the shares for
    analyze.py.
    """
    check_positive(classes=classes, batch=batch, size=size, members=members)
    check_models(models)
    if out:
        records.refuse_result_file(out)
    for method in methods:
        get_loss(method)
    keep_freed_memory()  # as main.py does
    where = find_device(device)
    images = torch.randn(batch, 3, size, size, device=where).to(memory_format=torch.channels_last)
    peak = ceiling(PRECISIONS[precision], where, False, repeats)
    rows, kept = [], []
    for name in models:
        # As `predict` has it: a bounded convolution's weight is computed once.
        with parametrize.cached():
            taken = in_turns(
                sides_of(methods, name, classes, members, images, precision), repeats, seconds=0
            )
        plain = taken.pop("SoftMax")
        row: dict[str, Any] = {"network": name, "SoftMax images/s": f"{batch / plain:.1f}"}
        if size == 32:
            row["of ceiling"] = f"{flops(name, False) * batch / plain / peak:.0%}"
        rows.append(row | {method: f"{plain / seconds:.1%}" for method, seconds in taken.items()})
        shares = {"SoftMax": 1.0} | {method: plain / seconds for method, seconds in taken.items()}
        if "DisMax" in shares:
            shares[LOSSES["dismax_nofpr"].title] = shares["DisMax"]  # the same head
        kept += [
            {"network": model_title(name), "method": method, "efficiency": 100 * each}
            for method, each in shares.items()
        ]
    title = (
        f"Inference with scores, batches of {batch}, {classes} classes, {precision}: shares of "
        "SoftMax's images/s"
    )
    show(f"{title} (ceiling: a 3×3 convolution, {peak / 1e9:.0f} GFLOP/s)", where, rows)
    if out:
        how = {
            "machine": machine(where),
            "classes": classes,
            "batch": batch,
            "precision": precision,
        }
        records.write_json(out, how | {"rows": kept})


if __name__ == "__main__":
    start(main, __doc__)
