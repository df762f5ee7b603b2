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
            errors.check_number(option, getattr(self, option), least=1)
        base.check_number("rho", self.rho, least=0)

    def parts(self):
        """One part a restart."""
        once = dataclasses.replace(self, restarts=1)
        return (once,) * int(self.restarts)

    def aim(self, examples, logits) -> base.State:
        """Returns what the loss needs to know of the clean images' logits."""
        return {}

    def objective(self, examples, state) -> Callable:
        """Returns what is climbed: logits -> float32 [batch]."""
        raise NotImplementedError

    def init(self, victim, examples):
        """Starts at random, unless the clean image is adversarial."""
        logits = victim.logits(examples.images)
        hit = self._hit(examples, logits)
        rows = norms.rows(hit, examples.images)
        start = tf.where(rows, examples.images, self._start(examples))
        state = apgd_checkpoints.nothing(examples.images, examples.labels)
        if self.norm == "l1":
            state |= apgd_l1.sparseness(examples, start)
        state |= {"images": start, "hit": hit}
        return state | self.aim(examples, logits)

    def step(self, victim, examples, state):
        """Asks for the loss at the point that the row is at, and moves."""
        here = state["images"]
        hit, loss, slope = self._asked(victim, examples, state)
        first = self._first(examples, state)
        state = apgd_checkpoints.noted(state, first, loss, slope)
        state, back = self._checked(examples, state, first["size"])
        rows = norms.rows(back, here)
        point = tf.where(rows, state["best"], here)
        slope = tf.where(rows, state["best_slope"], slope)
        ended = state["step"] >= self._moves(state)
        onward = ended & (state["stage"] < self._last)
        moved = self._moved(examples, state, point, slope, onward)
        return state | {
            "images": tf.where(norms.rows(hit, here), here, moved),
            "previous": point,
            "loss": tf.where(back, state["best_loss"], loss),
            "step": tf.where(onward, 0, state["step"] + 1),
            "stage": state["stage"] + tf.cast(onward, tf.int32),
            "hit": hit,
            "over": ended & ~onward,
        }

    def done(self, examples, state):
        """Once adversarial, or after `num_steps`."""
        return state["hit"] | state["over"]

    def images(self, examples, state):
        """The adversarial point, or else the clean image."""
        none = state["best"] if self.expectation > 1 else examples.images
        return tf.where(norms.rows(state["hit"], none), state["images"], none)

    def _hit(self, examples, logits):
        """Marks who may stop."""
        hit = base.adversarial(logits, examples.labels, self.aimed)
        return hit if self.expectation == 1 else tf.zeros_like(hit)

    @property
    def _last(self) -> int:
        """The last stage; one in L-inf and L2, three in L1."""
        return apgd_l1.LAST_STAGE if self.norm == "l1" else 0

    def _radius(self, examples, stage):
        """Returns the radius of a stage's ball, float32 [batch]."""
        return tf.cast(self._last - stage + 1, tf.float32) * examples.epsilon

    def _moves(self, state):
        """Returns the number of steps of the stage, int32."""
        if self.norm == "l1":
            return apgd_l1.moves(state["stage"], self.num_steps)
        return self.num_steps + tf.zeros_like(state["step"])

    def _start(self, examples):
        """Draws a point of the sphere (in L1, of the ball of 3 epsilon)."""
        word = zlib.crc32(self.name.encode()) & 0x7FFFFFFF
        keys, radius = self.keys(examples, word), examples.budget()
        images = examples.images
        if self.norm == "l1":
            low, high = self.bounds or (0.0, radius)
            delta = (high - low) * draws.normal(keys, images.shape[1:])
        else:
            delta = spheres.sample(images, radius, self.norm, keys)
        radius = self._radius(examples, tf.constant(0))
        return self._confined(examples, images + delta, radius)

    def _asked(self, victim, examples, state):
        """Returns who is adversarial, and the mean loss and slope."""
        objective, images = self.objective(examples, state), state["images"]
        loss, slope = tf.zeros_like(examples.epsilon), tf.zeros_like(images)
        for _ in range(int(self.expectation)):
            logits, value, gradient = victim.gradient(objective, images)
            loss += value / self.expectation
            slope += gradient / self.expectation
            # One pass after another, in the memory of one.
            with tf.control_dependencies([gradient]):
                images = tf.identity(images)
        hit = self._hit(examples, logits) & (state["stage"] == self._last)
        return hit, loss, slope

    def _first(self, examples, state):
        """Returns what a stage begins with."""
        radius = self._radius(examples, state["stage"])
        moves = self._moves(state)
        if self.norm == "l1":
            return apgd_l1.first(examples, state["images"], radius, moves)
        return apgd_checkpoints.first(radius, moves)

    def _checked(self, examples, state, first_size):
        """Returns the state after a checkpoint, and who goes back."""
        if self.norm == "l1":
            after, back = apgd_l1.sparser(examples, state, first_size)
        else:
            steps = self.num_steps
            after, back = apgd_checkpoints.halved(state, self.rho, steps)
        return apgd_checkpoints.passed(state, after, back)

    def _moved(self, examples, state, point, slope, onward):
        radius = self._radius(examples, state["stage"])
        size = norms.rows(state["size"], point)
        if self.norm == "l1":
            ahead = point + size * apgd_l1.direction(slope, state["sparsity"])
            # A stage starts at the best point of the one before.
            ahead = tf.where(norms.rows(onward, point), state["best"], ahead)
            after = self._radius(examples, state["stage"] + 1)
            radius = tf.where(onward, after, radius)
            return self._confined(examples, ahead, radius)
        # z = P(x_k + eta d), with d the steepest direction
        l2 = self.norm == "l2"
        way = spheres.onto(slope, 1.0, "l2") if l2 else tf.sign(slope)
        ahead = self._confined(examples, point + size * way, radius)
        # x_k+1 = P(x_k + a (z - x_k) + (1 - a)(x_k - x_k-1)), a = 1 at first
        weight = tf.where(norms.rows(state["step"] == 0, point), 1.0, 0.75)
        momentum = (1.0 - weight) * (point - state["previous"])
        moved = point + weight * (ahead - point) + momentum
        return self._confined(examples, moved, radius)

    def _confined(self, examples, images, radius):
        delta, radius = images - examples.images, norms.rows(radius, images)
        clean, bounds = examples.images, self.bounds
        if self.norm == "l1":
            delta = norms.project_in_box(delta, radius, clean, bounds)
        else:
            delta = norms.project(delta, radius, self.norm)
        return base.clip(clean + delta, bounds)
