"""The benchmark of estimates: its measure, its table, and one small setting."""

import pytest

from benchmarks import cost

_ROW = {
    "dataset": "mnist",
    "network": "convnet",
    "attack": "pgd",
    "epsilon": "0.0500 0.1000",
    "images": 1000,
    "robust_accuracy": "83.5 52.9",
    "estimated_seconds": 12.0,
    "low_seconds": 8.0,
    "high_seconds": 18.0,
    "actual_seconds": 10.0,
    "factor": 1.2,
    "in_range": 1,
    "estimated_megabytes": 900,
    "actual_megabytes": 950,
}


def test_a_factor_is_at_least_one():
    assert cost.compute_factor(10, 20) == cost.compute_factor(20, 10) == 2
    assert cost.compute_factor(7, 7) == 1


def test_the_table_is_replaced_between_its_comments(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- cost: begin -->\nold\n<!-- cost: end -->\nafter\n")
    cost.write_rows([_ROW, {**_ROW, "factor": 1.6, "in_range": 0}], str(tmp_path / "rows.csv"))
    cost.write_document(cost.read_rows(str(tmp_path / "rows.csv")), path)
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert (
        "| ConvNet, MNIST | `pgd` | 1000 | 0.0500, 0.1000 | 83.5, 52.9 | 12.0 s (8.0 to 18.0) "
        "| 10.0 s | 1.2 | 900, 950 MB |"
    ) in text
    assert "Median factor 1.40, largest 1.60; within 1.5: 1 of 2; inside the range: 1 of 2" in text


def test_the_settings_cover_ten_cases():
    assert len(cost.SETTINGS) >= 10
    assert {setting.network for setting in cost.SETTINGS} == {"convnet", "resnet20", "dense"}


@pytest.mark.slow
def test_a_setting_is_measured(tmp_path):
    setting = cost.Setting("digits", "dense", "pgd", 40, {"epsilon": 0.1, "num_steps": 10})
    network = cost.load_network(setting, tmp_path)
    row = cost.measure(setting, network)
    assert (tmp_path / "digits-dense.keras").exists()
    assert row["estimated_seconds"] > 0 and row["actual_seconds"] > 0 and row["factor"] >= 1
    assert float(row["robust_accuracy"]) < 100
