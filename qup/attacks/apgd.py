"""Auto-PGD: projected gradient ascent that adapts its step size, on three losses.

Each example starts at a random point of the ball with step size 2 epsilon. Checkpoints follow at
decreasing intervals. At a checkpoint, an example whose loss does not increase any more returns to
its best point and halves its step size.

```python
adversarial = attacks.get("apgd_ce")(classifier, images, labels, epsilon=8 / 255)
```

References: Croce and Hein 2020, arXiv 2003.01690, Alg. 1; for L1, Croce and Hein 2021, arXiv
2103.01208, Alg. 1 and Sec. 4. In L1 a step changes the steepest elements only, and their number
follows from the sparsity of the best perturbation; three stages search balls of radius 3 epsilon,
2 epsilon and epsilon.
"""

import dataclasses
import zlib
from collections.abc import Callable

import tensorflow as tf

from qup import attacks
from qup.attacks import inputs, losses, method
from qup.attacks.engine import select_rows
from qup.attacks.method import Examples, State
from qup.core import errors, norms, prng

# f_max is the loss at x_best; f_max_checkpoint that at the last checkpoint.
_FLOAT_STATE = ("eta", "loss", "f_max", "f_max_checkpoint")
_COUNT_STATE = ("step", "stage", "interval", "steps_since_checkpoint", "num_increases")
# The last of the stages 0, 1, 2 in L1, whose balls have radius 3, 2 and 1 epsilon.
_L1_LAST_STAGE = 2
# A step in L1 changes this fraction of the number of nonzero elements of the best perturbation.
_L1_FRACTION = 1 / 1.5
_L1_ETA_DIVISOR = 1.5
# The smallest step size in L1 is the first divided by this.
_L1_ETA_RANGE = 10.0
# The best perturbation is sparser if it has fewer than this fraction of its former elements.
_L1_SPARSER = 0.95
_CE_LOSSES = ("cross_entropy", "log_odds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(method.Method):
    """Maximises a loss with a step size that each example adapts.

    A row stops at its first adversarial point in the ball of epsilon.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2", or "l1".
      num_steps: Number of steps.
      rho: At a checkpoint, an example halves its step size unless more than this fraction of the
        steps since the last one increased its loss.
      restarts: Number of random starts.
      expectation: Number of passes whose losses and gradients are averaged, for random classifiers.
        Above one, no row stops at a point that may be adversarial by chance; each row ends at its
        best point.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Alg. 1.
    """

    epsilon: float
    norm: str = "linf"
    num_steps: method.Count = 100
    rho: float = 0.75
    restarts: int = 1
    expectation: int = 1

    def check(self):
        """Checks the ranges of the options."""
        for option in ("restarts", "expectation"):
            errors.check_number(option, getattr(self, option), at_least=1)
        inputs.check_number("rho", self.rho, least=0)

    def stages(self):
        """One stage per restart."""
        return (dataclasses.replace(self, restarts=1),) * int(self.restarts)

    def init_target(self, examples, logits) -> State:
        """Returns the entries of the state that the loss derives from the clean images' logits."""
        return {}

    def build_objective(self, examples, state) -> Callable:
        """Returns the function to maximise: logits -> float32 [batch]."""
        raise NotImplementedError

    def init(self, classifier, examples):
        """Starts at a random point; images that are adversarial already are done."""
        logits = classifier.logits(examples.images)
        success = self._find_success(examples, logits)
        success_rows = norms.expand_like(success, examples.images)
        start = tf.where(success_rows, examples.images, self._sample_start(examples))
        zeros = tf.zeros_like(examples.labels)
        state = (
            dict.fromkeys(_FLOAT_STATE, tf.cast(zeros, tf.float32))
            | dict.fromkeys(_COUNT_STATE, zeros)
            | dict.fromkeys(("previous", "x_best", "x_best_gradient"), examples.images)
            | dict.fromkeys(("success", "finished", "eta_halved"), zeros > 0)
        )
        if self.norm == "l1":
            state |= _compute_l1_sparsity(examples, start)
        state |= {"images": start, "success": success}
        return state | self.init_target(examples, logits)

    def step(self, classifier, examples, state):
        """Evaluates the current point, then takes a step."""
        current = state["images"]
        success, loss, gradient = self._evaluate_point(classifier, examples, state)
        initial = self._get_initial_step(examples, state)
        state = _record_point(state, initial, loss, gradient)
        state, returns_to_best = self._apply_checkpoint(examples, state, initial["eta"])
        returning_rows = norms.expand_like(returns_to_best, current)
        point = tf.where(returning_rows, state["x_best"], current)
        gradient = tf.where(returning_rows, state["x_best_gradient"], gradient)
        stage_ended = state["step"] >= self._count_stage_steps(state)
        to_next_stage = stage_ended & (state["stage"] < self._last_stage)
        perturbed = self._compute_next_point(examples, state, point, gradient, to_next_stage)
        return state | {
            "images": tf.where(norms.expand_like(success, current), current, perturbed),
            "previous": point,
            "loss": tf.where(returns_to_best, state["f_max"], loss),
            "step": tf.where(to_next_stage, 0, state["step"] + 1),
            "stage": state["stage"] + tf.cast(to_next_stage, tf.int32),
            "success": success,
            "finished": stage_ended & ~to_next_stage,
        }

    def done(self, examples, state):
        """At an adversarial point, or after `num_steps`."""
        return state["success"] | state["finished"]

    def images(self, examples, state):
        """The adversarial point; without success the clean image (x_best with expectation > 1)."""
        fallback = state["x_best"] if self.expectation > 1 else examples.images
        return tf.where(norms.expand_like(state["success"], fallback), state["images"], fallback)

    def _find_success(self, examples, logits):
        """Returns the rows that may stop, bool [batch]."""
        success = method.adversarial(logits, examples.labels, self.is_targeted)
        return success if self.expectation == 1 else tf.zeros_like(success)

    @property
    def _last_stage(self) -> int:
        return _L1_LAST_STAGE if self.norm == "l1" else 0

    def _compute_radius(self, examples, stage):
        """Returns the radius of a stage's ball, float32 [batch]."""
        return tf.cast(self._last_stage - stage + 1, tf.float32) * examples.epsilon

    def _count_stage_steps(self, state):
        """Returns the number of steps of the stage, int32 [batch]; in L1 3, 3 and 4 tenths."""
        if self.norm != "l1":
            return self.num_steps + tf.zeros_like(state["step"])
        early_steps = self.num_steps * 3 // 10
        is_early = state["stage"] < _L1_LAST_STAGE
        return tf.where(is_early, early_steps, self.num_steps - 2 * early_steps)

    def _sample_start(self, examples):
        """Draws a point of the sphere; in L1, of the ball of radius 3 epsilon."""
        name_hash = zlib.crc32(self.name.encode()) & 0x7FFFFFFF
        keys, radius = self.keys(examples, name_hash), examples.budget()
        images = examples.images
        if self.norm == "l1":
            low, high = self.bounds or (0.0, radius)
            delta = (high - low) * prng.normal(keys, images.shape[1:])
        else:
            delta = norms.sample_sphere(images, radius, self.norm, keys)
        radius = self._compute_radius(examples, tf.constant(0))
        return self._project(examples, images + delta, radius)

    def _evaluate_point(self, classifier, examples, state):
        """Returns success, bool [batch], and the mean loss and gradient over the passes."""
        objective, images = self.build_objective(examples, state), state["images"]
        mean_loss, mean_gradient = tf.zeros_like(examples.epsilon), tf.zeros_like(images)
        for _ in range(int(self.expectation)):
            logits, value, gradient = classifier.gradient(objective, images)
            mean_loss += value / self.expectation
            mean_gradient += gradient / self.expectation
            # Passes run one after the other, in the memory of one.
            with tf.control_dependencies([gradient]):
                images = tf.identity(images)
        success = self._find_success(examples, logits) & (state["stage"] == self._last_stage)
        return success, mean_loss, mean_gradient

    def _get_initial_step(self, examples, state):
        """Returns the entries of the state at the first point of a stage."""
        radius = self._compute_radius(examples, state["stage"])
        num_steps = self._count_stage_steps(state)
        if self.norm != "l1":
            return get_initial_step(radius, num_steps)
        interval = tf.maximum(4 * num_steps // 100, 1)
        return {"eta": radius, "interval": interval} | _compute_l1_sparsity(
            examples, state["images"]
        )

    def _apply_checkpoint(self, examples, state, initial_eta):
        """Returns the state after a due checkpoint, and the rows that return to x_best."""
        if self.norm == "l1":
            updates, returns_to_best = update_l1_eta(examples, state, initial_eta)
        else:
            updates, returns_to_best = halve_eta(state, self.rho, self.num_steps)
        is_due = state["steps_since_checkpoint"] == state["interval"]
        zeros = tf.zeros_like(state["step"])
        updates |= {"steps_since_checkpoint": zeros, "num_increases": zeros}
        return state | select_rows(is_due, updates, state), is_due & returns_to_best

    def _compute_next_point(self, examples, state, point, gradient, to_next_stage):
        radius = self._compute_radius(examples, state["stage"])
        eta = norms.expand_like(state["eta"], point)
        if self.norm == "l1":
            # u = x_k + eta s, s the sparse direction     (Croce 2021, Alg. 1)
            stepped = point + eta * compute_l1_direction(gradient, state["sparsity"])
            # A stage starts at the best point of the stage before.
            stepped = tf.where(norms.expand_like(to_next_stage, point), state["x_best"], stepped)
            next_radius = self._compute_radius(examples, state["stage"] + 1)
            radius = tf.where(to_next_stage, next_radius, radius)
            return self._project(examples, stepped, radius)
        # z_{k+1} = P(x_k + eta d), d the steepest direction     (Croce 2020, Alg. 1, line 7)
        if self.norm == "l2":
            direction = norms.scale_to_norm(gradient, 1.0, "l2")
        else:
            direction = tf.sign(gradient)
        z = self._project(examples, point + eta * direction, radius)
        # x_{k+1} = P(x_k + alpha (z_{k+1} - x_k) + (1 - alpha)(x_k - x_{k-1})), alpha = 0.75,
        # and 1 at the first step     (Croce 2020, Alg. 1, line 8)
        alpha = tf.where(norms.expand_like(state["step"] == 0, point), 1.0, 0.75)
        momentum = (1.0 - alpha) * (point - state["previous"])
        return self._project(examples, point + alpha * (z - point) + momentum, radius)

    def _project(self, examples, images, radius):
        """Projects on the ball and the box."""
        delta, radius = images - examples.images, norms.expand_like(radius, images)
        if self.norm == "l1":
            delta = norms.project_in_box(delta, radius, examples.images, self.bounds)
        else:
            delta = norms.project(delta, radius, self.norm)
        return method.clip(examples.images + delta, self.bounds)


def get_initial_step(radius: tf.Tensor, num_steps: tf.Tensor) -> State:
    """Returns the first step size, 2 epsilon, and the first interval w_1 = 0.22 N."""
    return {"eta": 2.0 * radius, "interval": tf.maximum(22 * num_steps // 100, 1)}


def _record_point(state: State, initial: State, loss, gradient) -> State:
    """Counts the current point and updates x_best.

    Args:
      state: The state; "step" is 0 at the first point of a stage.
      initial: Entries of the state at a first point, at least "eta" and "interval".
      loss: float32 [batch], at the current point.
      gradient: float32 [batch, ...], at the current point.
    """
    at_first_point = state["step"] == 0
    zeros = tf.zeros_like(state["step"])
    start = {
        "loss": loss,
        "f_max_checkpoint": loss,
        "eta_halved": tf.ones_like(at_first_point),
        "num_increases": zeros,
        "steps_since_checkpoint": zeros - 1,
    }
    state = state | select_rows(at_first_point, start | initial, state)
    is_better = at_first_point | (loss > state["f_max"])
    better_rows = norms.expand_like(is_better, gradient)
    return state | {
        "x_best": tf.where(better_rows, state["images"], state["x_best"]),
        "x_best_gradient": tf.where(better_rows, gradient, state["x_best_gradient"]),
        "f_max": tf.where(is_better, loss, state["f_max"]),
        "num_increases": state["num_increases"] + tf.cast(loss > state["loss"], tf.int32),
        "steps_since_checkpoint": state["steps_since_checkpoint"] + 1,
    }


def halve_eta(state: State, rho, num_steps) -> tuple[State, tf.Tensor]:
    """Applies the two conditions of a checkpoint (Croce 2020, Sec. 3).

    Args:
      state: The state at the checkpoint.
      rho: See `APGD`.
      num_steps: int32, N.

    Returns:
      The changed entries of the state, and the rows that halve eta and return to x_best.
    """
    interval = tf.cast(state["interval"], tf.float32)
    # Condition 1: sum_i [f(x_{i+1}) > f(x_i)] < rho (w_j - w_{j-1})
    few_increases = tf.cast(state["num_increases"], tf.float32) <= rho * interval
    # Condition 2: eta_{j-1} = eta_j and f_max_{j-1} = f_max_j
    no_progress = state["f_max"] <= state["f_max_checkpoint"]
    returns_to_best = few_increases | (no_progress & ~state["eta_halved"])
    # p_{j+1} - p_j = max(p_j - p_{j-1} - 0.03, 0.06)
    shorter = state["interval"] - tf.maximum(3 * num_steps // 100, 1)
    shortest = tf.maximum(6 * num_steps // 100, 1)
    updates = {
        "eta": tf.where(returns_to_best, state["eta"] / 2, state["eta"]),
        "eta_halved": returns_to_best,
        "f_max_checkpoint": state["f_max"],
        "interval": tf.maximum(shorter, shortest),
    }
    return updates, returns_to_best


def compute_l1_direction(gradient: tf.Tensor, sparsity: tf.Tensor) -> tf.Tensor:
    """Returns the signs of the steepest elements, scaled to L1 norm 1 (Croce 2021, Alg. 1).

    Args:
      gradient: float32 [batch, ...].
      sparsity: float32 [batch], the fraction of the elements that change.
    """
    magnitudes = tf.reshape(tf.abs(gradient), (tf.shape(gradient)[0], -1))
    count = magnitudes.shape[1]
    index = tf.cast((1.0 - sparsity) * count, tf.int32)
    index = tf.clip_by_value(index, 0, count - 1)
    threshold = tf.gather(tf.sort(magnitudes, axis=1), index, batch_dims=1)
    is_chosen = tf.abs(gradient) >= norms.expand_like(threshold, gradient)
    signs = tf.where(is_chosen, tf.sign(gradient), 0.0)
    num_signs = norms.expand_like(norms.compute_norm(signs, "l1"), gradient)
    return signs / tf.maximum(num_signs, 1.0)


def _compute_l1_sparsity(examples: Examples, images: tf.Tensor) -> State:
    """Returns the number of nonzero elements, and the fraction of elements of the next steps."""
    support = norms.compute_norm(images - examples.images, "l0", width=0.0)
    return {
        "support": support,
        "sparsity": support * (_L1_FRACTION / images[0].shape.num_elements()),
    }


def update_l1_eta(
    examples: Examples, state: State, initial_eta: tf.Tensor
) -> tuple[State, tf.Tensor]:
    """Applies a checkpoint in L1 (Croce 2021, Alg. 1).

    Args:
      examples: The examples.
      state: The state at the checkpoint.
      initial_eta: float32 [batch], the first step size of the stage.

    Returns:
      The changed entries of the state, and the rows that return to x_best.
    """
    sparsity = _compute_l1_sparsity(examples, state["x_best"])
    is_sparser = sparsity["support"] < _L1_SPARSER * state["support"]
    eta = tf.maximum(state["eta"] / _L1_ETA_DIVISOR, initial_eta / _L1_ETA_RANGE)
    return sparsity | {"eta": tf.where(is_sparser, initial_eta, eta)}, is_sparser


@attacks.register("apgd_ce", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDCE(APGD):
    """APGD on cross-entropy, the first attack of AutoAttack.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      targeted: The labels are targets, whose loss decreases.
      loss: "cross_entropy", or "log_odds": the same iterates in exact arithmetic, but its gradient
        does not round to zero for a confident classifier.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """

    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Checks the ranges of the options."""
        super().check()
        if self.loss not in _CE_LOSSES:
            raise errors.make_unknown_error("loss of apgd_ce", self.loss, _CE_LOSSES)

    def build_objective(self, examples, state):
        """Cross-entropy of the labels, or minus that of targets."""
        return losses.build_objective(self.loss, examples.labels, self.targeted)


@attacks.register("apgd_dlr", kind="budget", norms=norms.NAMES, gradients=True, classes=3)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDDLR(APGD):
    """APGD on the difference of logits ratio.

    The loss does not change if the logits are scaled, so a classifier cannot mask its gradient by
    the scale of its logits.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 6.
    """

    def build_objective(self, examples, state):
        """DLR = -(z_y - max_{i != y} z_i) / (z_(1) - z_(3))."""
        return losses.build_objective("dlr", examples.labels, False)


@attacks.register("apgd_t", kind="budget", norms=norms.NAMES, gradients=True, classes=4)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """APGD on the targeted difference of logits ratio, one target per stage.

    The labels are true classes, and success is any other class.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      num_targets: Number of targets: the most likely classes of the clean image after the true
        one. With fewer classes the remaining stages do nothing.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 7.
    """

    num_targets: int = 9

    def check(self):
        """Checks the ranges of the options."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One stage per target and restart; each restart runs all targets."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * (int(self.restarts) * int(self.num_targets))

    def init_target(self, examples, logits):
        """Chooses the target by its rank for the clean image."""
        rank = examples.repeat % int(self.num_targets) + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = losses.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "finished": has_no_target}

    def build_objective(self, examples, state):
        """The targeted DLR of each row's target."""
        return lambda logits: compute_targeted_dlr(logits, examples.labels, state["target"])


def compute_targeted_dlr(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the targeted difference of logits ratio, float32 [batch].

    It does not change if the logits are scaled or shifted.

    Args:
      logits: float32 [batch, num_classes], at least four classes.
      labels: int32 [batch], the true classes y.
      targets: int32 [batch], the targets t.
    """
    top = tf.math.top_k(logits, 4).values
    true_logit = tf.gather(logits, labels, batch_dims=1)
    target_logit = tf.gather(logits, targets, batch_dims=1)
    # -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)     (Croce 2020, Eq. 7)
    denominator = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return (target_logit - true_logit) / (denominator + 1e-12)
