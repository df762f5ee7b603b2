"""The speed of the attacks, compared with other libraries and with targets.

    python -m benchmarks.attacks [--quick] [--parts=pgd,deepfool]

needs foolbox, ART and PyTorch (benchmarks/requirements.txt). `make bench` creates an environment
with them and stores the table and figure in docs/. The rows of a missing library say "does not
run". The parts:

    pgd       PGD-40 against every library and a bare gradient loop
    bfloat16  PGD-40 in bfloat16 against float32
    early     RA by PGD-100 with and without early stopping
    deepfool, carlini_wagner, jsma, one_pixel  against foolbox and ART
    autoattack, sweep, memory                  minutes, traces, MiB

With --csv=FILE each row is stored when it is measured. With --parts, --models or --batches the
other rows of the file stay, so that an interrupted benchmark can resume with the missing parts.

MNIST and CIFAR-10 are used if tensorflow-datasets has them (TFDS_DATA_DIR), else the bundled
digits.
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
from benchmarks.attacks import end_to_end, figure, minimum_norm, networks, pgd, rows
from benchmarks.attacks.rows import Row
from qup.core import errors

_ONLY = flags.DEFINE_list("parts", [], "The parts; empty for all.")
_MODELS = flags.DEFINE_list("models", [], "The networks of pgd and bfloat16.")
_BATCHES = flags.DEFINE_list("batches", [], "The batch sizes of pgd.")
_QUICK = flags.DEFINE_bool("quick", False, "Takes three minutes, less accurate.")
_XLA = flags.DEFINE_bool("xla", False, "Also times PGD compiled by XLA.")
_WALK = flags.DEFINE_bool("walk", False, "Also times opposite FGSM.")
_CSV = flags.DEFINE_string("csv", None, "CSV file of the rows.")
_FIGURE = flags.DEFINE_string("figure", None, "File of the figure.")
_LIBRARIES = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "cleverhans": "cleverhans",
    "foolbox": "foolbox",
    "adversarial-robustness-toolbox": "ART",
    "torch": "PyTorch",
}


def _choose_rounds(seconds: float = 60, min_rounds: int = 3) -> dict[str, float]:
    if _QUICK.value:
        return {"seconds": seconds / 10, "min_rounds": 1}
    return {"seconds": seconds, "min_rounds": min_rounds}


def _train_network(name: str) -> networks.AttackedNetwork:
    sizes = {"convnet": 60_000, "ygcnn": 12_000, "resnet20": 10_000}
    return networks.train_network(name, sizes[name] // (4 if _QUICK.value else 1))


def _take_few_images() -> networks.AttackedNetwork:
    return _train_network("convnet").take(16 if _QUICK.value else 64)


def _time_pgd() -> Iterator[Row]:
    quick = _QUICK.value
    extra = {"xla"} if _XLA.value else set()
    extra |= {"walk"} if _WALK.value else set()
    for name in _MODELS.value or networks.NAMES[: 1 if quick else None]:
        for batch in _BATCHES.value or ([128] if quick else [128, 512]):
            network = _train_network(name)
            yield from pgd.time_pgd(network, int(batch), extra=extra, **_choose_rounds())


def _time_bfloat16() -> Iterator[Row]:
    quick = _QUICK.value
    for name in _MODELS.value or networks.NAMES[1 : 2 if quick else None]:
        count = 128 if quick else 1024
        yield from pgd.time_bfloat16(_train_network(name), count, **_choose_rounds())


def _time_carlini_wagner() -> list[Row]:
    quick = _QUICK.value
    return minimum_norm.time_carlini_wagner(
        _take_few_images(), steps=50 if quick else 1000, art_steps=2 if quick else 100
    )


def _measure_memory() -> list[Row]:
    return end_to_end.compare_memory((2_000, 5_000 if _QUICK.value else 20_000))


_PARTS = {
    "pgd": _time_pgd,
    "bfloat16": _time_bfloat16,
    "early": lambda: end_to_end.time_early_stopping(
        _train_network("convnet").take(256 if _QUICK.value else 5000), **_choose_rounds()
    ),
    "deepfool": lambda: minimum_norm.time_deepfool(_take_few_images(), **_choose_rounds()),
    "carlini_wagner": _time_carlini_wagner,
    "jsma": lambda: minimum_norm.time_jsma(_take_few_images(), **_choose_rounds()),
    "one_pixel": lambda: minimum_norm.time_one_pixel(
        _take_few_images(), images=4 if _QUICK.value else 16, steps=10 if _QUICK.value else 75
    ),
    "autoattack": lambda: end_to_end.time_autoattack(
        _train_network("convnet"), 32 if _QUICK.value else 1000
    ),
    "sweep": lambda: end_to_end.count_traces_of_sweep(_train_network("convnet"), 64),
    "memory": _measure_memory,
}


def _describe_environment() -> dict[str, str]:
    versions = []
    for name, title in _LIBRARIES.items():
        try:
            versions.append(f"{title} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {title}")
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return {"machine": f"{timing.describe_machine()}; {load}", "versions": ", ".join(versions)}


def main(_) -> None:
    """Runs the parts, stores each row and prints a table."""
    for part in _ONLY.value:
        if part not in _PARTS:
            raise errors.make_unknown_error("part", part, _PARTS)
    # Other libraries warn at each call about their own code.
    warnings.simplefilter("ignore")
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
    environment = _describe_environment()
    all_rows, begin = [], time.perf_counter()
    is_partial = bool(_ONLY.value or _MODELS.value or _BATCHES.value)
    for part in _ONLY.value or _PARTS:
        start = time.perf_counter()
        for row in _PARTS[part]():
            all_rows.append(row)
            if _CSV.value:
                rows.write_csv(
                    all_rows,
                    pathlib.Path(_CSV.value),
                    environment,
                    parts=list(_PARTS) if is_partial else (),
                )
        print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
    print(rows.format_table(all_rows))
    print("\n".join(environment.values()))
    print(f"{(time.perf_counter() - begin) / 60:.0f} minutes")
    if _FIGURE.value:
        drawn_rows = rows.read_csv(pathlib.Path(_CSV.value)) if _CSV.value else all_rows
        figure.draw_figure(drawn_rows, pathlib.Path(_FIGURE.value), environment)


if __name__ == "__main__":
    app.run(main)
