"""Every data set's facts, once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# How far an out-of-distribution set lies from the in-distribution one, as the paper's table groups
# them.
ROLES = ("near", "far", "very_far")


@dataclass(frozen=True)
class DataSet:
    """An in-distribution data set: how it is trained by default and what it is tested against."""

    title: str
    partners: tuple[tuple[str, str], ...]  # (role, source) of its out-of-distribution sets
    # Of the channels in [0, 1]; None: measured on the training images.
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    flip: bool = True  # whether a mirrored image is still of its class
    validation: float = 0.1  # share of the training images that the held-out protocol keeps back
    recipe: str = "paper"
    model: str = "densenetbc100"
    epochs: int = 300
    # Of a set whose files are of any size: the (square) images' side, and by how much longer an
    # evaluated one's shorter side is.
    side: int | None = None
    margin: int = 0


@dataclass(frozen=True)
class Archive:
    """A data set that comes as a tar or a zip of images."""

    title: str
    url: str
    md5: str
    folder: str  # where its images lie once unpacked
    count: int  # how many they are
    suffix: str = ".tar.gz"


_FAR = (("far", "tinyimagenet_resize"), ("far", "lsun_resize"))
BUILT_IN_PARTNERS = (("far", "photos"), ("very_far", "noise"))

DATA_SETS = {
    "digits": DataSet(
        "Digits 0-7",
        (("near", "digits89"), *BUILT_IN_PARTNERS),
        flip=False,
        validation=0.75,
        model="smallcnn",
        epochs=100,
    ),
    "cifar10": DataSet(
        "CIFAR-10",
        (("near", "cifar100"), *_FAR, ("very_far", "svhn")),
        (0.491, 0.482, 0.446),
        (0.247, 0.243, 0.261),
    ),
    "cifar100": DataSet(
        "CIFAR-100",
        (("near", "cifar10"), *_FAR, ("very_far", "svhn")),
        (0.507, 0.486, 0.440),
        (0.267, 0.256, 0.276),
    ),
    "svhn": DataSet("SVHN", (("near", "cifar10"), *_FAR), flip=False),
    "fashionmnist": DataSet("Fashion-MNIST", BUILT_IN_PARTNERS),
    "imagenet1k": DataSet(
        "ImageNet-1k",
        (("near", "imagenet_o"),),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        validation=0.02,
        recipe="imagenet",
        model="resnet18_imagenet",
        epochs=90,
        side=224,
        margin=32,
    ),
}

ARCHIVES = {
    "tinyimagenet_resize": Archive(
        "TinyImageNet-resize",
        "https://www.dropbox.com/s/raw/kp3my3412u5k9rl/Imagenet_resize.tar.gz",
        "0f9ff11d45babf2eff5fe12281d1ac31",
        "Imagenet_resize",
        10_000,
    ),
    "lsun_resize": Archive(
        "LSUN-resize",
        "https://www.dropbox.com/s/raw/moqh2wh8696c3yl/LSUN_resize.tar.gz",
        "278b7b31c8cb7e804a1465a8ce03a2dc",
        "LSUN_resize",
        10_000,
    ),
    "tinyimagenet": Archive(
        "TinyImageNet",  # its validation images, of all 200 classes
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        "tiny-imagenet-200/val/images",
        10_000,
        ".zip",
    ),
    "textures": Archive(
        "Textures",
        "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
        "fff73e5086ae6bdbea199a49dfb8a4c1",
        "dtd",
        5640,
    ),
    "places365": Archive(
        "Places365",  # its validation images, scaled down to 256 pixels
        "http://data.csail.mit.edu/places/places365/val_256.tar",
        "e27b17d8d44f4af9a78502beb927f808",
        "val_256",
        36_500,
        ".tar",
    ),
    "imagenet_o": Archive(
        "ImageNet-O",
        "https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
        "86bd7a50c1c4074fb18fc5f219d6d50b",
        "imagenet-o",
        2000,
        ".tar",
    ),
}

_OPENOOD_FAR = (("far", "mnist"), ("far", "svhn"), ("far", "textures"), ("far", "places365"))

# (recipe, data set) → what the recipe has in place of the set's own.
OF_RECIPES: dict[tuple[str | None, str], dict[str, Any]] = {
    ("openood", "cifar10"): {
        "model": "resnet18",
        "partners": (("near", "cifar100"), ("near", "tinyimagenet"), *_OPENOOD_FAR),
        "mean": (0.4914, 0.4822, 0.4465),
        "std": (0.2470, 0.2435, 0.2616),
    },
    ("openood", "cifar100"): {
        "model": "resnet18",
        "partners": (("near", "cifar10"), ("near", "tinyimagenet"), *_OPENOOD_FAR),
        "mean": (0.5071, 0.4867, 0.4408),
        "std": (0.2675, 0.2565, 0.2761),
    },
}

# Of torchvision, out-of-distribution only: the training and the test images, as OpenOOD has them.
OUTSIDE = {"mnist": "MNIST, all 70,000"}
# Out-of-distribution only, made on the spot.
BUILT_IN = {"digits89": "Digits 8-9", "photos": "Photographs", "noise": "Noise"}


def title_of(source: str) -> str:
    """What tables call a data set; a path goes by its last part, without .npz or .txt."""
    if source in DATA_SETS:
        return DATA_SETS[source].title
    if source in ARCHIVES:
        return ARCHIVES[source].title
    path = Path(source).resolve()
    own = path.stem if path.suffix.lower() in (".npz", ".txt") else path.name
    return (BUILT_IN | OUTSIDE).get(source, own)
