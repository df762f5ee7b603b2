"""Datasets that tensorflow-datasets prepared, read without a network.

```python
tfds_source.load("mnist", origin="MNIST (CC BY-SA 3.0)", data_dir="data")
```
"""

import os
import pathlib
import re
from typing import Any

import tensorflow as tf

from qup.datasets import preparation, source
from qup.errors import InputError

_SPLITS = ("train", "test")


def load_prepared(
    name: str,
    *,
    origin: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    scratch_dir: str | os.PathLike | None = None,
) -> source.Source:
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
        preparation.prepare_dataset(name, folders, manual_dir)
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


def _read_source(folder: pathlib.Path, origin: str) -> source.Source:
    builder = _open_builder(folder)
    try:
        return _build_source(builder, folder, origin)
    except InputError:
        raise
    # What the description lacks or tells wrongly shows in many ways.
    except Exception as error:
        raise _build_incomplete_error(folder, f"damaged description: {error!r}") from error


def _build_source(builder: Any, folder: pathlib.Path, origin: str) -> source.Source:
    import tensorflow_datasets as tfds

    for split in _SPLITS:
        if split not in builder.info.splits:
            raise _build_incomplete_error(folder, f"it has no split {split!r}")
        _check_records(builder.info.splits[split], folder)
    features = builder.info.features
    config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    return source.Source(
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


def _build_tfds_split(builder: Any, split: str, config: Any) -> source.Split:
    with tf.device("CPU:0"):
        elements = builder.as_dataset(split=split, as_supervised=True, read_config=config).map(
            lambda image, label: (image, tf.cast(label, tf.int32))
        )
    return source.Split(
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
