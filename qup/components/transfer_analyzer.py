"""A control: what is made to break a classifier, shown to its pair."""

from typing import Any

from qup import looks, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component
from qup.transfers import transferred


@component
def TransferAnalyzer(
    examples: In[Examples],
    model: In[Model],
    augmented: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    attack: dict[str, Any],
    num_images: int | None = None,
    split: str = "test",
    seed: int = 0,
) -> None:
    """Attacks a classifier and its pair, and shows the images to each.

    Args:
      examples: The images.
      model: The classifier, CL.
      augmented: The classifier behind a translator, ACL.
      evaluation: Its rows of each network: "robust_accuracy",
        "robust_accuracy_strict" and "broken_by_transfer_alone", with
        "made_on" "CL" or "ACL". Rows of CL have the parameters of ACL, too.
      attack: The group `attack` of the settings, see qup/looks.py.
      num_images: How many images; None for all.
      split: The images to attack.
      seed: Of random starts.
    """
    data = files_of_examples.read(examples.path)
    places = {"CL": model.path, "ACL": augmented.path}
    subjects = {name: artifacts.subject(path) for name, path in places.items()}
    networks = {
        name: artifacts.load_network(path) for name, path in places.items()
    }
    options = looks.options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    found = transferred(
        networks,
        data.evaluation_batches(split, size, limit=num_images),
        looks.bound(options, seed=seed),
    )
    pair = {**subjects["ACL"].parameters, "split": split}
    rows = []
    for (made_on, on), values in found.items():
        subject = subjects[on].such(**pair, made_on=made_on)
        rows += [
            subject.row(measure, value, options)
            for measure, value in values._asdict().items()
        ]
    measurements.write(evaluation.path / "measurements.csv", rows)
