"""Step 6: the translator before the classifier, X -> f(X + G(X))."""

import dataclasses
from typing import Any

from qup import augmentation
from qup.components import artifacts
from qup.components.artifacts import Model
from qup.orchestration import In, Out, component


@component
def Combiner(
    classifier: In[Model],
    translator: In[Model],
    model: Out[Model],
    *,
    through: str = "both",
    row_parameters: dict[str, Any],
) -> None:
    """Makes the augmented classifier, and ships it as a SavedModel.

    Args:
      classifier: Image to logits.
      translator: Image to Delta.
      model: Image to logits, through both.
      through: What an attack differentiates, see `augmentation.combine`.
      row_parameters: What its rows tell beside the classifier's.
    """
    translator_network = artifacts.load_network(translator.path)
    augmented = augmentation.combine(
        artifacts.load_network(classifier.path), translator_network, attack_gradient_through=through
    )
    model_info = artifacts.load_model_info(classifier.path).with_parameters(
        **row_parameters, through=through, translator_parameters=translator_network.count_params()
    )
    model_info = dataclasses.replace(model_info, classifier="ACL")
    artifacts.save_classifier(augmented, model_info, model)
