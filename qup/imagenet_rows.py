"""What Fig. 3's measures of one network become in the table.

```python
rows = rows_of(subject, imagenet_distortions.measure(...), asked)
```
"""

import numpy as np

from qup import robustness
from qup.imagenet_distortions import ATTACKS, DistortionOptions, Distortions
from qup.measurements import Row
from qup.subjects import ModelInfo


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
        attack_rows = robustness.build_attack_rows(model_info, result, all_images, parameters)
        rows += [row for row in attack_rows if row.measure != "test_accuracy"]
        distances = result.distances["l2"][result.success] / distortions.elements
        if name == "carlini_wagner" and distances.size:
            mean = robustness.compute_mean(distances)
            rows.append(
                model_info.with_parameters(**divisor_parameters).build_row(
                    "mean_l2_per_element", mean, parameters
                )
            )
    if distortions.clever is not None:
        scores, parameters = distortions.clever.scores[:, 0], {"norm": "l2", **options.clever}
        model_info = model_info.with_parameters(**parameters)
        rows.append(model_info.build_row("mean_clever", robustness.compute_mean(scores)))
        mean = robustness.compute_mean(scores / distortions.elements)
        model_info = model_info.with_parameters(**divisor_parameters)
        rows.append(model_info.build_row("mean_clever_per_element", mean))
    return rows
