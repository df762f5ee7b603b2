"""Command lines that are refused before TensorFlow is imported, in one line."""

import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_CODE = """
import sys
from qup.cli import main
try:
    main.main()
finally:
    assert "tensorflow" not in sys.modules
"""


def _refuse(*arguments, cwd=_ROOT):
    """Runs a command that must fail; returns its one line."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        env={"PYTHONPATH": str(_ROOT)},
    )
    assert done.returncode == 1 and not done.stdout, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and len(line) <= 600
    return line


@pytest.mark.parametrize(
    "arguments",
    [
        ("ifa", "--smoke", "--workdir=gs://bucket/x"),
        ("ifa", "--pipeline_root=s3://bucket/x"),
        ("ifa", "--config.dataset.data_dir=hdfs://host/x"),
        ("attack", "--attack=pgd", "--model_path=https://host/model.keras"),
        ("uncertainty", "--model_path=a.keras,gs://bucket/b.keras"),
        ("reproduce", "--images_dir=gs://bucket/x"),
        ("report", "gs://bucket/x"),
        ("report", "runs", "--output=gs://bucket/x"),
        ("publish", "runs", "--output=file:///tmp/x"),
        ("toy", "--workdir=gs://bucket/x"),
        ("runs", "gs://bucket/x"),
        ("lineage", "gs://bucket/x"),
        ("lineage", "runs", "--html=gs://bucket/x.html"),
    ],
)
def test_an_address_is_refused_everywhere(arguments, tmp_path):
    line = _refuse(*arguments, cwd=tmp_path)
    assert "is an address" in line and "local folder" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--config.augmentation.num_steps", "--seed", "--epochs"])
def test_a_number_of_thousands_of_digits_is_one_line(flag):
    assert "digits)" in _refuse("ifa", f"{flag}={'9' * 5000}")
