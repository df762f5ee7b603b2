"""Requests that an exported classifier must answer as Keras does: real images, and their logits.

They are stored with the SavedModel, in its folder `assets.extra`, so that a runtime can be checked
on the machine that serves, without Keras and the data. The same folder has warm-up requests, which
TensorFlow Serving answers before it takes the first request of a client.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qup.core import errors, files

BATCH_SIZES = (1, 7, 64)
# In the folder of a SavedModel; the name of the second is TensorFlow Serving's.
REQUESTS_FILE = pathlib.Path("assets.extra/qup-requests.npz")
WARMUP_FILE = pathlib.Path("assets.extra/tf_serving_warmup_requests")
_SIGNATURES = ("serving_default", "serve", "predict")


@dataclasses.dataclass(frozen=True)
class Requests:
    """Images in the order of the batches, and Keras's answers.

    Attributes:
      images: uint8 [sum(BATCH_SIZES), height, width, channels].
      logits: float32 [sum(BATCH_SIZES), num_classes], of the images divided by 255.
    """

    images: np.ndarray
    logits: np.ndarray

    def split(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns (images, logits) of each batch; images are float32 in [0, 1]."""
        ends = np.cumsum(BATCH_SIZES)[:-1]
        images = np.split(self.images / np.float32(255), ends)
        return list(zip(images, np.split(self.logits, ends), strict=True))


def build_requests(classifier: Callable[[tf.Tensor], tf.Tensor], images: np.ndarray) -> Requests:
    """Returns the requests of the first images, with the classifier's answers.

    Args:
      classifier: The Keras model, float32 images in [0, 1] to logits.
      images: uint8 [n, height, width, channels], n > 0; fewer than the batches need are repeated.

    Raises:
      InputError: There are no images, or a logit is not finite.
    """
    if not len(images):
        raise errors.InputError("There are no images to ask for. Give at least one.")
    images = images[np.arange(sum(BATCH_SIZES)) % len(images)]
    logits = np.asarray(classifier(tf.constant(images / np.float32(255))), np.float32)
    if not np.isfinite(logits).all():
        raise errors.InputError(
            "The classifier itself gives logits that are not finite, so that no runtime can be "
            "compared with it. Train it again, with a lower learning rate."
        )
    return Requests(images, logits)


def write_requests(requests: Requests, folder: pathlib.Path) -> None:
    """Writes the requests into the folder of a SavedModel."""
    path = pathlib.Path(folder) / REQUESTS_FILE
    with files.atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, images=requests.images, logits=requests.logits)


def read_requests(folder: pathlib.Path) -> Requests | None:
    """Returns the requests in the folder of a SavedModel; None if there are none.

    Raises:
      InputError: The file is damaged.
    """
    path = pathlib.Path(folder) / REQUESTS_FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            requests = Requests(arrays["images"], arrays["logits"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise errors.InputError(
            f"{path} cannot be read: {errors.format_first_line(error)}. Push the model again: "
            "remove the folder of this version, and run the same command again."
        ) from error
    lengths = {len(requests.images), len(requests.logits)}
    if lengths != {sum(BATCH_SIZES)} or requests.images.ndim != 4:
        raise errors.InputError(
            f"{path} must have {sum(BATCH_SIZES)} images and logits; it has the shapes "
            f"{requests.images.shape} and {requests.logits.shape}. Push the model again."
        )
    return requests


def write_warmup_requests(requests: Requests, folder: pathlib.Path) -> None:
    """Writes TensorFlow Serving's warm-up requests: one of a single image per signature.

    Args:
      requests: Of the model.
      folder: The folder of the SavedModel, with the signatures of `saving.export_saved_model`.
    """
    images, _ = requests.split()[0]
    path = pathlib.Path(folder) / WARMUP_FILE
    with files.atomic_write(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for signature in _SIGNATURES:
            writer.write(_encode_prediction_log(signature, images))


def _encode_prediction_log(signature: str, images: np.ndarray) -> bytes:
    """Returns a PredictionLog of one PredictRequest, as tensorflow-serving-api serializes it.

    The messages are written field by field, because the package is optional: PredictionLog has
    predict_log = 6, PredictLog request = 1, PredictRequest model_spec = 1 and inputs = 2 (entries
    of a map: key = 1, value = 2), and ModelSpec signature_name = 3.
    """
    tensor = tf.make_tensor_proto(images).SerializeToString()
    model_spec = _encode_field(3, signature.encode())
    entry = _encode_field(1, b"image") + _encode_field(2, tensor)
    request = _encode_field(1, model_spec) + _encode_field(2, entry)
    return _encode_field(6, _encode_field(1, request))


def _encode_field(number: int, content: bytes) -> bytes:
    """Returns a field of protobuf's wire format with a length, of a number below 16."""
    length, digits = len(content), []
    while length >= 128:
        digits.append(length % 128 + 128)
        length //= 128
    return bytes([number << 3 | 2, *digits, length]) + content
