"""The pairs (X_0, Delta_N) on disk, in shards: memory stays flat.

One shard is one batch of the walk: an .npz of `id` int64 [rows], `image`
uint8 [rows, height, width, channels] and `delta` float32 of the same shape.
Beside it lie the shard's counts: an .npz of, at each of `points`, how many
of the rows were `right` and how many were still right when `attacked`.

```python
deltas = Deltas.open("runs/demo/pipeline/DeltaGen.epoch-1/deltas/5")
deltas.scale  # the largest |Delta|
```
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup import errors, files, nesting

_SETTINGS = "settings.json"


class Deltas:
    """A folder of shards, complete or still growing.

    Attributes:
      directory: The folder.
      settings: How the walk was made; JSON values.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        settings: Mapping[str, Any],
        counted: Mapping[str, Any] | None = None,
    ):
        """Opens a folder, or starts one.

        Args:
          directory: The folder.
          settings: How the walk is made; must hold "num_shards".
          counted: What is counted on the way, and how.

        Raises:
          InputError: The folder holds a walk of other settings.
        """
        self.directory = pathlib.Path(directory)
        self.settings = dict(settings)
        self._keep(_SETTINGS, self.settings)
        if counted is not None:
            self._keep("counted.json", counted)

    @classmethod
    def open(cls, directory: pathlib.Path) -> "Deltas":
        """Opens a folder that holds a walk.

        Raises:
          InputError: It holds none.
        """
        path = pathlib.Path(directory) / _SETTINGS
        try:
            return cls(directory, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            message = f"{directory} holds no walk: {error}."
            raise errors.InputError(message) from error

    def _keep(self, name: str, settings: Mapping[str, Any]) -> None:
        path = self.directory / name
        text = json.dumps(settings, sort_keys=True, indent=1)
        if not path.exists():
            files.write_text(path, text)
            return
        try:
            was = json.loads(path.read_text(encoding="utf-8"))
            changed = nesting.changes(was, json.loads(text))
        except (ValueError, AttributeError):
            changed = [f"{path} is damaged"]
        if changed:
            raise errors.InputError(
                f"{self.directory} holds a walk with other settings: "
                f"{', '.join(changed)}. Choose another folder, or remove it."
            )

    def link(self, directory: pathlib.Path) -> None:
        """Puts the walk, but no counts, into another folder as well."""
        shards = map(self.path, range(self.settings["num_shards"]))
        for path in (self.directory / _SETTINGS, *shards):
            files.link(path, directory / path.name)

    def path(self, shard: int, kind: str = "shard") -> pathlib.Path:
        """Returns the file of a shard, or of its counts (kind "counts")."""
        count = self.settings["num_shards"]
        return self.directory / f"{kind}-{shard:05d}-of-{count:05d}.npz"

    def missing(self) -> list[int]:
        """Returns the numbers of the shards that are not there yet."""
        shards = range(self.settings["num_shards"])
        return [shard for shard in shards if not self.path(shard).exists()]

    def write(
        self,
        shard: int,
        arrays: Mapping[str, np.ndarray],
        counts: Mapping[str, np.ndarray],
    ) -> None:
        """Writes one shard whole; InputError if Delta is not finite."""
        if not np.isfinite(arrays["delta"]).all():
            raise errors.InputError(
                "The walk left the finite numbers: the classifier's gradient "
                "is NaN or infinite. Look at the classifier's training."
            )
        # The counts first: where the shard is, they are.
        with files.replacing(self.path(shard, "counts")) as partial:
            np.savez(partial, **counts)
        with files.replacing(self.path(shard)) as partial:
            np.savez(partial, **arrays)

    def read(self, shard: int) -> dict[str, np.ndarray]:
        """Reads one shard.

        Raises:
          InputError: The file is missing or damaged.
        """
        path = self.path(shard)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = dict(archive)
            shape = arrays["image"].shape
            if arrays["delta"].shape != shape or len(arrays["id"]) != shape[0]:
                raise ValueError("its arrays do not fit one another")
            return arrays
        except Exception as error:
            raise errors.InputError(
                f"The shard {path} cannot be read: {error}. Remove it, and "
                "the next start walks its images again."
            ) from error

    @functools.cached_property
    def _summary(self) -> dict[str, Any]:
        """One pass over the shards: sizes and the scale."""
        ids, scale = [], 0.0
        for shard in range(self.settings["num_shards"]):
            arrays = self.read(shard)
            ids.append(arrays["id"])
            scale = max(scale, float(np.abs(arrays["delta"]).max()))
        images = len(np.unique(np.concatenate(ids)))
        if images != self.settings["num_images"]:
            raise errors.InputError(
                f"The shards of {self.directory} hold {images} images, "
                f"expected {self.settings['num_images']}. Remove the folder, "
                "and the next start walks anew."
            )
        return {
            "images": images,
            "shape": arrays["delta"].shape[1:],
            "scale": scale,
        }

    @property
    def num_images(self) -> int:
        """Number of pairs."""
        return self._summary["images"]

    @property
    def walk(self) -> dict[str, Any]:
        """The keyword arguments of `opposite_fgsm.walk`."""
        names = ("num_steps", "step_size", "bounds", "loss")
        return {name: self.settings[name] for name in names}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self._summary["shape"]

    @property
    def scale(self) -> float:
        """The largest |Delta|; 1 where every Delta is zero."""
        return self._summary["scale"] or 1.0

    @property
    def trajectory(self) -> list[tuple[int, float, float]]:
        """[(n, right, right when attacked)]: counts of images at X_n."""
        right = attacked = 0
        for shard in range(self.settings["num_shards"]):
            path = self.path(shard, kind="counts")
            try:
                with np.load(path, allow_pickle=False) as counts:
                    points = counts["points"].tolist()
                    right = right + counts["right"]
                    attacked = attacked + counts["attacked"]
            except Exception as error:
                raise errors.InputError(
                    f"The counts {path} cannot be read: {error}. Remove the "
                    "folder to walk anew."
                ) from error
        return list(zip(points, right.tolist(), attacked.tolist(), strict=True))
