"""The benchmark of the methods of training: its tables, and a resumed run."""

import csv
import sys

import pytest
from absl import app, flags

from benchmarks import tables
from benchmarks import training_methods as benchmark

_ROW = {
    **{"dataset": "mnist", "method": "fast", "seed": 0, "epsilon": 8 / 255},
    **{"test_accuracy": 97.123, "test_stderr": 0.17, "robust_accuracy": 80.0},
    **{"robust_stderr": 1.26, "collapsed_epoch": "", "processor_minutes": 1.234},
}
_SPEED_ROW = {
    **{"dataset": "cifar10", "model": "resnet", "method": "pgd_at"},
    **{"precision": "mixed_bfloat16", "processor_seconds_per_epoch": 12.34},
    **{"speed_against_pgd_at": 1.8, "lowest_speed": 1.7, "highest_speed": 1.91},
}


def test_tables():
    lines = benchmark.format_accuracies([_ROW]).splitlines()
    assert lines[2] == "| MNIST | 8/255 | fast | 97.1 ± 0.2 | 80.0 ± 1.3 | 1.23 |"
    stopped = _ROW | {"collapsed_epoch": 3, "seed": 1, "robust_accuracy": 70.0}
    assert benchmark.format_accuracies([_ROW, stopped]).splitlines()[2:] == [
        "| MNIST | 8/255 | fast, stopped in epoch 3 | 97.1 (97.1 to 97.1, 2 seeds) "
        "| 75.0 (70.0 to 80.0, 2 seeds) | 1.23 |"
    ]
    line = benchmark.format_speeds([_SPEED_ROW]).splitlines()[-1]
    assert line == ("| CIFAR-10 | ResNet-20 | pgd_at, mixed_bfloat16 | 12.3 | 1.80 | 1.70, 1.91 |")


def test_a_table_replaces_the_old_one():
    text = "before\n<!-- speeds: begin -->\nold\n<!-- speeds: end -->\nafter\n"
    replaced = tables.replace_table(text, "speeds", "new")
    assert replaced == text.replace("old", "new")
    with pytest.raises(app.UsageError, match="needs the lines"):
        tables.replace_table(text, "accuracies", "new")


@pytest.mark.slow
def test_an_interrupted_run_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "METHODS", ("pgd_at", "fast"))
    paths = [tmp_path / "rows.csv", tmp_path / "speeds.csv"]
    arguments = ["--settings=digits", "--rounds=1", f"--folder={tmp_path}"]
    arguments += [f"--csv={paths[0]}", f"--speed_csv={paths[1]}"]
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    benchmark.define_flags()
    flags.FLAGS([sys.argv[0], *arguments])
    trained, train = [], benchmark._train

    def record(name, method, seed, folder):
        trained.append(method)
        return train(name, method, seed, folder)

    monkeypatch.setattr(benchmark, "_train", record)
    benchmark.main([""])
    (tmp_path / "digits-fast-0.json").unlink()
    benchmark.main([""])
    assert trained == ["pgd_at", "fast", "fast"]
    with open(paths[1], newline="") as file:
        rows = {(row["method"], row["precision"]): row for row in csv.DictReader(file)}
    assert float(rows["pgd_at", "float32"]["speed_against_pgd_at"]) == 1
    assert float(rows["fast", "float32"]["speed_against_pgd_at"]) > 1
