"""Image frequencies of gradients and Delta_n (supplement, Fig. 5), and Fourier sensitivity."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup.augmentation.deltas import DeltaDataset
from qup.core import measurements
from qup.core.measurements import Measurement, ModelInfo, Row
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Deltas, Examples, Model, ModelEvaluation
from qup.reproduction.measures import spectral_fields
from qup.robustness import evaluation as robustness_evaluation
from qup.robustness import fourier, spectrum

_log = logging.getLogger("qup")
_SPECTRUM_FILE = "spectrum.npz"
_SENSITIVITY_FILE = "sensitivity.npz"
_WINDOW_KINDS = ("literal", "symmetric")


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
    """Measures the Fourier spectra of gradients, Delta_n and translator errors.

    Args:
      evaluation: See `_SpectrumAccumulator.build_rows`. spectrum.npz: the arrays of
        `spectrum.SpectrumAccumulator.to_arrays` for each field, as <field>_<name>; "fields", the
        names of the fields; and "told", a description in JSON.
      deltas: Gives the settings of opposite FGSM for Delta_n of `steps`.
      translator: Adds the spectrum of its error, G(X_0) - Delta_N; requires `deltas`.
      steps: The n of the Delta_n that are measured.
      grey: How three channels become one, see `spectrum.grey`.
      loss: Of the gradient and of Delta_1.
      seed: Of random signs, a control.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples, model, split=split, grey=grey, **(row_parameters or {})
    )
    field_spec = spectral_fields.SpectralFieldSpec(
        loss=loss,
        iterate_options=DeltaDataset.open(deltas.path).iterate_options if deltas else None,
        steps=steps,
        translator=translator and artifacts.load_network(translator.path),
        seed=seed,
    )
    accumulator = _SpectrumAccumulator(field_spec, data.info.image_shape[:2], grey)
    size = min(batch_size, num_images or data.info.sizes[split])
    for batch in data.evaluation_batches(split, size, max_images=num_images):
        accumulator.add(spectral_fields.compute_fields(classifier, batch, field_spec))
    artifacts.write_rows(evaluation, accumulator.build_rows(model_info), arrays_file=_SPECTRUM_FILE)
    np.savez(evaluation.path / _SPECTRUM_FILE, **accumulator.build_arrays(model_info))


class _SpectrumAccumulator:
    """Averages of the spectra of all fields."""

    def __init__(
        self, field_spec: spectral_fields.SpectralFieldSpec, shape: tuple[int, int], grey: str
    ):
        self._shape, self._field_parameters = shape, field_spec.describe_fields()
        self._target_key = f"walk_{field_spec.delta_steps[-1]}" if field_spec.delta_steps else None
        self._windows = {k: spectrum.compute_window(shape, k) for k in _WINDOW_KINDS}
        self._averages = {
            key: spectrum.SpectrumAccumulator(self._windows, grey) for key in self._field_parameters
        }
        self._error_target_powers: dict[tuple[str, str], list] = {}

    def add(self, fields: Mapping[str, np.ndarray]) -> None:
        """Adds the fields of a batch, see `spectral_fields.compute_fields`."""
        powers = {k: self._averages[k].add(v) for k, v in fields.items()}
        if "error" in powers:
            for name, window in self._windows.items():
                in_window = np.zeros(self._shape)
                in_window[window] = 1.0
                for band, weights in (("low", in_window), ("high", 1 - in_window)):
                    pair = [
                        (powers[key] * weights).sum((1, 2)) for key in ("error", self._target_key)
                    ]
                    self._error_target_powers.setdefault((name, band), []).append(pair)

    def build_rows(self, model_info: ModelInfo) -> list[Row]:
        """Returns the rows.

        "high_frequency_ratio" of each field and window, with its standard error over images, and
        of white noise (exact); "zero_field_percent" of each field, the images with a field of 0
        everywhere, which the ratio leaves out; and for a translator "relative_spectral_error" of
        each band, the root mean square of the error relative to that of Delta_N.
        """
        rows = []
        for key, parameters in self._field_parameters.items():
            field_info, averages = model_info.with_parameters(**parameters), self._averages[key]
            for name in self._windows:
                average = averages.get_high_frequency_ratio(name)
                rows.append(self._build_ratio_row(field_info, name, average))
            count = average.n + averages.num_zero_fields
            share = measurements.compute_accuracy(averages.num_zero_fields, count)
            rows.append(field_info.build_row("zero_field_percent", share))
        for name, window in self._windows.items():
            white = spectrum.compute_white_share(self._shape, window)
            average = spectrum.SpectrumAverage(white, np.nan, count)
            rows.append(
                self._build_ratio_row(
                    model_info.with_parameters(field="white_noise"), name, average
                )
            )
        rows += self._build_error_rows(model_info)
        return [row for row in rows if np.isfinite(row.value)]

    def _build_ratio_row(
        self, model_info: ModelInfo, name: str, average: spectrum.SpectrumAverage
    ) -> Row:
        window = self._windows[name]
        _log.info(
            "%s, epoch %d: high-frequency ratio of %s, %s window: %.4f",
            model_info.model,
            model_info.epochs,
            model_info.parameters["field"],
            name,
            average.mean,
        )
        model_info = model_info.with_parameters(window=name, slice=spectrum.format_window(window))
        error = float(average.stderr) if np.isfinite(average.stderr) else None
        value = Measurement(float(average.mean), error, average.n)
        return model_info.build_row("high_frequency_ratio", value)

    def _build_error_rows(self, model_info: ModelInfo) -> list[Row]:
        rows = []
        for (name, band), pairs in self._error_target_powers.items():
            relative_error = spectrum.compute_ratio(*np.concatenate(pairs, axis=1))
            error_info = model_info.with_parameters(
                **self._field_parameters["error"],
                band=band,
                window=name,
                slice=spectrum.format_window(self._windows[name]),
            )
            rows.append(
                error_info.build_row("relative_spectral_error", Measurement(*relative_error))
            )
        return rows

    def build_arrays(self, model_info: ModelInfo) -> dict[str, Any]:
        """Returns the arrays of spectrum.npz, see `SpectrumAnalyzer`."""
        field_arrays = {
            f"{key}_{name}": value
            for key, averages in self._averages.items()
            for name, value in averages.to_arrays().items()
        }
        white_shares = {
            f"white_{name}": spectrum.compute_white_share(self._shape, window)
            for name, window in self._windows.items()
        }
        metadata = {
            **dataclasses.asdict(model_info),
            "fields": self._field_parameters,
            "image_shape": self._shape,
            "target": self._target_key,
            "images": self._averages["data"].get_high_frequency_ratio(_WINDOW_KINDS[0]).n,
        }
        text = json.dumps(metadata, sort_keys=True)
        flat_spectrum = np.ones((1, *self._shape))
        return {
            **field_arrays,
            **white_shares,
            "fields": np.array(list(self._field_parameters)),
            "white_cutoff": spectrum.compute_cutoff_shares(flat_spectrum)[0],
            "told": np.array(text),
        }


@component
def FourierSensitivity(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    norm: float,
    reach: int | None = None,
    pixel_clip: bool = True,
    split: str = "test",
    num_images: int | None = None,
    batch_size: int = 250,
    seed: int = 0,
    row_parameters: dict[str, Any] | None = None,
) -> None:
    """Measures the error under every Fourier basis vector (Yin et al., arXiv 1906.08988).

    Args:
      evaluation: "fourier_error", percent of images misclassified, by "band": "clean", and the
        means over basis vectors of "low" frequencies (inside the symmetric window of supplement
        Fig. 5) and "high" frequencies. sensitivity.npz: "error" [height, width] in percent with
        zero frequency in the middle, "clean", and "told", a description in JSON.
      norm: L2 norm of the vector that is added to each channel, in units of [0, 1].
      reach: Largest number of cycles per image; None for all. An image takes
        (2 reach + 1)^2 / 2 forward passes.
      pixel_clip: Clip perturbed images to [0, 1].
      seed: Of the signs of the vectors.
    """
    data, classifier, model_info = artifacts.load_inputs(
        examples,
        model,
        split=split,
        norm=norm,
        reach=reach,
        pixel_clip=pixel_clip,
        draw=seed,
        **(row_parameters or {}),
    )
    size = min(batch_size, num_images or data.info.sizes[split])
    sensitivity = fourier.compute_sensitivity(
        classifier,
        data.evaluation_batches(split, size, max_images=num_images),
        norm=norm,
        reach=reach,
        bounds=(0.0, 1.0) if pixel_clip else None,
        seed=seed,
    )
    rows = _build_sensitivity_rows(model_info, sensitivity)
    artifacts.write_rows(evaluation, rows, arrays_file=_SENSITIVITY_FILE)
    metadata = {**dataclasses.asdict(model_info), "images": len(sensitivity.incorrect)}
    np.savez(
        evaluation.path / _SENSITIVITY_FILE,
        error=sensitivity.error,
        clean=sensitivity.clean,
        told=np.array(json.dumps(metadata, sort_keys=True)),
    )


def _build_sensitivity_rows(
    model_info: ModelInfo, sensitivity: fourier.SensitivityMap
) -> list[Row]:
    rows = []
    for band, values in _compute_band_errors(sensitivity).items():
        value = robustness_evaluation.compute_mean(100.0 * values)
        rows.append(model_info.with_parameters(band=band).build_row("fourier_error", value))
        _log.info(
            "%s, epoch %d: error %.2f %% (%s)",
            model_info.model,
            model_info.epochs,
            value.value,
            band,
        )
    return rows


def _compute_band_errors(sensitivity: fourier.SensitivityMap) -> dict[str, np.ndarray]:
    """Returns the share of errors of each image, float64 [n], by band."""
    shape = sensitivity.error.shape
    in_window = np.zeros(shape, bool)
    in_window[spectrum.compute_window(shape, "symmetric")] = True
    rows, columns = sensitivity.frequencies.T
    low = in_window[rows + shape[0] // 2, columns + shape[1] // 2]
    bands = {"clean": sensitivity.incorrect}
    for name, in_band in (("low", low), ("high", ~low)):
        if in_band.any():
            bands[name] = sensitivity.per_image[:, in_band].mean(1)
    return bands
