"""Rows and models survive their files."""

import logging

import pytest

from qup.core import measurements
from qup.core.errors import InputError
from qup.core.measurements import Measurement, ModelInfo

_INFO = ModelInfo("mnist", "convnet", "CL", epochs=1, seed=0, parameters={"temperature": 2})
_ATTACK = {"name": "pgd", "epsilon": 0.1, "num_steps": 4}


def test_rows_survive_a_file(tmp_path):
    rows = _INFO.build_rows(
        Measurement(97.1, 0.2, 100), {"robust_accuracy": Measurement(41.4, None, 100)}, _ATTACK
    )
    measurements.write_rows(tmp_path / "rows.csv", rows)
    assert measurements.read_rows(tmp_path / "rows.csv") == rows
    assert rows[1].parameters == {"temperature": 2, "num_steps": 4}
    with pytest.raises(ValueError, match="same key"):
        measurements.write_rows(tmp_path / "rows.csv", rows[:1] * 2)


@pytest.mark.parametrize(
    ("text", "message"), [("a,b\n1,2\n", "expected the header"), (None, "Cannot read")]
)
def test_other_files_are_input_errors(tmp_path, text, message):
    if text is not None:
        (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        measurements.read_rows(tmp_path / "rows.csv")


def test_a_robust_accuracy_above_the_test_accuracy_is_reported(caplog):
    with caplog.at_level(logging.WARNING, "qup"):
        rows = _INFO.build_rows(Measurement(90.0), {"robust_accuracy": Measurement(91.0)}, _ATTACK)
    assert [row.measure for row in rows][-1] == "robust_accuracy_excess"
    assert rows[-1].value == 1.0 and "gradients are masked" in caplog.text


def test_a_model_info_survives_a_file(tmp_path):
    measurements.write_model_info(_INFO, tmp_path / "model.json")
    assert measurements.read_model_info(tmp_path / "model.json") == _INFO


def test_the_error_of_an_accuracy_is_binomial():
    assert measurements.compute_accuracy(50, 100) == Measurement(50.0, 5.0, 100)
