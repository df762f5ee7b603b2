"""A control: in the place of every Delta_N the mean one of its class."""

from qup import class_templates
from qup.components.artifacts import Deltas, Examples
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.orchestration import In, Out, StatefulDir, component


@component
def TemplateDeltaGen(
    examples: In[Examples],
    deltas: In[Deltas],
    templates: Out[Deltas],
    shards: StatefulDir,
) -> None:
    """Replaces a walk by one fixed pattern a class.

    Args:
      examples: The images that were walked, with the labels that count.
      deltas: Their walk.
      templates: Pairs that a translator learns as those of a walk.
      shards: Of an unfinished replacement.
    """
    data = files_of_examples.read(examples.path)
    pairs, known = Pairs.open(deltas.path), class_templates.known_labels(data)
    means = class_templates.class_means(pairs, known, data.info.num_classes)
    made = class_templates.replaced(pairs, means, known, shards)
    made.link(templates.path)
