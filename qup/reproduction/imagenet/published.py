"""What is published of the 18 models, each value with its source.

`published.csv` beside this file holds the top-1 accuracy that goes with the
weights Su et al. attacked, as the weights' own publishers give it. Their
distortions are in the pictures of their paper, and in no text or table that
could be found: those columns are empty. Whoever has the numbers fills in a
copy and reads that.

```python
read()["VGG 16"].top_1  # 71.5, percent
read("my.csv")["VGG 16"].ifgsm_linf
```
"""

import csv
import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping

from qup.core.errors import InputError
from qup.reproduction.imagenet import models

_FILE = pathlib.Path(__file__).with_name("published.csv")
# A model's distortions, in the units of the panels (a), (b), (c).
DISTORTIONS = ("ifgsm_linf", "cw_l2_per_element", "clever_l2_per_element")


@dataclasses.dataclass(frozen=True)
class PublishedValues:
    """One model's published values; None where there is none.

    Attributes:
      top_1: Accuracy on ImageNet's validation images, in percent.
      top_1_source: Where that stands.
      ifgsm_linf: Mean L-inf distance of I-FGSM, random targets, in units of
        [0, 1].
      cw_l2_per_element: Mean L2 distance of Carlini and Wagner's attack,
        random targets, over the number of input elements.
      clever_l2_per_element: Mean CLEVER score, likewise.
      distortions_source: Where these stand.
    """

    top_1: float | None
    top_1_source: str
    ifgsm_linf: float | None
    cw_l2_per_element: float | None
    clever_l2_per_element: float | None
    distortions_source: str


_HEADER = ("model", *(field.name for field in dataclasses.fields(PublishedValues)))


def read(path: str | os.PathLike | None = None) -> dict[str, PublishedValues]:
    """Returns the published values by model, in the figure's order.

    Args:
      path: A CSV file of the same columns; None for ours.

    Raises:
      InputError: The file is no such table, a value is no number in its
        range, or one stands there without its source.
    """
    path = _FILE if path is None else pathlib.Path(path).expanduser()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header, records = tuple(reader.fieldnames or ()), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    if header != _HEADER:
        raise InputError(
            f"{path} is no table of published values: expected the columns "
            f"{','.join(_HEADER)}; got {','.join(header)}."
        )
    values_by_model = {}
    for record in records:
        name = models.get_model(record["model"] or "").name
        if name in values_by_model:
            raise InputError(f"{path} has two lines of {name}. Remove one.")
        values_by_model[name] = _parse_record(record, f"{path}, {name}")
    empty = PublishedValues(None, "", None, None, None, "")
    return {name: values_by_model.get(name, empty) for name in models.list_names()}


def _parse_record(record: Mapping[str, str | None], location: str) -> PublishedValues:
    top_1 = _parse_number(record, "top_1", location, maximum=100.0)
    distances = {name: _parse_number(record, name, location) for name in DISTORTIONS}
    sources = {key: (record[key] or "").strip() for key in ("top_1_source", "distortions_source")}
    has_distortions = any(value is not None for value in distances.values())
    for is_given, key in (
        (top_1 is not None, "top_1_source"),
        (has_distortions, "distortions_source"),
    ):
        if is_given and not sources[key]:
            raise InputError(f"{location}: a value without its source. Fill in {key}.")
    return PublishedValues(top_1=top_1, **sources, **distances)


def _parse_number(
    record: Mapping[str, str | None], name: str, location: str, maximum: float = math.inf
) -> float | None:
    text = (record[name] or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= maximum and math.isfinite(value)):
        upper = "" if math.isinf(maximum) else f", at most {maximum:g}"
        raise InputError(
            f"{location}: {name} must be a number of at least 0{upper}, or empty; got {text!r}."
        )
    return value
