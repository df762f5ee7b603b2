"""The wheel, its console script, its extras, and what a minimal installation can do."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import qup
from qup.cli.main import COMMANDS
from qup.core import extras

_ROOT = pathlib.Path(__file__).parents[2]
# Hides modules from import, as in an environment that lacks them.
_HIDE = """
import os, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ.get("HIDDEN", "").split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""


def _run(command, hidden="", cwd=None, path=()):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HIDDEN": hidden, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, text=True, capture_output=True, env=environment
    )


@pytest.fixture(scope="module")
def hook(tmp_path_factory):
    """A folder whose sitecustomize hides the modules of the variable HIDDEN."""
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(_HIDE)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # Built from a copy: setuptools writes next to the sources.
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("qup", "bin", "configs", "tests"):
        shutil.copytree(_ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md", "MANIFEST.in"):
        shutil.copy(_ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet"]
    done = _run([*command, "--wheel-dir", folder, source])
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    assert _run([sys.executable, "-m", "venv", folder]).returncode == 0
    (packages,) = folder.glob("lib/python*/site-packages")
    current = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "current.pth").write_text(f"{current}\n")
    (packages / "sitecustomize.py").write_text(_HIDE)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps"]
    done = _run([*pip, wheel])
    assert done.returncode == 0, done.stderr
    return folder


def _read_requirements():
    """Returns {requirement: its markers' extra or None} of setup.py."""
    code = (
        "import json, runpy, setuptools\n"
        "setuptools.setup = lambda **arguments: print(json.dumps("
        "[arguments['install_requires'], arguments['extras_require']]))\n"
        "runpy.run_path('setup.py')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, text=True, capture_output=True, check=True
    )
    return json.loads(done.stdout)


def test_the_exact_versions_are_within_the_ranges_and_complete():
    required, by_extra = _read_requirements()
    pinned = {}
    for line in (_ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower().replace("_", "-")] = Version(version)
    requirements = [Requirement(text) for text in [*required, *by_extra["all"]]]
    for requirement in requirements:
        version = pinned.pop(requirement.name.lower().replace("_", "-"))
        assert version in requirement.specifier, requirement
    assert set(pinned) == {"mypy", "pytest", "pytest-xdist", "pyyaml", "ruff"}
    for extra, texts in by_extra.items():
        assert extra in ("ray", "serving") or set(texts) <= {*by_extra["all"]}


def test_the_extra_of_every_module_installs_it():
    _, by_extra = _read_requirements()
    distributions = {"PIL": "pillow", "sklearn": "scikit-learn"}
    for module, extra in extras.EXTRAS.items():
        names = {Requirement(text).name.replace("-", "_") for text in by_extra[extra]}
        assert distributions.get(module, module).replace("-", "_") in names, module


def test_attacks_need_only_the_core_packages(hook):
    code = (
        "import numpy as np, keras\n"
        "import qup\n"
        "from qup import attacks\n"
        "model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(),"
        " keras.layers.Dense(3)])\n"
        "x, y = np.full((2, 4, 4, 1), 0.5, 'float32'), np.array([0, 1])\n"
        "print(attacks.run('pgd', model, x, y, epsilon=0.1).images.shape)\n"
        "try: attacks.get('cleverhans_fgsm')(model, x, y, epsilon=0.1)\n"
        "except ImportError as error: print(error)"
    )
    done = _run([sys.executable, "-c", code], ",".join(extras.EXTRAS), _ROOT, [hook])
    assert done.returncode == 0, done.stderr
    shape, message = done.stdout.splitlines()
    assert shape == "(2, 4, 4, 1)"
    assert message == (
        "cleverhans_fgsm needs cleverhans, which is not installed. "
        "Install it with: pip install 'qup[cleverhans]'"
    )


@pytest.mark.parametrize(
    ("program", "hidden", "message"),
    [
        ("run_attack", "ml_collections", r"qup attack needs ml_collections.*qup\[pipelines\]"),
        ("run_ifa --smoke", "matplotlib", r"qup ifa needs matplotlib.*qup\[pipelines\]"),
        ("reproduce", "scipy", r"qup reproduce needs .*qup\[reproduction\]"),
    ],
)
def test_a_missing_extra_is_one_line(hook, tmp_path, program, hidden, message):
    name, *flags = program.split()
    command = [sys.executable, "-m", f"bin.{name}", *flags]
    done = _run(command, hidden, tmp_path, [hook, _ROOT])
    assert done.returncode == 1 and not done.stdout
    assert re.fullmatch(f"Error: {message}'\n", done.stderr), done.stderr


def test_console_commands_are_the_programs_of_the_checkout():
    files = {path.stem for path in (_ROOT / "bin").glob("[!_]*.py")}
    assert {file for file, *_ in COMMANDS.values()} == files
    for name in COMMANDS:
        assert (_ROOT / "qup" / "cli" / f"{name.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("arguments", [["--help"], [], ["ifa", "--help"], ["runs", "--help"]])
def test_help_of_the_console_script(arguments, hook):
    code = "from qup.cli import main; main.main()"
    done = _run([sys.executable, "-c", code, *arguments], "tensorflow", _ROOT, [hook])
    assert "Traceback" not in done.stderr
    if arguments[:1] in ([], ["--help"]):
        assert all(f"  {name} " in done.stdout for name in COMMANDS)
    else:
        assert f"qup {arguments[0]}" in done.stdout and "bin." not in done.stdout
        assert "--workdir" in done.stdout or "--format" in done.stdout


def test_an_unknown_command_is_refused(hook):
    code = "from qup.cli import main; main.main()"
    done = _run([sys.executable, "-c", code, "atack"], path=[_ROOT])
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Unknown command 'atack'. Did you mean 'attack'?")


def test_settings_files_of_earlier_versions_work(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from configs import defaults\n\n"
        "def get_config(size='full'):\n"
        "    config = defaults.get_config()\n"
        "    config.training.epochs = (7,)\n"
        "    return config\n"
    )
    code = (
        "import sys; from qup.cli import settings as s; s.define_flags(); s.parse(sys.argv);"
        "print(s.resolve().training.epochs)"
    )
    done = _run([sys.executable, "-c", code, f"--config={path}"], cwd=_ROOT)
    assert done.stdout == "(7,)\n", done.stderr


# What an environment of a user may have, with the requirements that these releases declare. pip
# reads the metadata alone, so that TensorFlow need not be there to find out what pip would replace.
_INSTALLED = {
    "tensorflow": ("2.20.0", ["keras>=3.10.0", "numpy>=1.26.0", "tensorboard~=2.20.0"]),
    "tensorboard": ("2.20.0", ["numpy>=1.12.0", "pillow"]),
    "keras": ("3.11.3", ["absl-py", "numpy"]),
    "numpy": ("2.2.6", []),
    "matplotlib": ("3.9.4", ["numpy>=1.23", "pillow>=8"]),
    "pillow": ("10.4.0", []),
    "absl-py": ("2.1.0", []),
}
# pip's words for an index without any release of a package, or without an answer.
_NO_INDEX = re.compile("from versions: none|NewConnectionError|Name or service|timed out")


def _find_interpreter(version):
    """Returns a Python of a version, such as "3.12", that starts; None if there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    paths = (shutil.which(f"python{version}"), *pyenv.glob(f"versions/{version}.*/bin/python"))
    for path in filter(None, paths):
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        if _run([path, "-c", code]).stdout == f"{version}\n":
            return path
    return None


def _list_installations(python, requirement, report):
    """Returns the distributions that pip would install in an environment, as {name: version}."""
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    done = _run([*command, "--dry-run", "--report", report, requirement])
    if done.returncode and _NO_INDEX.search(done.stderr):
        pytest.skip(f"No package index answers: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    return {item["name"].lower().replace("_", "-"): item["version"] for item in found}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_an_installation_replaces_no_package_of_the_user(wheel, tmp_path, version):
    interpreter = _find_interpreter(version)
    if interpreter is None:
        pytest.skip(f"There is no Python {version} on this machine.")
    folder = tmp_path / "environment"
    done = _run([interpreter, "-m", "venv", "--without-pip", folder])
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob("lib/python*/site-packages")
    for name, (release, requirements) in _INSTALLED.items():
        info = packages / f"{name.replace('-', '_')}-{release}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {release}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "INSTALLER").write_text("pip\n")
        (info / "RECORD").write_text("")
    python, report = folder / "bin" / "python", tmp_path / "report.json"
    assert _list_installations(python, wheel, report) == {"qup": qup.__version__}
    installed = _list_installations(python, f"{wheel}[pipelines]", report)
    assert {"qup", "ml-collections", "scipy"} <= set(installed)
    assert not set(installed) & set(_INSTALLED)
    installed = _list_installations(python, f"{wheel}[serving]", report)
    assert {"qup", "openvino", "onnxruntime", "tf2onnx", "ai-edge-litert"} <= set(installed)
    assert not set(installed) & set(_INSTALLED)


@pytest.mark.slow
def test_an_installed_wheel_has_one_package_and_its_commands_run(environment, tmp_path):
    (packages,) = environment.glob("lib/python*/site-packages")
    for name in ("bin", "configs", "tests", "benchmarks"):
        assert not (packages / name).exists()
    assert (packages / "qup" / "cli" / "configs" / "digits.py").is_file()
    program = environment / "bin" / "qup"
    done = _run([program, "--version"], cwd=tmp_path)
    assert done.stdout == f"qup {qup.__version__}\n"
    done = _run([program, "attack", "--help"], cwd=tmp_path)
    assert "qup attack --dataset=mnist" in done.stdout and "--precision" in done.stdout
    done = _run([program, "attack"], "ml_collections", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: qup attack needs ml_collections, which is not installed. "
        "Install it with: pip install 'qup[pipelines]'\n"
    )
    done = _run([program, "ifa", "--smoke", "--workdir=run"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tensorboard --logdir run/tensorboard" in done.stdout
    done = _run([program, "lineage", "run"], cwd=tmp_path)
    assert done.returncode == 0 and "Reporter" in done.stdout, done.stderr


@pytest.mark.slow
def test_every_data_file_of_the_package_is_in_the_wheel(wheel):
    names = {*zipfile.ZipFile(wheel).namelist()}
    for path in (_ROOT / "qup").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(_ROOT).as_posix() in names
