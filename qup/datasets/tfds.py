"""Datasets that tensorflow-datasets prepared, read without a network.

```python
tfds_source.load("mnist", origin="MNIST (CC BY-SA 3.0)", data_dir="data")
```
"""

import contextlib
import io
import logging
import os
import pathlib
import queue
import re
import tempfile
import threading
import urllib.parse
from typing import Any

import tensorflow as tf

from qup import datasets
from qup.core import files, hashing
from qup.core.errors import InputError
from qup.datasets import dataset

# Whether an address answers, found out in a bounded time.


def find_obstacle(url: str, *, seconds: float = 5.0) -> str:
    """Tries to open `url` as a download would, proxies included.

    Args:
      url: An http or https address.
      seconds: Patience with connecting and with the first answer. Name
        look-ups that hang are given up after twice as long.

    Returns:
      Why it cannot be read, in a few words; empty if it can.
    """
    answers: queue.Queue[str] = queue.Queue()
    # A thread, since nothing else can cut a hanging name look-up short.
    threading.Thread(target=lambda: answers.put(_try_opening(url, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=2 * seconds)
    except queue.Empty:
        return f"no answer within {2 * seconds:g} seconds"


def _try_opening(url: str, seconds: float) -> str:
    # Imported here for its start-up time. tensorflow-datasets downloads
    # with it, so what stops one stops the other.
    import requests

    try:
        with requests.get(url, stream=True, timeout=seconds) as response:
            response.raise_for_status()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return ""


# Preparing a dataset from files at hand or from the network.
#
# tensorflow-datasets writes into a directory called "incomplete..." and
# renames it when done, so a preparation that was cut short is never taken for
# a finished one.


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
    obstacle = find_obstacle(url)
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


_SPLITS = ("train", "test")


def load_prepared(
    name: str,
    *,
    origin: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns a prepared dataset, and prepares it first where it is not.

    Args:
      name: What tensorflow-datasets calls it.
      origin: Source and licence.
      data_dir: Where it is, or is to be, prepared; by default the
        environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
      manual_dir: Holds the original files, to prepare it without a network.
      scratch_dir: Second place to look, and to prepare in where `data_dir`
        cannot be written.

    Raises:
      InputError: The data is incomplete or corrupted, or it is not prepared
        and can be neither made from `manual_dir` nor downloaded.
    """
    folders = _list_data_dirs(data_dir, scratch_dir)
    prepared = _find_prepared(name, folders)
    if prepared is None:
        prepare_dataset(name, folders, manual_dir)
        prepared = _find_prepared(name, folders)
    return _read_source(prepared, origin)


def _list_data_dirs(
    data_dir: str | os.PathLike | None, scratch_dir: str | os.PathLike | None
) -> list[pathlib.Path]:
    primary = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folders = [pathlib.Path(f).expanduser() for f in (primary, scratch_dir) if f]
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The data directory {folder} is a file.")
    return folders


def _find_prepared(name: str, folders: list[pathlib.Path]) -> pathlib.Path | None:
    """Returns the newest version in the first folder that has one."""
    for folder in folders:
        versions = _list_versions(folder / name)
        if versions:
            return versions[-1]
    return None


def _list_versions(folder: pathlib.Path) -> list[pathlib.Path]:
    # What is still being prepared is called "incomplete.XXXXXX_3.0.1".
    try:
        versions = [
            entry for entry in folder.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+", entry.name)
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"Cannot read {folder}: {error.strerror}.") from error
    return sorted(versions, key=lambda e: [int(n) for n in e.name.split(".")])


def _read_source(folder: pathlib.Path, origin: str) -> dataset.Source:
    builder = _open_builder(folder)
    try:
        return _build_source(builder, folder, origin)
    except InputError:
        raise
    # What the description lacks or tells wrongly shows in many ways.
    except Exception as error:
        raise _build_incomplete_error(folder, f"damaged description: {error!r}") from error


def _build_source(builder: Any, folder: pathlib.Path, origin: str) -> dataset.Source:
    import tensorflow_datasets as tfds

    for split in _SPLITS:
        if split not in builder.info.splits:
            raise _build_incomplete_error(folder, f"it has no split {split!r}")
        _check_records(builder.info.splits[split], folder)
    features = builder.info.features
    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    return dataset.Source(
        image_shape=tuple(features["image"].shape),
        class_names=tuple(features["label"].names),
        origin=f"{origin}; tensorflow-datasets {builder.info.full_name}",
        splits={split: _build_tfds_split(builder, split, config) for split in _SPLITS},
        files={
            path.relative_to(folder).as_posix(): path
            for path in pathlib.Path(folder).rglob("*")
            if path.is_file()
        },
    )


def _open_builder(folder: pathlib.Path) -> Any:
    import tensorflow_datasets as tfds

    for name in ("dataset_info.json", "features.json"):
        if not (folder / name).is_file():
            raise _build_incomplete_error(folder, f"{name} is missing")
    try:
        return tfds.builder_from_directory(folder)
    # A damaged description can fail in as many ways as there are parsers.
    except Exception as error:
        raise _build_incomplete_error(folder, f"unreadable description: {error}") from error


def _build_tfds_split(builder: Any, split: str, config: Any) -> dataset.Split:
    with tf.device("CPU:0"):
        elements = builder.as_dataset(split=split, as_supervised=True, read_config=config).map(
            lambda image, label: (image, tf.cast(label, tf.int32))
        )
    return dataset.Split(
        elements,
        builder.info.splits[split].num_examples,
        lambda reason: _build_incomplete_error(builder.data_path, reason),
    )


def _check_records(split: Any, folder: pathlib.Path) -> None:
    """Counts every file's records: checksums included, images untouched."""
    for file, expected in zip(split.filepaths, split.shard_lengths, strict=True):
        if not pathlib.Path(file).is_file():
            raise _build_incomplete_error(folder, f"{file} is missing")
        if ".tfrecord" not in file.name:
            continue  # Counted when read, as every split is.
        try:
            num_records = _count_records(str(file))
        except tf.errors.OpError as error:
            raise _build_incomplete_error(
                folder,
                f"{file} is truncated or corrupted (expected {expected} records): {error.message}",
            ) from error
        if num_records != expected:
            raise _build_incomplete_error(
                folder, f"{file} holds {num_records} records, expected {expected}"
            )


def _count_records(file: str) -> int:
    with tf.device("CPU:0"):
        records = tf.data.TFRecordDataset(file, buffer_size=1 << 20)
        return int(records.reduce(0, lambda count, _: count + 1))


def _build_incomplete_error(folder: str | os.PathLike, reason: str) -> InputError:
    return InputError(
        f"The prepared dataset in {folder} is incomplete: {reason}. Copy it "
        "again, or remove that directory to have it prepared anew."
    )


# 70000 handwritten digits, 28x28: the paper's first dataset.


@datasets.register
def mnist(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns mnist as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      LeCun, Cortes and Burges, The MNIST database, 1998.
    """
    return load_prepared(
        "mnist",
        origin="MNIST, LeCun, Cortes and Burges (CC BY-SA 3.0)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )


# 70000 pictures of clothes in the format of MNIST.


@datasets.register
def fashion_mnist(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns fashion_mnist as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Xiao, Rasul and Vollgraf, arXiv:1708.07747, 2017.
    """
    return load_prepared(
        "fashion_mnist",
        origin="Fashion-MNIST, Zalando SE 2017 (MIT)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )


# 60000 colour photographs of 10 classes, 32x32: the paper's second.


@datasets.register
def cifar10(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns cifar10 as tensorflow-datasets prepares it.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Krizhevsky, Learning multiple layers of features, 2009.
    """
    return load_prepared(
        "cifar10",
        origin="CIFAR-10, Krizhevsky 2009 (no licence stated)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )


# 99289 house numbers cut to one digit, 32x32 in colour.


@datasets.register
def svhn_cropped(
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns svhn_cropped as tensorflow-datasets prepares it.

    The 1.3 GB of extra training images that come with it are left unread.

    The arguments and errors are those of `tfds_source.load`.

    Reference:
      Netzer et al., Reading digits in natural images, 2011.
    """
    return load_prepared(
        "svhn_cropped",
        origin="SVHN, Netzer et al. 2011 (non-commercial use only)",
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
    )
