"""The translators of the capacity sweep, as their rows tell them.

```python
for of in swept_and_one(material, network, epochs):
    over_seeds(of.errors)
```
"""

import dataclasses

from qup.measurements import Row
from qup.report.material import ReportData
from qup.report.selection import build_network_filters
from qup.scales import NetworkPreset

_TRANSLATOR_ERROR = "translator_l1_error_relative"
# Of pairs that learnt Delta_N of true labels.
_WIDTH_PREFIX = "width_"


@dataclasses.dataclass(frozen=True)
class TranslatorResults:
    """A translator: what its rows say.

    Attributes:
      title: What it is called.
      control: The parameter "control" of its rows; None for the pair itself.
      num_parameters: How many it has; 0 where that is not known.
      error_rows: Its rows, one a seed.
    """

    title: str
    control: str | None
    num_parameters: int
    error_rows: list[Row]

    @property
    def predicts_delta_n(self) -> bool:
        """Whether it learnt Delta_N, so that the size alone is another."""
        return self.control is None or self.control.startswith(_WIDTH_PREFIX)


def find_translators_by_size(
    data: ReportData, network: NetworkPreset, epochs: int
) -> list[TranslatorResults]:
    """Returns those of Delta_N by size, and the one of Delta_1 behind them."""
    controls_and_titles = [(None, "Delta_N, the pair's own")]
    controls_and_titles += [
        (f"{_WIDTH_PREFIX}{width}", f"Delta_N, width {width}") for width in data.scale.widths
    ]
    delta_n_translators = [
        _load_translator(data, network, epochs, *control_and_title)
        for control_and_title in controls_and_titles
    ]
    delta_n_translators.sort(key=lambda translator: translator.num_parameters)
    delta_1_translator = _load_translator(
        data, network, epochs, "delta_1", "Delta_1, one long step"
    )
    return [
        translator
        for translator in (*delta_n_translators, delta_1_translator)
        if translator.error_rows
    ]


def _load_translator(
    data: ReportData, network: NetworkPreset, epochs: int, control: str | None, title: str
) -> TranslatorResults:
    rows = find_translation_errors(data, network, epochs, control, "translator")
    sizes = {row.parameters.get("translator_parameters", 0) for row in rows}
    return TranslatorResults(title, control, max(sizes, default=0), rows)


def find_translation_errors(
    data: ReportData, network: NetworkPreset, epochs: int, control: str | None, predictor: str
) -> list[Row]:
    """Returns the errors of a predictor of Delta, a row a seed.

    Args:
      data: Everything.
      network: The classifier.
      epochs: Its epochs.
      control: Of the pair.
      predictor: "translator", "class_template" or "zero".
    """
    return data.find(
        measure=_TRANSLATOR_ERROR,
        predictor=predictor,
        control=control,
        split="test",
        **build_network_filters(network, epochs),
    )
