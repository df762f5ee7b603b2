"""Mistakes on the command line of the attacks are found before TensorFlow is imported."""

import inspect
import pathlib
import subprocess
import sys

import pytest

from qup import attacks
from qup.cli import attack as attack_command
from qup.core import errors
from qup.core.measurements import HEADER
from qup.core.registry import find_registered_names, find_registered_options

_ROOT = pathlib.Path(__file__).parents[2]
# A TensorFlow that cannot be imported: whoever tries is seen.
_FORBID = "raise SystemExit('TensorFlow was imported')"


def _run(folder, *given):
    """Runs the command where an import of TensorFlow ends it."""
    (folder / "hidden").mkdir(exist_ok=True)
    (folder / "hidden" / "tensorflow.py").write_text(_FORBID)
    command = (
        f"import sys; sys.path.insert(0, {str(folder / 'hidden')!r}); from qup.cli import main"
    )
    return subprocess.run(
        [sys.executable, "-c", f"{command}; main.main()", "attack", "--dataset=digits", *given],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )


def test_options_of_attacks_are_known_without_importing_them():
    options = find_registered_options(_ROOT / "qup" / "attacks")
    assert set(options) == set(attacks.names())
    for name in attacks.names():
        known = list(inspect.signature(attacks.get(name)).parameters)[3:]
        assert set(known) - {"ids"} == set(options[name]) - {"ids"}, name


def test_names_are_those_of_the_decorator_or_of_the_function(tmp_path):
    (tmp_path / "one.py").write_text(
        '@rooms.register("first", kind=1)\nclass A(other.Base):\n'
        "    depth: int = 1\n    room: ClassVar[str] = ''\n"
        "@register\ndef second(x, *, width, height=1): ...\n"
        "@unrelated('third')\ndef third(): ...\n"
    )
    (tmp_path / "two.py").write_text("class Base:\n    seed: int = 0\n    depth: float = 0.0\n")
    assert find_registered_names(tmp_path) == ("first", "second")
    expected = {"first": ("seed", "depth"), "second": ("width", "height")}
    assert find_registered_options(tmp_path) == expected


@pytest.mark.parametrize(
    "given,message",
    [
        (["--attack=pdg"], "Did you mean 'pgd'"),
        (["--epsilon=eight"], "a number or a fraction, such as 0.1 or 8/255; received 'eight'"),
        (["--epsilon=0:1"], "first:last:count"),
        (["--norm=l7"], "norm"),
        (["--attack=pgd", "--options=pgd.num_step=1"], "Did you mean 'num_steps'"),
        (["--attack=pgd", "--options=pdg.num_steps=1"], "Did you mean 'pgd'"),
        (["--attack=pgd", "--workdir=/proc/version"], "/proc/version is a file"),
        (["--attack=pgd", "--workdir=/proc/absent"], "Cannot write /proc/absent"),
        (["--attack=pgd", "--workdir={}/workdir"], "semicolons"),
        (["--attack=pgd", "--class_names=cat,,dog"], "the name of class 1 is empty"),
        (["--attack=pgd", "--class_names={}/absent.txt"], "No such file"),
    ],
)
def test_mistakes_are_found_before_tensorflow_starts(given, message, tmp_path):
    (tmp_path / "workdir").mkdir()
    (tmp_path / "workdir" / "measurements.csv").write_text(";".join(HEADER) + "\n")
    done = _run(tmp_path, *(argument.format(tmp_path) for argument in given))
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and message in line


def test_a_usual_command_starts_tensorflow(tmp_path):
    given = ["--attack=pgd", "--options=pgd.targets=random", f"--workdir={tmp_path / 'new'}"]
    assert "TensorFlow was imported" in _run(tmp_path, *given).stderr
    assert not (tmp_path / "new").exists()


def test_checking_a_workdir_leaves_no_trace(tmp_path):
    attack_command.check_workdir(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(errors.InputError, match="Unknown option of fgsm"):
        attack_command.check_attack_names(["fgsm"], ["fgsm.absent=1"])
    # These have errors of their own later.
    attack_command.check_attack_names(["pgd"], ["pgd.seed=1", "pgd.targeted=true", "nonsense"])


def test_names_of_classes_are_a_list_or_the_lines_of_a_file(tmp_path):
    assert attack_command.read_class_names(None) == ()
    assert attack_command.read_class_names("cat, dog,mouse.txt") == ("cat", "dog", "mouse.txt")
    path = tmp_path / "names.txt"
    path.write_text("tench, Tinca tinca\nköi\n\n", encoding="utf-8")
    assert attack_command.read_class_names(str(path)) == ("tench, Tinca tinca", "köi")
    for content, message in (
        (b"a\n\nb", "class 1 is empty"),
        (b"", "class 0 is empty"),
        (b"\xff", "UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(errors.InputError, match=message):
            attack_command.read_class_names(str(path))
