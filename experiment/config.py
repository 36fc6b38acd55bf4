"""The configuration of one run. The command line is made from it, and every result keeps it."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from utils import versions
from utils.plugins import WithPlugins

from .recipes import ELSEWHERE, RECIPES, Recipe

PRETRAINED = "pretrained"  # --weights of the library that the network is from
Precision = Literal["auto", "fp32", "bf16", "fp16"]
# Fields that do not identify a run: where and how it runs, where its files lie, what else it keeps.
NOT_IDENTITY = (
    "device",
    "compile",
    "cuda_graph",
    "checkpoint_every",
    "keep_features",
    "tensorboard",
    "runs",
    "data_dir",
    "workers",
    "plugin",
)


@dataclass(frozen=True)
class Options(WithPlugins):
    """Train one network with one loss and one seed, calibrate it, and detect out-of-distribution
    data. The results are written into the run's folder.
    """

    data: str = "digits"
    """digits (built in), cifar10, cifar100, svhn, fashionmnist, imagenet1k, or a folder with train,
    test and perhaps val, each an .npz, an image list (train.txt) or class folders; or class folders
    alone: a fifth of the images is then the test set."""
    model: str | None = None
    """densenetbc100, resnet34, wideresnet2810, another of these families (resnet18, ...),
    resnet18_imagenet, smallcnn, timm/NAME or torchvision/NAME. The default depends on the recipe
    and the data."""
    weights: str | None = None
    """Weights that the network's body starts with: a safetensors file, a state dict (.pt, .pth),
    cifar10 for those of the included network, or pretrained for those of timm or torchvision. The
    head is new."""
    freeze: bool = False
    """Train the head alone; the body keeps its weights."""
    loss: str | None = None
    """softmax, dismax, duq, ...: a row of the table in losses/__init__.py. An unknown name prints
    all of them. Default: dismax, or dismax_nofpr with --weights."""
    seed: int = 1
    """Seed of initialisation, shuffling and augmentation."""
    protocol: Literal["heldout", "paper"] = "heldout"
    """Which images choose the epoch and fit the temperature. heldout: the data set's own validation
    images, or training images that are held out. paper: the test set, as in the paper, which is
    optimistic."""
    size: int | None = None
    """Height and width of the network's images, for a folder of images of any size and shape:
    training sees random crops, evaluation the centre."""
    recipe: str | None = None
    """How to train. paper: the learning rate is 0.1 and falls tenfold at 1/2, 2/3 and 5/6 of the
    epochs. openood: OpenOOD's for CIFAR, from 0.1 to 0 along a cosine, with its groups of
    out-of-distribution sets. imagenet: 0.1, falls tenfold at 1/3 and 2/3. finetune: SGD with 0.1.
    finetune_adamw: AdamW with 0.001. In both, the rate falls to 0 along a cosine after a warm-up,
    and the body has a tenth of the head's rate. Default: finetune with --weights, imagenet for
    imagenet1k and with --size, paper for the rest."""
    learning_rate: Annotated[float | None, tyro.conf.arg(aliases=["--lr"])] = None
    """The highest learning rate. Default: the recipe's."""
    weight_decay: float | None = None
    """The weight decay. Default: the recipe's."""
    epochs: int | None = None
    """Default: 100 for openood and the digits, 90 for imagenet, 20 for finetune, else 300."""
    batch_size: int | None = None
    """Images in a training step. Default: 128 for openood, 256 for imagenet, 32 for finetune, else
    64."""
    ood: tuple[str, ...] = ()
    """Out-of-distribution sets: names, .npz files, image lists (.txt) or folders. Each is SET,
    near=SET, far=SET or very_far=SET. The default depends on the recipe and the data."""
    limit_train: int | None = None
    """For quick tries: train on this many images."""
    limit_eval: int | None = None
    """For quick tries: evaluate on this many images of each set."""
    precision: Precision = "auto"
    """Precision of the network's forward pass; heads and losses are always float32. auto: the
    precision that the run began with, or else bf16 if the hardware has it and the run's training
    steps are more than 1.1 times as fast in it."""
    compile: bool = False
    """Compile the network with torch.compile."""
    cuda_graph: Literal["auto", "off"] = "auto"
    """auto: on a GPU, a training step is one CUDA graph, which starts faster, if the images are in
    memory and one process trains. off: no graph."""
    sync_batchnorm: bool = False
    """Under torchrun, on GPUs: batch norms use the whole batch, not each process's share."""
    checkpoint_every: tuple[float, str] = (10, "minutes")
    """How often to write a checkpoint, for example 5 minutes or 1 epochs. A signal and the last
    epoch always write one."""
    keep_features: bool = False
    """Keep the features of all images, training images included, in predictions.npz, for detect.py.
    """
    tensorboard: bool = False
    """Write live curves for TensorBoard (pip install tensorboard) into the run's folder."""
    workers: int | None = None
    """Processes that decode images while the network trains. Default: one for each processor, at
    most 8."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    runs: Path = Path("runs")
    """Results go to RUNS/data/model/loss/seed."""
    data_dir: Path = Path("data/downloads")
    """Where prepare-cifar.sh put the data. Paths in image lists are relative to it."""

    def check(self) -> None:
        """Raises ValueError for a value that is not allowed."""
        # Batch norm needs two images to train on.
        lowest = {"epochs": 1, "batch_size": 2, "limit_train": 2, "limit_eval": 1}
        lowest |= {"size": 1, "workers": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                choices = ", ".join(get_args(kind))
                raise ValueError(f"--{name} is one of {choices}, got {getattr(self, name)!r}")
        if self.recipe is not None and self.recipe not in RECIPES:
            raise ValueError(f"--recipe is one of {', '.join(RECIPES)}, got {self.recipe!r}")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < float("inf")):
                option = name.replace("_", "-")
                raise ValueError(f"--{option} is a number, 0 or more, got {value}")
        every, unit = self.checkpoint_every
        whole = unit != "epochs" or every % 1 == 0
        if unit not in ("minutes", "epochs") or not 0 < every < float("inf") or not whole:
            raise ValueError(
                "--checkpoint-every takes a number of minutes or a whole number of epochs, "
                f"got {every:g} {unit}"
            )
        for source in self.ood:
            # The name of a set is the name of an array in predictions.npz.
            if source.encode(errors="ignore").decode() != source:
                raise ValueError(f"--ood {source!r} is not UTF-8: rename it")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be in 0 to 4294967295, got {self.seed}")


@dataclass(frozen=True)
class RunConfig(Options):
    """Options in which nothing is left open. Only `precision` may be auto until the run begins."""

    model: str = "smallcnn"
    loss: str = "dismax"
    recipe: str = "paper"
    epochs: int = 100
    batch_size: int = 64

    @property
    def folder(self) -> Path:
        """The run's folder. If the data is a path, only its last part is used."""
        model = self.model.replace("/", "_")
        return self.runs / Path(self.data).name / model / self.loss / str(self.seed)

    @property
    def training(self) -> Recipe:
        """The recipe, with the learning rate and the weight decay of the options."""
        recipe = RECIPES[self.recipe]
        if self.learning_rate is not None:
            recipe = replace(recipe, learning_rate=self.learning_rate)
        if self.weight_decay is not None:
            recipe = replace(recipe, weight_decay=self.weight_decay)
        return recipe

    def identity(self) -> dict[str, Any]:
        """The fields that identify the run, as `identity_of` returns them."""
        return identity_of(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values, and the versions of what they name (`utils.versions`)."""
        values = asdict(self)
        values["plugin"] = [str(path) for path in self.plugin]
        values["ood"] = list(self.ood)
        values["checkpoint_every"] = list(self.checkpoint_every)
        values["runs"] = str(self.runs)
        values["data_dir"] = str(self.data_dir)
        return values | {"versions": versions.current(values)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunConfig":
        """The configuration that `as_json` wrote, in this version or an earlier one.

        The result has this code's versions, whatever `values` says.

        Raises ValueError for unknown fields.
        """
        values = {name: value for name, value in values.items() if name != "versions"}
        if unknown := values.keys() - {field.name for field in fields(cls)}:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"a configuration of another version: it has {names}")
        types = {"runs": Path, "data_dir": Path, "ood": tuple, "checkpoint_every": tuple}
        values |= {name: kind(values[name]) for name, kind in types.items() if name in values}
        values["plugin"] = tuple(map(Path, values.get("plugin", ())))
        config = cls(**values)
        config.check()
        return config


def identity_of(config: dict[str, Any]) -> dict[str, Any]:
    """The fields that make two runs the same run, from a configuration as JSON.

    A configuration without `versions` is older than versions are, and one without another field is
    older than this field: it has the default. The outputs of other programs have few fields.
    """
    filled = config if config["recipe"] == ELSEWHERE else defaults(config) | config
    identity = {name: value for name, value in filled.items() if name not in NOT_IDENTITY}
    return {"versions": {}} | identity


def defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Default of every field, for the recipe of a configuration as JSON."""
    values = {field.name: field.default for field in fields(RunConfig)}
    if config["recipe"] in RECIPES:
        values["batch_size"] = RECIPES[config["recipe"]].batch_size
    return values


def epochs_text(epochs: int) -> str:
    """A number of epochs in words: "1 epoch", "2 epochs"."""
    return "1 epoch" if epochs == 1 else f"{epochs} epochs"
