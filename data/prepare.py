"""Downloads and checks the data sets: `python -m data.prepare [NAME ...]`, or prepare-cifar.sh.

What is there and right is skipped, a download that was cut goes on where it stopped, and a failure
stops only its own set.
"""

from __future__ import annotations

if __name__ == "__main__":
    from . import console

    console.end_at_once()

import hashlib
import shutil
import signal
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NoReturn

from torchvision import datasets
from tqdm import tqdm

from . import console
from .catalog import ARCHIVES, Archive, title_of
from .console import print_line
from .files import image_files

ROOT = Path("data/downloads")
# Bytes; a server has so many seconds to answer, and for each piece of a file.
PIECE, PATIENCE = 1 << 16, 60
LARGEST = 5 << 30  # bytes; none of these files has half as many
CIFAR = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
MNIST = {"mnist": datasets.MNIST, "fashionmnist": datasets.FashionMNIST}
# What is fetched by default.
PAPER = ("cifar10", "cifar100", "svhn", "tinyimagenet_resize", "lsun_resize", "fashionmnist")
NAMES = (*PAPER, "tinyimagenet", "mnist", "textures", "places365", "imagenet_o")


def md5_of(path: Path) -> str:
    """The file's MD5, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _give_up(*_) -> NoReturn:
    raise TimeoutError(f"it sends less than {PIECE} bytes in {PATIENCE} seconds")


@contextmanager
def _answering(url: str, path: Path) -> Iterator[None]:
    """Talk to a server.

    Raises ConnectionError, in one line, for all that goes wrong with it, and after `PATIENCE`
    seconds.
    """
    # A socket's timeout is no limit for what comes a byte at a time.
    timed = hasattr(signal, "SIGALRM")
    if timed:
        held = signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(PATIENCE)
    try:
        yield
    except (OSError, ValueError, HTTPException) as error:
        reason = (
            str(error.reason if type(error) is urllib.error.URLError else error)[:200]
            or type(error).__name__
        )
        raise ConnectionError(
            f"{url}: {reason} (run it again, or put the file, however you came by it, at {path})"
        ) from error
    finally:
        if timed:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, held)


def _asked(url: str, path: Path, have: int) -> HTTPResponse | None:
    """A server's answer: a file from its byte `have` on (status 206) or all of it; None if nothing
    is left to send.
    """
    headers = {"User-Agent": "Mozilla/5.0"} | ({"Range": f"bytes={have}-"} if have else {})
    with _answering(url, path):
        try:
            return urllib.request.urlopen(
                urllib.request.Request(url, headers=headers), timeout=PATIENCE
            )
        except urllib.error.HTTPError as error:
            if error.code == 416:
                return None
            raise


def _receive(response: HTTPResponse, url: str, path: Path, part: Path, have: int) -> None:
    """Write what a server sends behind a part's first `have` bytes.

    Raises ConnectionError if that ends too early, or never.
    """
    length = response.length or 0  # unknown, or nonsense
    whole, quiet = have + length, sys.stderr is None or not sys.stderr.isatty()
    with (
        open(part, "ab" if have else "wb") as file,
        tqdm(
            total=whole if length else None,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=path.name,
            disable=quiet,
        ) as bar,
    ):
        while max(whole, file.tell()) <= LARGEST:
            with _answering(url, path):
                piece = response.read(PIECE)
            if not piece:
                break
            file.write(piece)
            bar.update(len(piece))
        else:
            if file.tell() > LARGEST:
                file.truncate(0)
            raise ConnectionError(
                f"{url}: the server sends more than {LARGEST} bytes, which cannot be {path.name}"
            )
        if file.tell() < whole:
            raise ConnectionError(
                f"the connection closed after {file.tell()} of {whole} bytes: run it again to go on"
            )


def fetch(url: str, path: Path, md5: str) -> None:
    """Download a file unless it is there and right; go on where an earlier download stopped.

    Raises ValueError if what arrives has another checksum (it is deleted), OSError if the
    connection fails (what has arrived is kept).
    """
    if path.exists() and md5_of(path) == md5:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if response := _asked(url, path, have):
        with closing(response):
            _receive(response, url, path, part, have if response.status == 206 else 0)
    if (found := md5_of(part)) != md5:
        part.unlink()
        reason = (
            "what was there of it may have been damaged: run it again"
            if have
            else "the link may be dead, or the file changed"
        )
        raise ValueError(f"what came from {url} has the MD5 {found}, not {md5}: {reason}")
    part.replace(path)


def unpack(archive: Path, into: Path) -> None:
    """Unpack a tar of plain files and folders.

    Raises ValueError for one with links, devices, or paths that point outside.
    """
    try:
        with tarfile.open(archive) as tar:
            # Newer Pythons ask for a filter, older ones (3.11.3 and before) know none: hence the
            # check below too.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for member in tar:
                inside = (into / member.name).resolve().is_relative_to(into.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise ValueError(
                        f"{archive} cannot be unpacked safely: {member.name} is no plain file or "
                        "folder inside it"
                    )
                tar.extract(member, into, set_attrs=False)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error


def unpack_zip(archive: Path, into: Path, folder: str) -> None:
    """Unpack what lies below one of a zip's folders; the library itself keeps it inside.

    Raises ValueError for a damaged one.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            files.extractall(
                into, [name for name in files.namelist() if name.startswith(f"{folder}/")]
            )
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error


def prepare_archive(archive: Archive, root: Path) -> None:
    """Fetch, check and unpack a set's images; a complete folder that came some other way is
    accepted.
    """
    folder = root / archive.folder
    if folder.is_dir() and len(image_files(folder)) == archive.count:
        return
    # Not ours: what is unpacked here is moved there whole.
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} does not hold the {archive.count} images of {archive.title}: move it away, "
            "or delete it"
        )
    name = Path(archive.folder).parts[0]
    path = root / f"{name}{archive.suffix}"
    fetch(archive.url, path, archive.md5)
    # Unpacked beside its place and moved there when it is whole.
    unpacked = root / f".{name}.unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        if archive.suffix == ".zip":
            unpack_zip(path, unpacked, archive.folder)
        else:
            unpack(path, unpacked)
        count = len(image_files(unpacked))
        if count != archive.count:
            raise ValueError(f"{path} holds {count} images, not {archive.count}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        unpacked.replace(folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def prepare_mnist(kind: type[datasets.MNIST], root: Path) -> None:
    """Fetch MNIST, or a set in its format, from the first of its servers that has it: torchvision
    itself would wait for ever.
    """
    try:
        for train in (True, False):
            kind(root, train=train)
        return
    except (
        Exception
    ):  # missing, or cut while it was unpacked, of which torchvision lets almost anything through
        pass
    raw = root / kind.__name__ / "raw"
    for name, md5 in kind.resources:
        for mirror in kind.mirrors:
            try:
                fetch(mirror + name, raw / name, md5)
                break
            except (ValueError, OSError):
                if mirror == kind.mirrors[-1]:
                    raise
        (raw / name).with_suffix("").unlink(missing_ok=True)
    kind(root, download=True)  # unpacks what was fetched


def prepare(name: str, root: Path) -> None:
    """Fetch one data set. Raises ValueError, RuntimeError or OSError if that fails."""
    if name in ARCHIVES:
        prepare_archive(ARCHIVES[name], root)
    elif name in CIFAR:
        kind = CIFAR[name]
        fetch(kind.url, root / kind.filename, kind.tgz_md5)
        kind(root, download=True)  # checks and unpacks what was fetched
    elif name == "svhn":
        for split in ("train", "test"):
            url, filename, md5 = datasets.SVHN.split_list[split]
            fetch(url, root / filename, md5)
    else:
        prepare_mnist(MNIST[name], root)


def main(names: Sequence[str]) -> int:
    """Returns the exit status: 0 all there, 1 a set failed, 2 an unknown name, 75 interrupted."""
    try:
        return prepare_all(names)
    except KeyboardInterrupt:
        return console.leave()


def prepare_all(names: Sequence[str]) -> int:
    """Fetch these sets, or the paper's. Returns the exit status, as `main` has it."""
    if unknown := [name for name in names if name not in NAMES]:
        print_line(
            f"error: unknown data set {unknown[0]!r}: choose from {', '.join(NAMES)}", sys.stderr
        )
        return 2
    failed = []
    for name in names or PAPER:
        try:
            prepare(name, ROOT)
            print_line(f"{title_of(name)}: ready in {ROOT}")
        except (ValueError, RuntimeError, OSError) as error:
            failed.append(name)
            print_line(f"{title_of(name)}: failed: {' '.join(str(error).split())}", sys.stderr)
    if failed:
        again = f"bash prepare-cifar.sh {' '.join(failed)}"
        print_line(
            f"error: {len(failed)} of {len(names or PAPER)} failed; try again: {again}", sys.stderr
        )
        folders = ", ".join(f"{ARCHIVES[name].folder}/" for name in failed if name in ARCHIVES)
        if folders:
            print_line(
                f"or put the images, however you came by them, into {ROOT}: {folders}", sys.stderr
            )
    return 1 if failed else 0


if __name__ == "__main__":
    console.listen()
    sys.exit(main(sys.argv[1:]))
