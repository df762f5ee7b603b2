"""The Jacobian saliency map attack: row four of the paper's Table 4.

```python
adversarial = attacks.get("jsma")(classifier, images, labels)
```
"""

import dataclasses
import math

import tensorflow as tf

from qup import attacks
from qup.attacks import deepfool, engine, losses, method
from qup.core import errors

# Weights w of the bound of `find_best_pairs`, in units of the one that is tight for the known pair.
# The extreme weights come first: the features that they exclude tighten the bounds that follow.
_BOUND_WEIGHTS = (4.0, 0.25, 1.5, 0.67, 1.0)
# Number of features that are compared after the bound.
_NUM_COMPARED = 32
# Number of features that are compared in a row where those are too few.
_NUM_COMPARED_AGAIN = 1024
# Largest error of the bound by rounding, in units of its largest terms.
_BOUND_SLACK = 2e-6
# Elements per block of the comparison of all pairs.
_BLOCK_ELEMENTS = 4_000_000
_EXCLUDED = float("-inf")
_EPS = 1e-30


@attacks.register("jsma", kind="minimum_norm", norms=("l0",), gradients=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class JSMA(method.Method):
    """Changes one pair of features per step: the pair with the largest saliency.

    The gradients are those of the logits. A feature changes once, and not at all if it is at the
    bound in the direction of theta.

    Attributes:
      theta: The change of a feature, in units of the box's width (of the pixels without a box);
        negative values darken.
      gamma: Largest fraction of the features that change; the authors use 14.5 %. (ART and
        cleverhans use 1, torchattacks 0.1.)
      targeted: The labels are targets. Otherwise the target is the most likely class of the clean
        image other than the label, and any misclassification is success.

    Reference: Papernot et al. 2016, arXiv 1511.07528.
    """

    theta: float = 1.0
    gamma: float = 0.145
    targeted: bool = False

    def check(self):
        """Checks the ranges of the options."""
        if not tf.is_tensor(self.theta):
            errors.check_number("theta", self.theta)
            if self.theta == 0:
                raise errors.InputError(
                    "theta=0 changes nothing; give the step in units of the box's width, such as "
                    "1 or -1."
                )
        if not tf.is_tensor(self.gamma):
            errors.check_number("gamma", self.gamma, above=0)
            if self.gamma > 1:
                raise errors.InputError(
                    f"gamma is a fraction of the features, at most 1; got {self.gamma!r}."
                )

    def init(self, classifier, examples):
        """Chooses the targets; misclassified images are done."""
        clean, target = examples.images, examples.labels
        logits = classifier.logits(clean)
        if not self.targeted:
            target = losses.select_ranked_class(logits, examples.labels, 1)
        success = method.adversarial(logits, examples.labels, self.targeted)
        return {
            "images": clean,
            "previous": clean,
            "target": target,
            "is_free": self._find_free_features(clean),
            "pairs": tf.zeros_like(target),
            "success": success,
            "finished": success,
        }

    def step(self, classifier, examples, state):
        """Evaluates the image, and changes a pair unless it is adversarial."""
        images, is_free = state["images"], state["is_free"]
        logits, rise, fall = self._compute_gradients(classifier, state, images)
        success = method.adversarial(logits, examples.labels, self.targeted)
        # floor(gamma n / 2) pairs, for a gamma that was rounded to float32.
        max_pairs = tf.cast(self.gamma * math.prod(images.shape[1:]) / 2 + 1e-4, tf.int32)
        is_finished = state["finished"] | success | (state["pairs"] >= max_pairs)
        pair, has_pair = find_best_pairs(rise, fall, is_free & ~is_finished[:, None])
        is_changed = tf.one_hot(pair, is_free.shape[1], True, False, dtype=tf.bool)
        is_changed = tf.reduce_any(is_changed, 1) & has_pair[:, None]
        # x_p <- clip(x_p + theta), x_q <- clip(x_q + theta)     (Papernot 2016, Alg. 2)
        perturbed = method.clip(images + self.theta * self.width, self.bounds)
        mask = tf.reshape(is_changed, tf.shape(images))
        state = state | engine.select_rows(has_pair, {"previous": images}, state)
        return state | {
            "images": tf.where(mask, perturbed, images),
            "is_free": is_free & ~is_changed,
            "pairs": state["pairs"] + 1,
            "success": success,
            "finished": is_finished | ~has_pair,
        }

    def count_max_steps(self, image_shape):
        """Pairs of elements, up to the share `gamma` of the image."""
        return max(1, int(self.gamma * math.prod(image_shape) / 2 + 1e-4))

    def done(self, examples, state):
        """At success, after the last pair, or without a further pair."""
        return state["finished"]

    def images(self, examples, state):
        """The adversarial image, or the clean image without success."""
        return deepfool.select_successful_images(examples, state)

    def conjugate(self, classifier, examples, state):
        """The saliency map of the target at the last change (Table 4).

        It is that of single features, Eq. 8 of Papernot et al.; for a negative theta with opposite
        signs, Eq. 9.
        """
        _, rise, fall = self._compute_gradients(classifier, state, state["previous"])
        # S_i = dz_t/dx_i |sum_{j != t} dz_j/dx_i|, 0 unless dz_t/dx_i > 0 > sum_{j != t} dz_j/dx_i
        # (Papernot 2016, Eq. 8)
        saliency = tf.nn.relu(rise) * tf.nn.relu(fall)
        return tf.reshape(saliency, tf.shape(examples.images))

    def _find_free_features(self, images):
        """Returns the features that theta can change, bool [batch, n]."""
        flat_images = tf.reshape(images, (images.shape[0], -1))
        if self.bounds is None:
            return tf.ones_like(flat_images, tf.bool)
        low, high = self.bounds
        return tf.where(self.theta > 0, flat_images < high, flat_images > low)

    def _compute_gradients(self, classifier, state, images):
        """Returns (logits, rise, fall), the latter float32 [batch, n].

        `rise` is how much a change in the direction of theta increases the target's logit, `fall`
        how much it decreases the sum of the other logits.
        """

        def compute_objectives(logits):
            target_logit = tf.gather(logits, state["target"][:, None], batch_dims=1)
            logit_sum = tf.reduce_sum(logits, 1, keepdims=True)
            return tf.concat([target_logit, logit_sum - target_logit], 1)

        logits, gradients = classifier.gradients(images, compute_objectives)
        gradients = tf.reshape(gradients, (images.shape[0], 2, -1))
        gradients *= tf.sign(self.theta)
        return logits, gradients[:, 0], -gradients[:, 1]


def find_best_pairs(
    rise: tf.Tensor, fall: tf.Tensor, allowed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the first pair p < q of each row that maximises the saliency of pairs.

    The saliency is (rise_p + rise_q) (fall_p + fall_q), both sums positive
    (Papernot 2016, Alg. 3). There are n^2 / 2 pairs, 4.7 million for a CIFAR-10 image. For w > 0

        A B <= ((w A + B / w) / 2)^2,    equal for w A = B / w,

    so a feature is in a best pair only if, for every w, the sum of its w rise + fall / w and the
    largest one reaches twice the square root of the product of some pair. Few features remain, and
    all their pairs are compared. The result is exact, including ties: where more features remain
    than are compared, as in a network that averages over places, only the first two of equal
    features count, and more are compared, at last all.

    Args:
      rise: float32 [batch, n].
      fall: float32 [batch, n].
      allowed: bool [batch, n], the features that may change.

    Returns:
      (pairs, has_pair): int32 [batch, 2], the lower index first, and bool [batch]. Without a
      positive product has_pair is False and the indices are meaningless.
    """
    rise = tf.where(allowed, rise, _EXCLUDED)
    fall = tf.where(allowed, fall, _EXCLUDED)
    num_features = rise.shape[1]
    if num_features <= _NUM_COMPARED:
        return _compare_all(rise, fall)
    margins = _compute_margins(rise, fall)
    selected = tf.math.top_k(margins, _NUM_COMPARED).indices
    is_insufficient = tf.cast(~_is_sufficient(rise, fall, margins, selected), tf.int32)
    row_order = tf.argsort(is_insufficient, direction="DESCENDING")
    row_numbers = tf.range(rise.shape[0])

    def search_row(count, pairs, has_pairs_so_far):
        row = row_order[count]
        pair, has_pair = _search_row(rise[row][None], fall[row][None])
        is_row = row_numbers == row
        pairs = tf.where(is_row[:, None], pair, pairs)
        return count + 1, pairs, tf.where(is_row, has_pair, has_pairs_so_far)

    _, pairs, has_pairs = tf.while_loop(
        lambda count, *_: count < tf.reduce_sum(is_insufficient),
        search_row,
        (0, *_compare_selected(rise, fall, selected)),
        parallel_iterations=1,
    )
    return pairs, has_pairs


def _search_row(rise: tf.Tensor, fall: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `find_best_pairs` returns for one row [1, n] of many good features."""
    is_repeated = _find_repeated(rise, fall)
    rise = tf.where(is_repeated, _EXCLUDED, rise)
    fall = tf.where(is_repeated, _EXCLUDED, fall)
    margins = _compute_margins(rise, fall)
    selected = tf.math.top_k(margins, min(_NUM_COMPARED_AGAIN, rise.shape[1])).indices
    return tf.cond(
        _is_sufficient(rise, fall, margins, selected)[0],
        lambda: _compare_selected(rise, fall, selected),
        lambda: _compare_all(rise, fall),
    )


def _find_repeated(rise: tf.Tensor, fall: tf.Tensor) -> tf.Tensor:
    """Returns bool [batch, n]: whether two features of lower index are equal to a feature.

    The first best pair contains no such feature: one of the two can replace it.
    """
    order = tf.argsort(fall, stable=True)
    order = tf.gather(
        order, tf.argsort(tf.gather(rise, order, batch_dims=1), stable=True), axis=1, batch_dims=1
    )
    is_repeated = tf.ones_like(rise[:, 2:], tf.bool)
    for values in (rise, fall):
        ordered = tf.gather(values, order, batch_dims=1)
        is_repeated &= ordered[:, 2:] == ordered[:, :-2]
    is_repeated = tf.pad(is_repeated, [[0, 0], [2, 0]])
    return tf.gather(is_repeated, tf.argsort(order), batch_dims=1)


def _compute_largest(values: tf.Tensor) -> tf.Tensor:
    """Returns the largest finite magnitude of each row, float32 [batch, 1]."""
    magnitudes = tf.where(values > _EXCLUDED, tf.abs(values), 0.0)
    return tf.maximum(tf.reduce_max(magnitudes, 1, keepdims=True), _EPS)


def _compute_margins(rise: tf.Tensor, fall: tf.Tensor) -> tf.Tensor:
    """Returns the margin of each feature over the bound, float32 [batch, n].

    A feature with a negative margin is in no best pair.
    """
    rise, fall = rise / _compute_largest(rise), fall / _compute_largest(fall)
    pair_sums = _find_good_pair(rise, fall)
    # For the known pair with sums A and B, the bound is tight at w = sqrt(B / A).
    threshold = 2 * tf.sqrt(pair_sums[0] * pair_sums[1])
    centre_weight = tf.sqrt(tf.math.divide_no_nan(pair_sums[1], pair_sums[0]))
    centre_weight = tf.where(threshold > 0, tf.clip_by_value(centre_weight, 1e-3, 1e3), 1.0)
    margins = tf.zeros_like(rise) + float("inf")
    for factor in _BOUND_WEIGHTS:
        weight = factor * centre_weight
        # s_p = w rise_p + fall_p / w of the remaining features
        weighted_sums = tf.where(margins >= 0, weight * rise + fall / weight, _EXCLUDED)
        largest_sum = tf.reduce_max(weighted_sums, 1, keepdims=True)
        rounding_slack = _BOUND_SLACK * (weight + 1 / weight)
        margins = tf.minimum(margins, weighted_sums + (largest_sum + rounding_slack - threshold))
    return margins


def _find_good_pair(rise: tf.Tensor, fall: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns both sums, float32 [batch, 1], of a pair with a large product.

    It starts at the feature with the largest minimum, or the largest sum, of rise and fall, takes
    its best partner, and the best partner of that. The product is 0 if it is never positive.
    """
    best_sums = tf.zeros_like(rise[:, :1]), tf.zeros_like(rise[:, :1])
    feature_indices = tf.range(rise.shape[1])
    for product in (tf.minimum(rise, fall), rise + fall):
        for _ in range(2):
            feature = tf.argmax(product, 1, tf.int32)[:, None]
            pair_sums = _sum_with_feature(feature, rise), _sum_with_feature(feature, fall)
            product = tf.where(feature_indices == feature, -1.0, pair_sums[0] * pair_sums[1])
        partner = tf.argmax(product, 1, tf.int32)[:, None]
        pair_sums = [tf.gather(values, partner, batch_dims=1) for values in pair_sums]
        is_better = pair_sums[0] * pair_sums[1] > best_sums[0] * best_sums[1]
        best_sums = [tf.where(is_better, pair_sums[i], best_sums[i]) for i in (0, 1)]
    return tuple(best_sums)


def _sum_with_feature(feature: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the sums of each feature and `feature`, negative ones as 0."""
    return tf.nn.relu(values + tf.gather(values, feature, batch_dims=1))


def _is_sufficient(
    rise: tf.Tensor, fall: tf.Tensor, margins: tf.Tensor, selected: tf.Tensor
) -> tf.Tensor:
    """Returns the rows whose first best pair is among the selected features, bool [batch].

    Args:
      rise: float32 [batch, n].
      fall: float32 [batch, n].
      margins: float32 [batch, n].
      selected: int32 [batch, k], in descending order of the margin, the lower index first.
    """
    num_excess = tf.math.count_nonzero(margins >= 0, 1) - selected.shape[1]
    # Among equal features only a pair of the first two can be the first best pair.
    last_selected = selected[:, -1:]
    equals_last = rise == tf.gather(rise, last_selected, batch_dims=1)
    equals_last &= fall == tf.gather(fall, last_selected, batch_dims=1)
    num_equal_selected = tf.math.count_nonzero(tf.gather(equals_last, selected, batch_dims=1), 1)
    num_equal_others = tf.math.count_nonzero(equals_last, 1) - num_equal_selected
    return (num_excess <= 0) | ((num_excess == num_equal_others) & (num_equal_selected >= 2))


def _compare_selected(
    rise: tf.Tensor, fall: tf.Tensor, selected: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares all pairs of the selected features."""
    selected = tf.sort(selected, axis=1)
    pairs, has_pairs = _compare_all(
        tf.gather(rise, selected, batch_dims=1), tf.gather(fall, selected, batch_dims=1)
    )
    return tf.gather(selected, pairs, batch_dims=1), has_pairs


def _compare_all(rise: tf.Tensor, fall: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Compares all pairs, in blocks of first features."""
    batch, num_features = rise.shape
    rows_per_block = max(1, min(num_features, _BLOCK_ELEMENTS // (batch * num_features)))

    def compare_block(start, best_so_far, pairs):
        # The last block overlaps the one before.
        first_row = tf.minimum(start, num_features - rows_per_block)
        block = [
            tf.slice(values, [0, first_row], [batch, rows_per_block]) for values in (rise, fall)
        ]
        # (rise_p + rise_q) (fall_p + fall_q)
        product = tf.nn.relu(block[0][:, :, None] + rise[:, None])
        product *= tf.nn.relu(block[1][:, :, None] + fall[:, None])
        flat_indices = tf.range(rows_per_block * num_features)
        is_ordered = first_row + flat_indices // num_features < flat_indices % num_features
        product = tf.where(is_ordered, tf.reshape(product, (batch, -1)), 0.0)
        max_product = tf.reduce_max(product, 1, keepdims=True)
        flat_index = tf.where(product == max_product, flat_indices, rows_per_block * num_features)
        flat_index = tf.reduce_min(flat_index, 1, keepdims=True)
        candidates = tf.concat(
            [first_row + flat_index // num_features, flat_index % num_features], 1
        )
        pairs = tf.where(max_product > best_so_far, candidates, pairs)
        return start + rows_per_block, tf.maximum(best_so_far, max_product), pairs

    initial_values = (0, tf.zeros((batch, 1)), tf.zeros((batch, 2), tf.int32))
    if rows_per_block == num_features:
        _, best_product, pairs = compare_block(*initial_values)
    else:
        _, best_product, pairs = tf.while_loop(
            lambda start, *_: start < num_features,
            compare_block,
            initial_values,
            parallel_iterations=1,
        )
    return pairs, best_product[:, 0] > 0
