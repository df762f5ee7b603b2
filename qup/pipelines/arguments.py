"""What each node of the road is given, out of the settings."""

import dataclasses
import pathlib
from typing import Any

from qup import looks
from qup.pipelines import settings
from qup.types import DatasetInfo


@dataclasses.dataclass(frozen=True)
class NodeArguments:
    """The arguments of the road's nodes.

    Attributes:
      config: The settings.
      info: What the data is.
      log_dir: TensorBoard's folder.
    """

    config: settings.Config
    info: DatasetInfo
    log_dir: pathlib.Path

    def build_example_gen_kwargs(self, source: str) -> dict[str, Any]:
        """Of ExampleGen."""
        scratch = settings.get_workdir(self.config) / "data"
        return {
            **settings.get_dataset_options(self.config),
            "dataset": self.config.dataset.name,
            "source": source,
            "scratch_dir": str(scratch.absolute()),
        }

    def build_trainer_kwargs(self, epochs: int) -> dict[str, Any]:
        """Of Trainer."""
        config = self.config
        options = settings.get_model_options(config)
        rows = {f"model_{key}": value for key, value in options.items()}
        rows["train_size"] = self.info.sizes["train"]
        for key, value in config.training.items():
            # What was left to the model's recipe is left out.
            if key != "epochs" and value not in (None, False):
                rows[f"training_{key}"] = value
        return {
            "model_name": config.model.name,
            "model_options": options,
            "recipe": settings.build_recipe(config),
            "augment": config.training.augment,
            "epochs": epochs,
            "seed": config.seed,
            "row_parameters": rows,
            "log_dir": str(self.log_dir),
        }

    def build_evaluator_kwargs(self) -> dict[str, Any]:
        """Of Evaluator."""
        return {
            "attack": settings.get_attack_options(self.config),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
        }

    def build_delta_gen_kwargs(self) -> dict[str, Any]:
        """Of DeltaGen."""
        group = self.config.augmentation
        names = ("num_steps", "step_size", "loss", "batch_size", "num_images")
        options = {name: group[name] for name in names}
        # Those beyond N are never reached: they make no other walk.
        reached_points = {n for n in group.points if n < group.num_steps}
        options["points"] = sorted({*reached_points, group.num_steps})
        options["bounds"] = looks.get_pixel_bounds(group.pixel_clip)
        return {
            "walk": options,
            "attack": self._build_trajectory_attack(),
            "seed": self.config.seed,
        }

    def _build_trajectory_attack(self) -> dict[str, Any]:
        clip = self.config.augmentation.pixel_clip
        return looks.build_trajectory_options(
            settings.get_attack_options(self.config), pixel_clip=clip
        )

    def build_translator_kwargs(self) -> dict[str, Any]:
        """Of TranslatorTrainer."""
        return {
            "options": dict(self.config.translator),
            "seed": self.config.seed,
            "log_dir": str(self.log_dir),
        }

    def _build_augmentation_rows(self) -> dict[str, Any]:
        """What a row of X_n, or of what learnt from it, depends on."""
        group = self.config.augmentation
        names = ("loss", "num_images", "pixel_clip", "step_size")
        return {f"augmentation_{name}": group[name] for name in names if group[name] is not None}

    def build_combiner_kwargs(self) -> dict[str, Any]:
        """Of Combiner."""
        rows = {f"translator_{k}": v for k, v in self.config.translator.items()}
        rows |= self._build_augmentation_rows()
        rows["augmentation_num_steps"] = self.config.augmentation.num_steps
        through = self.config.attack.through
        return {"through": through, "row_parameters": rows}

    def build_analyzer_kwargs(self) -> dict[str, Any]:
        """Of Analyzer."""
        return {
            "attack": self._build_trajectory_attack(),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
            "row_parameters": self._build_augmentation_rows(),
        }

    def build_pusher_kwargs(self, name: str, epochs: int) -> dict[str, Any]:
        """Of Pusher: of "classifier" or "augmented_classifier"."""
        folder = settings.get_workdir(self.config) / "serving" / name
        return {"destination": str(folder.absolute()), "version": epochs}
