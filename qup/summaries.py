"""What TensorBoard shows of a run.

One folder a curve, so that equal tags lie over one another:
`train`, `validation`, `test`, `trajectory/...`, `translator/...`, `images`.

```python
board = Summaries("run/tensorboard")
board.scalars("train", 1, {"loss": 0.3})
```
"""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from qup import files


class Summaries:
    """Writers of one run, made when first written to."""

    def __init__(self, directory: pathlib.Path):
        """Remembers the folder; nothing is written yet."""
        self._directory = pathlib.Path(directory)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def holds(self, run: str) -> bool:
        """Says whether a curve has been written, by whomever."""
        with files.explained(self._directory / run):
            return any((self._directory / run).glob("*tfevents*"))

    def clear(self, run: str) -> None:
        """Removes what was written to a curve."""
        self._writers.pop(run, None)
        with files.explained(self._directory / run):
            for path in (self._directory / run).glob("*tfevents*"):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self, run: str, step: int) -> Iterator[None]:
        """Directs tf.summary's functions to a folder, and flushes."""
        path = self._directory / run
        with files.explained(path):
            if run not in self._writers:
                writer = tf.summary.create_file_writer(str(path))
                self._writers[run] = writer
            with self._writers[run].as_default(step=step):
                yield
            self._writers[run].flush()

    def scalars(self, run: str, step: int, values: Mapping[str, float]):
        """Writes one point of each curve in `values`, by tag."""
        with self._writing(run, step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def images(
        self,
        run: str,
        step: int,
        values: Mapping[str, tf.Tensor],
        *,
        sheet: str,
    ) -> None:
        """Writes images, and one sheet of them all.

        Args:
          run: Folder of the curve.
          step: Where on the slider.
          values: Tag to float32 [n, height, width, channels] in [0, 1].
          sheet: Tag of the sheet: a row for each of `values`, a column for
            each image.
        """
        rows = [tf.concat(tf.unstack(x), axis=1) for x in values.values()]
        tags = ", ".join(values)
        with self._writing(run, step):
            tf.summary.image(
                sheet,
                _shown(tf.concat(rows, axis=0)[tf.newaxis]),
                description=f"Rows from above: {tags}.",
            )
            for tag, images in values.items():
                tf.summary.image(tag, _shown(images), max_outputs=3)

    def text(self, run: str, tag: str, markdown: str):
        """Writes a text, shown as Markdown."""
        with self._writing(run, 0):
            tf.summary.text(tag, markdown)

    def hyperparameters(
        self,
        run: str,
        step: int,
        values: Mapping[str, Any],
        results: Mapping[str, float],
    ) -> None:
        """Writes one line of the HPARAMS tab: settings and what came out."""
        known = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in values.items()
        }
        with self._writing(run, step):
            hparams.hparams(known)
        self.scalars(run, step, results)


def _shown(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 1.0)
