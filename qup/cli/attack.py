r"""Says how robust a classifier is: attacks it, and writes one page and a row per image.

The classifier is one of this package (--model, trained if necessary), a file
of a Keras model (--model_path: .keras, .h5, .hdf5) or a SavedModel
(--saved_model). A SavedModel, and a file with --trust_model, can run any code:
load only files that you trust.

    qup attack --model_path=mine.keras --images=test.npz --epsilon=8/255
    qup attack --model_path=mine.keras --images=test.npz --epsilon=0:16/255:9
    qup attack --dataset=mnist --attack=autoattack,deepfool
    qup attack --dataset=cifar10 --model_path=mine.keras --pixel_range=0,255 \
        --attack=pgd --options=pgd.num_steps=100,pgd.random_start=True
    qup attack --dataset=mnist --attack=pgd --saved_model=DIR --signature=serve

Without --attack, the standard protocol runs: PGD of 40 steps at several
budgets, AutoAttack, and a search for masked gradients. The page is
robustness.html in the workdir.

Further settings: --config.group.key=value; --help lists those of an attack.
"""

import pathlib
import tempfile

from absl import flags

import qup
from qup.cli import engines, program, settings
from qup.core import errors, files, measurements
from qup.core.interruption import SignalGuard
from qup.core.numbers import parse_epsilons
from qup.core.registry import find_registered_options

# Settings and groups of settings that an attack uses; --help lists them.
USED_SETTINGS = (
    *("seed", "workdir", "pipeline_root", "enable_cache", "verify"),
    *("dataset", "model", "training", "attack.epsilon", "attack.norm"),
)
_ATTACKS = pathlib.Path(qup.__file__).parent / "attacks"
# That of qup.robustness.report.protocol, whose import starts TensorFlow.
_STANDARD = "standard"
# Options that have an error of their own, or that the pipeline adds.
_SPECIAL_OPTIONS = ("ids", "seed", "targeted", "targets")


def define_flags() -> None:
    """Defines the flags of the settings and of the attacks."""
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    engines.define_flags(engines.PART_ENGINES)
    flags.adopt_module_key_flags(engines)
    names = ", ".join(sorted(find_registered_options(_ATTACKS)))
    flags.DEFINE_list("attack", None, f"Names of attacks, of: {names}; default: standard.")
    flags.DEFINE_string(
        "epsilon",
        None,
        "Budget in units of [0, 1]: 0.1, 8/255, a list 2/255,4/255 or a range first:last:count, "
        "such as 0:16/255:9; default: the dataset's.",
    )
    flags.DEFINE_enum(
        "norm", None, ["linf", "l2", "l1", "l0"], "Norm of epsilon; default: linf or the attack's."
    )
    flags.DEFINE_integer("num_images", 1000, "Number of test images, from the first; 0 for all.")
    flags.DEFINE_string("model_path", None, "A .keras file, or a whole .h5 or .hdf5 file.")
    flags.DEFINE_string("saved_model", None, "Folder of a SavedModel.")
    flags.DEFINE_string("signature", None, "Signature of the SavedModel; default: serving_default.")
    flags.DEFINE_string(
        "output", None, "The model's output with the logits; default: logits, or the only one."
    )
    flags.DEFINE_list("import", [], "Modules with the layers of the Keras model; see trust_model.")
    flags.DEFINE_bool(
        "trust_model", False, "Allow the code of --import, and of Lambda layers in the file."
    )
    flags.DEFINE_string(
        "pixel_range", None, "Pixels that your model takes: 0,255 or -1,1; default: 0,1."
    )
    flags.DEFINE_string(
        "class_names",
        None,
        "Names of the classes, cat,dog,..., or a .txt file with one per line; default: the data's.",
    )
    flags.DEFINE_list("options", [], "Options of attacks: pgd.num_steps=100,fab.norm=l2.")
    flags.DEFINE_integer("batch_size", 128, "Images per batch.")
    flags.DEFINE_bool(
        "fixed_batch",
        False,
        "Batches of one size: results then depend on no part, to the last bit. --part and Ray "
        "imply it.",
    )
    flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "Precision of the attacked model."
    )
    flags.DEFINE_bool(
        "save_images", False, "Save the attacked images, and classify them in batches of two sizes."
    )
    flags.DEFINE_bool("conjugates", False, "Plot the attacks of the paper's Table 4.")
    flags.DEFINE_bool("diagnose", False, "Check for signs of masked gradients.")
    flags.DEFINE_bool(
        "dry_run", False, "Say what the attacks will cost in time, memory and disk, and end."
    )


def main(config) -> str:
    """Runs the attacks with the settings `config`; returns the table."""
    with SignalGuard():
        from qup.pipelines import attack

    values = flags.FLAGS
    engine = engines.resolve()
    request = attack.AttackRequest(
        attacks=_choose_attacks(),
        options=tuple(values.options),
        epsilons=tuple(parse_epsilons(values.epsilon)) if values.epsilon is not None else (),
        norm=values.norm,
        num_images=values.num_images,
        model_path=values.model_path,
        saved_model=values.saved_model,
        signature=values.signature,
        output=values.output,
        imports=tuple(values["import"].value),
        trust_model=values.trust_model,
        pixel_range=values.pixel_range,
        class_names=read_class_names(values.class_names),
        batch_size=values.batch_size,
        fixed_batch=values.fixed_batch or engine.is_divided,
        precision=values.precision,
        save_images=values.save_images,
        conjugates=values.conjugates,
        diagnose=values.diagnose,
        command=engine.options.get("command") or program.format_command(),
    )
    return attack.run(config, request, dry_run=values.dry_run, engine=engine)


def _choose_attacks() -> tuple[str, ...]:
    """Returns the requested attacks; the standard protocol if nothing is requested."""
    values = flags.FLAGS
    if values.attack or values.conjugates or values.diagnose:
        return tuple(values.attack or ())
    return (_STANDARD,)


def resolve():
    """Returns the settings, after checks that need no TensorFlow, which takes seconds to import.

    Raises:
      flags.Error: A short flag and its setting differ.
      InputError: An attack or an option is unknown, a name of a class is empty, or the folder of
        the results is unusable.
    """
    config = settings.resolve()
    values = flags.FLAGS
    if values.epsilon is not None:
        parse_epsilons(values.epsilon)
    check_attack_names(_choose_attacks(), values.options)
    read_class_names(values.class_names)
    if config.workdir:
        check_workdir(pathlib.Path(config.workdir))
    return config


def check_attack_names(names, options) -> None:
    """Raises an InputError for an attack or an option that does not exist.

    Args:
      names: Names of attacks.
      options: Texts attack.option=value.
    """
    known = find_registered_options(_ATTACKS)
    for name in names:
        if name not in known and name != _STANDARD:
            raise errors.make_unknown_error("attack", name, [_STANDARD, *known])
    for text in options:
        name, _, option = text.partition("=")[0].strip().partition(".")
        if option and name not in known:
            raise errors.make_unknown_error("attack", name, known)
        if option and option not in (*known[name], *_SPECIAL_OPTIONS):
            raise errors.make_unknown_error(f"option of {name}", option, known[name])


def read_class_names(text: str | None) -> tuple[str, ...]:
    """Returns the names of the classes of a flag; none for None.

    Args:
      text: The names with commas between them, or the path of a .txt file with one per line.

    Raises:
      InputError: The file cannot be read, or a name is empty.
    """
    if text is None:
        return ()
    names = text.split(",")
    if len(names) == 1 and text.endswith(".txt"):
        path = pathlib.Path(text).expanduser()
        try:
            names = path.read_text("utf-8").rstrip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise errors.InputError(
                f"--class_names={text[:200]} must be a text file with one name per line; it cannot "
                f"be read: {reason}."
            ) from error
    names = [name.strip() for name in names]
    if not (names and all(names)):
        raise errors.InputError(
            f"--class_names: the name of class {names.index('') if names else 0} is empty. Name "
            "every class, in the order of the labels: cat,dog,..., or one per line of a .txt file."
        )
    return tuple(names)


def check_workdir(folder: pathlib.Path) -> None:
    """Raises an InputError if results could not be written to a folder at the end.

    Args:
      folder: The folder of the results; it need not exist yet.
    """
    with files.wrap_os_errors(folder):
        parent = folder.expanduser().absolute()
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        if not parent.is_dir():
            raise errors.InputError(
                f"The workdir {folder} cannot be used: {parent} is a file. Name another folder."
            )
        with tempfile.TemporaryDirectory(prefix=".qup-", dir=parent):
            pass
    path = folder.expanduser() / "measurements.csv"
    if path.exists():
        measurements.read_rows(path)


def run() -> None:
    """Runs the command."""
    program.run_pipeline(main, parse=settings.parse, resolve=resolve)
