"""docs/attacks.md says what the attacks are."""

import pathlib
import re

from qup import attacks

_TEXT = pathlib.Path(__file__).parents[2] / "docs" / "attacks.md"


def test_the_example_of_targets_takes_them():
    text = _TEXT.read_text("utf-8")
    (name,) = re.findall(r'run\("(\w+)", \.\.\., targets=', text)
    assert attacks.traits(name)["targeted"]


def test_every_attack_that_takes_targets_is_named():
    paragraph = _TEXT.read_text("utf-8").partition("Targets are taken by")[2]
    told = set(re.findall(r"`(\w+)`", paragraph.partition(";")[0]))
    own = {name for name in attacks.names() if attacks.traits(name)["targeted"]}
    assert told == {name for name in own if not name.startswith("cleverhans")}


def test_every_flag_is_told():
    program = _TEXT.parents[1] / "qup" / "cli" / "attack.py"
    for flag in re.findall(r'DEFINE_\w+\(\s*"(\w+)"', program.read_text()):
        assert f"--{flag}" in _TEXT.read_text("utf-8"), flag
