"""bin.run_attack, as a user starts it."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from configs import synthetic
from qup.core import errors
from qup.models.user_models import LoadOptions
from qup.pipelines import attack
from qup.pipelines.attack_request import AttackRequest, hash_model_files, parse_pixel_range

_ROOT = pathlib.Path(__file__).parents[2]


def _start(program, workdir, *flags):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            f"bin.{program}",
            "--dataset=synthetic",
            f"--workdir={workdir}",
            *flags,
        ],
        cwd=_ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _run(program, workdir, *flags):
    process = _start(program, workdir, *flags)
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def _rows(workdir):
    with open(workdir / "measurements.csv", newline="") as file:
        return list(csv.DictReader(file))


def _request(config, tmp_path, *names, **given):
    config.workdir = str(tmp_path / "run")
    given = {"num_images": 40, "batch_size": 16, **given}
    return attack.run(config, AttackRequest(attacks=names, **given))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("attack") / "run"
    flags = (
        "--attack=pgd,deepfool",
        "--num_images=50",
        "--save_images",
        "--options=pgd.num_steps=5,pgd.keep=first_adversarial",
    )
    code, out, err = _run("run_attack", workdir, *flags)
    assert code == 0, err
    return workdir, out, flags


def test_table_rows_and_records(done):
    workdir, out, _ = done
    assert "pgd linf" in out and "deepfool" in out
    rows = {(row["attack"], row["measure"]): row for row in _rows(workdir)}
    robust = rows["pgd", "robust_accuracy"]
    told = json.loads(robust["parameters"])
    assert told["num_steps"] == 5 and told["images"] == 50
    assert robust["n"] == "50" and float(robust["epsilon"]) > 0
    assert rows["pgd", "disagreements"]["n"] == "50"
    assert rows["deepfool", "success_rate"]["epsilon"] == ""
    assert float(rows["deepfool", "mean_l2"]["value"]) > 0
    (folder,) = (workdir / "pipeline").glob("Attacker.pgd.*/records/*")
    with np.load(folder / "records.npz", allow_pickle=False) as held:
        assert len(held["success"]) == 50
        share = 100 * np.mean(~held["success"])
    assert share == float(robust["value"])
    images = np.load(folder / "images.npy")
    assert images.shape[0] == 50 and images.dtype == np.float32
    (board,) = (workdir / "tensorboard").iterdir()
    assert list((board / "attacks").glob("pgd-linf-*/epoch-2/*tfevents*"))


def test_a_second_run_reuses_all_results(done):
    workdir, out, flags = done
    code, again, err = _run("run_attack", workdir, *flags)
    assert code == 0, err
    assert "complete in" not in err and again == out


def test_another_attack_keeps_classifier_and_rows(done):
    workdir, _, _ = done
    before = {tuple(row.values()) for row in _rows(workdir)}
    code, _, err = _run("run_attack", workdir, "--attack=fgsm", "--num_images=50")
    assert code == 0 and "Trainer.epoch-2: complete" not in err, err
    after = {tuple(row.values()) for row in _rows(workdir)}
    assert before < after


@pytest.mark.slow
def test_reuses_the_classifier_of_run_ifa_and_keeps_its_rows(tmp_path):
    workdir = tmp_path / "run"
    flags = ("--config.augmentation.num_steps=2", "--config.attack.check_steps=0")
    code, _, err = _run("run_ifa", workdir, *flags)
    assert code == 0, err
    own = {tuple(row.values()) for row in _rows(workdir)}
    code, _, err = _run("run_attack", workdir, "--attack=fgsm", "--num_images=20", *flags)
    assert code == 0 and "Trainer.epoch-2: complete" not in err, err
    both = {tuple(row.values()) for row in _rows(workdir)}
    assert own < both
    code, _, err = _run("run_ifa", workdir, *flags)
    assert code == 0 and {tuple(r.values()) for r in _rows(workdir)} == both
    # Its export is a SavedModel as any other.
    (saved,) = (workdir / "serving" / "classifier").iterdir()
    code, _, err = _run(
        "run_attack", workdir, "--attack=fgsm", "--num_images=20", f"--saved_model={saved}", *flags
    )
    assert code == 0, err
    values = {
        row["value"]
        for row in _rows(workdir)
        if (row["attack"], row["measure"]) == ("fgsm", "robust_accuracy")
    }
    assert len(values) == 1


@pytest.mark.parametrize(
    "names,given,message",
    [
        ((), {}, "Known: .*autoattack"),
        (("pdg",), {}, "Did you mean 'pgd'"),
        (("pgd", "pgd"), {}, "twice"),
        (("pgd",), {"options": ("pgd.step=1",)}, "Unknown option of pgd"),
        (("pgd",), {"options": ("num_steps=1",)}, "attack.option=value"),
        (("pgd",), {"options": ("fgsm.norm=l2",)}, "not among"),
        (("pgd",), {"options": ("pgd.norm=l0",)}, "norm"),
        (("pgd",), {"options": ("pgd.targeted=false",)}, "pgd.targets"),
        (("pgd",), {"epsilons": (-1.0,)}, "epsilon must be"),
        (("pgd",), {"epsilons": (float("nan"),)}, "epsilon must be"),
        (("pgd",), {"num_images": -1}, "num_images"),
        (("pgd",), {"batch_size": 0}, "batch_size"),
        (("pgd",), {"model_path": "a.keras", "saved_model": "b"}, "not both"),
        (("pgd",), {"model_path": "absent.keras"}, "exists"),
        (("pgd",), {"saved_model": "absent"}, "saved_model.pb"),
        (("pgd",), {"saved_model": ""}, "--saved_model is empty"),
        (("pgd",), {"model_path": " "}, "--model_path is empty"),
        (("pgd",), {"pixel_range": "0,255"}, "Add --model_path or --saved_model"),
        (("pgd",), {"trust_model": True, "output": "a"}, "--output, --trust_model: for a model"),
        (("pgd",), {"model_path": __file__}, r"\.keras, \.h5, \.hdf5"),
        (("pgd",), {"options": ("pgd.num_steps=1e300",)}, "an integer below"),
        (("pgd",), {"options": (f"pgd.num_steps={'9' * 5000}",)}, "an integer below"),
        (("pgd",), {"options": (f"pgd.num_steps={'(' * 300}",)}, "an integer below"),
        (("pgd",), {"options": ("pgd.step_size=1e39",)}, "float32 can hold"),
        (("pgd",), {"options": (f"pgd.step_size=1{'0' * 400}",)}, "float32 can hold"),
    ],
)
def test_bad_requests_are_told_before_any_work(names, given, message, tmp_path):
    with pytest.raises(errors.InputError, match=message) as caught:
        _request(synthetic.get_config(), tmp_path, *names, **given)
    assert len(str(caught.value)) <= 600
    assert not (tmp_path / "run" / "pipeline" / "metadata.sqlite").exists()


@pytest.mark.parametrize("text", ["", "0", "1,0", "0,0", "0,nan", "0,inf", "a,b", "0,1,2", "0;1"])
def test_a_range_of_pixels_is_two_increasing_numbers(text):
    with pytest.raises(errors.InputError, match="such as 0,255 or -1,1"):
        parse_pixel_range(text)


def test_ranges_are_read():
    assert parse_pixel_range(None) is None
    assert parse_pixel_range("0,255") == (0.0, 255.0)
    assert parse_pixel_range("-1, 1") == (-1.0, 1.0)


def test_how_a_model_is_read_belongs_to_its_digest(tmp_path, monkeypatch):
    path, module = tmp_path / "mine.keras", tmp_path / "digest_layers.py"
    path.write_bytes(b"x")
    module.write_text("a = 1\n")
    monkeypatch.chdir(tmp_path)
    plain = hash_model_files(path)
    assert hash_model_files(path, LoadOptions()) == hash_model_files(path, LoadOptions(trust=True))
    digests = {
        plain,
        hash_model_files(path, LoadOptions(pixel_range=(0.0, 255.0))),
        hash_model_files(path, LoadOptions(output="a")),
        hash_model_files(path, LoadOptions(imports=("digest_layers",), trust=True)),
    }
    module.write_text("a = 2\n")
    digests.add(hash_model_files(path, LoadOptions(imports=("digest_layers",), trust=True)))
    assert len(digests) == 5 and plain == hash_model_files(path, LoadOptions())
    with pytest.raises(errors.InputError, match="--trust_model"):
        hash_model_files(path, LoadOptions(imports=("digest_layers",)))


@pytest.mark.slow
def test_a_killed_attack_goes_on(tmp_path):
    flags = (
        "--dataset=digits",
        "--attack=pgd",
        "--num_images=0",
        "--options=pgd.num_steps=400,pgd.step_size=0.01",
        "--batch_size=32",
    )
    whole = tmp_path / "whole"
    code, _, err = _run("run_attack", whole, *flags)
    assert code == 0, err
    workdir, shards = tmp_path / "run", []
    for _ in range(2):
        known = len(shards)
        process = _start("run_attack", workdir, *flags)
        while process.poll() is None and len(shards) == known:
            # A glob fails where a folder disappears under it; this list does not.
            paths = (pathlib.Path(top, f) for top, _, found in os.walk(workdir) for f in found)
            shards = sorted(path for path in paths if path.match("shard-*.npz"))
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert shards
    code, _, err = _run("run_attack", workdir, *flags)
    assert code == 0, err
    tables = [w / "measurements.csv" for w in (workdir, whole)]
    assert tables[0].read_bytes() == tables[1].read_bytes()


@pytest.mark.slow
def test_draws_table_4_and_looks_for_masking(tmp_path):
    workdir = tmp_path / "run"
    flags = ("--conjugates", "--diagnose")
    code, out, err = _run("run_attack", workdir, *flags)
    assert code == 0, err
    for status in ("passed", "not checked"):
        assert status in out
    assert "planted: " in out and "transfer: " in out
    picture = workdir / "figures" / "conjugates-epoch-2.png"
    assert picture.stat().st_size > 10_000
    (folder,) = (workdir / "pipeline").glob("Diagnoser.*/diagnosis/*")
    told = json.loads((folder / "findings.json").read_text())
    assert len({found["name"] for found in told["findings"]}) > 10
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        assert arrays.files
