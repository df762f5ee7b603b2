"""Auto-PGD: projected gradient ascent that sets its own step size.

The machine of `apgd_ce`, `apgd_dlr` and `apgd_t`, which differ in the loss
they climb. An example starts at random in the ball with a step of
2 epsilon. At checkpoints, each nearer to the one before, an example whose
loss has ceased to rise returns to its best point and halves its step.
"""

import dataclasses
import zlib
from collections.abc import Callable

import tensorflow as tf

from qup import draws, errors, norms
from qup.attacks import apgd_checkpoints, apgd_l1, base, spheres


@dataclasses.dataclass(frozen=True, kw_only=True)
class APGD(base.Method):
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
    num_steps: base.Count = 100
    rho: float = 0.75
    restarts: int = 1
    expectation: int = 1

    def check(self):
        """Raises an InputError for an option out of its range."""
        for option in ("restarts", "expectation"):
            errors.check_number(option, getattr(self, option), at_least=1)
        base.check_number("rho", self.rho, least=0)

    def stages(self):
        """One part a restart."""
        one_start = dataclasses.replace(self, restarts=1)
        return (one_start,) * int(self.restarts)

    def init_target(self, examples, logits) -> base.State:
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
        state = apgd_checkpoints.init_state(examples.images, examples.labels)
        if self.norm == "l1":
            state |= apgd_l1.compute_l1_sparsity(examples, start)
        state |= {"images": start, "hit": success}
        return state | self.init_target(examples, logits)

    def step(self, classifier, examples, state):
        """Asks for the loss at the point that the row is at, and moves."""
        current = state["images"]
        success, loss, gradient = self._evaluate_point(classifier, examples, state)
        initial = self._begin_stage(examples, state)
        state = apgd_checkpoints.record_point(state, initial, loss, gradient)
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
        success = base.adversarial(logits, examples.labels, self.is_targeted)
        return success if self.expectation == 1 else tf.zeros_like(success)

    @property
    def _last_stage(self) -> int:
        """The last stage; one in L-inf and L2, three in L1."""
        return apgd_l1.L1_LAST_STAGE if self.norm == "l1" else 0

    def _compute_radius(self, examples, stage):
        """Returns the radius of a stage's ball, float32 [batch]."""
        return tf.cast(self._last_stage - stage + 1, tf.float32) * examples.epsilon

    def _count_stage_steps(self, state):
        """Returns the number of steps of the stage, int32."""
        if self.norm == "l1":
            return apgd_l1.count_l1_steps(state["stage"], self.num_steps)
        return self.num_steps + tf.zeros_like(state["step"])

    def _sample_start(self, examples):
        """Draws a point of the sphere (in L1, of the ball of 3 epsilon)."""
        name_hash = zlib.crc32(self.name.encode()) & 0x7FFFFFFF
        keys, radius = self.keys(examples, name_hash), examples.budget()
        images = examples.images
        if self.norm == "l1":
            low, high = self.bounds or (0.0, radius)
            delta = (high - low) * draws.normal(keys, images.shape[1:])
        else:
            delta = spheres.sample_sphere(images, radius, self.norm, keys)
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
            return apgd_l1.get_initial_l1_step(examples, state["images"], radius, num_steps)
        return apgd_checkpoints.get_initial_step(radius, num_steps)

    def _apply_checkpoint(self, examples, state, initial_size):
        """Returns the state after a checkpoint, and who goes back."""
        if self.norm == "l1":
            updates, returns_to_best = apgd_l1.update_l1_step_size(examples, state, initial_size)
        else:
            num_steps = self.num_steps
            updates, returns_to_best = apgd_checkpoints.halve_step_size(state, self.rho, num_steps)
        return apgd_checkpoints.apply_checkpoint(state, updates, returns_to_best)

    def _compute_next_point(self, examples, state, point, gradient, to_next_stage):
        radius = self._compute_radius(examples, state["stage"])
        step_size = norms.expand_like(state["size"], point)
        if self.norm == "l1":
            stepped = point + step_size * apgd_l1.compute_l1_direction(gradient, state["sparsity"])
            # A stage starts at the best point of the one before.
            stepped = tf.where(norms.expand_like(to_next_stage, point), state["best"], stepped)
            next_radius = self._compute_radius(examples, state["stage"] + 1)
            radius = tf.where(to_next_stage, next_radius, radius)
            return self._project(examples, stepped, radius)
        # z = P(x_k + eta d), with d the steepest direction
        l2 = self.norm == "l2"
        direction = spheres.scale_to_norm(gradient, 1.0, "l2") if l2 else tf.sign(gradient)
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
        return base.clip(clean + delta, bounds)
