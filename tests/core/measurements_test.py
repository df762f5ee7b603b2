"""Rows and models survive their files."""

import csv
import io
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


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path, mark, end, quoting):
    path = tmp_path / "rows.csv"
    rows = [_INFO.build_row(name, Measurement(1.5, None, 10), _ATTACK) for name in ("a", 'b "c"')]
    measurements.write_rows(path, rows)
    with open(path, newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(table)
    path.write_bytes((mark + text.getvalue()).encode())
    assert measurements.read_rows(path) == rows


@pytest.mark.parametrize(
    ("separator", "name"),
    [(";", "has semicolons"), ("\t", "has tabs"), (" ", "expected the header")],
)
def test_other_separators_are_refused_with_the_way_out(tmp_path, separator, name):
    path = tmp_path / "rows.csv"
    path.write_text(f"\ufeff{separator.join(measurements.HEADER)}\r\n", encoding="utf-8")
    with pytest.raises(InputError, match=name) as caught:
        measurements.read_rows(path)
    assert "\ufeff" not in str(caught.value) and len(str(caught.value)) < 600


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
