"""Whether the classifier computes gradients, or loops, when it answers.

```python
masking.get("inner_optimisation")(classifier, images, labels, epsilon=0.1)
```
"""

import re
from collections.abc import Iterator

import tensorflow as tf

from qup import compilation, masking
from qup.masking.case import Case
from qup.masking.finding import FLAGGED, NOT_CHECKED, PASSED, Finding

_LOOPS = {"While", "StatelessWhile"}
# Code that the graph only calls.
_OPAQUE = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Operations that only backpropagation makes: ReluGrad, FusedBatchNormGradV3,
# Conv2DBackpropFilter. (Conv2DBackpropInput also is a transposed
# convolution.)
_BACKWARD = re.compile(r"(?<!Stop)(?<!Prevent)Grad(V\d+)?$|BackpropFilter")
# What tf.GradientTape and tf.gradients call the operations they add.
_SCOPE = re.compile(r"(^|/)(gradient_tape|gradients)(_\d+)?/")


@masking.register
def inner_optimisation(case: Case) -> Finding:
    """Looks through the traced graph of the classifier.

    A classifier that first optimises its input (purifies it, looks for a
    latent code) defeats an attack that differentiates through it as if it
    did not. The graph shows gradients and loops, but not: a loop or a
    finite difference written out step by step, or what Python code does
    that the graph calls.

    Args:
      case: What is examined, see `Case`.

    Returns:
      A finding with the numbers of "gradient_operations", "loops" and
      "opaque_operations" (calls of Python). Flagged where gradients are
      computed; "not checked" where only a loop, which a recurrent layer has
      too, or an opaque operation is seen.

    Reference: AutoAttack's checks, Croce and Hein 2020, arXiv 2003.01690;
    Croce et al. 2022, arXiv 2202.13711.
    """
    operations = list(_operations(case))
    values = {
        "gradient_operations": sum(_backward(*each) for each in operations),
        "loops": sum(kind in _LOOPS for kind, _ in operations),
        "opaque_operations": sum(kind in _OPAQUE for kind, _ in operations),
    }
    status, words = _judged(**values)
    return Finding(
        "inner_optimisation", values, status, words, len(case.labels)
    )


def _judged(
    gradient_operations: int, loops: int, opaque_operations: int
) -> tuple[str, str]:
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


def _backward(kind: str, name: str) -> bool:
    return bool(_BACKWARD.search(kind) or _SCOPE.search(name))


def _operations(case: Case) -> Iterator[tuple[str, str]]:
    """Yields (kind, name) of what the classifier runs, functions included."""
    spec = tf.TensorSpec((case.batch_size, *case.images.shape[1:]), tf.float32)
    graph = compilation.program(
        case.classifier,
        "masking graph",
        lambda call: (
            tf.function(call, autograph=False)
            .get_concrete_function(spec)
            .graph.as_graph_def()
        ),
    )
    functions = {f.signature.name: f.node_def for f in graph.library.function}
    # Only what is called: the library also keeps derivatives for later use.
    waiting, seen = [graph.node], set()
    while waiting:
        for node in waiting.pop():
            yield node.op, node.name
            called = [value.func.name for value in node.attr.values()]
            called += [f.name for value in node.attr.values()
                       for f in value.list.func]  # fmt: skip
            # An operation may itself be the name of a function.
            for name in {node.op, *called} & functions.keys() - seen:
                seen.add(name)
                waiting.append(functions[name])
