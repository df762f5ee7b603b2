"""What APGD remembers of an example's climb, and when it halves the step.

Reference: Croce and Hein 2020, arXiv 2003.01690, Sec. 3.
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

_FLOAT_STATE = ("size", "best_loss", "loss", "checked_loss")
_COUNT_STATE = ("step", "since", "interval", "rises", "stage")


def init_state(images: tf.Tensor, labels: tf.Tensor) -> State:
    """Returns the state of examples that have not begun."""
    zeros = tf.zeros_like(labels)
    return (
        dict.fromkeys(_FLOAT_STATE, tf.cast(zeros, tf.float32))
        | dict.fromkeys(_COUNT_STATE, zeros)
        | dict.fromkeys(("previous", "best", "best_slope"), images)
        | dict.fromkeys(("hit", "over", "halved"), zeros > 0)
    )


def get_initial_step(radius: tf.Tensor, num_steps: tf.Tensor) -> State:
    """Returns the first step, 2 epsilon, and the first interval, 0.22 N."""
    interval = tf.maximum(22 * num_steps // 100, 1)
    return {"size": 2.0 * radius, "interval": interval}


def record_point(state: State, initial: State, loss, gradient) -> State:
    """Counts the point that the rows are at, and keeps the best.

    Args:
      state: Where "step" is 0, the row is at its first point.
      initial: What is so at a first point: at least "size" and "interval".
      loss: float32 [batch], at the point.
      gradient: float32 [batch, ...], at the point.
    """
    at_first_point = state["step"] == 0
    zeros = tf.zeros_like(state["step"])
    start = {
        "loss": loss,
        "checked_loss": loss,
        "halved": tf.ones_like(at_first_point),
        "rises": zeros,
        "since": zeros - 1,
    }
    state = state | select_rows(at_first_point, start | initial, state)
    better = at_first_point | (loss > state["best_loss"])
    better_rows = norms.expand_like(better, gradient)
    return state | {
        "best": tf.where(better_rows, state["images"], state["best"]),
        "best_slope": tf.where(better_rows, gradient, state["best_slope"]),
        "best_loss": tf.where(better, loss, state["best_loss"]),
        "rises": state["rises"] + tf.cast(loss > state["loss"], tf.int32),
        "since": state["since"] + 1,
    }


def halve_step_size(state: State, rho, num_steps) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      state: With the best point up to now.
      rho: Halve the step unless more than this share of steps rose.
      num_steps: int32, N.
    """
    interval = tf.cast(state["interval"], tf.float32)
    # 1. sum_i [f(x_i+1) > f(x_i)] <= rho (w_j - w_j-1)
    few_rises = tf.cast(state["rises"], tf.float32) <= rho * interval
    # 2. eta_j-1 = eta_j and f_max_j-1 = f_max_j
    no_progress = state["best_loss"] <= state["checked_loss"]
    returns_to_best = few_rises | (no_progress & ~state["halved"])
    # w_j+1 - w_j = max(w_j - w_j-1 - 0.03 N, 0.06 N)
    shorter = state["interval"] - tf.maximum(3 * num_steps // 100, 1)
    shortest = tf.maximum(6 * num_steps // 100, 1)
    updates = {
        "size": tf.where(returns_to_best, state["size"] / 2, state["size"]),
        "halved": returns_to_best,
        "checked_loss": state["best_loss"],
        "interval": tf.maximum(shorter, shortest),
    }
    return updates, returns_to_best


def apply_checkpoint(state: State, updates: State, returns_to_best: tf.Tensor):
    """Returns the state and who goes back, where a checkpoint is due."""
    is_due = state["since"] == state["interval"]
    zeros = tf.zeros_like(state["since"])
    updates = updates | {"since": zeros, "rises": zeros}
    return state | select_rows(is_due, updates, state), is_due & returns_to_best


# What is different about APGD in L1: sparse steps and a shrinking ball.
#
# A step moves the steepest elements alone, evenly; how many follows from how
# sparse the best perturbation is. The search starts in a ball of 3 epsilon,
# goes on in one of 2 epsilon, and ends in that of epsilon.
#
# Reference: Croce and Hein 2021, arXiv 2103.01208, Alg. 1 and Sec. 4.


# The last of the stages 0, 1, 2, whose balls are 3, 2 and 1 epsilon wide.
L1_LAST_STAGE = 2
# The step moves this share of the elements that the best perturbation has.
_L1_SHARE = 1 / 1.5
_L1_SHRINK = 1.5
# The shortest step is the first divided by this.
_L1_SIZE_RANGE = 10.0
# The perturbation has grown sparser if it has fewer than this many times
# the elements it had.
_L1_SPARSER = 0.95


def count_l1_steps(stage: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
    """Returns the number of steps of a stage, int32: 3, 3 and 4 tenths."""
    early_steps = num_steps * 3 // 10
    return tf.where(stage < L1_LAST_STAGE, early_steps, num_steps - 2 * early_steps)


def compute_l1_direction(gradient: tf.Tensor, sparsity: tf.Tensor) -> tf.Tensor:
    """Returns the signs of the steepest elements, of L1 length 1.

    Args:
      gradient: float32 [batch, ...].
      sparsity: float32 [batch], the share of the elements to move.

    Returns:
      float32 [batch, ...].
    """
    magnitudes = tf.reshape(tf.abs(gradient), (tf.shape(gradient)[0], -1))
    count = magnitudes.shape[1]
    index = tf.cast((1.0 - sparsity) * count, tf.int32)
    index = tf.clip_by_value(index, 0, count - 1)
    threshold = tf.gather(tf.sort(magnitudes, axis=1), index, batch_dims=1)
    is_chosen = tf.abs(gradient) >= norms.expand_like(threshold, gradient)
    signs = tf.where(is_chosen, tf.sign(gradient), 0.0)
    num_moving = norms.expand_like(norms.compute_norm(signs, "l1"), gradient)
    return signs / tf.maximum(num_moving, 1.0)


def compute_l1_sparsity(examples: Examples, images: tf.Tensor) -> State:
    """Returns what is remembered of how sparse a perturbation is."""
    support = norms.compute_norm(images - examples.images, "l0")
    share = _L1_SHARE / images[0].shape.num_elements()
    return {"support": support, "sparsity": support * share}


def get_initial_l1_step(examples: Examples, images: tf.Tensor, radius, num_steps) -> State:
    """Returns what a stage begins with that starts at `images`.

    Args:
      examples: The examples.
      images: float32 [batch, ...].
      radius: float32 [batch], of the stage's ball.
      num_steps: int32 [batch], the number of its steps.
    """
    interval = tf.maximum(4 * num_steps // 100, 1)
    return {"size": radius, "interval": interval} | compute_l1_sparsity(examples, images)


def update_l1_step_size(
    examples: Examples, state: State, initial_size: tf.Tensor
) -> tuple[State, tf.Tensor]:
    """Returns the state after a checkpoint, and who goes back to the best.

    Args:
      examples: The examples.
      state: With the best point up to now.
      initial_size: float32 [batch], the first step of the stage.
    """
    sparsity = compute_l1_sparsity(examples, state["best"])
    is_sparser = sparsity["support"] < _L1_SPARSER * state["support"]
    step_size = tf.maximum(state["size"] / _L1_SHRINK, initial_size / _L1_SIZE_RANGE)
    return sparsity | {"size": tf.where(is_sparser, initial_size, step_size)}, is_sparser


# Auto-PGD: projected gradient ascent that sets its own step size.
#
# The machine of `apgd_ce`, `apgd_dlr` and `apgd_t`, which differ in the loss
# they climb. An example starts at random in the ball with a step of
# 2 epsilon. At checkpoints, each nearer to the one before, an example whose
# loss has ceased to rise returns to its best point and halves its step.


@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(method.Method):
    """Climbs a loss with a step size that each example sets for itself.

    A row stops at the first adversarial point inside epsilon.

    Attributes:
      epsilon: Radius of the ball in `norm`, in the units of `bounds`.
      norm: "linf", "l2", or "l1" (see `apgd_l1`).
      num_steps: Number of steps.
      rho: At a checkpoint, an example halves its step unless more than this
        share of the steps since the last raised its loss.
      restarts: Number of random starts.
      expectation: Number of passes whose losses and gradients are
        averaged, for a classifier that is itself random. Above one, no row
        stops at what may be luck, and each ends at its best point.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Alg. 1.
    """

    epsilon: float
    norm: str = "linf"
    num_steps: method.Count = 100
    rho: float = 0.75
    restarts: int = 1
    expectation: int = 1

    def check(self):
        """Raises an InputError for an option out of its range."""
        for option in ("restarts", "expectation"):
            errors.check_number(option, getattr(self, option), at_least=1)
        inputs.check_number("rho", self.rho, least=0)

    def stages(self):
        """One part a restart."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * int(self.restarts)

    def init_target(self, examples, logits) -> method.State:
        """Returns what the loss needs to know of the clean images' logits."""
        return {}

    def build_objective(self, examples, state) -> Callable:
        """Returns what is climbed: logits -> float32 [batch]."""
        raise NotImplementedError

    def init(self, classifier, examples):
        """Starts at random, unless the clean image is adversarial."""
        logits = classifier.logits(examples.images)
        success = self._find_success(examples, logits)
        success_rows = norms.expand_like(success, examples.images)
        start = tf.where(success_rows, examples.images, self._sample_start(examples))
        state = init_state(examples.images, examples.labels)
        if self.norm == "l1":
            state |= compute_l1_sparsity(examples, start)
        state |= {"images": start, "hit": success}
        return state | self.init_target(examples, logits)

    def step(self, classifier, examples, state):
        """Asks for the loss at the point that the row is at, and moves."""
        current = state["images"]
        success, loss, gradient = self._evaluate_point(classifier, examples, state)
        initial = self._begin_stage(examples, state)
        state = record_point(state, initial, loss, gradient)
        state, returns_to_best = self._apply_checkpoint(examples, state, initial["size"])
        returning_rows = norms.expand_like(returns_to_best, current)
        point = tf.where(returning_rows, state["best"], current)
        gradient = tf.where(returning_rows, state["best_slope"], gradient)
        stage_ended = state["step"] >= self._count_stage_steps(state)
        to_next_stage = stage_ended & (state["stage"] < self._last_stage)
        perturbed = self._compute_next_point(examples, state, point, gradient, to_next_stage)
        return state | {
            "images": tf.where(norms.expand_like(success, current), current, perturbed),
            "previous": point,
            "loss": tf.where(returns_to_best, state["best_loss"], loss),
            "step": tf.where(to_next_stage, 0, state["step"] + 1),
            "stage": state["stage"] + tf.cast(to_next_stage, tf.int32),
            "hit": success,
            "over": stage_ended & ~to_next_stage,
        }

    def done(self, examples, state):
        """Once adversarial, or after `num_steps`."""
        return state["hit"] | state["over"]

    def images(self, examples, state):
        """The adversarial point, or else the clean image."""
        fallback = state["best"] if self.expectation > 1 else examples.images
        return tf.where(norms.expand_like(state["hit"], fallback), state["images"], fallback)

    def _find_success(self, examples, logits):
        """Marks who may stop."""
        success = method.adversarial(logits, examples.labels, self.is_targeted)
        return success if self.expectation == 1 else tf.zeros_like(success)

    @property
    def _last_stage(self) -> int:
        """The last stage; one in L-inf and L2, three in L1."""
        return L1_LAST_STAGE if self.norm == "l1" else 0

    def _compute_radius(self, examples, stage):
        """Returns the radius of a stage's ball, float32 [batch]."""
        return tf.cast(self._last_stage - stage + 1, tf.float32) * examples.epsilon

    def _count_stage_steps(self, state):
        """Returns the number of steps of the stage, int32."""
        if self.norm == "l1":
            return count_l1_steps(state["stage"], self.num_steps)
        return self.num_steps + tf.zeros_like(state["step"])

    def _sample_start(self, examples):
        """Draws a point of the sphere (in L1, of the ball of 3 epsilon)."""
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
        """Returns who is adversarial, and the mean loss and slope."""
        objective, images = self.build_objective(examples, state), state["images"]
        mean_loss, mean_gradient = tf.zeros_like(examples.epsilon), tf.zeros_like(images)
        for _ in range(int(self.expectation)):
            logits, value, gradient = classifier.gradient(objective, images)
            mean_loss += value / self.expectation
            mean_gradient += gradient / self.expectation
            # One pass after another, in the memory of one.
            with tf.control_dependencies([gradient]):
                images = tf.identity(images)
        success = self._find_success(examples, logits) & (state["stage"] == self._last_stage)
        return success, mean_loss, mean_gradient

    def _begin_stage(self, examples, state):
        """Returns what a stage begins with."""
        radius = self._compute_radius(examples, state["stage"])
        num_steps = self._count_stage_steps(state)
        if self.norm == "l1":
            return get_initial_l1_step(examples, state["images"], radius, num_steps)
        return get_initial_step(radius, num_steps)

    def _apply_checkpoint(self, examples, state, initial_size):
        """Returns the state after a checkpoint, and who goes back."""
        if self.norm == "l1":
            updates, returns_to_best = update_l1_step_size(examples, state, initial_size)
        else:
            num_steps = self.num_steps
            updates, returns_to_best = halve_step_size(state, self.rho, num_steps)
        return apply_checkpoint(state, updates, returns_to_best)

    def _compute_next_point(self, examples, state, point, gradient, to_next_stage):
        radius = self._compute_radius(examples, state["stage"])
        step_size = norms.expand_like(state["size"], point)
        if self.norm == "l1":
            stepped = point + step_size * compute_l1_direction(gradient, state["sparsity"])
            # A stage starts at the best point of the one before.
            stepped = tf.where(norms.expand_like(to_next_stage, point), state["best"], stepped)
            next_radius = self._compute_radius(examples, state["stage"] + 1)
            radius = tf.where(to_next_stage, next_radius, radius)
            return self._project(examples, stepped, radius)
        # z = P(x_k + eta d), with d the steepest direction
        l2 = self.norm == "l2"
        direction = norms.scale_to_norm(gradient, 1.0, "l2") if l2 else tf.sign(gradient)
        stepped = self._project(examples, point + step_size * direction, radius)
        # x_k+1 = P(x_k + a (z - x_k) + (1 - a)(x_k - x_k-1)), a = 1 at first
        weight = tf.where(norms.expand_like(state["step"] == 0, point), 1.0, 0.75)
        momentum = (1.0 - weight) * (point - state["previous"])
        perturbed = point + weight * (stepped - point) + momentum
        return self._project(examples, perturbed, radius)

    def _project(self, examples, images, radius):
        delta, radius = images - examples.images, norms.expand_like(radius, images)
        clean, bounds = examples.images, self.bounds
        if self.norm == "l1":
            delta = norms.project_in_box(delta, radius, clean, bounds)
        else:
            delta = norms.project(delta, radius, self.norm)
        return method.clip(clean + delta, bounds)


# Auto-PGD on cross-entropy, the first attack of AutoAttack.
#
# ```python
# attacked = attacks.get("apgd_ce")(classifier, images, labels, epsilon=8 / 255)
# ```


_CE_LOSSES = ("cross_entropy", "log_odds")


@attacks.register("apgd_ce", kind="budget", norms=norms.NAMES, gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDCE(APGD):
    """Climbs cross-entropy with a step size that each example sets.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      targeted: Descend the loss of the labels, which are targets.
      loss: "cross_entropy", or "log_odds", which takes the same path in
        exact arithmetic and does not round to nothing where the classifier
        is sure.

    Reference: Croce and Hein 2020, arXiv 2003.01690.
    """

    targeted: bool = False
    loss: str = "cross_entropy"

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        if self.loss not in _CE_LOSSES:
            raise errors.make_unknown_error("loss of apgd_ce", self.loss, _CE_LOSSES)

    def build_objective(self, examples, state):
        """Cross-entropy; of targets, less it."""
        return losses.build_objective(self.loss, examples.labels, self.targeted)


# Auto-PGD on the difference of logits ratio.
#
# ```python
# attacked = attacks.get("apgd_dlr")(classifier, images, labels, epsilon=8 / 255)
# ```


@attacks.register("apgd_dlr", kind="budget", norms=norms.NAMES, gradients=True, classes=3)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDDLR(APGD):
    """Climbs a loss that does not change when the logits are rescaled.

    So a classifier cannot hide its gradient in the scale of its logits.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 6.
    """

    def build_objective(self, examples, state):
        """DLR = -(z_y - max_{i != y} z_i) / (z_(1) - z_(3))."""
        return losses.build_objective("dlr", examples.labels, False)


# Auto-PGD towards the next likely classes in turn, as in AutoAttack.
#
# ```python
# attacked = attacks.get("apgd_t")(classifier, images, labels, epsilon=8 / 255)
# ```


@attacks.register("apgd_t", kind="budget", norms=norms.NAMES, gradients=True, classes=4)
@dataclasses.dataclass(frozen=True, kw_only=True)
class APGDT(APGD):
    """Climbs the targeted difference of logits ratio, one target a part.

    The labels are true classes, and any other class is success.

    Attributes:
      epsilon, norm, num_steps, rho, restarts, expectation: See `APGD`.
      num_targets: Number of targets: the classes that are most likely on
        the clean image, after the true one. Where there are fewer, the
        parts that are left do nothing.

    Reference: Croce and Hein 2020, arXiv 2003.01690, Eq. 7.
    """

    num_targets: int = 9

    def check(self):
        """Raises an InputError for an option out of its range."""
        super().check()
        errors.check_number("num_targets", self.num_targets, at_least=1)

    def stages(self):
        """One part a target; every restart goes through all."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * (int(self.restarts) * int(self.num_targets))

    def init_target(self, examples, logits):
        """Picks the target by its rank on the clean image."""
        rank = examples.part % int(self.num_targets) + 1
        has_no_target = tf.fill(examples.labels.shape, rank >= logits.shape[1])
        target = losses.select_ranked_class(logits, examples.labels, rank)
        return {"target": target, "over": has_no_target}

    def build_objective(self, examples, state):
        """The targeted DLR of the row's target."""
        return lambda logits: compute_targeted_dlr(logits, examples.labels, state["target"])


def compute_targeted_dlr(
    logits: tf.Tensor, labels: tf.Tensor, target_classes: tf.Tensor
) -> tf.Tensor:
    """Returns the targeted difference of logits ratio, float32 [batch].

    Unchanged when the logits are multiplied or shifted.

    Args:
      logits: float32 [batch, classes], four classes at least.
      labels: int32 [batch], the true classes y.
      target_classes: int32 [batch], the targets t.
    """
    top = tf.math.top_k(logits, 4).values
    true_logit = tf.gather(logits, labels, batch_dims=1)
    target_logit = tf.gather(logits, target_classes, batch_dims=1)
    # -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)
    denominator = top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])
    return (target_logit - true_logit) / (denominator + 1e-12)
