r"""Attacks a classifier, and tells what came of every image.

The classifier is one of ours (--model, trained if need be), a .keras file
(--model_path) or a SavedModel (--saved_model). The last two are programs:
load only those that you trust.

    python -m bin.run_attack --dataset=mnist --attack=autoattack,deepfool
    python -m bin.run_attack --dataset=cifar10 --model_path=mine.keras \
        --attack=pgd --options=pgd.num_steps=100,pgd.random_start=True

Further settings: --config.group.key=value; configs/defaults.py tells all.
"""

from absl import flags

from bin import command_line, starting
from qup.core.interruption import SignalGuard

command_line.define_flags()
flags.adopt_module_key_flags(command_line)
_ATTACKS = flags.DEFINE_list("attack", None, "Names of attacks; none lists those there are.")
_EPSILON = flags.DEFINE_float(
    "epsilon", None, "Budget, in units of [0, 1]; default: the dataset's."
)
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 1000, "The first that many test images; 0 for all."
)
_MODEL_PATH = flags.DEFINE_string("model_path", None, "A .keras file.")
_SAVED_MODEL = flags.DEFINE_string("saved_model", None, "A SavedModel.")
_OPTIONS = flags.DEFINE_list("options", [], "Options of attacks: pgd.num_steps=100,fab.norm=l2.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images a batch.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Of the attacked model."
)
_SAVE_IMAGES = flags.DEFINE_bool(
    "save_images", False, "Keep the attacked images, and look at them again."
)
_CONJUGATES = flags.DEFINE_bool("conjugates", False, "Draw the attacks of the paper's Table 4.")
_DIAGNOSE = flags.DEFINE_bool("diagnose", False, "Look for signs that gradients are masked.")


def main(config) -> str:
    """Runs the attacks with the settings `config`; returns the table."""
    with SignalGuard():
        from qup.pipelines import attack

    request = attack.AttackRequest(
        attacks=tuple(_ATTACKS.value or ()),
        options=tuple(_OPTIONS.value),
        epsilon=_EPSILON.value,
        num_images=_NUM_IMAGES.value,
        model_path=_MODEL_PATH.value,
        saved_model=_SAVED_MODEL.value,
        batch_size=_BATCH_SIZE.value,
        precision=_PRECISION.value,
        save_images=_SAVE_IMAGES.value,
        conjugates=_CONJUGATES.value,
        diagnose=_DIAGNOSE.value,
    )
    return attack.run(config, request)


if __name__ == "__main__":
    starting.run(main)
