"""The translators of the capacity sweep, as their rows tell them.

```python
for of in swept_and_one(material, network, epochs):
    over_seeds(of.errors)
```
"""

import dataclasses

from qup.measurements import Row
from qup.report.material import Material
from qup.report.selection import of_network
from qup.scales import Network

_MEASURE = "translator_l1_error_relative"
# Of pairs that learnt Delta_N of true labels.
_SWEPT = "width_"


@dataclasses.dataclass(frozen=True)
class Translator:
    """A translator: what its rows say.

    Attributes:
      title: What it is called.
      control: The parameter "control" of its rows; None for the pair itself.
      parameters: How many it has; 0 where that is not known.
      errors: Its rows, one a seed.
    """

    title: str
    control: str | None
    parameters: int
    errors: list[Row]

    @property
    def swept(self) -> bool:
        """Whether it learnt Delta_N, so that the size alone is another."""
        return self.control is None or self.control.startswith(_SWEPT)


def swept_and_one(
    material: Material, network: Network, epochs: int
) -> list[Translator]:
    """Returns those of Delta_N by size, and the one of Delta_1 behind them."""
    named = [(None, "Delta_N, the pair's own")]
    named += [
        (f"{_SWEPT}{width}", f"Delta_N, width {width}")
        for width in material.scale.widths
    ]
    swept = [
        _translator(material, network, epochs, *one) for one in named
    ]  # fmt: skip
    swept.sort(key=lambda of: of.parameters)
    one = _translator(
        material, network, epochs, "delta_1", "Delta_1, one long step"
    )
    return [of for of in (*swept, one) if of.errors]


def _translator(
    material: Material, network: Network, epochs: int, control: str | None,
    title: str,
) -> Translator:  # fmt: skip
    rows = errors(material, network, epochs, control, "translator")
    sizes = {row.parameters.get("translator_parameters", 0) for row in rows}
    return Translator(title, control, max(sizes, default=0), rows)


def errors(
    material: Material, network: Network, epochs: int, control: str | None,
    predictor: str,
) -> list[Row]:  # fmt: skip
    """Returns the errors of a predictor of Delta, a row a seed.

    Args:
      material: Everything.
      network: The classifier.
      epochs: Its epochs.
      control: Of the pair.
      predictor: "translator", "class_template" or "zero".
    """
    return material.find(
        measure=_MEASURE, predictor=predictor, control=control, split="test",
        **of_network(network, epochs),
    )  # fmt: skip
