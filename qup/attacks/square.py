"""Square Attack: random search with square windows, no gradient.

Not an attack of the paper; AutoAttack's black-box part, which does not
mistake a masked gradient for robustness.

```python
attacked = attacks.get("square")(classifier, images, labels, epsilon=8 / 255)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import base, losses, square_proposals

# After so many proposals the share of the image that one changes is halved,
# in units of 1/10,000 of the queries where the schedule is rescaled.
_HALVING_SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# Queries before the first proposal: the start.
_NUM_START_QUERIES = 1


@attacks.register("square", kind="budget", norms=norms.NAMES, gradients=False)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Square(base.Method):
    """Redraws a random square window, and keeps it where the loss rises.

    Images are [height, width, channels]. A row stops when misclassified.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2" or "l1".
      num_queries: Images that a search asks the classifier about, for each
        example, its start the first. Whether the clean image withstands is
        asked before, and counts as a call but not as a query.
      p_init: Share of the image that the first windows cover, in (0, 1].
        AutoAttack takes 0.8, the paper 0.05 (linf) and 0.1 (l2).
      rescale_schedule: Shrink the windows by the share of `num_queries`
        used, as the paper does, not by their number, as AutoAttack does.
      restarts: Number of searches; an image broken by one is left alone by
        the next.
      loss: What an untargeted search climbs, see `losses`; a targeted one
        descends cross-entropy.
      targeted: The labels are targets.

    Reference: Andriushchenko et al. 2020, arXiv 1912.00049.
    """

    epsilon: float
    norm: str = "linf"
    num_queries: base.Count = 5000
    p_init: float = 0.8
    rescale_schedule: bool = False
    restarts: int = 1
    loss: str = "margin"
    targeted: bool = False

    def check(self):
        """Raises an InputError for an option out of its range."""
        losses.get(self.loss)
        errors.check_number("restarts", self.restarts, at_least=1)
        base.check_number("num_queries", self.num_queries, least=_NUM_START_QUERIES)
        base.check_number("p_init", self.p_init, least=0)
        if not tf.is_tensor(self.p_init) and not 0 < self.p_init <= 1:
            raise errors.InputError(
                f"p_init is a share of the image, above 0 and at most 1; got {self.p_init!r}."
            )

    def stages(self):
        """One part a restart."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * int(self.restarts)

    def init(self, classifier, examples):
        """Asks about the image and about the start of the search."""
        images = examples.images
        if images.shape.rank != 4:
            raise errors.InputError(
                "square needs images [height, width, channels]; got "
                f"{images.shape[1:]}. Reshape them inside the classifier, or "
                "attack it with spsa."
            )
        ball = self._build_ball(examples)
        start = square_proposals.sample_start(ball, self.keys(examples))
        _, clean_success = self._evaluate(classifier, examples, images)
        loss, success = self._evaluate(classifier, examples, start)
        return {
            "images": tf.where(norms.expand_like(clean_success, images), images, start),
            "loss": loss,
            "found": clean_success | success,
            "queries": tf.fill(tf.shape(examples.labels), _NUM_START_QUERIES),
        }

    def step(self, classifier, examples, state):
        """Asks about one proposal, and keeps it if it is better."""
        images, queries = state["images"], state["queries"]
        side = square_proposals.compute_window_sides(
            self.compute_share(queries - _NUM_START_QUERIES), images.shape[1:], self.norm
        )
        keys = self.keys(examples, queries)
        proposal = square_proposals.propose_images(self._build_ball(examples), images, side, keys)
        loss, success = self._evaluate(classifier, examples, proposal)
        is_better = success | (loss > state["loss"])
        return {
            "images": tf.where(norms.expand_like(is_better, images), proposal, images),
            "loss": tf.where(is_better, loss, state["loss"]),
            "found": state["found"] | success,
            "queries": queries + 1,
        }

    def done(self, examples, state):
        """Once adversarial, or out of queries."""
        return state["found"] | (state["queries"] >= self.num_queries)

    def compute_share(self, num_proposals: tf.Tensor) -> tf.Tensor:
        """Returns the share of the image that the next window covers.

        Args:
          num_proposals: int32 [batch], how many went before.

        Returns:
          float32 [batch].
        """
        if self.rescale_schedule:
            num_proposals = tf.cast(num_proposals, tf.int64) * 10000
            num_proposals //= tf.cast(self.num_queries, tf.int64)
        is_past = num_proposals[:, None] > tf.constant([_HALVING_SCHEDULE], num_proposals.dtype)
        halvings = tf.reduce_sum(tf.cast(is_past, tf.float32), 1)
        return self.p_init * 0.5**halvings

    def _build_ball(self, examples) -> square_proposals.SearchBall:
        return square_proposals.SearchBall(
            examples.images, examples.budget(), self.norm, self.bounds
        )

    def _evaluate(self, classifier, examples, images):
        """Returns the loss at images, and which are adversarial."""
        loss = "cross_entropy" if self.targeted else self.loss
        objective = losses.build_objective(loss, examples.labels, self.targeted)
        logits = classifier.logits(images)
        success = base.adversarial(logits, examples.labels, self.targeted)
        return objective(logits), success
