"""The benchmark of optimality: its measure, its table, and a resumed run."""

import csv
import sys

import numpy as np
import pytest
from absl import flags

from benchmarks import optimality, tables

_BEGIN, _END = "<!-- optimality: begin -->", "<!-- optimality: end -->"


def test_optimality_is_the_ratio_of_areas():
    smallest = np.array([0.1, 0.2, 0.5])
    assert optimality.compute_optimality(smallest, smallest) == 1
    assert optimality.compute_optimality(np.full(3, np.inf), smallest) == 0
    # Areas below the largest smallest distance, 0.5: 0.2 + 0.3 of 0.4 + 0.3.
    assert optimality.compute_optimality(np.array([0.3, 0.2, 0.9]), smallest) == pytest.approx(
        0.5 / 0.7
    )


def _result(*distances):
    calls = np.full(len(distances), 7.0)
    return {
        "distances": np.array(distances),
        "gradient_calls": calls,
        "forward_calls": calls,
        "seconds": 0.25,
    }


def _build_rows():
    results = {
        ("far", 0): _result(0.4, 0.2, np.inf, 0.5),
        ("near", 0): _result(0.1, 0.2, 0.31, 0.4),
        ("random", 0): _result(0.2, 0.3, 0.3, 0.5),
        ("random", 1): _result(0.2, 0.3, 0.3, 0.4),
    }
    return [r for d in ("mnist", "cifar10") for r in optimality.build_rows(d, "l2", results)]


def test_rows_and_table():
    rows = _build_rows()
    assert [row["attack"] for row in rows[:4]] == ["near", "random", "random", "far"]
    assert rows[0]["near"] == 100 and rows[0]["success"] == 100 and rows[0]["n"] == 4
    assert rows[3]["success"] == 75 and rows[3]["median"] == pytest.approx(0.45)
    assert all(row["stderr"] > 0 for row in rows)
    table = optimality.format_table(rows)
    assert table.splitlines()[0].startswith("| L2 | global | MNIST: LO")
    assert "| random, seed 1 | " in table and "| near | 0.98" in table


def test_table_replaces_the_old_one():
    text = f"before\n{_BEGIN}\nold\n{_END}\nafter\n"
    replaced = tables.replace_table(text, "optimality", "new")
    assert replaced == f"before\n{_BEGIN}\nnew\n{_END}\nafter\n"
    with pytest.raises(Exception, match="needs the lines"):
        tables.replace_table("nothing", "optimality", "new")


@pytest.mark.slow
def test_an_interrupted_run_resumes(tmp_path, monkeypatch):
    contestants = {"l0": optimality._name("jsma", "sparsefool")}
    monkeypatch.setattr(optimality, "_CONTESTANTS", contestants)
    document = tmp_path / "table.md"
    document.write_text(f"{_BEGIN}\n{_END}\n")
    paths = [tmp_path / "rows.csv", tmp_path / "bars.png"]
    arguments = ["--datasets=digits", "--norms=l0", "--images=6", f"--folder={tmp_path}"]
    arguments += [f"--csv={paths[0]}", f"--figure={paths[1]}", f"--document={document}"]
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    optimality.define_flags()
    flags.FLAGS([sys.argv[0], *arguments])
    attacked = []
    attack = optimality._attack

    def record(contestant, *rest):
        attacked.append(contestant.title)
        return attack(contestant, *rest)

    monkeypatch.setattr(optimality, "_attack", record)
    optimality.main([""])
    (tmp_path / "digits" / "l0" / "jsma-0.npz").unlink()
    optimality.main([""])
    assert attacked == ["jsma", "sparsefool", "jsma"]
    with open(paths[0], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["attack"] for row in rows} == {"jsma", "sparsefool"}
    assert max(float(row["local_optimality"]) for row in rows) <= 1
    assert paths[1].stat().st_size > 1000 and "| jsma |" in document.read_text()
