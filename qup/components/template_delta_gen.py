"""A control: in the place of every Delta_N the mean one of its class."""

from qup import class_templates
from qup.components.artifacts import Deltas, Examples
from qup.datasets import examples as files_of_examples
from qup.deltas import DeltaDataset as Pairs
from qup.orchestration import In, Out, StatefulDir, component


@component
def TemplateDeltaGen(
    examples: In[Examples], deltas: In[Deltas], templates: Out[Deltas], shards: StatefulDir
) -> None:
    """Replaces a walk by one fixed pattern a class.

    Args:
      examples: The images that were walked, with the labels that count.
      deltas: Their walk.
      templates: Pairs that a translator learns as those of a walk.
      shards: Of an unfinished replacement.
    """
    data = files_of_examples.read(examples.path)
    pairs, labels = Pairs.open(deltas.path), class_templates.load_labels_by_id(data)
    means = class_templates.compute_class_means(pairs, labels, data.info.num_classes)
    template_deltas = class_templates.write_template_deltas(pairs, means, labels, shards)
    template_deltas.link(templates.path)
