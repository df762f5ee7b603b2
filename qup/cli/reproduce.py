r"""Computes every table and figure of the paper, and writes a report.

    qup reproduce --scale=smoke --workdir=runs/smoke
    qup reproduce --scale=cpu --seeds=5 --workdir=runs/cpu
    qup reproduce --scale=cpu --experiments=table2 \
        --models=convnet --epochs=1,30 --workdir=runs/cpu

Results that exist are reused; after an interruption the same command resumes.
The last file is WORKDIR/report/report.html; `qup report WORKDIR` writes that
page again without computing anything.
"""

import pathlib
from typing import Any

from absl import flags

from qup.cli import engines, program, settings
from qup.core.interruption import SignalGuard
from qup.reproduction import presets


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_list("experiments", ["all"], "Names; the error for a wrong name lists all.")
    flags.DEFINE_enum(
        "scale", "cpu", list(presets.SCALES), "Amount of computation: qup/reproduction/presets.py."
    )
    flags.DEFINE_list("seeds", [], "Number (5) or list (0,3,7) of seeds. Default: the scale's.")
    flags.DEFINE_list("models", [], "Only these architectures.")
    flags.DEFINE_list("epochs", [], "Only these numbers of epochs.")
    flags.DEFINE_bool("anonymous", False, "Omit user, host and paths from the report.")
    flags.DEFINE_string("images_dir", None, "ImageNet's validation images: docs/imagenet.md.")
    flags.DEFINE_string("weights_dir", None, "Keras's files of weights: docs/imagenet.md.")
    settings.define_location_flags(enable_cache=True, verify="stat")
    flags.adopt_module_key_flags(settings)
    engines.define_flags(engines.PART_ENGINES)
    flags.adopt_module_key_flags(engines)
    flags.FLAGS["workdir"].help = "Folder of the results; default: runs/reproduce-SCALE."


def main(locations: dict[str, Any]) -> str:
    """Runs the experiments; returns the table of what was written."""
    with SignalGuard():
        from qup.reproduction import runner

    values = flags.FLAGS
    request = runner.ReproductionRequest(
        workdir=pathlib.Path(values.workdir or f"runs/reproduce-{values.scale}"),
        experiments=tuple(values.experiments),
        scale=values.scale,
        seeds=tuple(values.seeds),
        models=tuple(values.models),
        epochs=tuple(values.epochs),
        anonymous=values.anonymous,
        images_dir=values.images_dir,
        weights_dir=values.weights_dir,
    )
    size = presets.get_scale(values.scale).settings
    return runner.run(
        request,
        lambda dataset: settings.load_dataset_settings(dataset, size),
        locations,
        engines.resolve(),
    )


def _resolve_locations() -> dict[str, Any]:
    """Returns the settings of the location flags but the workdir, by their keys."""
    names = ("pipeline_root", "enable_cache", "verify", "data_dir", "manual_dir")
    return {settings.ALIASES[name]: flags.FLAGS[name].value for name in names}


def run() -> None:
    """Runs the command."""
    program.run_pipeline(main, parse=flags.FLAGS, resolve=_resolve_locations)
