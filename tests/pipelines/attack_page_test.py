"""The page of `qup attack`: where it is, what it says, and whom it does not replace."""

import csv
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from configs import synthetic
from qup.core import errors
from qup.pipelines import attack
from qup.pipelines.attack_request import AttackRequest
from qup.robustness.report.attack_runs import read_attack_runs


def _request(tmp_path, *names, **options):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    request = AttackRequest(attacks=names, num_images=12, batch_size=8, **options)
    return attack.run(config, request)


def _save_model(path, seed=0):
    keras.utils.set_random_seed(seed)
    side = synthetic.get_config().dataset.image_size
    layers = [keras.Input((side, side, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(path)
    return str(path)


def _read_result(folder):
    return json.loads((folder / "result.json").read_text("utf-8"))


def test_several_budgets_have_rows_records_and_one_page(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    options = {"model_path": path, "epsilons": (0.02, 0.1), "command": "qup attack --x=1"}
    text = _request(tmp_path, "fgsm", **options)
    workdir = tmp_path / "run"
    assert text.startswith("mine on synthetic, 12 images")
    assert f"Page          {workdir / 'robustness.html'}" in text
    result = _read_result(workdir)
    assert result["epsilon"] == pytest.approx(0.1) and result["num_images"] == 12
    assert result["command"] == "qup attack --x=1"
    assert [round(a["epsilon"], 3) for a in result["attacks"]] == [0.02, 0.1]
    with open(workdir / "measurements.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    budgets = {row["epsilon"]: row["value"] for row in rows if row["measure"] == "robust_accuracy"}
    assert set(budgets) == {"0.02", "0.1"}
    (records,) = (workdir / "pipeline" / "Attacker.fgsm.own" / "records").iterdir()
    runs = read_attack_runs(records)
    assert [run.result.robust_accuracy for run in runs] == pytest.approx(
        [float(budgets["0.02"]), float(budgets["0.1"])]
    )
    # A second run reuses the attack and writes the same numbers.
    _request(tmp_path, "fgsm", **options)
    again = _read_result(workdir)
    for varying in ("created", "seconds"):
        assert again.pop(varying) is not None and result.pop(varying) is not None
    assert again == result


def test_the_page_of_another_evaluation_stays(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    _request(tmp_path, "fgsm", model_path=path)
    result = (tmp_path / "run" / "result.json").read_bytes()
    text = _request(tmp_path, "fgsm", model_path=path, epsilons=(0.01,))
    assert (tmp_path / "run" / "result.json").read_bytes() == result
    (folder,) = (tmp_path / "run" / "robustness").iterdir()
    assert _read_result(folder)["epsilon"] == pytest.approx(0.01)
    assert f"Page          {folder / 'robustness.html'}" in text


def test_the_page_of_another_classifier_stays(tmp_path):
    for seed, name in enumerate(("one", "two", "two")):
        _request(tmp_path, "fgsm", model_path=_save_model(tmp_path / f"{name}.keras", seed))
    workdir = tmp_path / "run"
    assert _read_result(workdir)["name"] == "one"
    names = [_read_result(folder)["name"] for folder in (workdir / "robustness").iterdir()]
    assert set(names) == {"two"}
    (workdir / "result.json").write_text("{damaged")
    _request(tmp_path, "fgsm", model_path=str(tmp_path / "one.keras"))
    assert (workdir / "result.json").read_text() == "{damaged"


def test_a_refused_model_leaves_nothing(tmp_path):
    layers = [keras.Input((5, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "wrong.keras")
    for options in ({}, {"class_names": ("x",) * 11}):
        path = _save_model(tmp_path / "mine.keras") if options else tmp_path / "wrong.keras"
        with pytest.raises(errors.InputError, match=r"must take batches|has 11 names"):
            _request(tmp_path, "fgsm", model_path=str(path), **options)
        assert not (tmp_path / "run").exists()
    # A run next to others is recorded.
    _request(tmp_path, "fgsm", model_path=_save_model(tmp_path / "mine.keras"))
    page = (tmp_path / "run" / "robustness.html").read_bytes()
    with pytest.raises(errors.InputError, match="must take batches"):
        _request(tmp_path, "fgsm", model_path=str(tmp_path / "wrong.keras"))
    assert (tmp_path / "run" / "robustness.html").read_bytes() == page


def test_names_of_classes_are_on_the_page_and_in_its_files(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    names = tuple(f"animal {letter}" for letter in "abcdefghij")
    _request(tmp_path, "fgsm", model_path=path)
    # They do not change what is computed: the attack is reused, and the page is replaced.
    _request(tmp_path, "fgsm", model_path=path, class_names=names)
    workdir = tmp_path / "run"
    assert [len(list(p.iterdir())) for p in workdir.glob("pipeline/*/records")] == [1]
    assert {entry["name"] for entry in _read_result(workdir)["classes"]} <= set(names)
    assert "animal c" in (workdir / "robustness.html").read_text("utf-8")
    assert json.loads((workdir / "config.json").read_text("utf-8"))["classes"] == list(names)
    with open(workdir / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert row["label_name"] == names[int(row["label"])]
        assert row["predicted_name"] == names[int(row["predicted"])]


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize(
    ("count", "known"), [(3, "the labels have at least 4"), (11, "the classifier has 10")]
)
def test_a_wrong_number_of_names_is_one_error_before_the_attack(tmp_path, count, known, is_dry):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    request = AttackRequest(
        attacks=("fgsm",),
        num_images=12,
        model_path=_save_model(tmp_path / "mine.keras"),
        class_names=("x",) * count,
    )
    with pytest.raises(errors.InputError, match=f"has {count} names, but {known} classes"):
        attack.run(config, request, dry_run=is_dry)
    assert not (tmp_path / "run").exists()


def test_names_are_checked_next_to_other_runs_too(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    _request(tmp_path, "fgsm", model_path=path)
    with pytest.raises(errors.InputError, match="has 11 names, but the classifier has 10 classes"):
        _request(tmp_path, "pgd", model_path=path, class_names=("x",) * 11)
    assert not list(tmp_path.glob("run/pipeline/Attacker.pgd*"))


def test_a_model_of_the_settings_needs_a_name_per_class(tmp_path):
    with pytest.raises(errors.InputError, match="has 3 names, but the classifier has 4 classes"):
        _request(tmp_path, "fgsm", class_names=("x",) * 3)


def test_a_minimum_norm_attack_is_judged_at_its_median_distance(tmp_path):
    text = _request(tmp_path, "deepfool", model_path=_save_model(tmp_path / "mine.keras"))
    result = _read_result(tmp_path / "run")
    assert result["norm"] == "l2" and result["epsilon"] > 0 and "within L2" in text
    (summary,) = result["attacks"]
    assert summary["epsilon"] is None and 0 < summary["num_broken"] < 12


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("standard",), {"epsilons": (8.0,)}, "received 8. Divide by 255"),
        (("standard",), {"epsilons": (0.0,)}, "above 0"),
        (("standard",), {"norm": "l0"}, "l0"),
        (("standard",), {"norm": "l2"}, r"needs an explicit budget.*Set --epsilon=NUMBER\.$"),
        (("standard", "pgd"), {}, "the standard protocol contains it"),
        (("fgsm",), {"norm": "l0", "epsilons": (3.0,)}, "fgsm has no form in l0"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(tmp_path, names, options, message):
    with pytest.raises(errors.InputError, match=message):
        _request(tmp_path, *names, **options)


def test_an_image_that_left_its_class_for_a_third_is_never_robust(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    options = {"model_path": path, "epsilons": (0.3,)}
    text = _request(tmp_path, "pgd", "fgsm", options=("pgd.targets=least_likely",), **options)
    # The page has the untargeted attack alone, and names the other.
    result = _read_result(tmp_path / "run")
    assert [a["name"] for a in result["attacks"]] == ["fgsm"]
    assert "pgd (targets=least\\_likely)" in (tmp_path / "run" / "robustness.md").read_text("utf-8")
    (tmp_path / "other").mkdir()
    text = _request(tmp_path / "other", "pgd", options=("pgd.targets=least_likely",), **options)
    assert "Page" not in text and "pgd" in text
    assert not (tmp_path / "other" / "run" / "robustness.html").exists()


@pytest.mark.slow
def test_one_command_answers_the_question(tmp_path):
    path = _save_model(tmp_path / "mine.keras")
    side = synthetic.get_config().dataset.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (20, side, side, 1), np.uint8)
    labels = keras.models.load_model(path)(pixels / 255.0).numpy().argmax(-1)
    np.savez(tmp_path / "test.npz", images=pixels, labels=labels)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bin.run_attack", f"--model_path={path}"),
            *(f"--images={tmp_path / 'test.npz'}", "--epsilon=2/255"),
            f"--workdir={tmp_path / 'run'}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = _read_result(tmp_path / "run")
    assert result["status"] in ("checked", "flagged") and not result["not_checked"]
    assert result["eps"] == "2/255" and result["dataset"] == "test.npz"
    assert result["clean_acc"] == "100.00" and result["autoattack_acc"] is not None
    assert "--epsilon=2/255" in result["command"]
    page = (tmp_path / "run" / "robustness.html").read_text("utf-8")
    assert (
        "AutoAttack" in page
        and "of 14 checks for masked gradients made" in page
        and "<script" not in page
    )
