"""Attacks made on one network and shown to another.

A control of IFA: where an attack on the classifier alone breaks the pair as
often as the attack through both, or more often, the gradient through the
translator is of no use to an attacker, and the pair's RA under it says
little.

```python
found = transferred({"CL": classifier, "ACL": augmented}, batches, attack)
found["CL", "ACL"].robust_accuracy  # made on CL, evaluated on ACL
```
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from qup.core.measurements import Accuracy, compute_accuracy
from qup.core.types import Attack, Batch, LogitsFn
from qup.robustness.evaluation import compute_correct_mask


class TransferAccuracies(NamedTuple):
    """What images attacked on one network do to another, in percent.

    Attributes:
      robust_accuracy: Right on the attacked images.
      robust_accuracy_strict: Right before and after.
      broken_by_transfer_alone: Right before and under the attack on itself,
        and wrong here; 0 where both networks are the same.
    """

    robust_accuracy: Accuracy
    robust_accuracy_strict: Accuracy
    broken_by_transfer_alone: Accuracy


def evaluate_transfer(
    networks: Mapping[str, LogitsFn], batches: Iterable[Batch], attack: Attack
) -> dict[tuple[str, str], TransferAccuracies]:
    """Attacks every network and shows the images to each.

    Args:
      networks: Image to logits, by name.
      batches: The images; padding rows have weight 0.
      attack: attack(logits_fn, images, labels, *, ids).

    Returns:
      What was found by (made on, evaluated on).
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
