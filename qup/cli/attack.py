r"""Attacks a classifier, and reports the result for each image.

The classifier is one of this package (--model, trained if necessary), a
.keras file (--model_path) or a SavedModel (--saved_model). A model file can
run any code: load only files that you trust.

    qup attack --dataset=mnist --attack=autoattack,deepfool
    qup attack --dataset=cifar10 --model_path=mine.keras \
        --attack=pgd --options=pgd.num_steps=100,pgd.random_start=True

Further settings: --config.group.key=value; qup/pipelines/defaults.py lists all.
"""

from absl import flags

from qup.cli import settings
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines the flags of the settings and of the attacks."""
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    flags.DEFINE_list("attack", None, "Names of attacks. Without it, the error lists all names.")
    flags.DEFINE_float("epsilon", None, "Budget, in units of [0, 1]; default: the dataset's.")
    flags.DEFINE_integer("num_images", 1000, "Number of test images, from the first; 0 for all.")
    flags.DEFINE_string("model_path", None, "A .keras file.")
    flags.DEFINE_string("saved_model", None, "Folder of a SavedModel.")
    flags.DEFINE_list("options", [], "Options of attacks: pgd.num_steps=100,fab.norm=l2.")
    flags.DEFINE_integer("batch_size", 128, "Images per batch.")
    flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "Precision of the attacked model."
    )
    flags.DEFINE_bool(
        "save_images", False, "Save the attacked images, and classify them in batches of two sizes."
    )
    flags.DEFINE_bool("conjugates", False, "Plot the attacks of the paper's Table 4.")
    flags.DEFINE_bool("diagnose", False, "Check for signs of masked gradients.")


def main(config) -> str:
    """Runs the attacks with the settings `config`; returns the table."""
    with SignalGuard():
        from qup.pipelines import attack

    values = flags.FLAGS
    request = attack.AttackRequest(
        attacks=tuple(values.attack or ()),
        options=tuple(values.options),
        epsilon=values.epsilon,
        num_images=values.num_images,
        model_path=values.model_path,
        saved_model=values.saved_model,
        batch_size=values.batch_size,
        precision=values.precision,
        save_images=values.save_images,
        conjugates=values.conjugates,
        diagnose=values.diagnose,
    )
    return attack.run(config, request)


def run() -> None:
    """Runs the command."""
    settings.run(main)
