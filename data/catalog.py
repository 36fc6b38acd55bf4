"""The catalog of data sets. To add a data set, add a row to `_ROWS`.

Each kind of data set makes its row:

- `torchvision_sets`: torchvision reads and downloads it.
- `Archive`: a tar or a zip of images, for out-of-distribution detection only.
- `ClassFolders`: the user puts its images into a folder for each class.
- `GeneratedSet`: a function makes its images.

A set of another kind needs functions that load and download it: see `DataSet` and `TrainingSet`.
"""

from pathlib import Path

from torchvision import datasets

from .archives import Archive
from .builtin import GeneratedSet, digits, digits89, noise, photos
from .class_folders import ClassFolders
from .copies import Contents
from .entries import DataSet, TrainingSet
from .images import as_ood
from .torchvision_sets import cifar, mnist, svhn

_RESIZED = (("far", "tinyimagenet_resize"), ("far", "lsun_resize"))
_OPENOOD_FAR = (("far", "mnist"), ("far", "svhn"), ("far", "textures"), ("far", "places365"))
BUILT_IN_OOD_SETS = (("far", "photos"), ("very_far", "noise"))

_ROWS = (
    TrainingSet(
        name="digits",
        title="Digits 0-7",
        load=lambda root: digits(),
        load_ood=lambda root, reference, margin: as_ood(digits()[1].pixels, reference, margin),
        ood_sets=(("near", "digits89"), *BUILT_IN_OOD_SETS),
        flip=False,
        validation=0.75,
        model="smallcnn",
        epochs=100,
    ),
    GeneratedSet("digits89", "Digits 8-9", lambda size: digits89()).ood_set(),
    GeneratedSet("photos", "Photographs", photos).ood_set(),
    GeneratedSet("noise", "Noise", noise).ood_set(),
    # The paper's data sets, and Fashion-MNIST.
    cifar(
        "cifar10",
        "CIFAR-10",
        contents={
            "train": Contents(50_000, 10, "2c035c53cf357f82"),
            "test": Contents(10_000, 10, "58b695a9064f71e1"),
        },
    ).training_set(
        ood_sets=(("near", "cifar100"), *_RESIZED, ("very_far", "svhn")),
        mean=(0.491, 0.482, 0.446),
        std=(0.247, 0.243, 0.261),
        recipes={
            "openood": {
                "model": "resnet18",
                "ood_sets": (("near", "cifar100"), ("near", "tinyimagenet"), *_OPENOOD_FAR),
                "mean": (0.4914, 0.4822, 0.4465),
                "std": (0.2470, 0.2435, 0.2616),
            }
        },
    ),
    cifar(
        "cifar100",
        "CIFAR-100",
        contents={
            "train": Contents(50_000, 100),
            "test": Contents(10_000, 100, "530d9f40e4bd736d"),
        },
    ).training_set(
        ood_sets=(("near", "cifar10"), *_RESIZED, ("very_far", "svhn")),
        mean=(0.507, 0.486, 0.440),
        std=(0.267, 0.256, 0.276),
        recipes={
            "openood": {
                "model": "resnet18",
                "ood_sets": (("near", "cifar10"), ("near", "tinyimagenet"), *_OPENOOD_FAR),
                "mean": (0.5071, 0.4867, 0.4408),
                "std": (0.2675, 0.2565, 0.2761),
            }
        },
    ),
    svhn(
        "svhn",
        "SVHN",
        contents={"train": Contents(73_257, 10), "test": Contents(26_032, 10)},
    ).training_set(
        ood_sets=(("near", "cifar10"), *_RESIZED),
        flip=False,
    ),
    Archive(
        name="tinyimagenet_resize",
        title="TinyImageNet-resize",
        url="https://www.dropbox.com/s/raw/kp3my3412u5k9rl/Imagenet_resize.tar.gz",
        md5="0f9ff11d45babf2eff5fe12281d1ac31",
        folder="Imagenet_resize",
        count=10_000,
    ).ood_set(),
    Archive(
        name="lsun_resize",
        title="LSUN-resize",
        url="https://www.dropbox.com/s/raw/moqh2wh8696c3yl/LSUN_resize.tar.gz",
        md5="278b7b31c8cb7e804a1465a8ce03a2dc",
        folder="LSUN_resize",
        count=10_000,
    ).ood_set(),
    mnist(datasets.FashionMNIST, "fashionmnist", "Fashion-MNIST").training_set(
        ood_sets=BUILT_IN_OOD_SETS
    ),
    # OpenOOD's out-of-distribution sets.
    Archive(
        name="tinyimagenet",  # its validation images, of all 200 classes
        title="TinyImageNet",
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        folder="tiny-imagenet-200/val/images",
        count=10_000,
        suffix=".zip",
    ).ood_set(),
    mnist(datasets.MNIST, "mnist", "MNIST, all 70,000").ood_set(),
    Archive(
        name="textures",
        title="Textures",
        url="https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
        md5="fff73e5086ae6bdbea199a49dfb8a4c1",
        folder="dtd",
        count=5640,
    ).ood_set(),
    Archive(
        name="places365",  # its validation images, scaled down to 256 pixels
        title="Places365",
        url="http://data.csail.mit.edu/places/places365/val_256.tar",
        md5="e27b17d8d44f4af9a78502beb927f808",
        folder="val_256",
        count=36_500,
        suffix=".tar",
    ).ood_set(),
    # ImageNet, whose images users download themselves, and its out-of-distribution set.
    ClassFolders("imagenet1k", "ImageNet-1k", side=224, margin=32).training_set(
        ood_sets=(("near", "imagenet_o"),),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        validation=0.02,
        recipe="imagenet",
        model="resnet18_imagenet",
        epochs=90,
    ),
    Archive(
        name="imagenet_o",
        title="ImageNet-O",
        url="https://people.eecs.berkeley.edu/~hendrycks/imagenet-o.tar",
        md5="86bd7a50c1c4074fb18fc5f219d6d50b",
        folder="imagenet-o",
        count=2000,
        suffix=".tar",
    ).ood_set(),
)
CATALOG: dict[str, DataSet] = {row.name: row for row in _ROWS}


def named_path(source: str) -> Path:
    """Return the absolute path of a source. A link keeps its own name, which tables show."""
    path = Path(source)
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def title_of(source: str) -> str:
    """Return what tables call a data set: its title, or a path's last part without .npz or .txt."""
    if source in CATALOG:
        return CATALOG[source].title
    path = named_path(source)
    return path.stem if path.suffix.lower() in (".npz", ".txt") else path.name
