"""A data set of the catalog whose images the user puts into class folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .entries import TrainingSet
from .files import load_ood
from .folders import refuse_dead_link
from .streaming import ImageSet
from .train_and_test import cropped_pair


@dataclass(frozen=True)
class ClassFolders:
    """A data set whose images the user puts into class folders, below ROOT/NAME.

    Images have any size. No file is opened when the set is loaded. Training sees random crops,
    evaluation the centre of each image.

    Args:
        name: in the catalog.
        title: in messages.
        side: height and width of the network's images.
        margin: see `images.resize_and_center_crop`.
    """

    name: str
    title: str
    side: int
    margin: int

    def training_set(self, **facts: Any) -> TrainingSet:
        """Return the entry for the catalog; `facts` are more fields of `TrainingSet`."""
        return TrainingSet(
            name=self.name,
            title=self.title,
            load=self.load,
            load_ood=self.load_ood,
            in_own_folder=True,
            side=self.side,
            margin=self.margin,
            **facts,
        )

    def load(self, root: Path) -> tuple[ImageSet, ImageSet]:
        """Return the training and the validation images."""
        folders = self._folder("train", root), self._folder("val", root)
        return cropped_pair(*folders, (self.side, self.side), self.margin)

    def load_ood(self, root: Path, reference: Tensor, margin: int) -> ImageSet:
        """Return the validation images in the format of the reference images: see `load_ood`."""
        return load_ood(self._folder("val", root), reference, margin)

    def _folder(self, split: str, root: Path) -> Path:
        folder = root / self.name / split
        refuse_dead_link(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{self.title} is not in {folder}: put its images there, a folder a class "
                f"({self.name}/train/CLASS/*.JPEG and {self.name}/val/CLASS/*.JPEG, as for "
                f"torchvision's ImageFolder), or name another folder than {root} with --data-dir"
            )
        return folder
