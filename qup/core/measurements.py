"""The measurement row: one format for every number, table and figure.

```python
row = Row("mnist", "convnet", "CL", "pgd", 0.1, "robust_accuracy", 41.44, 0.49, 10000, 1, 0,
          parameters={"num_steps": 4})
write_rows(path, [row])
```
"""

import csv
import dataclasses
import io
import json
import logging
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from qup.core import errors, files

_log = logging.getLogger("qup")

# The measure that says whether there are reasons to doubt a robust accuracy.
RELIABILITY = "reliability"
# The parameter `evaluation` of rows that a pipeline of the uncertainty relation measures.
UNCERTAINTY_EVALUATION = "uncertainty"
# The standard normal's quantile of 0.975.
_Z_95 = 1.959963984540054


class Measurement(NamedTuple):
    """A value with its error.

    Attributes:
      value: In percent for accuracies.
      stderr: The standard error, in the unit of `value`; None where it is not estimated.
      n: Number of images or samples behind the value.
    """

    value: float
    stderr: float | None = None
    n: int = 1


def compute_accuracy(correct: float, n: float) -> Measurement:
    """Returns the accuracy in percent of `correct` images out of `n`.

    The standard error is binomial: 100 sqrt(p (1 - p) / n).
    """
    fraction = correct / n
    return Measurement(100 * fraction, 100 * math.sqrt(fraction * (1 - fraction) / n), int(n))


@dataclasses.dataclass(frozen=True)
class Proportion:
    """A share of images with its 95 % interval, in percent.

    Attributes:
      percent: The share; NaN of no images.
      low: Lower end of Wilson's interval.
      high: Upper end.
      count: Number of images that count.
      n: Number of images.
    """

    percent: float
    low: float
    high: float
    count: int
    n: int

    def __str__(self) -> str:
        return f"{self.percent:.1f} ({self.low:.1f} to {self.high:.1f})"


def compute_proportion(mask: Iterable[bool]) -> Proportion:
    """Returns the share of true values, with the interval of `compute_wilson_interval`."""
    values = [bool(value) for value in mask]
    count, n = sum(values), len(values)
    percent = 100 * count / n if n else math.nan
    return Proportion(percent, *compute_wilson_interval(count, n), count, n)


def compute_wilson_interval(count: float, n: float) -> tuple[float, float]:
    """Returns the 95 % score interval of a proportion, in percent.

    It holds near 0 and 100 % too, where the normal interval has no width.

    Args:
      count: Number of images that count.
      n: Number of images; without images the interval is [0, 100].

    References: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not n:
        return 0.0, 100.0
    share, squared = count / n, _Z_95**2 / n
    centre = share + squared / 2
    half_width = math.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = ((centre + sign * half_width) / (1 + squared) for sign in (-1, 1))
    # Rounding must not leave a bound of 0 or 1 that the definition gives exactly.
    return 100 * (0.0 if count == 0 else low), 100 * (1.0 if count == n else high)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured value and everything that it depends on.

    Attributes:
      dataset: Registered name of the dataset.
      model: Registered name of the architecture.
      classifier: "CL" (alone) or "ACL" (behind a translator).
      attack: Registered name of the attack; "" for a measure without attack.
      epsilon: The attack's budget in units of [0, 1]; None without budget.
      measure: "test_accuracy", "robust_accuracy", ...
      value: In percent for accuracies.
      stderr: Standard error, in the unit of `value`.
      n: Number of images.
      epochs: Epochs of the classifier.
      seed: The run's seed.
      artifact: Path of an .npz, relative to the working directory, or "".
      parameters: Everything else that the value depends on; JSON values.
    """

    dataset: str
    model: str
    classifier: str
    attack: str
    epsilon: float | None
    measure: str
    value: float
    stderr: float | None
    n: int
    epochs: int
    seed: int
    artifact: str = ""
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def key(self) -> tuple:
        """Returns all columns except value, stderr and artifact."""
        record = _format_record(self)
        return tuple(record[name] for name in HEADER if name not in ("value", "stderr", "artifact"))


HEADER = tuple(field.name for field in dataclasses.fields(Row))


def _format_record(row: Row) -> dict[str, Any]:
    record = {name: getattr(row, name) for name in HEADER}
    record["parameters"] = json.dumps(dict(row.parameters), sort_keys=True, separators=(",", ":"))
    return {k: "" if v is None else v for k, v in record.items()}


def write_rows(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """Writes rows as CSV with a header; raises ValueError if two rows have the same key."""
    rows = list(rows)
    if len({row.key() for row in rows}) < len(rows):
        raise ValueError(f"Two rows of {path} have the same key.")
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_format_record(row) for row in rows)
    files.write_text(path, text.getvalue())


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads the rows of `write_rows`, also after a spreadsheet has saved them.

    A spreadsheet may add a byte order mark and end lines with CR LF.

    Raises:
      InputError: The file is missing or damaged, or has another header or separator.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = tuple(reader.fieldnames or ())
            if header == HEADER:
                return [_parse_row(record) for record in reader]
    except OSError as error:
        raise errors.InputError(f"Cannot read {path}: {error}.") from error
    except (ValueError, TypeError, KeyError, csv.Error, RecursionError) as error:
        reason = errors.format_first_line(error, max_length=120)
        raise errors.InputError(
            f"{path} is damaged: {reason}. Rename it; the next run writes a new one."
        ) from error
    text = ",".join(header)
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if text.split(separator) == list(HEADER):
            raise errors.InputError(
                f"{path} has {name} between its columns, not commas: a spreadsheet saved it. Save "
                "it as CSV with commas and with points in numbers, or rename it."
            )
    raise errors.InputError(
        f"{path} is not a table of measurements: expected the header {','.join(HEADER)}, "
        f"received {text[:120]!r}. Rename it; the next run writes a new one."
    )


def _parse_row(record: Mapping[str, str]) -> Row:
    def parse_number(text: str) -> float | None:
        return float(text) if text else None

    return Row(
        **{
            **record,
            "epsilon": parse_number(record["epsilon"]),
            "value": float(record["value"]),
            "stderr": parse_number(record["stderr"]),
            "n": int(record["n"]),
            "epochs": int(record["epochs"]),
            "seed": int(record["seed"]),
            "parameters": json.loads(record["parameters"]),
        }
    )


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """A classifier, and the columns that all of its rows share.

    It is stored next to the classifier, so that a measurement needs no further settings.

    Attributes:
      dataset: Registered name of the dataset.
      model: Registered name of the architecture.
      classifier: "CL" (alone) or "ACL" (behind a translator).
      epochs: Epochs of the classifier.
      seed: The run's seed.
      parameters: Everything else that the measurements depend on; JSON values.
    """

    dataset: str
    model: str
    classifier: str
    epochs: int
    seed: int
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_parameters(self, **parameters: Any) -> "ModelInfo":
        """Returns a copy with further parameters."""
        return dataclasses.replace(self, parameters={**self.parameters, **parameters})

    def build_row(
        self, measure: str, measurement: Measurement, attack: Mapping[str, Any] | None = None
    ) -> Row:
        """Builds one row.

        Args:
          measure: "test_accuracy", ...
          measurement: Its value.
          attack: The attack's "name", "epsilon" and further options, which become parameters;
            None for a measure without attack.
        """
        options = dict(attack or {})
        return Row(
            dataset=self.dataset,
            model=self.model,
            classifier=self.classifier,
            attack=options.pop("name", ""),
            epsilon=options.pop("epsilon", None),
            measure=measure,
            value=measurement.value,
            stderr=measurement.stderr,
            n=measurement.n,
            epochs=self.epochs,
            seed=self.seed,
            parameters={**self.parameters, **options},
        )

    def build_reliability_row(
        self, flags: Sequence[tuple[str, str]], n: int, attack: Mapping[str, Any]
    ) -> Row:
        """Returns the row "reliability": 1 if there are reasons to doubt a robust accuracy, else 0.

        Args:
          flags: (name, message) of each reason.
          n: Number of images.
          attack: See `build_row`.
        """
        reasons = {"reasons": [f[0] for f in flags], "messages": [f[1] for f in flags]}
        measurement = Measurement(float(bool(flags)), None, n)
        return self.build_row(RELIABILITY, measurement, {**attack, **(reasons if flags else {})})

    def build_rows(
        self,
        clean: Measurement,
        attacked: Mapping[str, Measurement],
        attack: Mapping[str, Any],
        flags: Sequence[tuple[str, str]] | None = None,
    ) -> list[Row]:
        """Builds the rows of one evaluation under attack.

        A robust accuracy above the test accuracy is the sign of a broken attack. It is logged as
        a warning and adds a row "robust_accuracy_excess".

        Args:
          clean: The test accuracy.
          attacked: Measure to its value under attack; contains "robust_accuracy".
          attack: See `build_row`.
          flags: Reasons to doubt the robust accuracy, see `build_reliability_row`; None if nobody
            looked for any.
        """
        rows = [self.build_row("test_accuracy", clean)]
        rows += [self.build_row(m, a, attack) for m, a in attacked.items()]
        robust = attacked["robust_accuracy"]
        if robust.value > clean.value:
            _log.warning(
                "%s: robust accuracy %.2f is above test accuracy %.2f: the attack is broken or "
                "its gradients are masked. (%s)",
                self.classifier,
                robust.value,
                clean.value,
                {**self.parameters, **attack},
            )
            excess = robust._replace(value=robust.value - clean.value, stderr=None)
            rows.append(self.build_row("robust_accuracy_excess", excess, attack))
        if flags is not None:
            rows.append(self.build_reliability_row(flags, robust.n, attack))
        return rows


def write_model_info(model_info: ModelInfo, path: pathlib.Path) -> None:
    """Writes `model_info` as JSON."""
    text = json.dumps(dataclasses.asdict(model_info), indent=1, sort_keys=True)
    files.write_text(path, text)


def read_model_info(path: pathlib.Path) -> ModelInfo:
    """Reads the file of `write_model_info`, or raises an InputError."""
    try:
        return ModelInfo(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise errors.InputError(f"{path} does not describe a classifier: {error}.") from error
