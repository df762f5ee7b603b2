"""Whether the classifier answers twice the same.

```python
masking.get("randomised")(classifier, images, labels, epsilon=0.1)
```
"""

import keras
import numpy as np

from qup import errors, masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, PASSED, CheckResult

# AutoAttack's threshold for logits brought to length one; float32 sums in
# another order differ by some 1e-6.
MAX_DIFFERENCE = 1e-4


@masking.register
def randomised(case: DiagnosisCase, *, num_passes: int = 5) -> CheckResult:
    """Asks about the first batch several times.

    One gradient of a random classifier is one draw: an attack that follows
    it walks at random, and what it ends at may fail the next time. The
    classifier is called as it is, not compiled, so that randomness of
    Python and NumPy shows as well.

    Args:
      case: What is examined, see `DiagnosisCase`.
      num_passes: How often to ask, at least twice.

    Returns:
      A finding with "largest_difference", the largest L2 distance between
      two answers to one image, each divided by its length, and
      "changed_classes", the share in percent of images whose class changes.
      Flagged where the former is above 1e-4 or the latter above 0.

    Raises:
      InputError: Fewer than two passes.

    Reference: AutoAttack's checks, Croce and Hein 2020, arXiv 2003.01690;
    Athalye, Carlini, Wagner 2018, arXiv 1802.00420.
    """
    errors.check_number("num_passes", num_passes, at_least=2)
    images = case.images[: case.batch_size]
    keras_model = isinstance(case.classifier, keras.Layer)
    options = {"training": False} if keras_model else {}
    outputs = np.stack([np.asarray(case.classifier(images, **options)) for _ in range(num_passes)])
    lengths = np.linalg.norm(outputs, axis=-1, keepdims=True)
    unit_outputs = outputs / np.maximum(lengths, 1e-10)
    distances = np.linalg.norm(unit_outputs[:, None] - unit_outputs[None], axis=-1)
    classes = outputs.argmax(-1)
    changed = (classes != classes[0]).any(0)
    values = {
        "largest_difference": float(distances.max()),
        "changed_classes": 100.0 * float(changed.mean()),
    }
    is_random = values["largest_difference"] > MAX_DIFFERENCE or changed.any()
    message = (
        f"Answers to the same image differ by at most {distances.max():.1e} over "
        f"{num_passes} passes."
    )
    if is_random:
        message = (
            f"The classifier is random: answers differ by {distances.max():.1e}, "
            f"and {values['changed_classes']:.1f} % of the images change "
            "class. Average gradients over passes (expectation= of apgd_ce)."
        )
    return CheckResult("randomised", values, FLAGGED if is_random else PASSED, message, len(images))
