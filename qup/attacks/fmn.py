"""FMN: the fast minimum-norm attack in L-inf, L2, L1 and L0.

```python
adversarial = attacks.get("fmn")(classifier, images, labels, norm="l1")
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks
from qup.attacks import closest, losses, method
from qup.core import norms

# The last step size as a fraction of the first, and the last gamma.
_LAST_STEP_SIZE, _LAST_GAMMA = 0.01, 0.001
_STEP_SIZES = {"linf": 1.0, "l2": 1.0, "l1": 1.0, "l0": 20.0}
# A gradient of smaller dual norm counts as one of this norm.
_MIN_GRADIENT = 1e-12


@attacks.register("fmn", kind="minimum_norm", norms=(*norms.NAMES, "l0"), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class FMN(closest.ClosestSearch):
    """Takes gradient steps inside a ball whose radius follows the boundary.

    The radius shrinks while the image is adversarial and grows while it is not. Before the first
    adversarial image it is the distance to the linearised boundary; in L0 it starts at one element.
    A step is clipped to the box before it is projected on the ball, and not after as in the paper:
    then the perturbation keeps the whole radius. On MNIST that decides whether L2 and L1 succeed.
    In L0 the elements are ranked by the sum of their sizes before and after clipping.

    Attributes:
      targeted, num_steps: See `closest.ClosestSearch`.
      norm: "linf", "l2", "l1" or "l0" (elements, height x width x channels).
      step_size: alpha, the L2 length of the first step; it falls to a hundredth along a cosine.
        None is 1, and 20 in L0, where a few elements must cross the whole box.
      gamma: The fraction by which the first step changes the radius; it falls to 0.001 along a
        cosine.
      loss: "margin" as in the paper, or another name of `losses`. "log_odds" finds closer images
        where the logits are far apart (MNIST), "margin" where they are not (CIFAR-10).

    Reference: Pintor et al. 2021, arXiv 2102.12827, Alg. 1.
    """

    norm: str = "linf"
    step_size: float | None = None
    gamma: float = 0.05
    loss: str = "margin"

    @property
    def objective(self):
        """The loss that the attack increases."""
        return self.loss

    def check(self):
        """Checks the ranges of the options."""
        losses.get(self.loss)
        if self.step_size is not None:
            closest.check_positive(self, "step_size")
        closest.check_fraction(self, "gamma")

    def init_variables(self, examples):
        """Starts without a radius, in L0 at one element."""
        return {"radius": tf.fill(examples.labels.shape, 1.0 if self.norm == "l0" else 0.0)}

    def move(self, examples, state, visit):
        """Returns the image after a gradient step, projected on the ball of the new radius."""
        clean = examples.images
        radius = self._compute_radius(examples, state, visit)
        step_size = _STEP_SIZES[self.norm] if self.step_size is None else self.step_size
        step_size *= self.width
        step_size = self.anneal(state["step"], step_size, _LAST_STEP_SIZE * step_size)
        # delta_{k+1} = project(delta_k + alpha_k g / ||g||_2, epsilon_k)     (Pintor 2021, Alg. 1)
        unclipped = visit.delta + norms.scale_to_norm(
            visit.gradient, norms.expand_like(step_size, clean), "l2"
        )
        # The projection leads towards the clean image, so it stays inside the box.
        delta = method.clip(clean + unclipped, self.bounds) - clean
        if self.norm == "l0":
            # Many elements end at the box; those whose step led farther beyond it come first.
            priority = tf.where(delta != 0, tf.abs(delta) + tf.abs(unclipped), 0.0)
            is_kept = select_largest(priority, tf.cast(radius, tf.int32))
            delta = tf.where(is_kept, delta, 0.0)
        else:
            delta = norms.project(delta, norms.expand_like(radius, clean), self.norm)
        return clean + delta, {"radius": radius}

    def _compute_radius(self, examples, state, visit):
        """Returns epsilon_k, float32 [batch]."""
        radius, smallest = state["radius"], state["distance"]
        gamma = self.anneal(state["step"], self.gamma, tf.minimum(self.gamma, _LAST_GAMMA))
        shrunk, grown = (1 - gamma) * radius, (1 + gamma) * radius
        if self.norm == "l0":
            # At least one element fewer or more.
            shrunk = tf.maximum(tf.minimum(radius - 1, tf.floor(shrunk)), 0.0)
            grown = tf.maximum(radius + 1, tf.floor(grown))
        else:
            gradient_norm = norms.compute_norm(visit.gradient, norms.DUAL_NORM[self.norm])
            # epsilon = ||delta||_p + |L| / ||grad L||_q until an adversarial image is found
            to_boundary = tf.abs(visit.values) / tf.maximum(gradient_norm, _MIN_GRADIENT)
            # At least by gamma: where the box cuts the gradient off, the linearised boundary is too
            # close, and the radius would approach the boundary without crossing it.
            is_found = smallest < float("inf")
            first_radius = tf.maximum(visit.distance + to_boundary, grown)
            grown = tf.where(is_found, grown, first_radius)
        # epsilon = min((1 - gamma) epsilon, smallest distance) if adversarial, else (1 + gamma) ...
        radius = tf.where(visit.success, tf.minimum(shrunk, smallest), grown)
        return tf.minimum(radius, compute_largest_distance(examples.images, self.norm, self.bounds))


def compute_largest_distance(images: tf.Tensor, norm: str, bounds) -> tf.Tensor:
    """Returns the distance from each image to the farthest corner of the box, float32 [batch].

    Args:
      images: float32 [batch, ...], inside the box.
      norm: "linf", "l2", "l1" or "l0".
      bounds: (lowest, highest) pixel value; None gives infinity, in L0 the number of elements.
    """
    if bounds is None:
        corner = tf.fill(images.shape, float("inf"))
    else:
        corner = tf.maximum(images - bounds[0], bounds[1] - images)
    return norms.compute_norm(corner, norm)


def select_largest(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns which elements of each row are among its `count` largest: bool [batch, ...].

    Args:
      values: float32 [batch, ...].
      count: int32 [batch], the number of elements to select; of equal elements, the first.
    """
    flat = tf.reshape(values, (values.shape[0], -1))
    count = tf.clip_by_value(count, 0, flat.shape[1])[:, None]
    descending = tf.sort(flat, direction="DESCENDING")
    last_selected = tf.gather(descending, tf.maximum(count - 1, 0), batch_dims=1)
    is_above = flat > last_selected
    is_equal = tf.cast(flat == last_selected, tf.int32)
    num_equal = count - tf.reduce_sum(tf.cast(is_above, tf.int32), 1, keepdims=True)
    is_selected = is_above | ((is_equal == 1) & (tf.cumsum(is_equal, 1) <= num_equal))
    return tf.reshape(is_selected & (count > 0), values.shape)
