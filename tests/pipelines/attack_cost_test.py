"""The cost of `qup attack`, said before the work."""

import contextlib
import logging
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from configs import synthetic
from qup.attacks.cost import CostEstimate
from qup.core import progress
from qup.orchestration import NodeEvent
from qup.pipelines import attack, attack_cost
from qup.pipelines.attack_cost import PartCost
from qup.pipelines.attack_request import AttackRequest

_PGD = CostEstimate(
    seconds=40, low=25, high=60, compile_seconds=2, memory_bytes=900_000_000, disk_bytes=30_000_000
)
_AUTOATTACK = CostEstimate(
    seconds=720, low=480, high=1080, memory_bytes=1_200_000_000, disk_bytes=5_000_000
)


@pytest.fixture
def config(tmp_path):
    config = synthetic.get_config()
    config.workdir = str(tmp_path / "run")
    return config


@pytest.fixture
def model_path(tmp_path, config):
    image = keras.Input((16, 16, 1))
    logits = keras.layers.Dense(4)(keras.layers.Flatten()(image))
    path = tmp_path / "mine.keras"
    keras.Model(image, logits).save(path)
    return str(path)


def _request(**options):
    return AttackRequest(**{"attacks": ("pgd",), "num_images": 20, "batch_size": 16, **options})


def test_lines_name_the_time_of_each_part_and_the_total():
    parts = [
        PartCost("Attacker.pgd.own", "pgd at 8 budgets", _PGD),
        PartCost("Attacker.autoattack.own", "autoattack", _AUTOATTACK),
        PartCost("Attacker.fgsm.own", "fgsm", None, "measured already"),
    ]
    assert attack_cost.format_parts(parts) == [
        "part 1 of 3  pgd at 8 budgets  about 40 s (25 s to 1 min)",
        "part 2 of 3  autoattack        about 12 min (8 min to 18 min)",
        "part 3 of 3  fgsm              measured already",
        "total about 13 min, memory 1.2 GB, disk 35 MB",
    ]


def test_the_memory_of_a_gpu_is_named():
    parts = [PartCost("a", "pgd", _PGD._replace(gpu_memory_bytes=2_000_000_000))]
    assert "memory 900 MB, GPU memory 2.0 GB, disk" in attack_cost.format_parts(parts)[-1]


def test_a_dry_run_neither_trains_nor_attacks(config, tmp_path):
    config.training.epochs = (1,)
    text = attack.run(config, _request(), dry_run=True)
    assert "not trained yet; training first takes about" in text
    assert "not estimated, the classifier is not trained yet" in text
    folders = {path.name for path in (tmp_path / "run" / "pipeline").iterdir() if path.is_dir()}
    assert not [name for name in folders if name.startswith(("Trainer", "Attacker"))]
    assert not (tmp_path / "run" / "measurements.csv").exists()


def test_a_dry_run_estimates_attacks_on_a_model_of_ones_own(config, model_path):
    request = _request(attacks=("pgd", "deepfool"), epsilons=(0.1, 0.2), model_path=model_path)
    lines = attack.run(config, request, dry_run=True).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("part 1 of 2  pgd at 2 budgets  about ")
    assert lines[1].startswith("part 2 of 2  deepfool          about ")
    assert lines[2].startswith("total about ") and re.search(r"memory [0-9.]+ [MG]B", lines[2])


def test_what_is_measured_costs_nothing(config, model_path):
    request = _request(model_path=model_path)
    attack.run(config, request)
    text = attack.run(config, request, dry_run=True)
    assert "measured already" in text and "total" not in text


def test_a_long_run_says_its_cost_first(config, model_path, caplog, monkeypatch):
    monkeypatch.setattr(attack_cost, "_SHORT_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="qup"):
        attack.run(config, _request(attacks=("pgd",), model_path=model_path))
    messages = [record.getMessage() for record in caplog.records]
    cost = next(i for i, text in enumerate(messages) if text.startswith("part 1 of 1  pgd"))
    start = next(i for i, text in enumerate(messages) if text.startswith("Attacker.pgd"))
    assert cost < start
    assert messages[cost + 1].startswith("total about ")


def test_a_short_run_is_not_probed(config, model_path, caplog, monkeypatch):
    monkeypatch.setattr(attack_cost.cost, "estimate_cost", None)
    with caplog.at_level(logging.INFO, logger="qup"):
        attack.run(config, _request(attacks=("pgd", "fgsm"), diagnose=True, model_path=model_path))
    messages = [record.getMessage() for record in caplog.records]
    assert "3 parts, not estimated: less than 1 min each" in messages
    assert not [text for text in messages if "total about" in text]


def _log_costs(config, caplog, model_path, attack_names, bounds, monkeypatch):
    """Returns the limits of the probes, and the lines, of attacks with these longest times."""
    limits = []

    def estimate(name, *arguments, limit_seconds, **options):
        limits.append((name, limit_seconds))
        return _PGD

    bound = iter(bounds)
    monkeypatch.setattr(attack_cost.cost, "estimate_cost", estimate)
    monkeypatch.setattr(attack_cost, "_bound_seconds", lambda node, inputs: next(bound))
    with caplog.at_level(logging.INFO, logger="qup"):
        attack.run(config, _request(attacks=attack_names, model_path=model_path))
    return limits, [record.getMessage() for record in caplog.records]


def test_a_short_part_is_not_probed_and_the_total_says_so(config, model_path, caplog, monkeypatch):
    bounds = (5.0, 1e5, None, 100.0)
    names = ("fgsm", "pgd", "deepfool", "momentum")
    limits, messages = _log_costs(config, caplog, model_path, names, bounds, monkeypatch)
    # Of 20 s in all; the last one takes 100 s at most.
    assert limits == [("pgd", 5.0), ("deepfool", 5.0), ("momentum", 2.0)]
    assert "part 1 of 4  fgsm at 0.1      less than 1 min, not estimated" in messages
    (total,) = [text for text in messages if text.startswith("total")]
    assert total.startswith("total without 1 part about 2 min")


def test_the_longest_time_counts_every_step_and_budget(monkeypatch):
    count = attack_cost._count_max_steps
    assert count("pgd", {"epsilon": 0.1, "num_steps": 7}, (4, 4, 1)) == 7
    assert count("pgd", {"epsilons": [0.1, 0.2], "num_steps": 7}, (4, 4, 1)) == 14
    assert count("autoattack", {"epsilon": 0.1}, (4, 4, 1)) > 5000
    assert count("pgd", {"epsilon": 0.1, "targets": "all"}, (4, 4, 1)) is None


def test_the_planner_follows_the_parts(config, monkeypatch):
    begun = []
    planner = attack_cost.CostPlanner(None, [])
    monkeypatch.setattr(planner, "_progress", type("Parts", (), {"begin": begun.append})())
    for kind in ("waiting", "running", "complete"):
        planner.on_event(NodeEvent("Attacker.pgd.own", kind, "text"))
    assert begun == ["Attacker.pgd.own"]


def test_each_attack_is_a_part_and_reports_its_share(config, model_path, monkeypatch):
    shares, titles = [], []

    @contextlib.contextmanager
    def open_share(title, **options):
        titles.append(title)
        yield shares.append

    monkeypatch.setattr(progress, "open_share", open_share)
    attack.run(config, _request(attacks=("pgd", "deepfool"), model_path=model_path))
    assert titles == ["pgd", "deepfool"]
    assert shares.count(1.0) >= 2 and min(shares) < 1


def test_the_search_for_masking_is_a_multiple_of_pgd(monkeypatch):
    estimate = CostEstimate(seconds=5.0, compile_seconds=1.0, memory_bytes=7)
    monkeypatch.setattr(attack_cost.cost, "estimate_cost", lambda **options: estimate)

    class Data:
        def get_arrays(self, split):
            return np.zeros((30, 4, 4, 1), np.uint8), np.zeros(30, int), np.arange(30)

    parameters = {"split": "test", "num_images": 20, "epsilon": 0.1, "batch_size": 16}
    masking = attack_cost.estimate_masking(Data(), None, parameters)
    assert masking.seconds == pytest.approx(20 * 4 + 8 * 1)
    assert masking.low < masking.seconds / 2 and masking.high > 2 * masking.seconds


@pytest.mark.slow
def test_the_command_ends_with_status_0(tmp_path):
    command = [sys.executable, "-m", "bin.run_attack", "--dataset=synthetic", "--attack=pgd"]
    flags = [f"--workdir={tmp_path / 'run'}", "--num_images=20", "--dry_run"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run([*command, *flags], cwd=root, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not trained yet" in done.stdout and "part 1 of 1  pgd" in done.stdout
