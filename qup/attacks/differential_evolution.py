"""Differential evolution, one population an example: who breeds with whom.

Populations are tensors [batch, population, ...]; `members` are int32
[batch, k], those of each row that have their turn.

Reference: Storn and Price 1997, doi:10.1023/A:1008202821328, Eq. 2
(DE/rand/1).
"""

import tensorflow as tf

from qup import draws


def build_mutants(
    population: tf.Tensor, members: tf.Tensor, weight: float | tf.Tensor, keys: tf.Tensor
) -> tf.Tensor:
    """Returns one mutant for each member.

    Args:
      population: float32 [batch, population, ...], at least four.
      members: int32 [batch, k].
      weight: F.
      keys: uint64 [batch].

    Returns:
      float32 [batch, k, ...].
    """
    partner_members = sample_partners(keys, members, population.shape[1])
    first, second, third = (
        gather_members(population, partner) for partner in tf.unstack(partner_members, axis=-1)
    )
    # v_i = x_r1 + F (x_r2 - x_r3)
    return first + weight * (second - third)


def sample_partners(keys: tf.Tensor, members: tf.Tensor, size: int) -> tf.Tensor:
    """Draws three for each member: different from it and from one another.

    Args:
      keys: uint64 [batch].
      members: int32 [batch, k].
      size: Of the population.

    Returns:
      int32 [batch, k, 3].
    """
    limits = tf.constant([size - 1, size - 2, size - 3])
    sampled = draws.integers(keys, (members.shape[1], 3), limits)
    excluded = members[..., None]
    for i in range(3):
        # The n-th of those that are not out: count past each that is.
        member = sampled[..., i]
        for excluded_member in tf.unstack(tf.sort(excluded), axis=-1):
            member += tf.cast(member >= excluded_member, tf.int32)
        excluded = tf.concat([excluded, member[..., None]], -1)
    return excluded[..., 1:]


def gather_members(population: tf.Tensor, members: tf.Tensor) -> tf.Tensor:
    """Returns the members: [batch, k, ...]."""
    return tf.gather(population, members, batch_dims=1)


def scatter_members(population: tf.Tensor, members: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns the population with `values` [batch, k, ...] for members."""
    batch, count = members.shape
    rows = tf.broadcast_to(tf.range(batch)[:, None], (batch, count))
    indices = tf.stack([rows, members], -1)
    return tf.tensor_scatter_nd_update(population, indices, values)
