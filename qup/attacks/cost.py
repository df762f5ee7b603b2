"""The cost of an attack before it runs: time, memory and disk, from a probe of a few batches.

```python
estimate = estimate_cost(
    "autoattack", classifier, images, labels, epsilons=[2 / 255, 8 / 255], num_images=1000
)
print(f"about {estimate.seconds:.0f} s, {estimate.memory_bytes / 2**30:.1f} GiB")
```

The work of a stage is a number of calls of its compiled program, each on a batch of some size:

1. A pilot attacks a few images, stage by stage and budget by budget, for at most a part of the time
   limit. It gives the number of steps of each row, and the share of rows that withstand a stage. A
   row that is not done in this time is extrapolated (`extrapolate_steps`).
2. The engine itself runs a program that only counts its calls, on as many rows as withstand the
   stages before (`work.count_calls`): so refills and a shrinking batch are counted too.
3. The programs are timed at the largest and the smallest batch of these calls. Between the two, the
   time of a call is a line: an overhead plus a time per row.

The programs belong to the classifier, so an attack in the same process does not compile them again.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from qup.attacks import engine, inputs, runner, stages, work
from qup.attacks.functional import FunctionAttack
from qup.attacks.inputs import ExampleBatch
from qup.attacks.method import Examples, Method, StageProgress
from qup.attacks.precision import get_precision_copy
from qup.attacks.stages import ClassifierPair
from qup.attacks.verification import Verification, is_within_budget, verify_images
from qup.core import compilation
from qup.core.classifier import wrap_classifier
from qup.core.types import Bounds, LogitsFn

Clock = Callable[[], float]
# A pilot has this share of the images, but at least and at most so many.
_PILOT_SHARE, _MIN_PILOT_ROWS, _MAX_PILOT_ROWS = 1 / 8, 32, 512
# Its time is at most this share of the largest time of its stage, unless that is short.
_PILOT_TIME, _MIN_PILOT_SECONDS = 0.1, 0.5
# A call is timed so often, or for about so many seconds; a loop with at most so many steps.
_TIMED_CALLS, _TIMED_SECONDS, _LOOP_STEPS = 3, 0.3, 16
# The error that does not come from the number of images in the pilot, as a share of the estimate;
# and the normal quantile of a range that holds nine of ten results.
_MODEL_ERROR = 0.25
_RANGE_QUANTILE = 1.645
# Of a row whose largest number of steps is unknown: the factor by which it takes longer.
_UNKNOWN_FACTOR = 2.0
# Bytes of all columns of a result, per image.
_COLUMN_BYTES = 160
# The images of a result are in memory three times: clean, attacked by a stage, and the best.
_IMAGE_COPIES = 3


class CostEstimate(NamedTuple):
    """The cost of an attack.

    Attributes:
      seconds: Of the whole attack, compilation included.
      low, high: The range that should hold nine of ten results, in seconds.
      compile_seconds: The part of `seconds` for compilation. An attack on the same classifier
        object in the same process does not repeat most of it.
      memory_bytes: The largest resident memory of the process; 0 if the system does not say it.
      gpu_memory_bytes: The largest memory in use on the first GPU; 0 without one.
      disk_bytes: Of the results, if they are written.
      probe_seconds: The time that this estimate took.
      stage_seconds: Seconds without compilation of each stage, per budget in their order. A budget
        that costs nothing, because a minimum-norm attack searches once for all, has none.
    """

    seconds: float = 0.0
    low: float = 0.0
    high: float = 0.0
    compile_seconds: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    disk_bytes: int = 0
    probe_seconds: float = 0.0
    stage_seconds: tuple[tuple[float, ...], ...] = ()


def estimate_cost(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images,
    labels,
    *,
    epsilon: float | None = None,
    epsilons: Sequence[float] | None = None,
    batch_size: int = 128,
    seed: int = 0,
    num_images: int | None = None,
    bounds: Bounds = (0.0, 1.0),
    targets: str | None = None,
    precision: str = "float32",
    pixel_range: tuple[float, float] | None = None,
    in_shards: bool = False,
    limit_seconds: float = 20.0,
    clock: Clock = time.perf_counter,
    **options: Any,
) -> CostEstimate:
    """Estimates the cost of `attacks.run` with the same arguments.

    Args:
      attack: See `run`.
      logits_fn: The classifier. Pass the object that is attacked later: it keeps its programs.
      images: float [m, ...], the images or a sample of them; a few hundred are enough.
      labels: int [m], their classes.
      epsilon: The budget, one number.
      epsilons: Several budgets, in place of `epsilon`.
      batch_size: See `run`.
      seed: See `run`.
      num_images: Number of images of the whole attack; None for m.
      bounds: See `run`.
      targets: None, or a name of targets, see `run`.
      precision: See `run`.
      pixel_range: See `run`.
      in_shards: Whether the attack has an `output`, or images that are not one array.
      limit_seconds: Time limit of all pilots. Compilation, and a few calls of every program, come
        in addition.
      clock: Returns seconds.
      **options: The options of the attack.

    Raises:
      InputError: An argument is invalid.
    """
    start = clock()
    labels = inputs.validate_labels(labels)
    num_images = len(labels) if num_images is None else int(num_images)
    budgets = [inputs.validate_epsilon(epsilon, len(labels))]
    if epsilons is not None:
        budgets = inputs.validate_epsilons(epsilons)
    options |= {"bounds": inputs.validate_bounds(bounds), "seed": seed}
    attacks = [runner.build_attack(attack, budget, targets, options) for budget in budgets]
    if not num_images or not len(labels):
        return CostEstimate(stage_seconds=((),) * len(budgets))
    rows = np.unique(np.linspace(0, len(labels) - 1, _MAX_PILOT_ROWS).astype(int))
    (sample,) = inputs.iterate_shards(
        np.asarray(images)[rows], labels[rows], ids=rows, bounds=options["bounds"], shard_size=None
    )
    probe = _Probe(
        classifiers=ClassifierPair.build(wrap_classifier(logits_fn, pixel_range=pixel_range)),
        sample=sample,
        batch_size=min(int(batch_size), 1 << max(0, num_images - 1).bit_length()),
        num_images=num_images,
        limit=_TimeLimit(clock, limit_seconds),
    )
    if in_shards:
        probe.shard_size = min(num_images, batch_size * runner.BATCHES_PER_SHARD)
    probe.prepare(attacks[0], targets, precision, seed)
    costs = probe.estimate_budgets(attacks, budgets)
    return _summarise(probe, costs, clock() - start)


class _StageCost(NamedTuple):
    """The cost of one stage at one budget.

    Attributes:
      seconds: Without compilation.
      error: Standard error of `seconds`, because the pilot has few rows.
    """

    seconds: float
    error: float


class _TimeLimit:
    """Divides the time between the pilots that are still to come."""

    def __init__(self, clock: Clock, seconds: float):
        self.clock, self._seconds_left, self.num_pilots = clock, seconds, 1

    def allot(self) -> float:
        """Returns the seconds of the next pilot."""
        seconds = self._seconds_left / max(1, self.num_pilots)
        self.num_pilots -= 1
        return seconds

    def spend(self, seconds: float) -> None:
        """Subtracts the time of a pilot."""
        self._seconds_left = max(0.0, self._seconds_left - seconds)


class _ProgramTimes:
    """The seconds of the calls of one program."""

    def __init__(self, program: engine.Program, scalars: dict, sample: ExampleBatch, clock: Clock):
        """Measures nothing yet.

        Args:
          program: The compiled stage.
          scalars: Its scalar options.
          sample: Examples with budgets.
          clock: Returns seconds.
        """
        self.program, self.scalars = program, scalars
        self._sample, self._clock = sample, clock
        # By the keys of `work.Calls`.
        self._seconds: work.Calls = {}
        self._compile_seconds: work.Calls = {}
        self._used: set[tuple[str, int, int]] = set()

    def measure(self, kind: str, rows: int, num_steps: int = 1) -> float:
        """Returns the seconds of a call that is compiled already."""
        key = (kind, rows, num_steps)
        if key not in self._seconds:
            self._time(key, self._prepare_call(*key))
        return self._seconds[key]

    def _prepare_call(self, kind: str, rows: int, num_steps: int) -> Callable[[int], int]:
        """Returns a function that makes a call; of a loop, of at most so many steps.

        It returns the number of steps, 1 for other functions.
        """
        program, scalars = self.program, self.scalars
        batch = load_batch(self._sample, np.arange(len(self._sample.labels)), rows)
        if kind == "init":
            return lambda _: _wait(program.init(batch, scalars)[0])
        self.measure("init", rows)
        state, done = program.init(batch, scalars)
        if kind == "images":
            return lambda _: _wait({"images": program.images(batch, state, scalars)})
        if kind == "step":
            return lambda _: _wait(program.step(batch, state, scalars, num_steps))

        def run_loop(max_steps: int) -> int:
            limits = tf.constant(max_steps), tf.constant(0)
            outputs = program.masked_steps(batch, state, tf.zeros_like(done), scalars, *limits)
            return int(outputs[-1])

        return run_loop

    def _time(self, key: tuple[str, int, int], call: Callable[[int], int]) -> None:
        """Times a call after the first one, which compiles; of a loop, one step of several."""
        first_seconds, _ = self._time_once(call, 1)
        seconds, _ = self._time_once(call, 1)
        max_steps = int(np.clip(_TIMED_SECONDS / max(seconds, 1e-9), 1, _LOOP_STEPS))
        times, total = [], seconds
        while not times or (len(times) < _TIMED_CALLS and total < 2 * _TIMED_SECONDS):
            loop_seconds, num_steps = self._time_once(call, max_steps)
            times.append(loop_seconds / max(1, num_steps))
            total += loop_seconds
        self._seconds[key] = float(np.median(times))
        self._compile_seconds[key] = max(0.0, first_seconds - seconds)

    def _time_once(self, call: Callable[[int], int], max_steps: int) -> tuple[float, int]:
        start = self._clock()
        num_steps = call(max_steps)
        return self._clock() - start, num_steps

    def sum_calls(self, calls: work.Calls, *, is_certain: bool = True) -> float:
        """Returns the seconds of calls, and records which functions certain calls compile."""
        total = 0.0
        if is_certain:
            self._used |= calls.keys()
        for kind, num_steps in {(kind, num_steps) for kind, _, num_steps in calls}:
            counts = {k[1]: n for k, n in calls.items() if k[0::2] == (kind, num_steps)}
            ends = sorted({min(counts), max(counts)})
            seconds = [self.measure(kind, rows, num_steps) for rows in ends]
            total += sum(n * float(np.interp(rows, ends, seconds)) for rows, n in counts.items())
        return total

    @property
    def compile_seconds(self) -> float:
        """Of all functions and batch sizes that are used; where unmeasured, that of other sizes."""
        total = 0.0
        for key in self._used:
            sizes = {k: s for k, s in self._compile_seconds.items() if k[0::2] == key[0::2]}
            total += sizes.get(key, float(np.mean(list(sizes.values()))))
        return total


def _wait(state: dict[str, tf.Tensor]) -> int:
    """Returns 1 when a state is computed."""
    min(state.values(), key=lambda value: value.shape.num_elements() or 0).numpy()
    return 1


def load_batch(examples: ExampleBatch, indices: np.ndarray, rows: int, repeat: int = 0) -> Examples:
    """Returns a batch of so many rows, which repeat the examples `indices`."""
    columns = examples.take(np.resize(indices, rows))
    return Examples(*map(tf.constant, columns), tf.constant(repeat, tf.int32))


def extrapolate_steps(
    steps: np.ndarray, done: np.ndarray, shares: np.ndarray, max_steps: int | None
) -> np.ndarray:
    """Returns the numbers of steps at the end, of rows that were stopped together.

    A row that has done a share of its work takes steps / share. If some rows finished in the second
    half of the time, the same part of the rest finishes whenever the time doubles, until
    `max_steps`: the number of active rows is a power of the number of steps.

    Args:
      steps: float [n], steps so far.
      done: bool [n].
      shares: float [n] in [0, 1], of the unfinished rows.
      max_steps: The largest number of steps; None if it is unknown.
    """
    if done.all():
        return steps
    result = steps.astype(float)
    now = max(1.0, float(steps[~done].max()))
    limit = np.maximum(now / np.maximum(shares[~done], 1e-9), now)
    if not max_steps:
        limit[:] = _UNKNOWN_FACTOR * now
    num_active = int((~done).sum())
    num_finished_late = int((steps[done] > now / 2).sum())
    exponent = np.log2((num_active + num_finished_late) / num_active)
    quantiles = (np.arange(num_active) + 0.5) / num_active
    # A power below 1e-3 would only overflow: every row reaches its limit.
    grown = now * quantiles ** (-1 / exponent) if exponent > 1e-3 else np.inf
    result[~done] = np.minimum(grown, limit)
    return result


class _Group(NamedTuple):
    """The rows of the sample that stand for the images that a stage attacks.

    Attributes:
      rows: int [k], indices into the sample.
      share: Of all images.
      doubt: A share of all images that may be in the group in addition, where the pilot shows none.
      steps: float [k], the numbers of steps in the last pilot; None before it.
    """

    rows: np.ndarray
    share: float
    steps: np.ndarray | None = None
    doubt: float = 0.0


@dataclasses.dataclass
class _Probe:
    """The measurements of one estimate.

    Attributes:
      classifiers: The attacked classifier and the one that decides.
      sample: Some of the images.
      batch_size: Rows per batch.
      num_images: Number of images of the whole attack.
      limit: The time of the pilots.
      shard_size: Images per shard; 0 for all.
      num_choices: Number of labels that are tried per image.
      num_classes: Number of classes.
      start: The images that the first stage attacks.
      setup_seconds: The inspection of the classifier, mostly compilation.
      verify_seconds: Of one batch.
      times: The times of each program.
    """

    classifiers: ClassifierPair
    sample: ExampleBatch
    batch_size: int
    num_images: int
    limit: _TimeLimit
    shard_size: int = 0
    num_choices: int = 1
    num_classes: int = 0
    start: _Group | None = None
    setup_seconds: float = 0.0
    verify_seconds: float = 0.0
    times: dict[engine.Program, _ProgramTimes] = dataclasses.field(default_factory=dict)

    def prepare(self, attack, targets: str | None, precision: str, seed: int) -> None:
        """Inspects the classifier, classifies the clean images and chooses the targets."""
        clock, classifier = self.limit.clock, self.classifiers.reference
        start = clock()
        first_batch = self.sample.images[: self.batch_size]
        self.num_classes = classifier.inspect(first_batch).num_classes
        classifier.probe(first_batch, needs_gradient=attack.needs_gradients)
        if precision != "float32":
            surrogate = get_precision_copy(classifier, precision)
            self.classifiers = ClassifierPair(surrogate, classifier)
        label_choices = stages.choose_labels(
            self.classifiers, self.sample, targets, seed=seed, batch_size=self.batch_size
        )
        batch = self.sample.take(np.resize(np.arange(len(self.sample.labels)), self.batch_size))
        self._verify(attack, batch, batch.images)
        self.setup_seconds = clock() - start
        start = clock()
        correct = self._verify(attack, self.sample, self.sample.images).correct
        num_batches = -(-len(correct) // self.batch_size)
        self.verify_seconds = (clock() - start) / num_batches
        attacked = np.ones(len(correct), bool) if attack.is_targeted else correct
        self.start = _Group(np.flatnonzero(attacked), float(attacked.mean()))
        self.num_choices = len(label_choices)
        self.sample = self.sample._replace(labels=label_choices[0])

    def _verify(self, attack, examples: ExampleBatch, images: np.ndarray) -> Verification:
        return verify_images(
            self.classifiers.reference,
            examples.images,
            images,
            examples.labels,
            targeted=attack.is_targeted,
            batch_size=self.batch_size,
            bounds=attack.bounds,
        )

    def estimate_budgets(self, attacks: list, budgets: list) -> list[list[_StageCost]]:
        """Returns the cost of each stage at each budget, in the order of the budgets."""
        attacks = [attack.for_classes(self.num_classes) for attack in attacks]
        order = range(len(budgets))
        if len(budgets) > 1:
            order = sorted(order, key=budgets.__getitem__)
        if attacks[0].is_minimum_norm:
            order = order[:1]
        if isinstance(attacks[0], Method):
            self.limit.num_pilots = sum(len(set(attacks[i].stages())) for i in order)
        costs: list[list[_StageCost]] = [[] for _ in budgets]
        group = self.start
        for i in order:
            if not attacks[i].stops_early:
                group = self.start
            epsilon = np.nan if budgets[i] is None else budgets[i]
            epsilon = np.full(len(self.sample.labels), epsilon, np.float32)
            self.sample = self.sample._replace(epsilon=epsilon)
            group = self._estimate_budget(attacks[i], group, costs[i], is_last=i == order[-1])
        return costs

    def _estimate_budget(
        self, attack, group: _Group, costs: list[_StageCost], *, is_last: bool
    ) -> _Group:
        """Adds the costs of the stages at one budget; returns the images that withstand them."""
        all_stages = attack.stages()
        for number, stage in enumerate(all_stages):
            if attack.is_minimum_norm:
                group = self.start._replace(steps=group.steps)
            if isinstance(stage, FunctionAttack):
                costs.append(self._time_function(stage, group))
                continue
            times = self._get_times(stage)
            is_new = number == 0 or stage != all_stages[number - 1]
            num_fixed_steps = stage.count_fixed_steps()
            decides = number + 1 < len(all_stages) or (attack.stops_early and not is_last)
            after = group
            if is_new and group.rows.size and (num_fixed_steps is None or decides):
                group, after = self._run_pilot(attack, stage, times, group)
            costs.append(self._cost_stage(stage, times, group))
            group = after
        return group

    def _get_times(self, stage: Method) -> _ProgramTimes:
        info = self.classifiers.surrogate.inspect(self.sample.images[: self.batch_size])
        program, scalars = engine.compile_attack(self.classifiers.surrogate, stage, info)
        if program not in self.times:
            self.times[program] = _ProgramTimes(program, scalars, self.sample, self.limit.clock)
        return self.times[program]

    def _run_pilot(
        self, attack, stage: Method, times: _ProgramTimes, group: _Group
    ) -> tuple[_Group, _Group]:
        """Runs a stage on some rows of a group.

        Returns:
          The group with the steps of these rows, and the group that withstands the stage.
        """
        clock, seconds_left = self.limit.clock, self.limit.allot()
        seconds_left = min(seconds_left, self._limit_pilot(stage, times, group))
        num_rows = int(max(_MIN_PILOT_ROWS, _PILOT_SHARE * self.num_images))
        positions = np.linspace(0, len(group.rows) - 1, min(num_rows, len(group.rows)))
        rows, chunks = group.rows[np.unique(positions.astype(int))], []
        small = self._choose_pilot_size(stage)
        pilot = _StagePilot(stage, times, self.sample, clock)
        while sum(len(chunk) for chunk, *_ in chunks) < len(rows):
            first = sum(len(chunk) for chunk, *_ in chunks)
            chunk = rows[first : first + small]
            start = clock()
            steps, images = pilot.run(chunk, small, seconds_left if not chunks else np.inf)
            seconds = clock() - start
            seconds_left -= seconds
            self.limit.spend(seconds)
            chunks.append((chunk, steps, images))
            if seconds > seconds_left:
                break
        rows, steps, images = (np.concatenate(column) for column in zip(*chunks, strict=True))
        examples = self.sample.take(rows)
        result = self._verify(attack, examples, images)
        within = is_within_budget(result.distances[attack.distance_norm], examples.epsilon)
        withstood = ~(result.adversarial & within)
        share = group.share * float(withstood.mean())
        doubt = 0.0
        if not withstood.any():
            # The pilot does not show that none of the other images does. Of few others the median
            # is none, if each share is as likely before as Jeffreys' prior says.
            doubt = group.share / len(rows)
            num_others = self.num_images * group.share - len(rows)
            share = 0.0 if num_others <= 3 * len(rows) else doubt / 4
        after = _Group(rows[withstood], share, steps[withstood], doubt)
        return _Group(rows, group.share, steps, group.doubt), after

    def _choose_pilot_size(self, stage: Method) -> int:
        if compilation.use_xla(stage.xla):
            return self.batch_size
        return max(min(8, self.batch_size), self.batch_size // 4)

    def _limit_pilot(self, stage: Method, times: _ProgramTimes, group: _Group) -> float:
        """Returns a share of the time that the stage takes if no row finishes early."""
        max_steps = stage.count_max_steps(self.sample.images.shape[1:])
        if not max_steps:
            return np.inf
        size = self._choose_pilot_size(stage)
        kind = "masked_step" if stage.count_fixed_steps() is None else "step"
        num_calls = max_steps * self.num_images * group.share / size
        return max(_MIN_PILOT_SECONDS, _PILOT_TIME * num_calls * times.measure(kind, size))

    def _cost_stage(
        self, stage: Method, times: _ProgramTimes, group: _Group, *, is_certain: bool = True
    ) -> _StageCost:
        """Returns the cost of a stage from the steps of the rows of a group."""
        shard_size = self.shard_size or self.num_images
        count = round(shard_size * group.share)
        if not count and group.doubt:
            group = group._replace(share=group.doubt, doubt=0.0)
            in_doubt = self._cost_stage(stage, times, group, is_certain=False)
            return _StageCost(0.0, in_doubt.seconds)
        if not count:
            return _StageCost(0.0, 0.0)
        max_steps = stage.count_max_steps(self.sample.images.shape[1:])
        steps = group.steps
        if steps is None or not len(steps):
            steps = np.array([float(max_steps or 1)])
        calls = work.count_calls(stage, steps, count=count, batch_size=self.batch_size)
        factor = self.num_choices * self.num_images / shard_size
        seconds = factor * times.sum_calls(calls, is_certain=is_certain)
        # The share of rows in the group, and the mean number of steps, have sampling errors.
        num_rows = max(1, len(steps))
        share_error = np.sqrt((1 - group.share) / num_rows)
        step_error = np.std(steps) / max(1e-9, float(np.mean(steps))) / np.sqrt(num_rows)
        num_batches = factor * -(-count // self.batch_size)
        error = seconds * float(np.hypot(share_error, step_error))
        return _StageCost(seconds + num_batches * self.verify_seconds, error)

    def _time_function(self, stage: FunctionAttack, group: _Group) -> _StageCost:
        """Times a plain function on one batch."""
        count = round(self.num_images * group.share)
        if not count:
            return _StageCost(0.0, 0.0)
        batch = self.sample.take(np.resize(group.rows, self.batch_size))
        seconds = 0.0
        for _ in range(2):  # The first call may compile.
            start = self.limit.clock()
            progress = StageProgress.start(batch.images)
            stage.run(self.classifiers.surrogate, batch, self.batch_size, progress)
            first_seconds, seconds = seconds, self.limit.clock() - start
            if seconds > _TIMED_SECONDS:
                break
        self.setup_seconds += max(0.0, first_seconds - seconds)
        num_batches = self.num_choices * -(-count // self.batch_size)
        return _StageCost(num_batches * (seconds + self.verify_seconds), 0.0)


class _StagePilot:
    """Runs a stage on a few rows, for a limited time."""

    def __init__(self, stage: Method, times: _ProgramTimes, sample: ExampleBatch, clock: Clock):
        self._stage, self._times, self._sample, self._clock = stage, times, sample, clock

    def run(self, rows: np.ndarray, size: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Attacks rows of the sample in one batch.

        Args:
          rows: int [k], at most `size`.
          size: Rows of the batch.
          seconds: The time limit.

        Returns:
          (steps, images): the numbers of steps, float [k], extrapolated for rows that are not done
          in time, and the images at the end, float32 [k, ...].
        """
        program, scalars = self._times.program, self._times.scalars
        num_fixed_steps = self._stage.count_fixed_steps()
        self._times.measure("step" if num_fixed_steps else "masked_step", size)
        batch = load_batch(self._sample, rows, size)
        state, done = program.init(batch, scalars)
        steps = np.zeros(size, np.int64)
        done = done.numpy().copy()
        done[len(rows) :] = True
        end, limits = self._clock() + seconds, (tf.constant(_LOOP_STEPS // 2), tf.constant(0))
        while not done.all() and self._clock() < end:
            if num_fixed_steps is not None:
                state = program.step(batch, state, scalars, 1)
                _wait(state)
                steps += 1
                done[:] = steps >= num_fixed_steps
                continue
            state, new_done, steps_taken, _ = program.masked_steps(
                batch, state, tf.constant(done), scalars, *limits
            )
            steps += steps_taken.numpy()
            done = new_done.numpy()
        images = program.images(batch, state, scalars).numpy()
        shape = self._sample.images.shape[1:]
        shares = self._stage.measure_progress(state, steps, shape)
        count, max_steps = len(rows), self._stage.count_max_steps(shape)
        steps = extrapolate_steps(
            steps[:count].astype(float), done[:count], shares[:count], max_steps
        )
        return steps, images[:count]


def _summarise(probe: _Probe, costs: list[list[_StageCost]], probe_seconds: float) -> CostEstimate:
    compile_seconds = probe.setup_seconds
    compile_seconds += sum(times.compile_seconds for times in probe.times.values())
    num_clean_batches = probe.num_choices * -(-probe.num_images // probe.batch_size)
    work_seconds = num_clean_batches * probe.verify_seconds
    work_seconds += sum(cost.seconds for stage_costs in costs for cost in stage_costs)
    seconds = work_seconds + compile_seconds
    # The stages attack what the same rows withstand, so their errors add up.
    pilot_error = sum(cost.error for stage_costs in costs for cost in stage_costs)
    error = _RANGE_QUANTILE * float(np.hypot(pilot_error / seconds, _MODEL_ERROR))
    image_bytes = 4 * int(np.prod(probe.sample.images.shape[1:]))
    stored_bytes = probe.num_images * len(costs) * (image_bytes + _COLUMN_BYTES)
    num_in_memory = probe.shard_size or probe.num_images
    num_copies = _IMAGE_COPIES + (0 if probe.shard_size else len(costs) - 1)
    result_bytes = num_in_memory * num_copies * image_bytes
    result_bytes += probe.num_images * len(costs) * _COLUMN_BYTES
    peak = measure_peak_memory()
    return CostEstimate(
        seconds=seconds,
        low=seconds / (1 + error),
        high=seconds * (1 + error),
        compile_seconds=compile_seconds,
        memory_bytes=peak + result_bytes if peak else 0,
        gpu_memory_bytes=measure_gpu_memory(),
        disk_bytes=stored_bytes,
        probe_seconds=probe_seconds,
        stage_seconds=tuple(tuple(cost.seconds for cost in stage_costs) for stage_costs in costs),
    )


def measure_peak_memory() -> int:
    """Returns the largest resident memory of this process so far, in bytes; 0 if unknown."""
    try:
        import resource  # Not on Windows.
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else 1024 * int(peak)


def measure_gpu_memory() -> int:
    """Returns the largest memory in use on the first GPU, in bytes; 0 without one."""
    if not tf.config.list_physical_devices("GPU"):
        return 0
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
