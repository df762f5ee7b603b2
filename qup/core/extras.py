"""Optional packages: one error that names the extra to install."""

import contextlib
import importlib.util
from collections.abc import Iterator

from qup.core.errors import InputError

# Name of an import -> the extra of setup.py that installs it. Where several
# extras install a package, callers name the one that their work needs.
EXTRAS = {
    "PIL": "datasets",
    "cleverhans": "cleverhans",
    "filelock": "pipelines",
    "importlib_resources": "datasets",
    "jinja2": "pipelines",
    "matplotlib": "pipelines",
    "ml_collections": "pipelines",
    "pandas": "pipelines",
    "psutil": "pipelines",
    "ray": "ray",
    "scipy": "uncertainty",
    "sklearn": "datasets",
    "statsmodels": "reproduction",
    "tensorboard": "pipelines",
    "tensorflow_datasets": "datasets",
    "tensorflow_probability": "uncertainty",
    "tf_keras": "uncertainty",
}


class MissingExtraError(InputError, ImportError):
    """An optional package is not installed; the message names its extra."""


def make_missing_error(feature: str, module: str, extra: str | None = None) -> MissingExtraError:
    """Returns the error for `feature`, which needs the package `module`."""
    extra = extra or EXTRAS[module]
    error = MissingExtraError(
        f"{feature} needs {module}, which is not installed. "
        f"Install it with: pip install 'qup[{extra}]'"
    )
    error.name = module
    return error


def check_installed(feature: str, *modules: str, extra: str | None = None) -> None:
    """Raises a `MissingExtraError` unless all modules can be imported.

    Args:
      feature: What needs them, such as "attacks.get('cleverhans_fgsm')".
      *modules: Names of imports, such as "cleverhans".
      extra: The extra to name; default: that of `EXTRAS`.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise make_missing_error(feature, module, extra)


@contextlib.contextmanager
def explain_missing(feature: str, extra: str | None = None) -> Iterator[None]:
    """Turns the failed import of an optional package into a `MissingExtraError`.

    A failed import of any other module passes unchanged: it is a defect. If blocks are nested, the
    error names the feature of the outermost, which is what the user asked for.
    """
    try:
        yield
    except (ModuleNotFoundError, MissingExtraError) as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise make_missing_error(feature, module, extra) from error
