#!/usr/bin/env python3
"""Measures inference efficiency as in the paper: each method's images/s relative to SoftMax's.

Inference includes the scores.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from detectors import FitData, SetOutputs
from detectors.preprocessing import fit_preprocessing
from experiment import records
from losses import LOSSES, get_loss
from models import Network, build_model, model_title
from utils.runtime import PRECISIONS, autocast, find_device, keep_freed_memory

from .ceiling import ceiling, flops
from .common import check_models, check_positive, in_turns, machine, show, start

# "dismax_nofpr" has the head of "dismax".
METHODS = tuple(name for name in LOSSES if name != "dismax_nofpr")
EPSILON = 0.01  # of preprocessing; it does not change the time


def network_of(method: str, model: str, classes: int, device: torch.device) -> Network:
    """Return an untrained network with a method's head, in evaluation mode."""
    loss = LOSSES[method]
    network = loss.wrap(build_model(model, classes, loss.head)).to(device)
    return network.to(memory_format=torch.channels_last).eval()


def inference(networks: list[Network], images: Tensor, precision: str) -> Callable[[], Tensor]:
    """Return a function that computes a batch's scores [B].

    The score is the head's own. For several networks, it is the maximum of their mean
    probabilities.
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
            probabilities = [output["logits"].softmax(1) for output in outputs]
            return torch.stack(probabilities).mean(0).amax(1)

    return call


def preprocessed(network: Network, images: Tensor, precision: str) -> Callable[[], Tensor]:
    """Return a function that computes a batch's scores after a step along the input's gradient."""
    outputs = SetOutputs({}, lambda: [images])
    fit_data = FitData(network, network.classifier, outputs, outputs, (1.0,) * 3)
    fitted = fit_preprocessing(fit_data, EPSILON)

    def call() -> Tensor:
        with autocast(images.device, precision):
            return fitted(outputs)

    return call


def seconds_of(
    methods: Iterable[str],
    model: str,
    classes: int,
    members: int,
    images: Tensor,
    precision: str,
    repeats: int,
) -> dict[str, float]:
    """Return the time of a batch with each method, by the methods' names in tables.

    SoftMax is first, the ensemble last. If GODIN is among the methods, preprocessing is too.
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
    ensemble = [network_of("softmax", model, classes, images.device) for _ in range(members)]
    sides[f"Deep Ensemble of {members}"] = inference(ensemble, images, precision)
    # Inside, a bounded convolution's weight is computed once, as in `predict`.
    with parametrize.cached():
        return in_turns(sides, repeats, seconds=0)


def row_of(
    name: str, seconds: Mapping[str, float], batch: int, peak: float | None
) -> dict[str, str]:
    """Return a network's row of the table.

    Args:
        name: of the network.
        seconds: method → time of a batch.
        batch: images in a batch.
        peak: the ceiling in FLOP/s; None for images of another size than `flops` has.
    """
    rate = batch / seconds["SoftMax"]
    row = {"network": name, "SoftMax images/s": f"{rate:.1f}"}
    if peak:
        row["of ceiling"] = f"{flops(name, False) * rate / peak:.0%}"
    others = [method for method in seconds if method != "SoftMax"]
    return row | {method: f"{seconds['SoftMax'] / seconds[method]:.1%}" for method in others}


def results_of(name: str, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a network's efficiency with each method, in percent, for analyze.py."""
    shares = {method: seconds["SoftMax"] / seconds[method] for method in seconds}
    if "DisMax" in shares:
        shares[LOSSES["dismax_nofpr"].title] = shares["DisMax"]  # the same head
    return [
        {"network": model_title(name), "method": method, "efficiency": 100 * share}
        for method, share in shares.items()
    ]


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
    """Print the images/s of SoftMax, and those of the other methods relative to it.

    Args:
        models: networks.
        methods: losses, by name.
        classes: of each network.
        batch: images in a batch.
        size: height and width of the images, in pixels.
        members: of the Deep Ensemble.
        repeats: measurements of each method.
        precision: as main.py's.
        device: as main.py's.
        out: a .json file to write the results to, for analyze.py.
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
    rows: list[dict[str, str]] = []
    results: list[dict[str, Any]] = []
    for name in models:
        seconds = seconds_of(methods, name, classes, members, images, precision, repeats)
        rows.append(row_of(name, seconds, batch, peak if size == 32 else None))
        results += results_of(name, seconds)
    title = (
        f"Inference with scores, batches of {batch}, {classes} classes, {precision}: shares of "
        "SoftMax's images/s"
    )
    show(f"{title} (ceiling: a 3×3 convolution, {peak / 1e9:.0f} GFLOP/s)", where, rows)
    if out:
        settings = {"classes": classes, "batch": batch, "precision": precision}
        records.write_json(out, {"machine": machine(where), **settings, "rows": results})


if __name__ == "__main__":
    start(main, __doc__)
