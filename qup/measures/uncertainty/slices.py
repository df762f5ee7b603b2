"""Packets on a line or a plane, where quadrature can integrate them.

```python
line = on_slice(packet, origin=image, basis=[direction])
```
"""

import numpy as np
import tensorflow as tf

from qup.measures.uncertainty.packets import Packet, of_function


def on_slice(packet: Packet, origin, basis) -> Packet:
    """Returns a packet on a line or a plane through the inputs.

    Args:
      packet: Of a classifier or a function.
      origin: [size], the point (0, 0).
      basis: [k, size], orthonormal, k of 1 or 2.

    Returns:
      The packet of t [n, k] -> l(origin + t basis).
    """
    origin = tf.convert_to_tensor(np.reshape(origin, -1), packet.dtype)
    basis = tf.convert_to_tensor(basis, packet.dtype)
    inner_program = packet.compile_program(("slice",), lambda log_amplitude: log_amplitude)

    def log_amplitude(points):
        full_points = origin + tf.linalg.matmul(tf.cast(points, packet.dtype), basis)
        return tf.cast(inner_program(full_points, packet.parameters), tf.float64)

    return of_function(log_amplitude, basis.shape[0])
