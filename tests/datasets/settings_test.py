"""Own images on the command line: flags and settings reach `datasets.load`."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import arrays, image_folder
from qup import datasets
from qup.core.errors import InputError
from qup.pipelines import config as pipeline_config

_ROOT = pathlib.Path(__file__).parents[2]
_RESOLVE = """
import json, sys
from absl import flags
from qup.cli import {command}, settings
{command}.define_flags()
settings.parse(sys.argv)
print(json.dumps(settings.resolve().dataset.to_dict()))
"""


def _resolve(command, *arguments):
    """Returns the settings of the data that a command line resolves to."""
    process = subprocess.run(
        [sys.executable, "-c", _RESOLVE.format(command=command), *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("command", ["attack", "ifa"])
def test_files_of_arrays_choose_their_dataset(command):
    data = _resolve(
        command, "--images=x.npy", "--labels=y.npy", "--config.dataset.value_range=-1,1"
    )
    assert (data["name"], data["images"], data["labels"]) == ("arrays", "x.npy", "y.npy")
    assert data["value_range"] == [-1, 1]


def test_run_uncertainty_keeps_its_own_labels():
    data = _resolve("uncertainty", "--images=x.npz", "--labels=0,1")
    assert (data["name"], data["images"], data["labels"]) == ("arrays", "x.npz", None)


@pytest.mark.parametrize(("text", "expected"), [("28", 28), ("28,36", [28, 36])])
def test_image_sizes_have_one_number_or_two(text, expected):
    data = _resolve("attack", "--dataset=image_folder", f"--config.dataset.image_size={text}")
    assert data["image_size"] == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(28, (28, 28)), ((28, 36), (28, 36)), ([28, 36], (28, 36))]
)
def test_image_sizes_are_height_and_width(value, expected):
    config = image_folder.get_config()
    config.dataset.image_size = value
    assert pipeline_config.get_dataset_options(config)["image_size"] == expected


@pytest.mark.parametrize("value", ["28x36", "28", 28.0, (28,), (1, 2, 3), True])
def test_other_image_sizes_are_refused(value):
    config = image_folder.get_config()
    config.dataset.image_size = value
    with pytest.raises(InputError, match=r"one number, or height and width: .*image_size=28,36"):
        pipeline_config.check_config(config)


def test_options_of_own_images_leave_other_settings_alone():
    config = image_folder.get_config()
    before = pipeline_config.get_config_identity(config)
    assert not {"channels", "bit_depth", "value_range", "images"} & set(before["dataset"])
    config.dataset.channels = 1
    assert pipeline_config.get_config_identity(config)["dataset"]["channels"] == 1
    assert pipeline_config.get_dataset_options(config)["channels"] == 1


def test_runs_of_different_arrays_have_different_folders(tmp_path):
    config = arrays.get_config()
    config.dataset.images = "a.npz"
    first = pipeline_config.get_workdir(config)
    config.dataset.images = "b.npz"
    assert pipeline_config.get_workdir(config) != first
    # Their content is compared, not their place.
    assert "images" not in pipeline_config.get_config_identity(config)["dataset"]


def test_training_needs_training_images(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.eye(8)[None, ..., None].repeat(3, 0), labels=[0, 1, 2])
    config = arrays.get_config()
    config.dataset.images = str(tmp_path / "x.npz")
    info = datasets.load("arrays", images=config.dataset.images).info
    arguments = pipeline_config.NodeArguments(config, info, tmp_path)
    with pytest.raises(InputError, match="test images alone, so no classifier can be trained"):
        arguments.build_trainer_kwargs(1)
    assert arguments.build_example_gen_kwargs("digest")["images"] == config.dataset.images
