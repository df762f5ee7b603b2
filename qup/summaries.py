"""What TensorBoard shows of a run.

One folder a curve, so that equal tags lie over one another:
`train`, `validation`, `test`, `trajectory/...`, `translator/...`, `images`.

```python
board = Summaries("run/tensorboard")
board.scalars("train", 1, {"loss": 0.3})
```
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams


class Summaries:
    """Writers of one run, made when first written to."""

    def __init__(self, directory: pathlib.Path):
        """Remembers the folder; nothing is written yet."""
        self._directory = pathlib.Path(directory)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        if run not in self._writers:
            path = str(self._directory / run)
            self._writers[run] = tf.summary.create_file_writer(path)
        return self._writers[run]

    def scalars(self, run: str, step: int, values: Mapping[str, float]):
        """Writes one point of each curve in `values`, by tag."""
        with self._writer(run).as_default(step=step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)
        self._writer(run).flush()

    def images(self, run: str, step: int, values: Mapping[str, tf.Tensor]):
        """Writes images float32 [n, height, width, channels] in [0, 1]."""
        with self._writer(run).as_default(step=step):
            for tag, images in values.items():
                tf.summary.image(
                    tag, tf.clip_by_value(images, 0.0, 1.0), max_outputs=8
                )
        self._writer(run).flush()

    def text(self, run: str, tag: str, markdown: str):
        """Writes a text, shown as Markdown."""
        with self._writer(run).as_default(step=0):
            tf.summary.text(tag, markdown)
        self._writer(run).flush()

    def hyperparameters(
        self, run: str, values: Mapping[str, Any], results: Mapping[str, float]
    ):
        """Writes one line of the HPARAMS tab: settings and what came out."""
        with self._writer(run).as_default(step=0):
            hparams.hparams(
                {
                    k: v if isinstance(v, bool | int | float) else str(v)
                    for k, v in values.items()
                }
            )
            for tag, value in results.items():
                tf.summary.scalar(tag, value)
        self._writer(run).flush()
