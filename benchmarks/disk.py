"""How much disk several working directories take, with and without the shared images.

    python -m benchmarks.disk --dataset=mnist --csv=docs/results/benchmark-disk.csv

Each working directory is that of `qup attack` with another seed: all images, a ConvNet of one epoch
and FGSM. With "cache" the images are hard links to one copy, see `qup.core.shared_files`; with
"copies" that is turned off.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from benchmarks import tables
from qup.core import formatting
from qup.orchestration import pruning

_DATASET = flags.DEFINE_string("dataset", "mnist", "The data set.")
_COUNT = flags.DEFINE_integer("count", 5, "Number of working directories.", lower_bound=1)
_FOLDER = flags.DEFINE_string("folder", None, "Where to write; default: a temporary folder.")
_CSV = flags.DEFINE_string("csv", None, "CSV file of the results.")

_KINDS = ("copies", "cache")


def main(argv: list[str]) -> None:
    """Measures each kind in turn."""
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        rows = [_measure(kind, pathlib.Path(folder, kind)) for kind in _KINDS]
    for row in rows:
        size = formatting.format_bytes(row["bytes"])
        print(f"{row['kind']}: {row['workdirs']} working directories, {size}")
    if _CSV.value:
        tables.write_csv(_CSV.value, rows)


def _measure(kind: str, folder: pathlib.Path) -> dict[str, str | int]:
    """Returns a row: kind, dataset, number of working directories, bytes of all together."""
    variables = {"QUP_CACHE_DIR": str(folder / "cache") if kind == "cache" else ""}
    for seed in range(_COUNT.value):
        command = ["-m", "bin.run_attack", f"--dataset={_DATASET.value}", "--attack=fgsm"]
        command += ["--epochs=1", f"--seed={seed}", f"--workdir={folder / str(seed)}"]
        subprocess.run([sys.executable, *command], env={**os.environ, **variables}, check=True)
    return {
        "kind": kind,
        "dataset": _DATASET.value,
        "workdirs": _COUNT.value,
        "bytes": pruning.measure_disk([folder]),
    }


if __name__ == "__main__":
    app.run(main)
