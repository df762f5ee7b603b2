"""The flags of --engine: which program runs the steps of a pipeline."""

import re
import sys
from collections.abc import Sequence

from absl import flags

from qup.cli import program
from qup.core.parts import Part
from qup.pipelines.engines import LOCAL, MODULES, Engine

# The options of an engine, which are flags of the same names. Another engine does not take them.
_REQUIRED_OPTIONS = {"kubeflow": ("output", "image", "cluster_root")}
_OPTIONS = {**_REQUIRED_OPTIONS, "ray": ("ray_address", "num_parts"), "local": ("part",)}
# Engines of commands whose work can be cut into parts.
PART_ENGINES = ("local", "ray")
_PART_FLAG = re.compile(r"--?part(=.*)?")


def define_flags(names: Sequence[str] = tuple(MODULES)) -> None:
    """Defines --engine and the options of the engines.

    Args:
      names: The engines that the command offers.
    """
    flags.DEFINE_enum(
        "engine",
        LOCAL.name,
        list(names),
        "What runs the steps: qup's own runner (local) or another program: docs/engines.md.",
    )
    flags.DEFINE_string(
        "part",
        None,
        "Compute only a part of the work, in a workdir that all parts share: 3/40; auto in an "
        "array of SLURM; auto/40 also on Kubernetes. Then: qup merge WORKDIR.",
    )
    flags.DEFINE_string(
        "ray_address", None, "The cluster: auto, or HOST:PORT; default: Ray starts one here."
    )
    flags.DEFINE_integer(
        "num_parts", None, "Parts into which Ray cuts a step; default: 4 per processor core."
    )
    if "kubeflow" not in names:
        return
    flags.DEFINE_string("output", None, "File to write. With --engine=kubeflow.")
    flags.DEFINE_string("image", None, "Container image of the steps. With --engine=kubeflow.")
    flags.DEFINE_string(
        "cluster_root",
        None,
        "Folder that the steps on the cluster share, such as gs://bucket/ifa. With "
        "--engine=kubeflow.",
    )


def resolve() -> Engine:
    """Returns the engine of the command line.

    Raises:
      flags.Error: An option is missing, or belongs to another engine.
      InputError: It cannot be used here.
    """
    name = flags.FLAGS.engine
    own_flags = flags.FLAGS.flags_by_module_dict()[__name__]
    options = {}
    for flag in own_flags:
        option, value = flag.name, flag.value
        owners = [key for key, keys in _OPTIONS.items() if option in keys]
        if not owners:
            continue
        if option in _REQUIRED_OPTIONS.get(name, ()) and not value:
            raise flags.Error(f"--engine={name} needs --{option}. See --help.")
        if name not in owners and value is not None:
            raise flags.Error(
                f"--{option} is an option of --engine={', '.join(owners)}; received {name}."
            )
        if value is not None:
            options[option] = value
    if "part" in options:
        # As numbers, because the environment of another process has others.
        options["part"] = str(Part.parse(options["part"]))
        options["command"] = _format_whole_command()
    engine = Engine(name, options)
    engine.check()
    return engine


def _format_whole_command() -> str:
    """Returns the command line without its part, for the same results."""
    arguments, is_value = [], False
    for argument in sys.argv[1:]:
        match = _PART_FLAG.fullmatch(argument)
        if match is None and not is_value:
            arguments.append(argument)
        is_value = match is not None and match[1] is None
    if "fixed_batch" in flags.FLAGS and not flags.FLAGS.fixed_batch:
        arguments.append("--fixed_batch")
    return program.format_command(arguments)
