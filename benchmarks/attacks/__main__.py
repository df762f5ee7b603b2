"""How fast the attacks are, beside other libraries and beside their targets.

    python -m benchmarks.attacks [--quick] [--parts=pgd,deepfool]

needs foolbox, ART and PyTorch (benchmarks/requirements.txt); `make bench`
brings an environment that has them, and keeps table and figure under docs/.
Without them their rows say "does not run". Of the parts,

    pgd       PGD-40 against every library and a bare gradient loop
    bfloat16  PGD-40 in bfloat16 against float32
    early     RA by PGD-100 with and without early leaving
    deepfool, carlini_wagner, jsma, one_pixel  against foolbox and ART
    autoattack, sweep, memory                  what they take

With --csv=FILE rows are kept as they come; with --parts, --models or
--batches the file's other rows stay, so that a benchmark that was stopped
goes on with the parts that are missing.

MNIST and CIFAR-10 are taken where tensorflow-datasets has them
(TFDS_DATA_DIR), else the embedded digits.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import importlib.metadata
import pathlib
import time
import warnings
from collections.abc import Iterator

import tensorflow as tf
from absl import app, flags, logging

from benchmarks import timing
from benchmarks.attacks import figure, nearest, networks, pgd, rows, whole
from benchmarks.attacks.rows import Row
from qup.core import errors

_ONLY = flags.DEFINE_list("parts", [], "Which parts; empty: all.")
_MODELS = flags.DEFINE_list("models", [], "Networks of pgd and bfloat16.")
_BATCHES = flags.DEFINE_list("batches", [], "Batches of pgd.")
_QUICK = flags.DEFINE_bool("quick", False, "In three minutes, less exactly.")
_XLA = flags.DEFINE_bool("xla", False, "Time PGD compiled by XLA as well.")
_WALK = flags.DEFINE_bool("walk", False, "Time opposite FGSM as well.")
_CSV = flags.DEFINE_string("csv", None, "File to keep the table in.")
_FIGURE = flags.DEFINE_string("figure", None, "File to draw the figure in.")
_LIBRARIES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "cleverhans": "cleverhans",
    "foolbox": "foolbox",
    "adversarial-robustness-toolbox": "ART",
    "torch": "PyTorch",
}


def _rounds(seconds: float = 60, least: int = 3) -> dict[str, float]:
    if _QUICK.value:
        return {"seconds": seconds / 10, "least": 1}
    return {"seconds": seconds, "least": least}


def _trained(name: str) -> networks.Subject:
    sizes = {"convnet": 60_000, "ygcnn": 12_000, "resnet20": 10_000}
    return networks.trained(name, sizes[name] // (4 if _QUICK.value else 1))


def _few() -> networks.Subject:
    return _trained("convnet").first(16 if _QUICK.value else 64)


def _pgd() -> Iterator[Row]:
    quick = _QUICK.value
    more = {"xla"} if _XLA.value else set()
    more |= {"walk"} if _WALK.value else set()
    for name in _MODELS.value or networks.NAMES[: 1 if quick else None]:
        for batch in _BATCHES.value or ([128] if quick else [128, 512]):
            yield from pgd.race(_trained(name), int(batch), more=more, **_rounds())


def _bfloat16() -> Iterator[Row]:
    quick = _QUICK.value
    for name in _MODELS.value or networks.NAMES[1 : 2 if quick else None]:
        count = 128 if quick else 1024
        yield from pgd.bfloat16(_trained(name), count, **_rounds())


def _carlini_wagner() -> list[Row]:
    quick = _QUICK.value
    return nearest.carlini_wagner(
        _few(), steps=50 if quick else 1000, art_steps=2 if quick else 100
    )


def _memory() -> list[Row]:
    return whole.memory((2_000, 5_000 if _QUICK.value else 20_000))


_PARTS = {
    "pgd": _pgd,
    "bfloat16": _bfloat16,
    "early": lambda: whole.early(
        _trained("convnet").first(256 if _QUICK.value else 5000), **_rounds()
    ),
    "deepfool": lambda: nearest.deepfool(_few(), **_rounds()),
    "carlini_wagner": _carlini_wagner,
    "jsma": lambda: nearest.jsma(_few(), **_rounds()),
    "one_pixel": lambda: nearest.one_pixel(
        _few(), images=4 if _QUICK.value else 16, steps=10 if _QUICK.value else 75
    ),
    "autoattack": lambda: whole.autoattack(_trained("convnet"), 32 if _QUICK.value else 1000),
    "sweep": lambda: whole.sweep(_trained("convnet"), 64),
    "memory": _memory,
}


def _circumstances() -> dict[str, str]:
    versions = []
    for name, title in _LIBRARIES.items():
        try:
            versions.append(f"{title} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {title}")
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return {"machine": f"{timing.machine()}; {load}", "versions": ", ".join(versions)}


def main(_) -> None:
    """Runs the parts; keeps each row as it comes, and prints a table."""
    for part in _ONLY.value:
        if part not in _PARTS:
            raise errors.make_unknown_error("part", part, _PARTS)
    # The others warn of their own calls, at each of them.
    warnings.simplefilter("ignore")
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
    circumstances = _circumstances()
    found, begin = [], time.perf_counter()
    some = bool(_ONLY.value or _MODELS.value or _BATCHES.value)
    for part in _ONLY.value or _PARTS:
        start = time.perf_counter()
        for row in _PARTS[part]():
            found.append(row)
            if _CSV.value:
                rows.write(
                    found,
                    pathlib.Path(_CSV.value),
                    circumstances,
                    parts=list(_PARTS) if some else (),
                )
        print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
    print(rows.table(found))
    print("\n".join(circumstances.values()))
    print(f"{(time.perf_counter() - begin) / 60:.0f} minutes")
    if _FIGURE.value:
        every = rows.read(pathlib.Path(_CSV.value)) if _CSV.value else found
        figure.draw(every, pathlib.Path(_FIGURE.value), circumstances)


if __name__ == "__main__":
    app.run(main)
