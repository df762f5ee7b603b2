"""Step 5: a Pix2Pix network that learns image -> Delta_N."""

import shutil
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from qup import curves, opposite_fgsm, training, translation
from qup.components import artifacts
from qup.components.artifacts import Deltas, Examples, Model, ModelRun
from qup.datasets import Dataset
from qup.datasets import examples as files_of_examples
from qup.deltas import Deltas as Pairs
from qup.orchestration import In, Out, Place, StatefulDir, component

_WATCHED = 500


@component
def TranslatorTrainer(
    examples: In[Examples],
    model: In[Model],
    deltas: In[Deltas],
    translator: Out[Model],
    run: Out[ModelRun],
    state: StatefulDir,
    *,
    options: dict[str, Any],
    seed: int = 0,
    log_dir: Place[str | None] = None,
) -> None:
    """Trains a translator on the walk of a classifier.

    Args:
      examples: Images to watch its error on that it never saw.
      model: The classifier.
      deltas: The walk.
      translator: Image to Delta.
      run: Its training.
      state: Checkpoints of an unfinished training.
      options: Keyword arguments of `translation.fit_translator`.
      seed: Of initialisation and order.
      log_dir: TensorBoard's folder.
    """
    pairs = Pairs.open(deltas.path)
    classifier = artifacts.load_network(model.path)
    what = f"translator/epoch-{artifacts.subject(model.path).epochs}"
    history = training.History(state / "history.json")

    network = translation.fit_translator(
        pairs,
        seed=seed,
        directory=state / "checkpoints",
        validate=_watcher(
            classifier, files_of_examples.read(examples.path), pairs
        ),
        hook=curves.drawn(what, history, log_dir),
        **options,
    )
    artifacts.save_network(network, translator)
    # The one thing that shapes its answers and is no weight.
    translator.properties["scale"] = pairs.scale
    shutil.copy2(state / "history.json", run.path)
    run.properties["content"] = translator.properties["content"]


def _watcher(
    classifier: keras.Model, data: Dataset, pairs: Pairs
) -> Callable[[keras.Model], dict[str, float]]:
    """Returns the L1 error of Delta on images the translator never saw.

    Their Delta_N needs their labels; it is looked at, never trained on.
    """
    split = data.info.watched
    batch = next(iter(data.evaluation_batches(split, _WATCHED)))
    start = batch["image"]
    end = opposite_fgsm.walk(classifier, start, batch["label"], **pairs.walk)

    def watch(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(start, training=False) - (end - start))
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {f"{split}_l1_in_pixels": float(mean)}

    return watch
