"""The flag --engine: which program runs the steps of a pipeline."""

from absl import flags

from qup.pipelines.engines import LOCAL, MODULES, Engine


def define_flags() -> None:
    """Defines --engine and the options of the engines."""
    flags.DEFINE_enum(
        "engine", LOCAL.name, list(MODULES), "What runs the steps; local: qup's own runner."
    )


def resolve() -> Engine:
    """Returns the engine of the command line.

    Raises:
      InputError: It cannot be used here.
    """
    engine = Engine(flags.FLAGS.engine)
    engine.check()
    return engine
