"""The flags of --engine: which program runs the steps of a pipeline."""

from absl import flags

from qup.pipelines.engines import LOCAL, MODULES, Engine

# The options of an engine, which are flags of the same names. Another engine does not take them.
_OPTIONS = {"kubeflow": ("output", "image", "cluster_root")}


def define_flags() -> None:
    """Defines --engine and the options of the engines."""
    flags.DEFINE_enum(
        "engine",
        LOCAL.name,
        list(MODULES),
        "What runs the steps: qup's own runner (local), TFX, or Kubeflow, for which a file is "
        "written: docs/engines-tfx.md.",
    )
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
    expected = _OPTIONS.get(name, ())
    options = {}
    for option in dict.fromkeys(key for keys in _OPTIONS.values() for key in keys):
        value = flags.FLAGS[option].value
        if option in expected and not value:
            raise flags.Error(f"--engine={name} needs --{option}. See --help.")
        if option not in expected and value is not None:
            engines = ", ".join(key for key, keys in _OPTIONS.items() if option in keys)
            raise flags.Error(f"--{option} is an option of --engine={engines}; received {name}.")
        if option in expected:
            options[option] = value
    engine = Engine(name, options)
    engine.check()
    return engine
