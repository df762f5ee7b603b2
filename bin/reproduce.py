"""Every table and figure of the paper by one command, with a report.

    python -m bin.reproduce --scale=smoke --workdir=runs/smoke
    python -m bin.reproduce --scale=cpu --seeds=5 --workdir=runs/cpu
    python -m bin.reproduce --scale=cpu --experiments=table2 \
        --models=convnet --epochs=1,30 --workdir=runs/cpu

What is known is not computed again; killed, the same command goes on. It
ends with WORKDIR/report/report.html; `python -m bin.report WORKDIR` makes
that page anew without computing anything.
"""

import importlib
import pathlib
from typing import Any

from absl import flags

from bin import starting
from qup.core.interruption import SignalGuard
from qup.reproduction.presets import SCALES, get_scale

_EXPERIMENTS = flags.DEFINE_list(
    "experiments", ["all"], "Which; a wrong name tells all that there are."
)
_SCALE = flags.DEFINE_enum(
    "scale", "cpu", list(SCALES), "How much is computed: qup/reproduction/presets.py."
)
_SEEDS = flags.DEFINE_list("seeds", [], "How many (5), or which (0,3,7). Default: the scale's.")
_MODELS = flags.DEFINE_list("models", [], "Only these architectures.")
_EPOCHS = flags.DEFINE_list("epochs", [], "Only these numbers of epochs.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the results. Default: runs/reproduce-SCALE."
)
_ANONYMOUS = flags.DEFINE_bool("anonymous", False, "Leave user, host and paths out of the report.")
flags.DEFINE_string("pipeline_root", None, "Folder of the artifacts; several may share it.")
flags.DEFINE_bool("enable_cache", True, "Reuse what earlier runs made.")
flags.DEFINE_enum("verify", "stat", ["stat", "full"], "How reused files are looked at.")
flags.DEFINE_string("data_dir", None, "Folder of prepared datasets.")
flags.DEFINE_string("manual_dir", None, "Folder of original files fetched by hand.")
_IMAGES = flags.DEFINE_string("images_dir", None, "ImageNet's validation images: docs/imagenet.md.")
_WEIGHTS = flags.DEFINE_string("weights_dir", None, "Keras's files of weights: docs/imagenet.md.")
_LOCATION_FLAGS = {
    "pipeline_root": "pipeline_root",
    "enable_cache": "enable_cache",
    "verify": "verify",
    "data_dir": "dataset.data_dir",
    "manual_dir": "dataset.manual_dir",
}


def load_settings(dataset: str) -> Any:
    """Returns the settings of a dataset at the scale asked for."""
    settings = importlib.import_module(f"configs.{dataset}")
    return settings.get_config(get_scale(_SCALE.value).settings)


def main(locations: dict[str, Any]) -> str:
    """Runs the experiments; returns where everything lies."""
    with SignalGuard():
        from qup.reproduction import runner as reproduce

    request = reproduce.ReproductionRequest(
        workdir=pathlib.Path(_WORKDIR.value or f"runs/reproduce-{_SCALE.value}"),
        experiments=tuple(_EXPERIMENTS.value),
        scale=_SCALE.value,
        seeds=tuple(_SEEDS.value),
        models=tuple(_MODELS.value),
        epochs=tuple(_EPOCHS.value),
        anonymous=_ANONYMOUS.value,
        images_dir=_IMAGES.value,
        weights_dir=_WEIGHTS.value,
    )
    return reproduce.run(request, load_settings, locations)


def _read_locations() -> dict[str, Any]:
    return {key: flags.FLAGS[flag].value for flag, key in _LOCATION_FLAGS.items()}


if __name__ == "__main__":
    starting.run(main, parse=flags.FLAGS, resolve=_read_locations)
