"""Out-of-distribution sets that are a tar or a zip of images."""

import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from . import files
from .download import download_file
from .entries import DataSet
from .folders import refuse_dead_link, search
from .streaming import ImageSet


@dataclass(frozen=True)
class Archive:
    """A tar or a zip of images, and the folder that they are unpacked into."""

    name: str  # of the data set in the catalog
    title: str
    url: str
    md5: str
    folder: str  # where the images are after unpacking, below the data directory
    count: int  # number of images
    suffix: str = ".tar.gz"

    def ood_set(self) -> DataSet:
        """Return the entry for the catalog."""
        return DataSet(
            name=self.name,
            title=self.title,
            load_ood=self.load_ood,
            download=self.download,
            archive_folder=self.folder,
        )

    def load_ood(self, root: Path, reference: Tensor, margin: int) -> ImageSet:
        """Return the images in the format of the reference images: see `files.load_ood`.

        Raises FileNotFoundError if images are missing, ValueError if one is damaged.
        """
        folder = root / self.folder
        remedy = (
            f"download it with `bash prepare-cifar.sh {self.name}`, or name the sets you have "
            "with --ood"
        )
        if not folder.is_dir():
            raise FileNotFoundError(f"{self.title} is not in {folder}: {remedy}")
        try:
            images = files.load_ood(folder, reference, margin)
        except ValueError as error:
            raise ValueError(f"{error}; or delete {folder} and {remedy}") from error
        if len(images) != self.count:
            raise FileNotFoundError(
                f"{folder} holds {len(images)} images, {self.title} has {self.count}: {remedy}"
            )
        return replace(images, notes=())  # the other files of an archive are no news

    def download(self, root: Path) -> None:
        """Download, check and unpack the images, unless the folder has all of them.

        A complete folder from elsewhere is accepted.
        """
        folder = root / self.folder
        refuse_dead_link(folder)
        if folder.is_dir() and len(search(folder).images) == self.count:
            return
        # The folder was not made here: a set is unpacked elsewhere and moved when it is complete.
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(
                f"{folder} does not hold the {self.count} images of {self.title}: move it away, "
                "or delete it"
            )
        name = Path(self.folder).parts[0]
        archive = root / f"{name}{self.suffix}"
        download_file(self.url, archive, self.md5)
        unpacked = root / f".{name}.unpacking"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            if self.suffix == ".zip":
                unpack_zip(archive, unpacked, self.folder)
            else:
                unpack_tar(archive, unpacked)
            count = len(search(unpacked).images)
            if count != self.count:
                raise ValueError(f"{archive} holds {count} images, not {self.count}")
            folder.parent.mkdir(parents=True, exist_ok=True)
            unpacked.replace(folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def unpack_tar(archive: Path, target: Path) -> None:
    """Unpack a tar of plain files and folders.

    Raises ValueError if it is damaged, or holds links, devices, or paths outside the target.
    """
    try:
        with tarfile.open(archive) as tar:
            # Python 3.11.3 and earlier have no filters, so the check below is needed too.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for member in tar:
                is_inside = (target / member.name).resolve().is_relative_to(target.resolve())
                if not is_inside or not (member.isfile() or member.isdir()):
                    raise ValueError(
                        f"{archive} cannot be unpacked safely: {member.name} is not a plain file "
                        "or folder inside it"
                    )
                tar.extract(member, target, set_attrs=False)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        if zipfile.is_zipfile(archive):
            raise ValueError(f"{archive} is a zip: its row needs suffix='.zip'") from error
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error


def unpack_zip(archive: Path, target: Path, folder: str) -> None:
    """Unpack one folder of a zip. Python's zipfile itself keeps all paths inside the target.

    Raises ValueError if the zip is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            names = [name for name in zipped.namelist() if name.startswith(f"{folder}/")]
            if not names:
                folders = sorted({name.partition("/")[0] for name in zipped.namelist()})
                raise ValueError(f"{archive} has no folder {folder}: it has {', '.join(folders)}")
            zipped.extractall(target, names)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error
