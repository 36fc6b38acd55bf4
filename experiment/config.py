"""The configuration of one run: a frozen dataclass, from which the command line is made and which
is kept with the results.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from utils import versions

from .recipes import RECIPES

# Fields that say where and how a run ran, where its files lie, and what it keeps.
ELSEWHERE = (
    "device",
    "compile",
    "cuda_graph",
    "checkpoint_every",
    "keep_features",
    "tensorboard",
    "runs",
    "data_dir",
)


def identity_of(config: dict[str, Any]) -> dict[str, Any]:
    """What makes two runs the same run, of a configuration as JSON: every field but those
    `ELSEWHERE`.

    A configuration without `versions` is from before there were any.
    """
    fields_ = {name: value for name, value in config.items() if name not in ELSEWHERE}
    return {"versions": {}} | fields_


def usual(config: dict[str, Any]) -> dict[str, Any]:
    """Default of every field, by the recipe of a configuration as JSON."""
    return {field.name: field.default for field in fields(RunConfig)} | {
        "batch_size": RECIPES[config["recipe"]].batch_size
    }


@dataclass(frozen=True)
class RunConfig:
    """Train one network with one loss and one seed, calibrate it, detect out-of-distribution data,
    and record the results.
    """

    data: str = "digits"
    """digits (built in), cifar10, cifar100, svhn, fashionmnist, imagenet1k, or a folder with train
    and test, each an .npz, an image list (train.txt) or class folders."""
    model: str | None = None
    """densenetbc100, resnet34, wideresnet2810, another of these families (resnet18, ...),
    resnet18_imagenet or smallcnn. By default the recipe's or the data's own."""
    loss: str = "dismax"
    """softmax, dismax, duq, ...: a row of the table in losses/__init__.py (an unknown name is
    answered with all of them).
    """
    seed: int = 1
    """Of initialisation, shuffling and augmentation."""
    protocol: Literal["heldout", "paper"] = "heldout"
    """What chooses the epoch and fits the temperature: held-out training images, or the test set
    (as the paper; optimistic).
    """
    recipe: str | None = None
    """How to train. paper: learning rate 0.1 that falls tenfold at 1/2, 2/3 and 5/6 of the epochs.
    openood: OpenOOD's for CIFAR, from 0.1 to 0 along a cosine, with its groups of
    out-of-distribution sets. imagenet: 0.1 that falls tenfold at 1/3 and 2/3. By default the data's
    own: imagenet for imagenet1k, paper for the rest."""
    epochs: int | None = None
    """By default 100 for openood and the digits, 90 for imagenet, 300 for the rest."""
    batch_size: int | None = None
    """Images a training step: by default 64, 128 for openood, 256 for imagenet."""
    ood: tuple[str, ...] = ()
    """Out-of-distribution sets: names, .npz files, image lists (.txt) or folders, each as SET,
    near=SET, far=SET or very_far=SET. By default the recipe's or the data's own."""
    limit_train: int | None = None
    """For quick tries: train on this many images."""
    limit_eval: int | None = None
    """For quick tries: evaluate on this many images of each set."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network's forward pass (heads and losses are always float32). auto: what the run began
    with, or else bf16 where the hardware has it and the run's own training steps gain a tenth by
    it."""
    compile: bool = False
    """Compile the network with torch.compile."""
    cuda_graph: Literal["auto", "off"] = "auto"
    """auto: on a GPU a training step is one CUDA graph, which starts faster, if the images are in
    memory and one process trains. off: the host starts every operation."""
    sync_batchnorm: bool = False
    """Under torchrun, on GPUs: batch norms see the whole batch instead of each process's share."""
    checkpoint_every: tuple[float, str] = (10, "minutes")
    """How often to write a checkpoint, such as 5 minutes or 1 epochs.

    A signal always writes one, and so does the last epoch.
    """
    keep_features: bool = False
    """Keep the features of all images, the training images' too, in predictions.npz, for detect.py.
    """
    tensorboard: bool = False
    """Write live curves for TensorBoard (pip install tensorboard) into the run's folder."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    runs: Path = Path("runs")
    """Results go to RUNS/data/model/loss/seed."""
    data_dir: Path = Path("data/downloads")
    """Where prepare-cifar.sh put the data, and what the paths in image lists are relative to."""

    def check(self) -> None:
        """Raises ValueError for a number that cannot be."""
        # Batch norm needs two images to train on.
        for name, least in {
            "epochs": 1,
            "batch_size": 2,
            "limit_train": 2,
            "limit_eval": 1,
        }.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")
        for name, kind in get_type_hints(type(self)).items():
            if (
                (choices := get_args(kind))
                and get_origin(kind) is Literal
                and getattr(self, name) not in choices
            ):
                raise ValueError(
                    f"--{name} is one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        if self.recipe is not None and self.recipe not in RECIPES:
            raise ValueError(f"--recipe is one of {', '.join(RECIPES)}, got {self.recipe!r}")
        every, unit = self.checkpoint_every
        if (
            unit not in ("minutes", "epochs")
            or not 0 < every < float("inf")
            or (unit == "epochs" and every % 1)
        ):
            raise ValueError(
                "--checkpoint-every takes a number of minutes or a whole number of epochs, got "
                f"{every:g} {unit}"
            )
        for source in self.ood:
            # It names arrays in predictions.npz.
            if source.encode(errors="ignore").decode() != source:
                raise ValueError(f"--ood {source!r} is not UTF-8: rename it")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be in 0 to 4294967295, got {self.seed}")

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run, as `identity_of` has it."""
        return identity_of(self.as_json())

    @property
    def folder(self) -> Path:
        """The run's folder."""
        # A path goes by its last part; a name is its own last part.
        return self.runs / Path(self.data).name / str(self.model) / self.loss / str(self.seed)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunConfig":
        """What `as_json` gave, of this version or an earlier one. Raises ValueError for fields that
        it does not have.

        The result is of this code's versions, whatever `values` says.
        """
        values = {name: value for name, value in values.items() if name != "versions"}
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            raise ValueError(
                f"a configuration of another version: it has {', '.join(sorted(unknown))}"
            )
        paths = {name: Path(values[name]) for name in ("runs", "data_dir") if name in values}
        lists = {
            name: tuple(values[name]) for name in ("ood", "checkpoint_every") if name in values
        }
        config = cls(**values | paths | lists)
        config.check()
        return config

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values, and the versions of what they name (`utils.versions`)."""
        lists = {"ood": list(self.ood), "checkpoint_every": list(self.checkpoint_every)}
        values = asdict(self) | lists | {"runs": str(self.runs), "data_dir": str(self.data_dir)}
        return values | {"versions": versions.current(values)}
