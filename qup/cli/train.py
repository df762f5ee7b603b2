r"""Trains a classifier, by default against an adversary, and says how to attack it.

The classifier is one of this package (--model) or a Keras file of your own
(--model_path), which is trained further; --trust_model lets code in it run.

    qup train --dataset=cifar10 --model=resnet --method=trades --epsilon=8/255 --epochs=20
    qup train --images=train.npz --model_path=mine.keras --pixel_range=0,255 \
        --method=pgd_at --epsilon=8/255 --epochs=10 --workdir=runs/mine
    qup train --dataset=mnist --method=fast --epsilon=0.1 --schedule=cyclic --epochs=5

Each epoch it measures clean and robust accuracy on training and validation
images. It writes model.keras, history.csv, curves.png and TensorBoard
summaries. The same command resumes a training that was interrupted.

Further settings: --config.group.key=value; --help lists those of a training,
such as training.optimizer, training.learning_rate and training.batch_size.
"""

import sys

from absl import flags

from qup.cli import program, settings
from qup.core.interruption import SignalGuard
from qup.core.numbers import parse_fraction

# Those of qup.training, whose import starts TensorFlow.
METHODS = ("pgd_at", "trades", "mart", "free", "fast", "standard")
SCHEDULES = ("constant", "cosine", "cyclic", "step")
# Settings and groups of settings that a training uses; --help lists them.
USED_SETTINGS = (
    *("seed", "workdir", "dataset", "model", "attack.epsilon"),
    *(f"training.{key}" for key in ("epochs", "optimizer", "learning_rate", "batch_size")),
    "training.strategy",
)
_UNUSED_FLAGS = ("enable_cache", "pipeline_root", "verify")


def define_flags() -> None:
    """Defines the flags of the settings and of the training."""
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    flags.FLAGS["epochs"].help = "Number of epochs, in total with those of earlier calls."
    for name in _UNUSED_FLAGS:
        flags.FLAGS[name].help = "Not used by a training, which has no cache."
    flags.DEFINE_enum("method", "pgd_at", METHODS, "Method of training.")
    flags.DEFINE_string(
        "epsilon", None, "Radius in units of [0, 1], such as 0.1 or 8/255; default: the dataset's."
    )
    flags.DEFINE_enum("norm", "linf", ["linf", "l2"], "Norm of epsilon.")
    flags.DEFINE_integer("num_steps", None, "Steps of pgd_at, trades and mart; default: 7.")
    flags.DEFINE_string(
        "step_size", None, "Length of a step; default: 2.5 epsilon / num_steps, fast 1.25 epsilon."
    )
    flags.DEFINE_float("beta", None, "Weight of the divergence; default: trades 6, mart 5.")
    flags.DEFINE_integer("num_replays", None, "Repeats of a batch for free; default: 8.")
    flags.DEFINE_float("warmup_epochs", 0.0, "Epochs in which epsilon grows from 0.")
    flags.DEFINE_enum("schedule", "constant", SCHEDULES, "Schedule of the learning rate.")
    flags.DEFINE_bool("augment", False, "Mirror and shift the images, for photographs.")
    flags.DEFINE_enum(
        "mixed_precision",
        "off",
        ["off", "auto", "mixed_bfloat16", "mixed_float16"],
        "Half precision of the training; auto: float16 with a GPU, else bfloat16.",
    )
    flags.DEFINE_integer("num_robust_images", 256, "Images of each split that are attacked.")
    flags.DEFINE_bool("restore_best", False, "End with the weights of the most robust epoch.")
    flags.DEFINE_string("model_path", None, "A .keras file, or a whole .h5 or .hdf5 file.")
    flags.DEFINE_list("import", [], "Modules with the layers of the Keras model; see trust_model.")
    flags.DEFINE_bool(
        "trust_model", False, "Allow the code of --import, and of Lambda layers in the file."
    )
    flags.DEFINE_string(
        "pixel_range", None, "Pixels that your model takes: 0,255 or -1,1; default: 0,1."
    )


def main(config) -> str:
    """Trains with the settings `config`; returns the table and the command that attacks."""
    with SignalGuard():
        from qup.pipelines import train

    return train.run(config, build_request())


def build_request():
    """Returns the `TrainRequest` of the flags."""
    from qup.pipelines import train

    values = flags.FLAGS
    is_installed = sys.argv[0].startswith("qup ")
    names = ("method", "norm", "num_steps", "beta", "num_replays", "warmup_epochs", "schedule")
    names += ("augment", "num_robust_images", "restore_best", "model_path", "trust_model")
    names += ("pixel_range",)
    precision = {"off": False, "auto": True}.get(values.mixed_precision, values.mixed_precision)
    return train.TrainRequest(
        **{name: getattr(values, name) for name in names},
        epsilon=_parse("epsilon"),
        step_size=_parse("step_size"),
        mixed_precision=precision,
        imports=tuple(values["import"].value),
        attack_command="qup attack" if is_installed else "python -m bin.run_attack",
    )


def _parse(name: str) -> float | None:
    text = flags.FLAGS[name].value
    return None if text is None else parse_fraction(text, name)


def resolve():
    """Returns the settings, after checks that need no TensorFlow.

    Raises:
      flags.Error: A short flag and its setting differ.
      InputError: A number is none.
    """
    for name in ("epsilon", "step_size"):
        _parse(name)
    return settings.resolve()


def run() -> None:
    """Runs the command."""
    program.run_pipeline(main, parse=settings.parse, resolve=resolve)
