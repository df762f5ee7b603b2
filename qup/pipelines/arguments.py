"""What each node of the road is given, out of the settings."""

import dataclasses
import pathlib
from typing import Any

from qup import looks
from qup.pipelines import settings
from qup.types import DatasetInfo


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments of the road's nodes.

    Attributes:
      config: The settings.
      info: What the data is.
      log_dir: TensorBoard's folder.
    """

    config: settings.Config
    info: DatasetInfo
    log_dir: pathlib.Path

    def examples(self, source: str) -> dict[str, Any]:
        """Of ExampleGen."""
        scratch = settings.workdir(self.config) / "data"
        return {
            **settings.examples(self.config),
            "dataset": self.config.dataset.name,
            "source": source,
            "scratch_dir": str(scratch.absolute()),
        }

    def training(self, epochs: int) -> dict[str, Any]:
        """Of Trainer."""
        config = self.config
        options = settings.model_options(config)
        rows = {f"model_{key}": value for key, value in options.items()}
        rows["train_size"] = self.info.sizes["train"]
        for key, value in config.training.items():
            # What was left to the model's recipe is left out.
            if key != "epochs" and value not in (None, False):
                rows[f"training_{key}"] = value
        return {
            "model_name": config.model.name,
            "model_options": options,
            "recipe": settings.recipe(config),
            "augment": config.training.augment,
            "epochs": epochs,
            "seed": config.seed,
            "row_parameters": rows,
            "log_dir": str(self.log_dir),
        }

    def evaluation(self) -> dict[str, Any]:
        """Of Evaluator."""
        return {
            "attack": settings.attack(self.config),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
        }

    def walk(self) -> dict[str, Any]:
        """Of DeltaGen."""
        group = self.config.augmentation
        names = ("num_steps", "step_size", "loss", "batch_size", "num_images")
        walk = {name: group[name] for name in names}
        # Those beyond N are never reached: they make no other walk.
        reached = {n for n in group.points if n < group.num_steps}
        walk["points"] = sorted({*reached, group.num_steps})
        walk["bounds"] = looks.box(group.pixel_clip)
        return {
            "walk": walk,
            "attack": self._on_trajectory(),
            "seed": self.config.seed,
        }

    def _on_trajectory(self) -> dict[str, Any]:
        clip = self.config.augmentation.pixel_clip
        return looks.on_trajectory(
            settings.attack(self.config), pixel_clip=clip
        )

    def translation(self) -> dict[str, Any]:
        """Of TranslatorTrainer."""
        return {
            "options": dict(self.config.translator),
            "seed": self.config.seed,
            "log_dir": str(self.log_dir),
        }

    def _walk_rows(self) -> dict[str, Any]:
        """What a row of X_n, or of what learnt from it, depends on."""
        walk = self.config.augmentation
        names = ("loss", "num_images", "pixel_clip", "step_size")
        return {
            f"augmentation_{name}": walk[name]
            for name in names
            if walk[name] is not None
        }

    def combination(self) -> dict[str, Any]:
        """Of Combiner."""
        rows = {f"translator_{k}": v for k, v in self.config.translator.items()}
        rows |= self._walk_rows()
        rows["augmentation_num_steps"] = self.config.augmentation.num_steps
        through = self.config.attack.through
        return {"through": through, "row_parameters": rows}

    def analysis(self) -> dict[str, Any]:
        """Of Analyzer."""
        return {
            "attack": self._on_trajectory(),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
            "row_parameters": self._walk_rows(),
        }

    def pushing(self, name: str, epochs: int) -> dict[str, Any]:
        """Of Pusher: of "classifier" or "augmented_classifier"."""
        folder = settings.workdir(self.config) / "serving" / name
        return {"destination": str(folder.absolute()), "version": epochs}
