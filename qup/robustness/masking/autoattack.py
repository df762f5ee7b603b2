"""The six checks that AutoAttack makes before it is believed.

```python
masking.get("autoattack_checks")(classifier, images, labels, epsilon=0.1)
```
"""

import re
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from qup.core import compilation, errors
from qup.robustness import masking
from qup.robustness.masking import diagnosis
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED, PASSED, CheckResult, DiagnosisCase

_CHECKS = (
    "randomised",
    "probabilities",
    "zero_gradients",
    "black_box",
    "inner_optimisation",
    "few_classes",
)


@masking.register
def autoattack_checks(case: DiagnosisCase) -> CheckResult:
    """Brings six other checks together.

    They are the classifier's randomness, probabilities in place of logits,
    zero gradients at the start, Square beating the white-box attack by over
    0.2 points, optimisation at inference and the number of classes. They
    are made with the options given for each of them.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with a number for each of the six: 1 flagged, 0 passed, NaN
      not checked. Flagged where one is (any image without a gradient is
      enough, as for AutoAttack), else "not checked" where one is not.

    Reference: Croce and Hein 2020, arXiv 2003.01690, and the flags of its
    implementation; Croce et al. 2020, arXiv 2010.09670.
    """
    codes = {FLAGGED: 1.0, PASSED: 0.0, NOT_CHECKED: float("nan")}
    results = {name: diagnosis.run_check(case, name) for name in _CHECKS}
    status = {name: result.status for name, result in results.items()}
    zero_gradient_values = results["zero_gradients"].values
    if any(
        zero_gradient_values[key] > 0
        for key in zero_gradient_values
        if key.startswith("zero_images")
    ):
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
        {name: codes[status[name]] for name in _CHECKS},
        overall,
        message,
        len(case.labels),
    )


# Whether the classifier has enough classes for the attacks on logits.
#
# ```python
# masking.get("few_classes")(classifier, images, labels, epsilon=0.1)
# ```


# The targeted difference of logits ratio divides by
# z_(1) - (z_(3) + z_(4)) / 2.
MIN_CLASSES = 4


@masking.register
def few_classes(case: DiagnosisCase) -> CheckResult:
    """Counts the classes.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with "classes"; flagged below 4.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """
    count = case.classifier_info.num_classes
    message = f"The classifier has {count} classes."
    if count < MIN_CLASSES:
        message += (
            " The targeted DLR loss needs 4, the untargeted 3: standard "
            "AutoAttack is not defined here. Attack by apgd_ce, by PGD on "
            "the margin, and by square."
        )
    return CheckResult(
        "few_classes",
        {"classes": count},
        FLAGGED if count < MIN_CLASSES else PASSED,
        message,
        len(case.labels),
    )


# Whether the classifier gives probabilities in place of logits.
#
# ```python
# masking.get("probabilities")(classifier, images, labels, epsilon=0.1)
# ```


@masking.register
def probabilities(case: DiagnosisCase) -> CheckResult:
    """Looks at the first batch's answers: do all rows sum to one?

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with "probabilities", 1 where no answer is negative and each
      row sums to one within 1e-4, else 0. Flagged at 1.

    Reference: Croce and Hein 2020, arXiv 2003.01690; Carlini and Wagner
    2016, arXiv 1607.04311, on defensive distillation.
    """
    is_probability = case.classifier_info.probabilities
    message = "The classifier answers logits."
    if is_probability:
        message = (
            "The classifier answers probabilities. Attacks here take their "
            "logarithm, but a softmax in float32 has rounded small "
            "probabilities, and their gradients, to zero: give the logits."
        )
    return CheckResult(
        "probabilities",
        {"probabilities": float(is_probability)},
        FLAGGED if is_probability else PASSED,
        message,
        len(case.labels),
    )


# Whether the classifier answers twice the same.
#
# ```python
# masking.get("randomised")(classifier, images, labels, epsilon=0.1)
# ```


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


# Whether the classifier computes gradients, or loops, when it answers.
#
# ```python
# masking.get("inner_optimisation")(classifier, images, labels, epsilon=0.1)
# ```


_LOOP_OPERATIONS = {"While", "StatelessWhile"}
# Code that the graph only calls.
_OPAQUE_OPERATIONS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Operations that only backpropagation makes: ReluGrad, FusedBatchNormGradV3,
# Conv2DBackpropFilter. (Conv2DBackpropInput also is a transposed
# convolution.)
_GRADIENT_OPERATION = re.compile(r"(?<!Stop)(?<!Prevent)Grad(V\d+)?$|BackpropFilter")
# What tf.GradientTape and tf.gradients call the operations they add.
_GRADIENT_SCOPE = re.compile(r"(^|/)(gradient_tape|gradients)(_\d+)?/")


@masking.register
def inner_optimisation(case: DiagnosisCase) -> CheckResult:
    """Looks through the traced graph of the classifier.

    A classifier that first optimises its input (purifies it, looks for a
    latent code) defeats an attack that differentiates through it as if it
    did not. The graph shows gradients and loops, but not: a loop or a
    finite difference written out step by step, or what Python code does
    that the graph calls.

    Args:
      case: What is examined, see `DiagnosisCase`.

    Returns:
      A finding with the numbers of "gradient_operations", "loops" and
      "opaque_operations" (calls of Python). Flagged where gradients are
      computed; "not checked" where only a loop, which a recurrent layer has
      too, or an opaque operation is seen.

    Reference: AutoAttack's checks, Croce and Hein 2020, arXiv 2003.01690;
    Croce et al. 2022, arXiv 2202.13711.
    """
    operations = list(_iterate_operations(case))
    values = {
        "gradient_operations": sum(_is_gradient_operation(*operation) for operation in operations),
        "loops": sum(kind in _LOOP_OPERATIONS for kind, _ in operations),
        "opaque_operations": sum(kind in _OPAQUE_OPERATIONS for kind, _ in operations),
    }
    status, message = _judge_graph(**values)
    return CheckResult("inner_optimisation", values, status, message, len(case.labels))


def _judge_graph(gradient_operations: int, loops: int, opaque_operations: int) -> tuple[str, str]:
    """Returns the status and the words."""
    if gradient_operations:
        return FLAGGED, (
            "The classifier computes gradients while it answers. It may "
            "change its input before classifying: attack it in a way that "
            "knows of this."
        )
    if loops or opaque_operations:
        return NOT_CHECKED, (
            f"Undecided: the classifier's graph has {loops} loops and "
            f"{opaque_operations} calls of Python code, in which an "
            "optimisation would not be seen."
        )
    return PASSED, (
        "The classifier's graph has no gradient, no loop and no call of "
        "Python code. A loop written out step by step would not show."
    )


def _is_gradient_operation(kind: str, name: str) -> bool:
    return bool(_GRADIENT_OPERATION.search(kind) or _GRADIENT_SCOPE.search(name))


def _iterate_operations(case: DiagnosisCase) -> Iterator[tuple[str, str]]:
    """Yields (kind, name) of what the classifier runs, functions included."""
    spec = tf.TensorSpec((case.batch_size, *case.images.shape[1:]), tf.float32)
    graph = compilation.get_program(
        case.classifier,
        "masking graph",
        lambda call: (
            tf.function(call, autograph=False).get_concrete_function(spec).graph.as_graph_def()
        ),
    )
    functions = {f.signature.name: f.node_def for f in graph.library.function}
    # Only what is called: the library also keeps derivatives for later use.
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
