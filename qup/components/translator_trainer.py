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
from qup.deltas import DeltaDataset as Pairs
from qup.orchestration import In, Location, Out, StatefulDir, component

_MONITOR_BATCH_SIZE = 500


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
    log_dir: Location[str | None] = None,
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
    curve_name = f"translator/epoch-{artifacts.load_model_info(model.path).epochs}"
    history = training.History(state / "history.json")

    network = translation.fit_translator(
        pairs,
        seed=seed,
        directory=state / "checkpoints",
        validate=_build_l1_monitor(classifier, files_of_examples.read(examples.path), pairs),
        hook=curves.build_epoch_hook(curve_name, history, log_dir),
        **options,
    )
    artifacts.save_network(network, translator)
    # The one thing that shapes its answers and is no weight.
    translator.properties["scale"] = pairs.scale
    shutil.copy2(state / "history.json", run.path)
    run.properties["content"] = translator.properties["content"]


def _build_l1_monitor(
    classifier: keras.Model, data: Dataset, pairs: Pairs
) -> Callable[[keras.Model], dict[str, float]]:
    """Returns the L1 error of Delta on images the translator never saw.

    Their Delta_N needs their labels; it is looked at, never trained on.
    """
    split = data.info.monitor_split
    batch = next(iter(data.evaluation_batches(split, _MONITOR_BATCH_SIZE)))
    clean_images = batch["image"]
    walked_images = opposite_fgsm.iterate(
        classifier, clean_images, batch["label"], **pairs.iterate_options
    )

    def compute_l1_error(translator: keras.Model) -> dict[str, float]:
        error = tf.abs(translator(clean_images, training=False) - (walked_images - clean_images))
        error = tf.reduce_mean(error, [1, 2, 3]) * batch["weight"]
        mean = tf.reduce_sum(error) / tf.reduce_sum(batch["weight"])
        return {f"{split}_l1_in_pixels": float(mean)}

    return compute_l1_error
