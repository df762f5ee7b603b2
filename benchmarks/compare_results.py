"""Compares the numbers of two versions of the program.

    python -m benchmarks.compare_results old/measurements.csv new/measurements.csv
    python -m benchmarks.compare_results old/report.md new/report.md

Two tables of measurements agree if they have the same rows, to the last digit. Two reports agree if
their tables have the same numbers in the same order, and if no number of the old prose is missing
in the new one; wording and the format of a number (".5" or "0.5") do not count. The exit status is
1 if they differ.
"""

import collections
import csv
import pathlib
import re
import sys

_NUMBER = re.compile(r"(?<![\w.])[-\u2212+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w])")
_MAX_SHOWN = 40


def read_rows(path: pathlib.Path) -> collections.Counter:
    """Returns how often each row occurs in a CSV file."""
    with path.open(newline="") as file:
        return collections.Counter(tuple(sorted(row.items())) for row in csv.DictReader(file))


def find_numbers(text: str) -> list[float]:
    """Returns the numbers of a text in their order."""
    return [
        float(match.replace(",", "").replace("\u2212", "-"))
        for match in _NUMBER.findall(text)
        if match.strip(",+-\u2212.")
    ]


def split_report(text: str) -> tuple[list[float], collections.Counter]:
    """Returns the numbers of a report's tables, and how often each occurs in its prose."""
    lines = text.splitlines()
    table = "\n".join(line for line in lines if line.startswith("|"))
    prose = "\n".join(line for line in lines if not line.startswith("|"))
    return find_numbers(table), collections.Counter(find_numbers(prose))


def compare_rows(old: pathlib.Path, new: pathlib.Path) -> list[str]:
    """Returns a line for each row that only one of two tables has."""
    before, after = read_rows(old), read_rows(new)
    missing = [f"only in {old}: {dict(row)}" for row in (before - after).elements()]
    return missing + [f"only in {new}: {dict(row)}" for row in (after - before).elements()]


def compare_reports(old: pathlib.Path, new: pathlib.Path) -> list[str]:
    """Returns a line for each number that differs between two reports."""
    (table, prose), (new_table, new_prose) = (split_report(path.read_text()) for path in (old, new))
    lines = []
    if len(table) != len(new_table):
        lines.append(f"the tables have {len(table)} and {len(new_table)} numbers")
    for index, pair in enumerate(zip(table, new_table, strict=False)):
        if pair[0] != pair[1]:
            lines.append(f"number {index} of the tables: {pair[0]} and {pair[1]}")
            break
    lost = [number for number in prose if number not in new_prose and number not in new_table]
    return lines + [f"missing in the new prose: {number}" for number in lost]


def main(arguments: list[str]) -> int:
    """Prints the differences between two files; returns the exit status."""
    if len(arguments) != 2:
        print(__doc__)
        return 2
    old, new = map(pathlib.Path, arguments)
    compare = compare_rows if old.suffix == ".csv" else compare_reports
    lines = compare(old, new)
    print("\n".join(lines[:_MAX_SHOWN]) or f"{old} and {new} have the same numbers.")
    if len(lines) > _MAX_SHOWN:
        print(f"and {len(lines) - _MAX_SHOWN} more differences")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
