"""Step 4: every training image walked down the loss, supplement Eqs. 1, 2."""

import json
from typing import Any

from qup import augmentation, looks
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, Trajectory
from qup.datasets import examples as files_of_examples
from qup.orchestration import In, Out, StatefulDir, component


@component(
    plugins=lambda given: {
        "qup.datasets": [],
        "qup.attacks": [given["attack"]["name"]],
        "qup.models": [],
    }
)
def DeltaGen(
    examples: In[Examples],
    model: In[Model],
    deltas: Out[Deltas],
    trajectory: Out[Trajectory],
    shards: StatefulDir,
    *,
    walk: dict[str, Any],
    pixel_clip: bool = True,
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
      pixel_clip: Keep every X_n in [0, 1].
      attack: Options of the attack on X_n, see `looks.on_trajectory`.
      seed: Of random starts.
    """
    walked = augmentation.opposite_deltas(
        artifacts.load_network(model.path),
        files_of_examples.read(examples.path),
        shards,
        bounds=looks.box(pixel_clip),
        attack=looks.bound(attack, seed=seed),
        **walk,
    )
    walked.link(deltas.path)
    counted = {"images": walked.num_images, "points": walked.trajectory}
    (trajectory.path / "trajectory.json").write_text(json.dumps(counted))
