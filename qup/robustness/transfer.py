"""Transfer attacks: images attacked on one network, evaluated on another.

A control of IFA. If an attack on the classifier alone lowers the accuracy of the pair as much as an
attack through both networks, the gradient through the translator does not help an attacker, and the
pair's RA under it says little.

```python
accuracies = evaluate_transfer({"CL": classifier, "ACL": augmented}, batches, attack)
accuracies["CL", "ACL"].robust_accuracy  # attacked on CL, evaluated on ACL
```
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core.measurements import Measurement, compute_accuracy
from qup.core.types import Attack, Batch, LogitsFn
from qup.robustness.evaluation import compute_correct_mask


class TransferAccuracies(NamedTuple):
    """Accuracies of a target network on images attacked on a source network, in percent.

    Attributes:
      robust_accuracy: Correct on the attacked images.
      robust_accuracy_strict: Correct before and after the attack.
      broken_by_transfer_alone: Correct before and after an attack on the target itself, and
        incorrect here; 0 where source and target are the same network.
    """

    robust_accuracy: Measurement
    robust_accuracy_strict: Measurement
    broken_by_transfer_alone: Measurement


def evaluate_transfer(
    networks: Mapping[str, LogitsFn], batches: Iterable[Batch], attack: Attack
) -> dict[tuple[str, str], TransferAccuracies]:
    """Attacks every network and evaluates the images on each.

    Args:
      networks: Image to logits, by name.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids).

    Returns:
      Accuracies by (source, target).
    """
    counts = {(source, target): np.zeros(3) for source in networks for target in networks}
    total = 0.0
    for batch in batches:
        total += float(tf.reduce_sum(batch["weight"]))
        images = {
            name: attack(network, batch["image"], batch["label"], ids=batch["id"])
            for name, network in networks.items()
        }
        for target, network in networks.items():
            clean_mask = compute_correct_mask(network, batch["image"], batch)
            correct_masks = {
                source: compute_correct_mask(network, perturbed, batch)
                for source, perturbed in images.items()
            }
            for source, transfer_mask in correct_masks.items():
                by_transfer_alone = clean_mask * correct_masks[target] * (1 - transfer_mask)
                counts[source, target] += [
                    float(tf.reduce_sum(x))
                    for x in (transfer_mask, clean_mask * transfer_mask, by_transfer_alone)
                ]
    return {
        key: TransferAccuracies(*(compute_accuracy(float(count), total) for count in row))
        for key, row in counts.items()
    }
