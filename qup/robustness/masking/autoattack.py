"""The six checks of AutoAttack's implementation, alone and as one check.

```python
masking.get("autoattack_checks")(classifier, images, labels, epsilon=0.1)
```

Reference: Croce and Hein 2020, arXiv 2003.01690, and the flags of its implementation.
"""

import re
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from qup.core import errors
from qup.core.classifier import get_classifier_program
from qup.robustness import masking
from qup.robustness.masking import diagnosis
from qup.robustness.masking.case import (
    FLAGGED,
    NOT_CHECKED,
    PASSED,
    STATUS_VALUES,
    CheckResult,
    DiagnosisCase,
)

_CHECKS = (
    "randomised",
    "probabilities",
    "zero_gradients",
    "black_box",
    "inner_optimisation",
    "few_classes",
)
# The targeted difference of logits ratio divides by z_(1) - (z_(3) + z_(4)) / 2.
MIN_CLASSES = 4
# AutoAttack's threshold for normalised logits. Float32 sums in another order differ by about 1e-6.
MAX_DIFFERENCE = 1e-4
_LOOP_OPERATIONS = {"While", "StatelessWhile"}
# Calls of code that is not in the graph.
_OPAQUE_OPERATIONS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Operations that only backpropagation creates: ReluGrad, FusedBatchNormGradV3,
# Conv2DBackpropFilter. (Conv2DBackpropInput is a transposed convolution as well.)
_GRADIENT_OPERATION = re.compile(r"(?<!Stop)(?<!Prevent)Grad(V\d+)?$|BackpropFilter")
# Name scopes of the operations that tf.GradientTape and tf.gradients add.
_GRADIENT_SCOPE = re.compile(r"(^|/)(gradient_tape|gradients)(_\d+)?/")


@masking.register
def autoattack_checks(case: DiagnosisCase) -> CheckResult:
    """Combines six other checks.

    They are randomness of the classifier, probabilities instead of logits, zero gradients at the
    start, Square being stronger than the white-box attack by more than 0.2 points, optimisation at
    inference, and the number of classes. Each check has its own options of the case.

    Returns:
      A number for each of the six: 1 flagged, 0 passed, NaN not checked. Flagged if one of them is
      (one image without a gradient is enough, as for AutoAttack), else "not checked" if one of them
      is.

    Reference: Croce et al. 2020, arXiv 2010.09670.
    """
    results = {name: diagnosis.run_check(case, name) for name in _CHECKS}
    status = {name: result.status for name, result in results.items()}
    values = results["zero_gradients"].values
    if any(share > 0 for key, share in values.items() if key.startswith("zero_images")):
        status["zero_gradients"] = FLAGGED
    flagged = [name for name in _CHECKS if status[name] == FLAGGED]
    not_checked = [name for name in _CHECKS if status[name] == NOT_CHECKED]
    message = "None of the six checks is flagged."
    if flagged:
        message = f"Flagged: {', '.join(flagged)}."
    if not_checked:
        message += f" Not checked: {', '.join(not_checked)}."
    overall = FLAGGED if flagged else NOT_CHECKED if not_checked else PASSED
    return CheckResult(
        "autoattack_checks",
        {name: STATUS_VALUES[status[name]] for name in _CHECKS},
        overall,
        message,
        len(case.labels),
    )


@masking.register
def few_classes(case: DiagnosisCase) -> CheckResult:
    """Counts the classes.

    Returns:
      "classes"; flagged below 4.
    """
    count = case.classifier_info.num_classes
    message = f"The classifier has {count} classes."
    if count < MIN_CLASSES:
        message += (
            " The targeted DLR loss needs 4, the untargeted one 3: autoattack runs here without "
            "them, so its results are not those of the standard ensemble."
        )
    return CheckResult(
        "few_classes",
        {"classes": count},
        FLAGGED if count < MIN_CLASSES else PASSED,
        message,
        len(case.labels),
    )


@masking.register
def probabilities(case: DiagnosisCase) -> CheckResult:
    """Tests whether the logits can be had although the classifier returns probabilities.

    Returns:
      "probabilities", 1 if the classifier returns probabilities, else 0. Flagged if they are all
      that there is; the last activation of a Keras model is left out, which loses nothing.

    Reference: Carlini and Wagner 2016, arXiv 1607.04311, on defensive distillation.
    """
    info = case.classifier_info
    message = "The classifier returns logits."
    if info.probabilities and info.is_exact:
        message = "The classifier returns probabilities; the logits before them are attacked."
    elif info.probabilities:
        message = (
            "The classifier returns probabilities. Attacks here invert the activation, but float32 "
            "rounds small probabilities, and their gradients, to zero. Use the logits."
        )
    return CheckResult(
        "probabilities",
        {"probabilities": float(info.probabilities)},
        FLAGGED if info.probabilities and not info.is_exact else PASSED,
        message,
        len(case.labels),
    )


@masking.register
def randomised(case: DiagnosisCase, *, num_passes: int = 5) -> CheckResult:
    """Evaluates the first batch several times.

    A gradient of a random classifier is a random sample: an attack that follows it is a random
    walk, and its result may fail the next time. The classifier is called without compilation, so
    that random numbers of Python and NumPy are detected as well.

    Args:
      case: See `DiagnosisCase`.
      num_passes: Number of evaluations, at least two.

    Returns:
      "largest_difference", the largest L2 distance between two normalised outputs for one image,
      and "changed_classes", the share in percent of images whose class changes. Flagged if the
      former is above 1e-4 or the latter above 0.

    Raises:
      InputError: Fewer than two passes.

    Reference: Athalye, Carlini, Wagner 2018, arXiv 1802.00420.
    """
    errors.check_number("num_passes", num_passes, at_least=2)
    images = case.images[: case.batch_size]
    options = {"training": False} if isinstance(case.classifier, keras.Layer) else {}
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
        f"The outputs for an image differ by at most {distances.max():.1e} over {num_passes} "
        "passes."
    )
    if is_random:
        message = (
            f"The classifier is randomised: outputs differ by {distances.max():.1e}, and "
            f"{values['changed_classes']:.1f} % of the images change class. Average gradients over "
            "passes (expectation= of apgd_ce)."
        )
    return CheckResult("randomised", values, FLAGGED if is_random else PASSED, message, len(images))


@masking.register
def inner_optimisation(case: DiagnosisCase) -> CheckResult:
    """Searches the traced graph of the classifier for gradients and loops.

    A classifier that first optimises its input (purification, search for a latent code) defeats an
    attack that differentiates through it directly. The graph does not show unrolled loops, finite
    differences, or Python code that it calls.

    Returns:
      The numbers of "gradient_operations", "loops" and "opaque_operations" (calls of Python).
      Flagged if gradients are computed; "not checked" if there is only a loop, which a recurrent
      layer has too, or an opaque operation.

    Reference: Croce et al. 2022, arXiv 2202.13711.
    """
    operations = list(_iterate_operations(case))
    values = {
        "gradient_operations": sum(
            bool(_GRADIENT_OPERATION.search(kind) or _GRADIENT_SCOPE.search(name))
            for kind, name in operations
        ),
        "loops": sum(kind in _LOOP_OPERATIONS for kind, _ in operations),
        "opaque_operations": sum(kind in _OPAQUE_OPERATIONS for kind, _ in operations),
    }
    status, message = _judge_graph(**values)
    return CheckResult("inner_optimisation", values, status, message, len(case.labels))


def _judge_graph(gradient_operations: int, loops: int, opaque_operations: int) -> tuple[str, str]:
    """Returns the status and the message."""
    if gradient_operations:
        return FLAGGED, (
            "The classifier computes gradients at inference. It may change its input before it "
            "classifies. Use an attack that takes this into account."
        )
    if loops or opaque_operations:
        return NOT_CHECKED, (
            f"Undecided: the classifier's graph has {loops} loops and {opaque_operations} calls of "
            "Python code, which can hide an optimisation."
        )
    return PASSED, (
        "The classifier's graph has no gradient, no loop and no call of Python code. An unrolled "
        "loop is not detected."
    )


def _iterate_operations(case: DiagnosisCase) -> Iterator[tuple[str, str]]:
    """Yields (kind, name) of the operations that the classifier runs, inside functions as well."""
    spec = tf.TensorSpec((case.batch_size, *case.images.shape[1:]), tf.float32)
    graph = get_classifier_program(
        case.classifier,
        "masking graph",
        lambda call: (
            tf.function(call, autograph=False).get_concrete_function(spec).graph.as_graph_def()
        ),
    )
    functions = {f.signature.name: f.node_def for f in graph.library.function}
    # Only called functions: the library also holds derivatives for later use.
    pending, seen = [graph.node], set()
    while pending:
        for node in pending.pop():
            yield node.op, node.name
            called_names = [value.func.name for value in node.attr.values()]
            called_names += [f.name for value in node.attr.values() for f in value.list.func]
            # An operation may itself be the name of a function.
            for name in {node.op, *called_names} & functions.keys() - seen:
                seen.add(name)
                pending.append(functions[name])
