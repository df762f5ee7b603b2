"""Whether the classifier computes gradients, or loops, when it answers.

```python
masking.get("inner_optimisation")(classifier, images, labels, epsilon=0.1)
```
"""

import re
from collections.abc import Iterator

import tensorflow as tf

from qup import compilation, masking
from qup.masking.case import DiagnosisCase
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, CheckResult

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
