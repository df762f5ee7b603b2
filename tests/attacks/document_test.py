"""docs/attacks.md agrees with the registry and the flags."""

import pathlib
import re

from qup import attacks

_TEXT = pathlib.Path(__file__).parents[2] / "docs" / "attacks.md"


def test_example_of_targets_is_a_targeted_attack():
    text = _TEXT.read_text("utf-8")
    (name,) = re.findall(r'run\("(\w+)", \.\.\., targets=', text)
    assert attacks.traits(name)["targeted"]


def test_names_all_attacks_that_support_targets():
    paragraph = _TEXT.read_text("utf-8").partition("Targets are supported by")[2]
    documented = set(re.findall(r"`(\w+)`", paragraph.partition(".")[0]))
    targeted = {name for name in attacks.names() if attacks.traits(name)["targeted"]}
    assert documented == {name for name in targeted if not name.startswith("cleverhans")}


def test_documents_all_flags():
    program = _TEXT.parents[1] / "qup" / "cli" / "attack.py"
    for flag in re.findall(r'DEFINE_\w+\(\s*"(\w+)"', program.read_text()):
        assert f"--{flag}" in _TEXT.read_text("utf-8"), flag
