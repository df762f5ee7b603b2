"""Preparing a dataset from files at hand or from the network.

tensorflow-datasets writes into a directory called "incomplete..." and
renames it when done, so a preparation that was cut short is never taken for
a finished one.
"""

import contextlib
import io
import logging
import os
import pathlib
import tempfile
import urllib.parse
from typing import Any

from qup import files
from qup.core import hashing
from qup.datasets import network
from qup.errors import InputError

_log = logging.getLogger("qup")


def prepare_dataset(
    name: str, folders: list[pathlib.Path], manual_dir: str | os.PathLike | None
) -> None:
    """Prepares a dataset in the first of `folders` that can be written.

    Args:
      name: What tensorflow-datasets calls it.
      folders: Data directories in which it was not found.
      manual_dir: Holds the original files; None to download them.

    Raises:
      InputError: Files are missing or not the right ones, no network
        answers, or nothing can be written.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    originals = tfds.builder_cls(name).url_infos
    if manual_dir:
        manual_dir = pathlib.Path(manual_dir).expanduser()
        _check_manual_files(name, manual_dir, originals)
    else:
        _check_network(name, folders, originals)
    target = _find_writable_folder(name, folders)
    _log.info("Preparing %s in %s.", name, target)
    _download_and_prepare(name, target, manual_dir)


def _check_manual_files(name: str, manual_dir: pathlib.Path, originals: dict[str, Any]) -> None:
    missing = [
        info.filename for info in originals.values() if not (manual_dir / info.filename).is_file()
    ]
    if missing:
        raise InputError(
            f"manual_dir {manual_dir} lacks files of {name}: "
            f"{', '.join(missing)}. They come from {', '.join(originals)}."
        )
    for url, info in originals.items():
        _check_manual_file(manual_dir / info.filename, url, info)


def _check_manual_file(path: pathlib.Path, url: str, info: Any) -> None:
    try:
        digest = hashing.file_digest(path)
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    if digest != info.checksum:
        raise InputError(
            f"{path} is not the original file: expected {int(info.size)} "
            f"bytes with SHA-256 {info.checksum}, got {path.stat().st_size} "
            f"bytes with {digest}. Fetch {url} again, and leave it packed as "
            "it is."
        )


def _check_network(name: str, folders: list[pathlib.Path], originals: dict[str, Any]) -> None:
    url = next(iter(originals))
    host = urllib.parse.urlsplit(url).netloc
    megabytes = sum(int(info.size) for info in originals.values()) / 1e6
    obstacle = network.find_obstacle(url)
    if obstacle:
        raise InputError(
            f"{name} is not prepared in {_format_folders(folders)}, and {host} "
            f"cannot be reached to download it ({obstacle}). Either give "
            "--data_dir, a tensorflow-datasets directory that has it; or "
            f"--manual_dir, a directory with the original files "
            f"({', '.join(info.filename for info in originals.values())}); or "
            "take --dataset=digits, which needs no files."
        )
    _log.info("Downloading %s, %.0f megabytes, from %s.", name, megabytes, host)


def _format_folders(folders: list[pathlib.Path]) -> str:
    return " or ".join(str(f) if f.exists() else f"{f} (which does not exist)" for f in folders)


def _find_writable_folder(name: str, folders: list[pathlib.Path]) -> pathlib.Path:
    """Returns the first folder a file can be made in, made if need be."""
    reasons = []
    for folder in folders:
        try:
            # Tried out: what permissions say is not the last word (a
            # read-only mount, the super-user).
            (folder / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / name):
                return folder
        except OSError as error:
            reasons.append(f"{folder} ({error.strerror})")
    raise InputError(
        f"Nowhere to prepare {name}: cannot write to {' or '.join(reasons)}. "
        "Give a --data_dir that can be written."
    )


def _download_and_prepare(name: str, target: pathlib.Path, manual_dir: pathlib.Path | None) -> None:
    import tensorflow_datasets as tfds

    # Unpacked files are kept by name alone, and two datasets may use the
    # same names (MNIST and Fashion-MNIST do): never share the directory.
    files.remove_stale_temporaries(target / name)
    with tempfile.TemporaryDirectory(
        prefix=f"{files.get_temporary_prefix()}unpacked-", dir=target / name
    ) as unpack_dir:
        config = tfds.download.DownloadConfig(
            manual_dir=manual_dir, extract_dir=unpack_dir, try_download_gcs=False
        )
        builder = tfds.builder_cls(name)(data_dir=target)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_config=config)
        # Downloads, archives and disks fail in many types of exception.
        except Exception as error:
            if pathlib.Path(builder.data_dir).exists():
                return  # Another process finished it first.
            raise InputError(f"Preparing {name} in {target} failed: {error}") from error
