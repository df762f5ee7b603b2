"""MNIST, Fashion-MNIST, CIFAR-10 and SVHN, as tensorflow-datasets prepares them.

A prepared dataset is read without a network. A missing one is prepared from original files in
`manual_dir`, or downloaded. tensorflow-datasets writes into a directory "incomplete..." and renames
it at the end, so an interrupted preparation never looks complete.

```python
datasets.load("mnist", data_dir="~/tensorflow_datasets")
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
from qup.core import extras, files
from qup.core.errors import InputError
from qup.datasets import dataset

_log = logging.getLogger("qup")
_SPLITS = ("train", "test")


@datasets.register
def mnist(*, data_dir=None, manual_dir=None, scratch_dir=None) -> dataset.Source:
    """70000 handwritten digits, 28x28: LeCun, Cortes and Burges, The MNIST database, 1998."""
    origin = "MNIST, LeCun, Cortes and Burges (CC BY-SA 3.0)"
    return load_prepared("mnist", origin, data_dir, manual_dir, scratch_dir)


@datasets.register
def fashion_mnist(*, data_dir=None, manual_dir=None, scratch_dir=None) -> dataset.Source:
    """70000 images of clothes in the format of MNIST: Xiao et al., arXiv:1708.07747, 2017."""
    origin = "Fashion-MNIST, Zalando SE 2017 (MIT)"
    return load_prepared("fashion_mnist", origin, data_dir, manual_dir, scratch_dir)


@datasets.register
def cifar10(*, data_dir=None, manual_dir=None, scratch_dir=None) -> dataset.Source:
    """60000 colour photographs of 10 classes, 32x32.

    Reference:
      Krizhevsky, Learning multiple layers of features, 2009.
    """
    origin = "CIFAR-10, Krizhevsky 2009 (no licence stated)"
    return load_prepared("cifar10", origin, data_dir, manual_dir, scratch_dir)


@datasets.register
def svhn_cropped(*, data_dir=None, manual_dir=None, scratch_dir=None) -> dataset.Source:
    """99289 house numbers cropped to one digit, 32x32 in colour; without the 1.3 GB of "extra".

    Reference:
      Netzer et al., Reading digits in natural images, 2011.
    """
    origin = "SVHN, Netzer et al. 2011 (non-commercial use only)"
    return load_prepared("svhn_cropped", origin, data_dir, manual_dir, scratch_dir)


def load_prepared(
    name: str,
    origin: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> dataset.Source:
    """Returns a prepared dataset; prepares it first if necessary.

    Args:
      name: The name in tensorflow-datasets.
      origin: Source and licence.
      data_dir: Where it is, or will be, prepared. Default: the environment variable TFDS_DATA_DIR,
        else ~/tensorflow_datasets.
      manual_dir: Original files, to prepare it without a network.
      scratch_dir: Second directory to search, and to prepare in where `data_dir` is not writable.

    Raises:
      InputError: The data is incomplete or corrupted, or it is not prepared and can be neither made
        from `manual_dir` nor downloaded.
    """
    extras.check_installed(f"The dataset {name}", "tensorflow_datasets")
    if isinstance(data_dir, str | None):
        data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folders = [dataset.parse_path("data_dir", data_dir)]
    if scratch_dir:
        folders.append(dataset.parse_path("scratch_dir", scratch_dir))
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The data directory {folder} is a file.")
    prepared = _find_prepared(name, folders)
    if prepared is None:
        _prepare(name, folders, manual_dir)
        prepared = _find_prepared(name, folders)
    return _read_source(prepared, origin)


def _find_prepared(name: str, folders: list[pathlib.Path]) -> pathlib.Path | None:
    """Returns the newest version in the first folder that has one."""
    for folder in folders:
        try:
            # An incomplete one is called "incomplete.XXXXXX_3.0.1".
            versions = [
                entry
                for entry in (folder / name).iterdir()
                if re.fullmatch(r"\d+\.\d+\.\d+", entry.name)
            ]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"Cannot read {folder / name}: {error.strerror}.") from error
        if versions:
            return max(versions, key=lambda e: [int(n) for n in e.name.split(".")])
    return None


# Reading


def _build_incomplete_error(folder: str | os.PathLike, reason: str) -> InputError:
    return InputError(
        f"The prepared dataset in {folder} is incomplete: {reason}. Copy it again, or remove that "
        "directory to prepare it again."
    )


def _read_source(folder: pathlib.Path, origin: str) -> dataset.Source:
    import tensorflow_datasets as tfds

    for name in ("dataset_info.json", "features.json"):
        if not (folder / name).is_file():
            raise _build_incomplete_error(folder, f"{name} is missing")
    try:
        return _build_source(tfds.builder_from_directory(folder), folder, origin)
    except InputError:
        raise
    # A damaged description fails with as many exception types as there are parsers.
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

    def build_split(split: str) -> dataset.Split:
        with tf.device("CPU:0"):
            elements = builder.as_dataset(split=split, as_supervised=True, read_config=config).map(
                lambda image, label: (image, tf.cast(label, tf.int32))
            )
        return dataset.Split(
            elements,
            builder.info.splits[split].num_examples,
            lambda reason: _build_incomplete_error(builder.data_path, reason),
        )

    return dataset.Source(
        image_shape=tuple(features["image"].shape),
        class_names=tuple(features["label"].names),
        origin=f"{origin}; tensorflow-datasets {builder.info.full_name}",
        splits={split: build_split(split) for split in _SPLITS},
        files={
            path.relative_to(folder).as_posix(): path
            for path in pathlib.Path(folder).rglob("*")
            if path.is_file()
        },
    )


def _check_records(split: Any, folder: pathlib.Path) -> None:
    """Counts the records of every file; this verifies checksums but decodes no image."""
    for file, expected in zip(split.filepaths, split.shard_lengths, strict=True):
        if not pathlib.Path(file).is_file():
            raise _build_incomplete_error(folder, f"{file} is missing")
        if ".tfrecord" not in file.name:
            continue  # Counted when read, like every split.
        try:
            with tf.device("CPU:0"):
                records = tf.data.TFRecordDataset(str(file), buffer_size=1 << 20)
                num_records = int(records.reduce(0, lambda count, _: count + 1))
        except tf.errors.OpError as error:
            raise _build_incomplete_error(
                folder,
                f"{file} is truncated or corrupted (expected {expected} records): {error.message}",
            ) from error
        if num_records != expected:
            raise _build_incomplete_error(
                folder, f"{file} holds {num_records} records, expected {expected}"
            )


# Preparing


def _prepare(name: str, folders: list[pathlib.Path], manual_dir: str | os.PathLike | None) -> None:
    """Prepares a dataset in the first writable one of `folders`."""
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
    # Unpacked files are identified by name alone, and two datasets may use the same names (MNIST
    # and Fashion-MNIST do). So each preparation has its own directory.
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
        # Downloads, archives and disks fail with many exception types.
        except Exception as error:
            if pathlib.Path(builder.data_dir).exists():
                return  # Another process finished it first.
            raise InputError(f"Preparing {name} in {target} failed: {error}") from error


def _check_manual_files(name: str, manual_dir: pathlib.Path, originals: dict[str, Any]) -> None:
    missing = [
        info.filename for info in originals.values() if not (manual_dir / info.filename).is_file()
    ]
    if missing:
        raise InputError(
            f"manual_dir {manual_dir} lacks files of {name}: {', '.join(missing)}. Download them "
            f"from {', '.join(originals)}."
        )
    for url, info in originals.items():
        path = manual_dir / info.filename
        digest = dataset.compute_file_digest(path)
        if digest != info.checksum:
            raise InputError(
                f"{path} is not the original file: expected {int(info.size)} bytes with SHA-256 "
                f"{info.checksum}, got {path.stat().st_size} bytes with {digest}. Download {url} "
                "again and do not unpack it."
            )


def _check_network(name: str, folders: list[pathlib.Path], originals: dict[str, Any]) -> None:
    url = next(iter(originals))
    host = urllib.parse.urlsplit(url).netloc
    reason = find_connection_error(url)
    if reason:
        folder_list = " or ".join(
            str(f) if f.exists() else f"{f} (which does not exist)" for f in folders
        )
        raise InputError(
            f"{name} is not prepared in {folder_list}, and {host} cannot be reached to download it "
            f"({reason}). Use one of: --data_dir, a tensorflow-datasets directory that has it; "
            "--manual_dir, a directory with the original files "
            f"({', '.join(info.filename for info in originals.values())}); --dataset=digits, which "
            "needs no files."
        )
    megabytes = sum(int(info.size) for info in originals.values()) / 1e6
    _log.info("Downloading %s, %.0f megabytes, from %s.", name, megabytes, host)


def find_connection_error(url: str, *, seconds: float = 5.0) -> str:
    """Opens `url` in the same way as a download, proxies included.

    Args:
      url: An http or https address.
      seconds: Timeout of the connection and of the first answer. The whole test takes at most twice
        as long, even if the name look-up hangs.

    Returns:
      Why it cannot be read, in a few words; empty if it can.
    """
    # Imported here for its start-up time. tensorflow-datasets uses it for downloads as well.
    import requests

    results: queue.Queue[str] = queue.Queue()

    def open_url() -> None:
        try:
            with requests.get(url, stream=True, timeout=seconds) as response:
                response.raise_for_status()
        except (OSError, ValueError) as error:
            results.put(type(error).__name__)
        else:
            results.put("")

    # A thread, because the timeout of requests does not limit the name look-up.
    threading.Thread(target=open_url, daemon=True).start()
    try:
        return results.get(timeout=2 * seconds)
    except queue.Empty:
        return f"no answer within {2 * seconds:g} seconds"


def _find_writable_folder(name: str, folders: list[pathlib.Path]) -> pathlib.Path:
    """Returns the first folder in which a file can be created; creates it if necessary."""
    reasons = []
    for folder in folders:
        try:
            # Permissions alone do not decide (read-only mounts, the superuser).
            (folder / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder / name):
                return folder
        except OSError as error:
            reasons.append(f"{folder} ({error.strerror})")
    raise InputError(
        f"Cannot prepare {name}: no folder is writable: {' or '.join(reasons)}. "
        "Pass a writable --data_dir."
    )
