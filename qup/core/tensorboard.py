"""TensorBoard summaries.

Each curve has its own folder, a "run" of TensorBoard, so that curves with the same tag share a
chart: `train`, `validation`, `test`, `trajectory/...`, `translator/...`, `images`.

```python
summaries = SummaryWriter("run/tensorboard")
summaries.write_scalars("train", 1, {"loss": 0.3})
```
"""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from qup.core import extras, files


class SummaryWriter:
    """Writes the summaries below one folder; each run's writer is created at its first use."""

    def __init__(self, directory: pathlib.Path):
        """Writes nothing yet.

        Raises:
          MissingExtraError: TensorBoard is not installed. tf.summary needs it too, so only this
            class and its methods import it: training without summaries works without it.
        """
        extras.check_installed("A TensorBoard summary", "tensorboard")
        self._directory = pathlib.Path(directory)
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def has_run(self, run: str) -> bool:
        """Returns whether any process has written to `run`."""
        with files.wrap_os_errors(self._directory / run):
            return any((self._directory / run).glob("*tfevents*"))

    def clear(self, run: str) -> None:
        """Removes the event files of `run`."""
        self._writers.pop(run, None)
        with files.wrap_os_errors(self._directory / run):
            for path in (self._directory / run).glob("*tfevents*"):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _open_writer(self, run: str, step: int) -> Iterator[None]:
        """Makes tf.summary's functions write to `run`, then flushes."""
        path = self._directory / run
        with files.wrap_os_errors(path):
            if run not in self._writers:
                writer = tf.summary.create_file_writer(str(path))
                self._writers[run] = writer
            with self._writers[run].as_default(step=step):
                yield
            self._writers[run].flush()

    def write_scalars(self, run: str, step: int, values: Mapping[str, float]):
        """Writes one point per tag."""
        with self._open_writer(run, step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)

    def write_images(
        self, run: str, step: int, values: Mapping[str, tf.Tensor], *, sheet_tag: str
    ) -> None:
        """Writes images, and one sheet with a row per tag and a column per image.

        Args:
          run: Folder of the run.
          step: Position on the slider.
          values: Tag to float32 [n, height, width, channels] in [0, 1].
          sheet_tag: Tag of the sheet.
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
        """Writes a Markdown text."""
        with self._open_writer(run, 0):
            tf.summary.text(tag, markdown)

    def write_hparams(
        self, run: str, step: int, values: Mapping[str, Any], results: Mapping[str, float]
    ) -> None:
        """Writes one line of the HPARAMS tab: settings and results."""
        from tensorboard.plugins.hparams import api as hparams

        encoded_values = {
            key: value if isinstance(value, bool | int | float) else str(value)
            for key, value in values.items()
        }
        with self._open_writer(run, step):
            hparams.hparams(encoded_values)
        self.write_scalars(run, step, results)

    def write_hparams_config(self, run: str, names: Iterable[str], metrics: Iterable[str]) -> None:
        """Writes the columns of the HPARAMS tab: names of settings and tags of results."""
        from tensorboard.plugins.hparams import api as hparams

        with self._open_writer(run, 0):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in names],
                metrics=[hparams.Metric(tag) for tag in metrics],
            )

    def write_layout(self, run: str, page: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Writes the CUSTOM SCALARS tab.

        Args:
          run: Any folder.
          page: {category: {chart title: regular expressions of tags}}.
        """
        from tensorboard.plugins.custom_scalar import layout_pb2
        from tensorboard.plugins.custom_scalar import summary as custom_scalar

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
