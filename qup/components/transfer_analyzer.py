"""A control: what is made to break a classifier, shown to its pair."""

from typing import Any

from qup import looks, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, component
from qup.transfers import evaluate_transfer


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
    model_paths = {"CL": model.path, "ACL": augmented.path}
    model_infos = {name: artifacts.load_model_info(path) for name, path in model_paths.items()}
    networks = {name: artifacts.load_network(path) for name, path in model_paths.items()}
    options = looks.build_attack_options(attack)
    size = min(attack["batch_size"], num_images or data.info.sizes[split])
    transfer_results = evaluate_transfer(
        networks,
        data.evaluation_batches(split, size, max_images=num_images),
        looks.bind_attack(options, seed=seed),
    )
    augmented_parameters = {**model_infos["ACL"].parameters, "split": split}
    rows = []
    for (made_on, evaluated_on), values in transfer_results.items():
        model_info = model_infos[evaluated_on].with_parameters(
            **augmented_parameters, made_on=made_on
        )
        rows += [
            model_info.build_row(measure, value, options)
            for measure, value in values._asdict().items()
        ]
    measurements.write_rows(evaluation.path / "measurements.csv", rows)
