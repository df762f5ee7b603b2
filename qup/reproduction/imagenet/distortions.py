"""The three distortions of Fig. 3, for any classifier.

(a) the L-inf distance of I-FGSM with a search for epsilon, (b) the L2 distance of Carlini and
Wagner's attack and (c) the L2 CLEVER score, all with the same targets. (b) and (c) are "per pixel":
divided by the number of input elements.

```python
images, labels, ids = datasets.load("digits").get_arrays("test")
options = DistortionOptions(num_attacked=10)
distortions = measure_distortions(classifier, images, labels, ids, options)
distortions.results["carlini_wagner"].distances["l2"] / distortions.num_elements
```

Reference: Su et al. 2018, arXiv 1808.01688.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qup import attacks
from qup.attacks import losses
from qup.attacks.results import AttackResult
from qup.core import errors, measurements, prng
from qup.core.classifier import predict_logits
from qup.core.measurements import ModelInfo, Row
from qup.core.types import LogitsFn
from qup.robustness import evaluation
from qup.robustness.clever import CleverResult, compute_clever

ATTACKS = {"ifgsm": "iterative_fgsm_search", "carlini_wagner": "carlini_wagner"}
# Separates the random targets from other random numbers of the same seed.
_TARGET_STREAM = 3


@dataclasses.dataclass(frozen=True)
class DistortionOptions:
    """Options of the measurement; defaults of the attacks are those of Su et al.

    Attributes:
      labels: "true" attacks correctly classified images; "predicted" attacks any image away from
        its predicted class, for untrained networks.
      targets: "random" as in the figure, "least_likely" or "second_likely". Use "second_likely" for
        an untrained network, which predicts only few classes.
      num_attacked: Number of attacked images, the first ones.
      num_clever: Number of attacked images with a CLEVER score, the first ones.
      ifgsm: Options of `iterative_fgsm_search`.
      carlini_wagner: Options of `carlini_wagner`.
      clever: num_batches, num_samples and radius of `compute_clever`; defaults are those of
        its authors for ImageNet.
      batch_size: Images, or samples, per batch.
      seed: Of targets and samples.
    """

    labels: str = "true"
    targets: str = "random"
    num_attacked: int = 100
    num_clever: int = 100
    ifgsm: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"initial_epsilon": 0.02, "num_steps": 50, "max_attempts": 9}
    )
    carlini_wagner: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {
            "num_steps": 1000,
            "learning_rate": 1e-3,
            "search_steps": 9,
            "initial_constant": 0.01,
            "confidence": 0.0,
        }
    )
    clever: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"num_batches": 100, "num_samples": 512, "radius": 3.0}
    )
    batch_size: int = 32
    seed: int = 0

    @classmethod
    def from_json(cls, options: Mapping[str, Any], seed: int) -> "DistortionOptions":
        """Builds options from JSON values, or raises an InputError for an unknown name."""
        known_names = {field.name for field in dataclasses.fields(cls)} - {"seed"}
        for name in options:
            if name not in known_names:
                raise errors.make_unknown_error("option of the measurement", name, known_names)
        return cls(**options, seed=seed)


@dataclasses.dataclass(frozen=True)
class Distortions:
    """Measurements of one network on n images, m of them attacked.

    Attributes:
      accuracy: Top-1.
      ids: int64 [n].
      labels: int32 [n].
      predicted: int32 [n], predicted classes.
      chosen: int64 [m], indices of the attacked images.
      targets: int32 [m], target classes.
      results: Of each attack of `ATTACKS`; empty if m is 0.
      clever: Of the first attacked images; None if m is 0.
      num_elements: Elements per image, height x width x channels.
    """

    accuracy: measurements.Measurement
    ids: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    chosen: np.ndarray
    targets: np.ndarray
    results: Mapping[str, AttackResult]
    clever: CleverResult | None
    num_elements: int

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns one value per image for a file.

        id, label and predicted [n]; of the attacked images attacked_id and target [m], ifgsm_linf
        and carlini_wagner_l2, float64 [m] (NaN without success), and clever_l2, float64 [k], of the
        first k.
        """
        arrays = {
            "id": self.ids,
            "label": self.labels,
            "predicted": self.predicted,
            "attacked_id": self.ids[self.chosen],
            "target": self.targets,
        }
        for name, norm in (("ifgsm", "linf"), ("carlini_wagner", "l2")):
            if name in self.results:
                result = self.results[name]
                distances = np.where(result.success, result.distances[norm], np.nan)
                arrays[f"{name}_{norm}"] = distances
        if self.clever is not None:
            arrays["clever_l2"] = self.clever.scores[:, 0]
        return arrays


def measure_distortions(
    classifier: LogitsFn,
    images: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    options: DistortionOptions,
) -> Distortions:
    """Measures the distortions of one classifier.

    Args:
      classifier: float32 images in [0, 1] to logits.
      images: uint8 [n, height, width, channels].
      labels: int32 [n].
      ids: int64 [n]; random draws depend on the id of an image, not on its position.
      options: Options.

    Raises:
      InputError: An option cannot be used.
    """
    if options.labels not in ("true", "predicted"):
        raise errors.InputError(f"labels must be 'true' or 'predicted'; got {options.labels!r}.")
    losses.check_target_choice(options.targets)
    logits = _predict_logits(classifier, images, options.batch_size)
    predicted = logits.argmax(-1).astype(np.int32)
    correct = predicted == labels
    usable = correct if options.labels == "true" else np.ones_like(correct)
    chosen = np.flatnonzero(usable)[: options.num_attacked]
    keys = prng.make_keys(options.seed, ids[chosen], _TARGET_STREAM)
    targets = losses.choose_targets(
        options.targets, logits[chosen], predicted[chosen], keys
    ).numpy()
    results, clever_result = {}, None
    if len(chosen):
        chosen_images = images[chosen] / np.float32(255)
        common_options = {"batch_size": options.batch_size, "seed": options.seed}
        results = {
            name: attacks.run(
                attack,
                classifier,
                chosen_images,
                predicted[chosen],
                ids=ids[chosen],
                targets=targets,
                **common_options,
                **getattr(options, name),
            )
            for name, attack in ATTACKS.items()
        }
        first = slice(options.num_clever)
        clever_result = compute_clever(
            classifier,
            chosen_images[first],
            predicted[chosen][first],
            targets=targets[first],
            ids=ids[chosen][first],
            norm="l2",
            **common_options,
            **options.clever,
        )
    return Distortions(
        measurements.compute_accuracy(float(correct.sum()), len(correct)),
        ids,
        labels,
        predicted,
        chosen,
        targets,
        results,
        clever_result,
        int(np.prod(images.shape[1:])),
    )


def _predict_logits(classifier: LogitsFn, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns float32 [n, classes]; the last batch is padded to `batch_size`."""
    logit_batches = []
    for start in range(0, len(images), batch_size):
        rows = np.arange(start, start + batch_size)
        batch = images[np.minimum(rows, len(images) - 1)] / np.float32(255)
        logits = predict_logits(classifier, tf.constant(batch))
        logit_batches.append(logits.numpy()[: len(images) - start])
    return np.concatenate(logit_batches)


def build_distortion_rows(
    model_info: ModelInfo, distortions: Distortions, options: DistortionOptions
) -> list[Row]:
    """Returns the rows of one network; only the accuracy if no image could be attacked.

    "test_accuracy" (top-1, true labels); of each attack "success_rate", the mean distances over
    successful attacks ("mean_linf", "mean_l2", ...) and the mean calls; "mean_l2_per_element" of
    Carlini and Wagner's attack; "mean_clever" and "mean_clever_per_element". Means have standard
    errors over images.
    """
    rows = [model_info.build_row("test_accuracy", distortions.accuracy)]
    model_info = model_info.with_parameters(targets=options.targets, labels=options.labels)
    divisor_parameters = {"divisor": distortions.num_elements}
    for name, result in distortions.results.items():
        parameters = {
            "name": ATTACKS[name],
            "epsilon": None,
            **getattr(options, name),
            "targeted": True,
            "targets": options.targets,
            "images": len(result),
        }
        all_images = np.ones(len(result), bool)
        attack_rows = evaluation.build_attack_rows(
            model_info, result, parameters, correct=all_images
        )
        rows += [row for row in attack_rows if row.measure != "test_accuracy"]
        distances = result.distances["l2"][result.success] / distortions.num_elements
        if name == "carlini_wagner" and distances.size:
            mean = evaluation.compute_mean(distances)
            rows.append(
                model_info.with_parameters(**divisor_parameters).build_row(
                    "mean_l2_per_element", mean, parameters
                )
            )
    if distortions.clever is not None:
        scores, parameters = distortions.clever.scores[:, 0], {"norm": "l2", **options.clever}
        model_info = model_info.with_parameters(**parameters)
        rows.append(model_info.build_row("mean_clever", evaluation.compute_mean(scores)))
        mean = evaluation.compute_mean(scores / distortions.num_elements)
        model_info = model_info.with_parameters(**divisor_parameters)
        rows.append(model_info.build_row("mean_clever_per_element", mean))
    return rows
