"""Robust accuracy in `model.fit`, as a callback of Keras.

```python
robust = RobustAccuracy(images, labels, epsilon=8 / 255, every=2, patience=5)
model.fit(..., callbacks=[robust, keras.callbacks.CSVLogger("history.csv")])
```
"""

from typing import Any

import keras
import numpy as np
from absl import logging

from qup import datasets
from qup.core import errors
from qup.core.classifier import predict_logits, wrap_classifier
from qup.training.data import choose_value_range, read_images
from qup.training.monitoring import BestWeights, RobustnessMonitor


class RobustAccuracy(keras.callbacks.Callback):
    """Attacks the same images after epochs of `model.fit`, and adds the accuracy to the logs.

    `logs["val_robust_accuracy"]` is the share of images, 0 to 1 as Keras's own accuracies, that are
    classified correctly under the attack. Callbacks read the logs in their order: put this one
    before CSVLogger, EarlyStopping or ModelCheckpoint. It is measured after the first epoch, then
    after every k-th and after the last; the logs of other epochs do not have it.

    The model may compute in half precision, run eagerly or with jit_compile; the attack is a
    program of its own, compiled in the first epoch. The random numbers of the training are not
    changed.

    Attributes:
      best: The highest robust accuracy so far, 0 to 1; -inf before the first.
      best_epoch: Its epoch, from 0 as in Keras; None before the first.
      stopped_epoch: The epoch after which the training was stopped; None otherwise.
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        *,
        epsilon: float,
        attack: str = "pgd",
        norm: str | None = None,
        num_images: int = 256,
        every: int = 1,
        pixel_range: tuple[float, float] | None = None,
        value_range: tuple[float, float] | None = None,
        patience: int | None = None,
        restore_best_weights: bool = False,
        batch_size: int = 128,
        seed: int = 0,
        **options: Any,
    ):
        """Converts the images; the model is unknown yet.

        Args:
          images: The images to attack, not those of the training: see `data` of `training.fit`.
          labels: Their labels; None if `images` holds them, as a tf.data.Dataset does.
          epsilon: Budget in units of [0, 1], whatever the range of pixels: 8 / 255.
          attack: Registered name of an attack with a budget.
          norm: The norm of epsilon; None for the attack's default.
          num_images: Use only the first images.
          every: Measure after every k-th epoch.
          pixel_range: (lowest, highest) pixel that the model takes; None for [0, 1].
          value_range: (black, white) of the images, see `training.fit`.
          patience: Stop after that many measurements without a higher robust accuracy; None: never.
          restore_best_weights: Whether the model ends with the weights of the highest one.
          batch_size: Images that are attacked together.
          seed: Seed of the attack.
          **options: Options of the attack. For pgd the default is 10 steps.

        Raises:
          InputError: An argument is invalid.
        """
        super().__init__()
        errors.check_number("every", every, at_least=1)
        errors.check_number("num_images", num_images, at_least=1)
        if patience is not None:
            errors.check_number("patience", patience, at_least=1)
        data = images if labels is None else (images, labels)
        pixels, classes = (column[:num_images] for column in read_images("images", data))
        value_range = value_range or choose_value_range(pixels, pixel_range)
        source = datasets.from_arrays(pixels, classes, value_range=value_range)
        pixels, classes, _ = source.get_arrays("test")
        self._monitor = RobustnessMonitor(
            pixels.astype(np.float32) / 255,
            classes,
            epsilon=epsilon,
            attack=attack,
            norm=norm,
            batch_size=batch_size,
            seed=seed,
            options=options,
        )
        self._first_images = pixels[:1].astype(np.float32) / 255
        self._every, self._pixel_range = every, pixel_range
        self._patience, self._restores = patience, restore_best_weights
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self.stopped_epoch = float("-inf"), None, None
        self._num_worse = 0
        self._best_weights: BestWeights | None = None

    def on_train_begin(self, logs=None):
        """Forgets an earlier training."""
        self._reset()

    def on_epoch_end(self, epoch, logs=None):
        """Attacks the images, if it is the turn of this epoch."""
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if epoch and (epoch + 1) % self._every and not is_last:
            return
        robust_accuracy = self._measure()
        if logs is not None:
            logs["val_robust_accuracy"] = robust_accuracy
        if robust_accuracy > self.best:
            self.best, self.best_epoch, self._num_worse = robust_accuracy, epoch, 0
            if self._restores:
                self._best_weights = self._best_weights or BestWeights(self.model)
                self._best_weights.offer(epoch + 1, robust_accuracy)
            return
        self._num_worse += 1
        if self._patience is not None and self._num_worse >= self._patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _measure(self) -> float:
        """Returns the robust accuracy, 0 to 1; 0 if the model returns NaN."""
        classifier = wrap_classifier(self.model, pixel_range=self._pixel_range)
        is_known = classifier.info is not None
        if is_known and not np.isfinite(predict_logits(classifier, self._first_images)).all():
            logging.warning("The model returns NaN or infinite logits: its robust accuracy is 0.")
            return 0.0
        return self._monitor.measure(classifier)[1] / 100.0

    def on_train_end(self, logs=None):
        """Restores the best weights, if that was asked for."""
        if self._best_weights is not None:
            self._best_weights.restore()
