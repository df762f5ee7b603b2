"""A control: opposite FGSM on images that no translator was taught with."""

from typing import Any

from qup import looks, measurements
from qup.components import artifacts
from qup.components.artifacts import Examples, Model, ModelEvaluation
from qup.datasets import examples as files_of_examples
from qup.measurements import Row
from qup.orchestration import In, Out, component
from qup.subjects import ModelInfo
from qup.walked_accuracies import TrajectoryPoint, evaluate_trajectory


@component
def WalkEvaluator(
    examples: In[Examples],
    model: In[Model],
    evaluation: Out[ModelEvaluation],
    *,
    walk: dict[str, Any],
    attack: dict[str, Any],
    walked_with: list[str],
    num_images: int | None = None,
    split: str = "test",
    batch_size: int = 500,
    seed: int = 0,
) -> None:
    """Gives TA and RA of images walked with true and with predicted labels.

    Args:
      examples: The images.
      model: The classifier.
      evaluation: Its rows: "test_accuracy" of X_n, and "robust_accuracy" of
        X_n ("attacked_image":"X_n") and of an attacked X_0 that was walked
        ("X_0"), each with "step" and "walked_with".
      walk: As DeltaGen takes it; of it "points", the n to measure at, and
        "step_size", "bounds" and "loss" are used.
      attack: The group `attack` of the settings, see qup/looks.py.
      walked_with: "true", "predicted" or both.
      num_images: How many images; None for all.
      split: The images to walk.
      batch_size: Images at a time.
      seed: Of random starts.
    """
    data = files_of_examples.read(examples.path)
    classifier = artifacts.load_network(model.path)
    steps = {name: walk[name] for name in ("step_size", "bounds", "loss")}
    clip = steps["bounds"] is not None
    options = {
        "X_n": looks.build_trajectory_options(attack, pixel_clip=clip),
        "X_0": looks.build_attack_options(attack),
    }
    bound_attacks = {key: looks.bind_attack(o, seed=seed) for key, o in options.items()}
    model_info = artifacts.load_model_info(model.path).with_parameters(
        images="X_n",
        split=split,
        augmentation_step_size=steps["step_size"],
        augmentation_pixel_clip=clip,
        augmentation_loss=steps["loss"],
    )
    rows = []
    for labels in walked_with:
        points = evaluate_trajectory(
            classifier,
            data.evaluation_batches(split, batch_size, max_images=num_images),
            bound_attacks["X_n"],
            attack_before=bound_attacks["X_0"],
            points=walk["points"],
            label_source=labels,
            **steps,
        )
        for point in points:
            rows += _build_walk_rows(model_info.with_parameters(walked_with=labels), point, options)
    measurements.write_rows(evaluation.path / "measurements.csv", rows)


def _build_walk_rows(
    model_info: ModelInfo, point: TrajectoryPoint, options: dict[str, dict[str, Any]]
) -> list[Row]:
    model_info = model_info.with_parameters(step=point.step)
    robust_accuracies = {"X_n": point.attacked_after, "X_0": point.attacked_before}
    return [
        model_info.build_row("test_accuracy", point.test_accuracy),
        *(
            model_info.with_parameters(attacked_image=image).build_row(
                "robust_accuracy", accuracy, options[image]
            )
            for image, accuracy in robust_accuracies.items()
        ),
    ]
