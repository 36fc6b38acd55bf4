"""The configuration of one run: a frozen dataclass, from which the command line is made and which is kept with the results."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class RunConfig:
    """Train one network with one loss and one seed, calibrate it, detect out-of-distribution data, and record the results."""

    data: str = "digits"
    """digits (built in), cifar10, cifar100, svhn, fashionmnist, or a folder that holds train and test: each an .npz or a folder of
    class folders."""
    model: str | None = None
    """densenetbc100, resnet34, wideresnet2810, or others of these families (densenetbc40, resnet18, wideresnet164, ...), or
    smallcnn. The data set's own by default: smallcnn for digits, densenetbc100 for the rest."""
    loss: str = "dismax"
    """softmax, isomax, isomaxplus, dismax or dismax_nofpr."""
    seed: int = 1
    """Of initialisation, shuffling and augmentation."""
    protocol: Literal["heldout", "paper"] = "heldout"
    """Which images choose the epoch and fit the temperature: held-out training images, or the test set, as in the paper
    (optimistic)."""
    recipe: Literal["paper"] = "paper"
    """How to train: SGD with Nesterov momentum, learning rate 0.1 that falls tenfold at 1/2, 2/3 and 5/6 of the epochs."""
    epochs: int | None = None
    """The data set's own by default: 100 for digits, 300 for the rest."""
    batch_size: int = 64
    """Images a training step."""
    ood: tuple[str, ...] = ()
    """Out-of-distribution sets, by default the data set's own: names, .npz files or folders of images, each optionally as
    near=SET, far=SET or very_far=SET."""
    limit_train: int | None = None
    """For quick tries: train on this many images."""
    limit_eval: int | None = None
    """For quick tries: evaluate on this many images of each set."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network's forward pass; heads and losses are always float32."""
    compile: bool = False
    """Compile the network with torch.compile."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    runs: Path = Path("runs")
    """Results go to RUNS/data/model/loss/seed."""
    data_dir: Path = Path("data/downloads")
    """Where prepare-cifar.sh put the data."""

    def check(self) -> None:
        """Raises ValueError for a number that cannot be."""
        # Batch norm needs two images to train on.
        for name, least in {"epochs": 1, "batch_size": 2, "limit_train": 2, "limit_eval": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} must be {least} or more, got {value}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be in 0 to 4294967295, got {self.seed}")

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: every field but where it ran and where its files lie. As JSON has it."""
        elsewhere = ("device", "compile", "runs", "data_dir")
        values = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        # A path goes by its last part, "." and trailing slashes included; a name is its own last part.
        return self.runs / Path(self.data).resolve().name / str(self.model) / self.loss / str(self.seed)

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        elsewhere = {"device": self.device, "compile": self.compile, "runs": str(self.runs), "data_dir": str(self.data_dir)}
        return self.identity() | elsewhere
