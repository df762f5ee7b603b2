"""The three measures of Fig. 3, of one network against the same targets.

(a) the L-inf distance of I-FGSM with its epsilon searched, (b) the L2
distance of Carlini and Wagner's attack and (c) the L2 CLEVER score, the
latter two "per pixel": over the number of input elements.

```python
found = measure(classifier, images, Asked(num_attacked=10))
found.results["carlini_wagner"].distances["l2"] / found.elements
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
from qup.core import compilation, errors, measurements, prng
from qup.core.measurements import ModelInfo, Row
from qup.core.types import LogitsFn
from qup.reproduction.imagenet.folder import ImageNetImages
from qup.robustness import clever, evaluation
from qup.robustness.clever import CleverResult

# What Su et al. ran; of CLEVER what its authors' example for ImageNet does.
IFGSM = {"initial_epsilon": 0.02, "num_steps": 50, "max_attempts": 9}
CARLINI_WAGNER = {
    "num_steps": 1000,
    "learning_rate": 1e-3,
    "search_steps": 9,
    "initial_constant": 0.01,
    "confidence": 0.0,
}
CLEVER = {"num_batches": 100, "num_samples": 512, "radius": 3.0}
ATTACKS = {"ifgsm": "iterative_fgsm_search", "carlini_wagner": "carlini_wagner"}
# Tells the draw of targets from others with the seed.
_TARGET_STREAM = 3


@dataclasses.dataclass(frozen=True)
class DistortionOptions:
    """What is measured of each network.

    Attributes:
      labels: "true" attacks images that are classified rightly; "predicted"
        any, away from the class they are put into, for untrained networks.
      targets: "random", the figure's; "least_likely" or "second_likely". An
        untrained network puts no image into most classes: take the last.
      num_attacked: The first that many of them.
      num_clever: Of these, the first that many get a CLEVER score.
      ifgsm: Options of `iterative_fgsm_search`.
      carlini_wagner: Options of `carlini_wagner`.
      clever: num_batches, num_samples and radius of `measures.clever`.
      batch_size: Images, or samples, a batch.
      seed: Of targets and samples.
    """

    labels: str = "true"
    targets: str = "random"
    num_attacked: int = 100
    num_clever: int = 100
    ifgsm: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(IFGSM))
    carlini_wagner: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: dict(CARLINI_WAGNER)
    )
    clever: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(CLEVER))
    batch_size: int = 32
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Distortions:
    """What was measured of one network on n images, m of them attacked.

    Attributes:
      accuracy: Top-1.
      predicted: int32 [n], each image's class.
      chosen: int64 [m], places of the attacked images.
      targets: int32 [m], classes other than the attacked one.
      results: Of each attack of `ATTACKS`; empty where m is 0.
      clever: Of the first images; None where m is 0.
      elements: Number of elements of an image, height x width x 3.
    """

    accuracy: measurements.Accuracy
    predicted: np.ndarray
    chosen: np.ndarray
    targets: np.ndarray
    results: Mapping[str, AttackResult]
    clever: CleverResult | None
    elements: int

    def to_arrays(self, images: ImageNetImages) -> dict[str, np.ndarray]:
        """Returns one value an image for a file.

        Args:
          images: Those measured.

        Returns:
          id, label and predicted [n]; of the attacked ones attacked_id and
          target [m], ifgsm_linf and carlini_wagner_l2 float64 [m] (NaN where
          no image was found), and clever_l2 float64 [k], of the first k.
        """
        columns = {
            "id": images.ids,
            "label": images.labels,
            "predicted": self.predicted,
            "attacked_id": images.ids[self.chosen],
            "target": self.targets,
        }
        for name, norm in (("ifgsm", "linf"), ("carlini_wagner", "l2")):
            if name in self.results:
                result = self.results[name]
                distances = np.where(result.success, result.distances[norm], np.nan)
                columns[f"{name}_{norm}"] = distances
        if self.clever is not None:
            columns["clever_l2"] = self.clever.scores[:, 0]
        return columns


def parse_options(arguments: Mapping[str, Any], seed: int) -> DistortionOptions:
    """Returns what is asked, from JSON values.

    Args:
      arguments: Attributes of `DistortionOptions` but for the seed.
      seed: The seed.

    Raises:
      InputError: There is no such attribute.
    """
    known = {field.name for field in dataclasses.fields(DistortionOptions)} - {"seed"}
    for name in arguments:
        if name not in known:
            raise errors.make_unknown_error("option of the measurement", name, known)
    return DistortionOptions(**arguments, seed=seed)


def measure_distortions(
    classifier: LogitsFn, images: ImageNetImages, options: DistortionOptions
) -> Distortions:
    """Measures one network.

    Raises:
      InputError: An option that cannot be used.
    """
    if options.labels not in ("true", "predicted"):
        raise errors.InputError(f"labels must be 'true' or 'predicted'; got {options.labels!r}.")
    losses.check_target_choice(options.targets)
    logits = _predict_logits(classifier, images.pixels, options.batch_size)
    predicted = logits.argmax(-1).astype(np.int32)
    correct = predicted == images.labels
    usable = correct if options.labels == "true" else np.ones_like(correct)
    chosen = np.flatnonzero(usable)[: options.num_attacked]
    labels = predicted[chosen]
    keys = prng.make_keys(options.seed, images.ids[chosen], _TARGET_STREAM)
    target_classes = losses.choose_targets(options.targets, logits[chosen], labels, keys).numpy()
    results, score = {}, None
    if len(chosen):
        pixels = images.pixels[chosen] / np.float32(255)
        ids = images.ids[chosen]
        results = _run_attacks(classifier, pixels, labels, ids, target_classes, options)
        clever_rows = slice(options.num_clever)
        score = clever(
            classifier,
            pixels[clever_rows],
            labels[clever_rows],
            targets=target_classes[clever_rows],
            ids=ids[clever_rows],
            norm="l2",
            batch_size=options.batch_size,
            seed=options.seed,
            **options.clever,
        )
    return Distortions(
        measurements.compute_accuracy(float(correct.sum()), len(correct)),
        predicted,
        chosen,
        target_classes,
        results,
        score,
        int(np.prod(images.pixels.shape[1:])),
    )


def _predict_logits(classifier: LogitsFn, pixels, batch_size: int) -> np.ndarray:
    """Returns float32 [n, classes]; batches of one size, the last padded."""
    logit_batches = []
    for start in range(0, len(pixels), batch_size):
        rows = np.arange(start, start + batch_size)
        batch = pixels[np.minimum(rows, len(pixels) - 1)] / np.float32(255)
        logits = compilation.predict(classifier, tf.constant(batch))
        logit_batches.append(logits.numpy()[: len(pixels) - start])
    return np.concatenate(logit_batches)


def _run_attacks(
    classifier: LogitsFn, pixels, labels, ids, target_classes, options: DistortionOptions
) -> dict[str, AttackResult]:
    return {
        name: attacks.run(
            attack,
            classifier,
            pixels,
            labels,
            ids=ids,
            targets=target_classes,
            batch_size=options.batch_size,
            seed=options.seed,
            **getattr(options, name),
        )
        for name, attack in ATTACKS.items()
    }


# What Fig. 3's measures of one network become in the table.
#
# ```python
# rows = rows_of(subject, imagenet_distortions.measure(...), asked)
# ```


def build_distortion_rows(
    model_info: ModelInfo, distortions: Distortions, options: DistortionOptions
) -> list[Row]:
    """Returns the rows of one network.

    Args:
      model_info: The network.
      distortions: What was measured.
      options: How.

    Returns:
      "test_accuracy" (top-1, true labels); of each attack "success_rate",
      the mean distances over the images where it succeeded ("mean_linf",
      "mean_l2", ...) and the mean calls; "mean_l2_per_element" of Carlini
      and Wagner's; "mean_clever" and "mean_clever_per_element". Means have
      standard errors over images. Nothing but the accuracy where no image
      could be attacked.
    """
    rows = [model_info.build_row("test_accuracy", distortions.accuracy)]
    model_info = model_info.with_parameters(targets=options.targets, labels=options.labels)
    divisor_parameters = {"divisor": distortions.elements}
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
        attack_rows = evaluation.build_attack_rows(model_info, result, all_images, parameters)
        rows += [row for row in attack_rows if row.measure != "test_accuracy"]
        distances = result.distances["l2"][result.success] / distortions.elements
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
        mean = evaluation.compute_mean(scores / distortions.elements)
        model_info = model_info.with_parameters(**divisor_parameters)
        rows.append(model_info.build_row("mean_clever_per_element", mean))
    return rows
