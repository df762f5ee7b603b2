"""Packaging: `pip install qup` gives the library, extras give the application.

Ranges of versions are here, for users; requirements.txt has the exact versions
that the tests use. A wheel contains the package `qup` alone, because other
projects have folders named bin, configs or tests too. The code of the programs
is in qup/cli. The files of settings stay in configs/, where users of a checkout
edit them; a wheel contains them as `qup.cli.configs`.
"""

import pathlib
import re

from setuptools import find_packages, setup

_HERE = pathlib.Path(__file__).parent
_DATASETS = ["tensorflow-datasets>=4.9.9", "importlib_resources", "pillow>=10", "scikit-learn>=1.4"]
_UNCERTAINTY = [
    "tensorflow-probability>=0.25",
    # Each version needs that of TensorFlow. No requirement can depend on the installed TensorFlow:
    # pip takes the newest and moves TensorFlow with it, unless the user names a version, README.md.
    "tf_keras>=2.20,<2.22",
    "scipy>=1.12",
    "matplotlib>=3.8",
    "jinja2>=3.1",
]
_PIPELINES = [
    "ml-collections>=1.0",
    "tensorboard>=2.20,<2.22",
    "matplotlib>=3.8",
    "pillow>=10",
    "scikit-learn>=1.4",
    "scipy>=1.12",
    "filelock>=3.16",
    "psutil>=5.9",
    "jinja2>=3.1",
    "pandas>=2.2",
]
_REPRODUCTION = [*_DATASETS, *_UNCERTAINTY, *_PIPELINES, "statsmodels>=0.14.2"]
# Their requirements fit beside TensorFlow's; KServe's do not.
_SERVING = ["openvino>=2025.4", "onnxruntime>=1.23", "tf2onnx>=1.17", "ai-edge-litert>=2.0.3"]
_CLEVERHANS = ["cleverhans>=4.0"]

setup(
    name="qup",
    version=re.search(r'__version__ = "(.+)"', (_HERE / "qup/__init__.py").read_text())[1],
    description="The uncertainty principle of neural networks, measured",
    long_description=(_HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["qup", "qup.*"]), "qup.cli.configs"],
    package_dir={"qup.cli.configs": "configs"},
    package_data={"": ["py.typed", "*.pyi", "*.csv", "*.j2", "templates/*", "templates/*/*"]},
    entry_points={"console_scripts": ["qup = qup.cli.main:main"]},
    # Keras 3.10 runs the code in an .h5 file that is not trusted; 3.11.3 does not.
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "keras>=3.11.3,<3.16",
        "numpy>=1.26",
        "absl-py>=2.1",
    ],
    extras_require={
        "datasets": _DATASETS,
        "uncertainty": _UNCERTAINTY,
        "pipelines": _PIPELINES,
        "reproduction": sorted({*_REPRODUCTION}),
        "cleverhans": _CLEVERHANS,
        # Not in "all": for more than one machine.
        "ray": ["ray>=2.40"],
        # Not in "all": runtimes of servers, which no measurement needs.
        "serving": _SERVING,
        "all": sorted({*_REPRODUCTION, *_CLEVERHANS}),
    },
)
