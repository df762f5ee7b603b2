"""--help of every program: status 0, every flag and setting with its default, whole examples."""

import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from qup.cli import settings, usage
from qup.cli.main import COMMANDS
from qup.core import config as nested_config

_ROOT = pathlib.Path(__file__).parents[2]
_WITH_SETTINGS = ("attack", "ifa", "train", "train-worker", "uncertainty")
_CODE = """
import sys
from qup.cli import main
try:
    main.main()
finally:
    if "tensorflow" in sys.modules: print("TENSORFLOW")
    from absl import flags
    print("NAMES", *sorted(f.name for f in flags.FLAGS.get_key_flags_for_module(sys.argv[0])))
"""


def _run(*arguments, code=_CODE, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=_ROOT,
        text=True,
        capture_output=True,
        **options,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_and_succeeds(command):
    done = _run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    text, _, names = done.stdout.partition("NAMES")
    assert "TENSORFLOW" not in text
    assert max(map(len, text.splitlines())) <= 100
    # Every flag, each with a default.
    described = re.split(r"\n  (?=--)", text)
    for name in names.split():
        (entry,) = [e for e in described if re.match(rf"--(\[no\])?{name}:", e)]
        assert "default:" in entry.lower() or "required" in entry, entry
    # Examples are as in the source, with their line breaks.
    documentation = importlib.import_module(f"qup.cli.{command.replace('-', '_')}").__doc__
    assert documentation.strip() in text
    examples = re.findall(r"^    (?:qup .*|    --.*)$", documentation, re.MULTILINE)
    assert examples and all(f"\n{line}\n" in text for line in examples)
    # No word of the text was lost when it was wrapped.
    assert "  --" in text and "Try --helpfull" not in text


@pytest.mark.parametrize("command", _WITH_SETTINGS)
@pytest.mark.parametrize("dataset", ["digits", "mnist", "image_folder"])
def test_every_setting_is_listed_with_its_default(command, dataset):
    text = _run(command, "--help", f"--dataset={dataset}").stdout
    values = nested_config.flatten(settings.load_dataset_settings(dataset, "full"))
    module = importlib.import_module(f"qup.cli.{command.replace('-', '_')}")
    used = getattr(module, "USED_SETTINGS", [key.partition(".")[0] for key in values])
    listed = 0
    for key, value in values.items():
        is_used = key in used or key.partition(".")[0] in used
        line = f"\n  --config.{key}={usage.format_value(value)}\n"
        assert (line in text) == is_used and (f"--config.{key}=" in text) == is_used, key
        listed += is_used
    # A name that is no setting would list nothing.
    assert all(any(key == n or key.startswith(f"{n}.") for key in values) for n in used)
    assert listed > 20
    assert f"defaults of --dataset={dataset}" in text
    if command == "ifa":
        # The comments of the source, whole.
        words = " ".join(text.split())
        assert "N, the number of opposite-FGSM steps." in words
        assert (
            "Seed of initialisation, order, split, attack and translator. Short: --seed." in words
        )


@pytest.mark.parametrize("command", ["attack", "train"])
def test_settings_that_a_command_does_not_use_are_not_listed(command):
    text = _run(command, "--help").stdout
    assert "--config.attack.epsilon=" in text and "--config.dataset.name=" in text
    for key in ("augmentation.num_steps", "translator.width", "paper_literal", "attack.restarts"):
        assert f"--config.{key}=" not in text
        assert f"--config.{key}=" in _run("ifa", "--help").stdout


@pytest.mark.parametrize("word", usage.HELP_FLAGS)
def test_every_way_to_ask_is_answered(word):
    done = _run("runs", word)
    assert done.returncode == 0 and "--format: A table" in done.stdout
    assert ("logtostderr: " in done.stdout) == ("full" in word)


@pytest.mark.parametrize("file", [file for file, _, _ in COMMANDS.values()])
def test_the_programs_of_the_checkout_name_themselves(file):
    done = subprocess.run(
        [sys.executable, "-m", f"bin.{file}", "--help"], cwd=_ROOT, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m bin.{file}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_help_of_an_unknown_dataset_shows_the_usual_settings():
    done = _run("ifa", "--help", "--dataset=mnits")
    assert done.returncode == 0 and "defaults of --dataset=digits" in done.stdout


def test_help_is_not_lost_in_a_closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "bin.run_ifa", "--help"],
        cwd=_ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_word_after_two_dashes_is_no_question():
    assert not usage.is_help_request(["--", "--help"])
    assert usage.is_help_request(["--workdir=x", "-h"])
    assert not usage.is_help_request(["--helpless", "help"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "none"), ([], "none"), (True, "true"), ((1, 30), "1,30"), (0.02, "0.02")),
        *((2e-4, "0.0002"), ("pgd", "pgd"), (0, "0"), (False, "false")),
    ],
)
def test_values_are_written_as_on_a_command_line(value, text):
    assert usage.format_value(value) == text
