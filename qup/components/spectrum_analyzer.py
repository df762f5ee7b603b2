"""Step 8: which image frequencies a classifier's deltas have (supp. Fig. 5)."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup import evaluation, measurements, spectral_fields
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.evaluation import Accuracy
from qup.measurements import Row
from qup.measures import spectrum
from qup.orchestration import In, Out, component
from qup.subjects import Subject

_log = logging.getLogger("qup")
_ARTIFACT = "spectrum.npz"
_WINDOWS = ("literal", "symmetric")


@component
def SpectrumAnalyzer(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    deltas: In[Deltas] = None,
    translator: In[Model] = None,
    *,
    steps: list[int] = (),
    grey: str = "luma",
    loss: str = "log_odds",
    split: str = "test",
    num_images: int | None = None,
    batch_size: int = 250,
    seed: int = 0,
    row_parameters: dict[str, Any] | None = None,
) -> None:
    """Transforms the fields of a classifier over the image plane.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: measurements.csv, see `_Spectra.rows`, and spectrum.npz:
        of each field what `spectrum.Averages.arrays` tells, as field_name,
        in "fields" their keys, and in "told" what they are of, as JSON.
      deltas: A walk, whose settings Delta_n of `steps` takes.
      translator: What learnt it: the spectrum of its error is told.
      steps: The n at which Delta_n is looked at.
      grey: How three channels become one, see `spectrum.grey`.
      loss: Of the gradient and of Delta_1.
      split: The images to look at.
      num_images: How many; None for all.
      batch_size: Images at a time.
      seed: Of random signs, a control.
      row_parameters: What rows tell beside all that: of a translator, how
        it was trained.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_classifier(model.path)
    plan = spectral_fields.Plan(
        loss=loss,
        walk=Pairs.open(deltas.path).walk if deltas else None,
        steps=steps,
        translator=translator and artifacts.load_network(translator.path),
        seed=seed,
    )
    spectra = _Spectra(plan, data.info.image_shape[:2], grey)
    size = min(batch_size, num_images or data.info.sizes[split])
    for batch in data.evaluation_batches(split, size, limit=num_images):
        spectra.add(spectral_fields.of_batch(classifier, batch, plan))
    subject = artifacts.subject(model.path).such(
        split=split, grey=grey, **(row_parameters or {})
    )
    rows = spectra.rows(subject)
    measurements.write(evaluation.path / "measurements.csv", rows)
    np.savez(evaluation.path / _ARTIFACT, **spectra.arrays(subject))


class _Spectra:
    """The averages of all fields, and the rows that they come to."""

    def __init__(
        self, plan: spectral_fields.Plan, shape: tuple[int, int], grey: str
    ):
        self._shape, self._told = shape, plan.told()
        self._target = f"walk_{plan.points[-1]}" if plan.points else None
        self._windows = {k: spectrum.window(shape, k) for k in _WINDOWS}
        self._averages = {
            key: spectrum.Averages(self._windows, grey) for key in self._told
        }
        self._pairs: dict[tuple[str, str], list] = {}

    def add(self, fields: Mapping[str, np.ndarray]) -> None:
        """Adds a batch; keys are those of the plan."""
        powers = {k: self._averages[k].add(v) for k, v in fields.items()}
        if "error" in powers:
            for name, window in self._windows.items():
                inside = np.zeros(self._shape)
                inside[window] = 1.0
                for band, weights in (("low", inside), ("high", 1 - inside)):
                    pair = [
                        (powers[key] * weights).sum((1, 2))
                        for key in ("error", self._target)
                    ]
                    self._pairs.setdefault((name, band), []).append(pair)

    def rows(self, subject: Subject) -> list[Row]:
        """Returns the rows.

        "high_frequency_ratio" of each field and window, a share with its
        standard error over images, and of white noise, exact; of each field
        "zero_field_percent", the images whose field is 0 everywhere and
        which the ratio leaves out; and of a translator, in each band,
        "relative_spectral_error", the error's root mean square over that of
        Delta_N.
        """
        rows = []
        for key, told in self._told.items():
            one, averages = subject.such(**told), self._averages[key]
            for name in self._windows:
                found = averages.high_frequency_ratio(name)
                rows.append(self._ratio(one, name, found))
            count = found.n + averages.zeros
            share = evaluation.binomial(averages.zeros, count)
            rows.append(one.row("zero_field_percent", share))
        for name, window in self._windows.items():
            white = spectrum.white_share(self._shape, window)
            found = spectrum.Average(white, np.nan, count)
            rows.append(
                self._ratio(subject.such(field="white_noise"), name, found)
            )
        rows += self._errors(subject)
        return [
            dataclasses.replace(row, artifact=_ARTIFACT)
            for row in rows
            if np.isfinite(row.value)
        ]

    def _ratio(
        self, subject: Subject, name: str, found: spectrum.Average
    ) -> Row:
        window = self._windows[name]
        _log.info(
            "%s, epoch %d: high-frequency ratio of %s, %s window: %.4f",
            subject.model, subject.epochs, subject.parameters["field"], name,
            found.mean,
        )  # fmt: skip
        subject = subject.such(window=name, slice=spectrum.words(window))
        error = float(found.stderr) if np.isfinite(found.stderr) else None
        value = Accuracy(float(found.mean), error, found.n)
        return subject.row("high_frequency_ratio", value)

    def _errors(self, subject: Subject) -> list[Row]:
        rows = []
        for (name, band), pairs in self._pairs.items():
            found = spectrum.ratio(*np.concatenate(pairs, axis=1))
            one = subject.such(
                **self._told["error"], band=band, window=name,
                slice=spectrum.words(self._windows[name]),
            )  # fmt: skip
            rows.append(one.row("relative_spectral_error", Accuracy(*found)))
        return rows

    def arrays(self, subject: Subject) -> dict[str, Any]:
        """Returns what is drawn; see `SpectrumAnalyzer`."""
        found = {
            f"{key}_{name}": value
            for key, averages in self._averages.items()
            for name, value in averages.arrays().items()
        }
        whites = {
            f"white_{name}": spectrum.white_share(self._shape, window)
            for name, window in self._windows.items()
        }
        told = {
            **dataclasses.asdict(subject), "fields": self._told,
            "image_shape": self._shape, "target": self._target,
            "images": self._averages["data"].high_frequency_ratio(
                _WINDOWS[0]
            ).n,
        }  # fmt: skip
        text = json.dumps(told, sort_keys=True)
        flat = np.ones((1, *self._shape))
        return {
            **found, **whites, "fields": np.array(list(self._told)),
            "white_cutoff": spectrum.over_cutoff(flat)[0],
            "told": np.array(text),
        }  # fmt: skip
