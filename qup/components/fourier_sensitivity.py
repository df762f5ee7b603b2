"""Step 8: a classifier's errors under every Fourier basis vector."""

import dataclasses
import json
import logging
from typing import Any

import numpy as np

from qup import measurements, robustness
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.measurements import Row
from qup.measures import fourier, spectrum
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo

_log = logging.getLogger("qup")
_SENSITIVITY_FILE = "sensitivity.npz"


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
    """Moves images along Fourier basis vectors (Yin et al., 1906.08988).

    Args:
      examples: The images.
      model: The classifier.
      evaluation: measurements.csv: "fourier_error", percent of images
        misclassified, by "band": "clean", and the means over basis vectors
        of "low" frequencies (inside the symmetric window of supplement
        Fig. 5) and "high" ones; and sensitivity.npz: "error" [height,
        width] in percent, zero frequency in the middle, "clean", and in
        "told" what they are of, as JSON.
      norm: L2 norm of what is added to each channel, in units of [0, 1].
      reach: The most cycles per image; None for all. An image costs
        (2 reach + 1)^2 / 2 forward passes.
      pixel_clip: Clips what was moved to [0, 1].
      split: The images to move.
      num_images: How many; None for all.
      batch_size: Images at a time.
      seed: Of the signs.
      row_parameters: What rows tell beside all that.
    """
    data = files_of_examples.read(examples.path)
    size = min(batch_size, num_images or data.info.sizes[split])
    sensitivity = fourier.compute_sensitivity(
        artifacts.load_classifier(model.path),
        data.evaluation_batches(split, size, max_images=num_images),
        norm=norm,
        reach=reach,
        bounds=(0.0, 1.0) if pixel_clip else None,
        seed=seed,
    )
    model_info = artifacts.load_model_info(model.path).with_parameters(
        split=split,
        norm=norm,
        reach=reach,
        pixel_clip=pixel_clip,
        draw=seed,
        **(row_parameters or {}),
    )
    rows = _build_sensitivity_rows(model_info, sensitivity)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
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
        value = robustness.compute_mean(100.0 * values)
        row = model_info.with_parameters(band=band).build_row("fourier_error", value)
        rows.append(dataclasses.replace(row, artifact=_SENSITIVITY_FILE))
        _log.info(
            "%s, epoch %d: errors, %s: %.2f percent",
            model_info.model,
            model_info.epochs,
            band,
            row.value,
        )
    return rows


def _compute_band_errors(sensitivity: fourier.SensitivityMap) -> dict[str, np.ndarray]:
    """Returns each image's share of errors, float64 [n], by band."""
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
