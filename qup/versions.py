"""Versions of all that shapes a number."""

import os
import platform
from importlib import metadata

import tensorflow as tf

import qup


def collect_versions() -> dict[str, str]:
    """Returns the versions of all that shapes a number."""
    packages = (
        "tensorflow",
        "keras",
        "numpy",
        "tensorflow-datasets",
        "scikit-learn",
        "pillow",
        "scipy",
        "tensorflow-probability",
    )
    return {
        "qup": qup.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        **{name: metadata.version(name) for name in packages},
    }
