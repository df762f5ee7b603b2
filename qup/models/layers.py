"""Batch normalisation through TensorFlow's fused kernel.

Keras 3 composes it from single operations. The fused kernel makes a training step of the translator
about 1.2 times faster on a CPU (`python -m benchmarks.translator`).
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("qup")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer over the last axis of float32 images, computed fused."""

    def call(self, inputs, training=None, mask=None):
        """Normalises float32 [batch, height, width, channels].

        In training it uses the mean and variance of the batch, and updates the moving ones.
        """
        del mask
        training = bool(training)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma,
            self.beta,
            mean=None if training else self.moving_mean,
            variance=None if training else self.moving_variance,
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            for moving_statistic, value in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                moving_statistic.assign(
                    moving_statistic * self.momentum + value * (1 - self.momentum)
                )
        return outputs
