"""Published values of the 18 models, each with its source.

`published.csv` has the top-1 accuracy of the weights that Su et al. attacked, as published with
the weights. Su et al. show their distortions only as points in figures: those columns are empty.

```python
read()["VGG 16"].top_1  # 71.5, percent
read("my.csv")["VGG 16"].ifgsm_linf
```
"""

import csv
import dataclasses
import os
import pathlib

from qup.core.errors import InputError
from qup.reproduction.imagenet import models

# Distortions of a model, in the units of panels (a), (b) and (c).
DISTORTIONS = ("ifgsm_linf", "cw_l2_per_element", "clever_l2_per_element")


@dataclasses.dataclass(frozen=True)
class PublishedValues:
    """Published values of one model; None where a value is not published.

    Attributes:
      top_1: Accuracy on ImageNet's validation images, in percent.
      top_1_source: Source of `top_1`.
      ifgsm_linf: Mean L-inf distance of I-FGSM, random targets, in units of [0, 1].
      cw_l2_per_element: Mean L2 distance of Carlini and Wagner's attack, random targets, over the
        number of input elements.
      clever_l2_per_element: Mean CLEVER score, likewise.
      distortions_source: Source of the distortions.
    """

    top_1: float | None = None
    top_1_source: str = ""
    ifgsm_linf: float | None = None
    cw_l2_per_element: float | None = None
    clever_l2_per_element: float | None = None
    distortions_source: str = ""


def read(path: str | os.PathLike | None = None) -> dict[str, PublishedValues]:
    """Returns the published values by model, in the figure's order.

    Args:
      path: A CSV file with the same columns; None for published.csv of the package.

    Raises:
      InputError: The file cannot be read, or a value is not a number or has no source.
    """
    if path is None:
        path = pathlib.Path(__file__).with_name("published.csv")
    try:
        text = pathlib.Path(path).expanduser().read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    values_by_model = dict.fromkeys(models.list_names(), PublishedValues())
    for record in csv.DictReader(text.splitlines()):
        name = models.get_model(record.pop("model", None) or "").name
        try:
            values = PublishedValues(
                **{
                    key: value if key.endswith("source") else float(value) if value else None
                    for key, value in record.items()
                }
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, {name}: {error}. Compare with published.csv.") from error
        has_distortions = any(getattr(values, key) is not None for key in DISTORTIONS)
        if (values.top_1 is not None and not values.top_1_source) or (
            has_distortions and not values.distortions_source
        ):
            raise InputError(f"{path}, {name}: a value without its source. Fill in the source.")
        values_by_model[name] = values
    return values_by_model
