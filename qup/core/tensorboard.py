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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams

from qup.core import files


class SummaryWriter:
    """Writers of one run, made when first written to."""

    def __init__(self, directory: pathlib.Path):
        """Remembers the folder; nothing is written yet."""
        self._directory = pathlib.Path(directory)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def has_run(self, run: str) -> bool:
        """Says whether a curve has been written, by whomever."""
        with files.wrap_os_errors(self._directory / run):
            return any((self._directory / run).glob("*tfevents*"))

    def clear(self, run: str) -> None:
        """Removes what was written to a curve."""
        self._writers.pop(run, None)
        with files.wrap_os_errors(self._directory / run):
            for path in (self._directory / run).glob("*tfevents*"):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _open_writer(self, run: str, step: int) -> Iterator[None]:
        """Directs tf.summary's functions to a folder, and flushes."""
        path = self._directory / run
        with files.wrap_os_errors(path):
            if run not in self._writers:
                writer = tf.summary.create_file_writer(str(path))
                self._writers[run] = writer
            with self._writers[run].as_default(step=step):
                yield
            self._writers[run].flush()

    def write_scalars(self, run: str, step: int, values: Mapping[str, float]):
        """Writes one point of each curve in `values`, by tag."""
        with self._open_writer(run, step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def write_images(
        self, run: str, step: int, values: Mapping[str, tf.Tensor], *, sheet_tag: str
    ) -> None:
        """Writes images, and one sheet of them all.

        Args:
          run: Folder of the curve.
          step: Where on the slider.
          values: Tag to float32 [n, height, width, channels] in [0, 1].
          sheet_tag: Tag of the sheet: a row for each of `values`, a column for
            each image.
        """
        rows = [tf.concat(tf.unstack(x), axis=1) for x in values.values()]
        tags = ", ".join(values)
        with self._open_writer(run, step):
            tf.summary.image(
                sheet_tag,
                _clip_pixels(tf.concat(rows, axis=0)[tf.newaxis]),
                description=f"Rows from above: {tags}.",
            )
            for tag, images in values.items():
                tf.summary.image(tag, _clip_pixels(images), max_outputs=3)

    def write_text(self, run: str, tag: str, markdown: str):
        """Writes a text, shown as Markdown."""
        with self._open_writer(run, 0):
            tf.summary.text(tag, markdown)

    def write_hparams(
        self, run: str, step: int, values: Mapping[str, Any], results: Mapping[str, float]
    ) -> None:
        """Writes one line of the HPARAMS tab: settings and what came out."""
        encoded_values = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in values.items()
        }
        with self._open_writer(run, step):
            hparams.hparams(encoded_values)
        self.write_scalars(run, step, results)

    def write_hparams_config(self, run: str, names: Iterable[str], metrics: Iterable[str]) -> None:
        """Writes the columns of the HPARAMS tab.

        Args:
          run: Any folder.
          names: Of the settings.
          metrics: Tags of the results.
        """
        with self._open_writer(run, 0):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in names],
                metrics=[hparams.Metric(tag) for tag in metrics],
            )

    def write_layout(self, run: str, page: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Writes the page of the CUSTOM SCALARS tab.

        Args:
          run: Any folder.
          page: Category to title of a chart to regular expressions of the
            tags that it shows.
        """
        categories = [
            layout_pb2.Category(
                title=category,
                chart=[
                    layout_pb2.Chart(
                        title=title, multiline=layout_pb2.MultilineChartContent(tag=tags)
                    )
                    for title, tags in charts.items()
                ],
            )
            for category, charts in page.items()
        ]
        layout = custom_scalar.pb(layout_pb2.Layout(category=categories))
        with self._open_writer(run, 0):
            tf.summary.experimental.write_raw_pb(layout.SerializeToString(), step=0)


def _clip_pixels(images: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(images, 0.0, 1.0)
