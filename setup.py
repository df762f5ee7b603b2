"""Packaging: `pip install .` gives qup, bin and configs."""

import pathlib
import re

from setuptools import find_packages, setup

_HERE = pathlib.Path(__file__).parent
_DEVELOPMENT = ("pytest", "ruff")
_REQUIREMENTS = [
    line
    for line in (_HERE / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]

setup(
    name="qup",
    version=re.search(r'__version__ = "(.+)"', (_HERE / "qup/__init__.py").read_text())[1],
    description="The uncertainty principle of neural networks, measured",
    long_description=(_HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["qup", "qup.*"]), "bin", "configs"],
    package_data={"qup.reproduction.imagenet": ["published.csv"]},
    install_requires=[line for line in _REQUIREMENTS if not line.startswith(_DEVELOPMENT)],
)
