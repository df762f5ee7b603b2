"""Step 4: every training image walked down the loss, supplement Eqs. 1, 2."""

import json
from typing import Any

from qup import augmentation, looks
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, Trajectory
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, StatefulDir, component


@component
def DeltaGen(
    examples: In[Examples],
    model: In[Model],
    deltas: Out[Deltas],
    trajectory: Out[Trajectory],
    shards: StatefulDir,
    *,
    walk: dict[str, Any],
    attack: dict[str, Any],
    seed: int = 0,
) -> None:
    """Walks the training images, and counts on the way.

    Args:
      examples: The images.
      model: The classifier.
      deltas: Delta_N; it depends on the walk alone.
      trajectory: What was counted at the points of the walk.
      shards: Of an unfinished walk.
      walk: Keyword arguments of `augmentation.opposite_deltas`.
      attack: Options of the attack on X_n, see `looks.on_trajectory`.
      seed: Of random starts.
    """
    computed_deltas = augmentation.compute_deltas(
        artifacts.load_network(model.path),
        files_of_examples.read(examples.path),
        shards,
        attack=looks.bind_attack(attack, seed=seed),
        **walk,
    )
    computed_deltas.link(deltas.path)
    trajectory_counts = {
        "images": computed_deltas.num_images,
        "points": computed_deltas.trajectory_counts,
    }
    (trajectory.path / "trajectory.json").write_text(json.dumps(trajectory_counts))
