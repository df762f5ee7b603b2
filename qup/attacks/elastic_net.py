"""EAD, the elastic-net attack: Carlini and Wagner's with an L1 distance.

```python
attacked = attacks.get("elastic_net")(classifier, images, labels)
```
"""

import dataclasses

import tensorflow as tf

from qup import attacks, errors, norms
from qup.attacks import base
from qup.attacks.binary_search import BinarySearch, Trial

_DECISION_RULES = ("elastic_net", "l1")


@attacks.register("elastic_net", kind="minimum_norm", norms=("l1",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class ElasticNet(BinarySearch):
    """Finds an adversarial image near in L1 by FISTA.

    Others take beta 1e-3 (ART, torchattacks: 100 iterations a constant) or
    1e-2 (foolbox: 10,000; cleverhans: 1,000).

    Attributes:
      targeted: The labels are targets.
      confidence: kappa, the lead in logits that the image shall have. An
        image that has it already is its own answer.
      initial_constant: The first weight c of the classifier's term, with
        distances in units of the box's width.
      search_steps: Number of constants tried for each image: tenfold until
        one succeeds, then the middle of the interval.
      num_steps: Iterations for each constant.
      learning_rate: Of the first iteration; it falls as the root of the
        share of iterations left.
      abort_early: Leave a constant when a tenth of its iterations has not
        lowered the loss by 0.01 %. (Never to leave one came 7 % nearer in
        L1 on a linear model of 105 pixels, for five times the calls.)
      beta: Weight of the L1 distance, and the threshold below which FISTA
        leaves a pixel alone, in units of the box's width.
      decision_rule: Which image is nearest: by "elastic_net",
        beta ||.||_1 + ||.||_2^2, or by "l1".

    Reference: Chen et al. 2018, arXiv 1709.04114.
    """

    beta: float = 1e-3
    decision_rule: str = "elastic_net"

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        base.check_number("beta", self.beta, least=0)
        if self.decision_rule not in _DECISION_RULES:
            raise errors.make_unknown_error("decision rule", self.decision_rule, _DECISION_RULES)

    def init_variables(self, examples):
        """Starts at the image."""
        return {"point": examples.images, "ahead": examples.images}

    def iterate(self, classifier, examples, state):
        """Takes one step of FISTA."""
        clean, extrapolated = examples.images, state["ahead"]
        _, _, gradient = classifier.gradient(
            lambda logits: self.compute_hinge(examples.labels, logits), extrapolated
        )
        iteration = norms.expand_like(tf.cast(state["step"], tf.float32), clean)
        share_left = 1 - iteration / tf.cast(self.num_steps, tf.float32)
        step_size = self.learning_rate * tf.sqrt(share_left)
        constant = norms.expand_like(state["constant"], clean) * self.width**2
        # z = y_k - rate sqrt(1 - k/K) grad(c f(y_k) + ||y_k - x_0||_2^2)
        delta = extrapolated - clean
        delta -= step_size * (constant * gradient + 2 * delta)
        # x_{k+1} = x_0 + S_beta(z - x_0), S_beta(d) = sign d max(|d| - beta, 0)
        shrunk_magnitude = tf.nn.relu(tf.abs(delta) - self.beta * self.width)
        point = base.clip(clean + tf.sign(delta) * shrunk_magnitude, self.bounds)
        # y_{k+1} = x_{k+1} + k / (k + 3) (x_{k+1} - x_k)
        extrapolated = point + iteration / (iteration + 3) * (point - state["point"])
        trial = self._build_trial(classifier, examples, state, point)
        return {"point": point, "ahead": extrapolated}, trial

    def _build_trial(self, classifier, examples, state, point):
        """Judges the point that FISTA has come to."""
        logits = classifier.logits(point)
        hinge = self.compute_hinge(examples.labels, logits)
        delta = (point - examples.images) / self.width
        l1_distance = norms.compute_norm(delta, "l1")
        squared_l2_distance = tf.reduce_sum(tf.square(delta), range(1, delta.shape.rank))
        elastic_distance = self.beta * l1_distance + squared_l2_distance
        loss = elastic_distance + state["constant"] * hinge
        distance = l1_distance if self.decision_rule == "l1" else elastic_distance
        return Trial(point, logits, distance, loss)
