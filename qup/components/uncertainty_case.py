"""One packet of one network on one domain: estimated and checked."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup import progress
from qup.attacks.base import checks as asked
from qup.components import uncertainty_places
from qup.components.uncertainty_places import Place
from qup.datasets import Dataset
from qup.measures import uncertainty
from qup.measures.uncertainty import (
    Box,
    Estimate,
    GaussianWindow,
    Packet,
    Relation,
    SineWindow,
    checks,
    faces,
    importance,
)
from qup.measures.uncertainty.axes import Axes
from qup.measures.uncertainty.domains import Domain
from qup.types import LogitsFn

# Groups of the jackknife, and most points of one batch.
_GROUPS, _BATCH = 40, 500


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What is measured.

    Attributes:
      shape: Of an image.
      packet: The packet.
      place: Where it is measured.
      domain: Where the packet lives.
      sizes: "num_samples", "num_chains", "num_steps", "num_faces".
      seed: Of everything random.
    """

    shape: tuple[int, int, int]
    packet: Packet
    place: Place
    domain: Domain
    sizes: Mapping[str, int]
    seed: int

    def estimate(self, estimator: str, axes: Axes) -> Relation:
        """Returns what an estimator finds.

        Args:
          estimator: "importance" or "mcmc".
          axes: Along which lines.

        Raises:
          InputError: The estimator refuses the case.
        """
        run, total = getattr(self, f"_{estimator}")()
        with progress.counter(estimator, total, "sample") as tick:
            return run(
                self.packet, self.domain, axes=axes, seed=self.seed, tick=tick
            )

    def _importance(self):
        each = math.ceil(self.sizes["num_samples"] / _GROUPS)
        batches = math.ceil(each / _BATCH)
        batch_size = math.ceil(each / batches)
        total = _GROUPS * batches * batch_size
        run = functools.partial(
            importance.relation,
            num_samples=total,
            batch_size=batch_size,
            num_groups=_GROUPS,
        )
        return run, total

    def _mcmc(self):
        # Imports TensorFlow Probability.
        from qup.measures.uncertainty import markov

        given = {name: self.sizes[name] for name in ("num_chains", "num_steps")}
        return functools.partial(markov.relation, **given), math.prod(
            given.values()
        )

    def faces(self, found: Relation) -> dict[str, list] | None:
        """Returns B by the faces along some axes; None of a window.

        Some are evenly spaced pixels, and as many of the directions.
        """
        if found.vanishes:
            return None
        count, every = len(found.axes.pixels), found.axes.names
        names = [
            name
            for part in (every[:count], every[count:])
            for name in _spaced(part, self.sizes["num_faces"])
        ]
        b = faces.by_conditionals(self.packet, self.domain, found, names)
        return {
            "axes": names,
            "value": b.value.tolist(),
            "stderr": b.stderr.tolist(),
        }


def _spaced(names: Sequence[str], most: int) -> list[str]:
    """Returns at most so many of the names, evenly spaced."""
    count = min(most, len(names))
    return [names[int((i + 0.5) * len(names) / count)] for i in range(count)]


def opened(
    classifier: LogitsFn,
    data: Dataset,
    setting: Mapping[str, Any],
    sizes: Mapping[str, int],
    seed: int,
) -> Case:
    """Returns the case that a setting describes.

    Args:
      classifier: Gives logits, or probabilities.
      data: The images.
      setting: "packet", "label", "temperature", "domain" ("box", "sine" or
        "window:0.1") and "centre", see `uncertainty_places.place`.
      sizes: See `Case`.
      seed: The same.

    Raises:
      InputError: Logits that are not finite, a centre that there is not.
    """
    shape, label = data.info.image_shape, setting["label"]
    blank = np.zeros((1, *shape), np.float32)
    probabilities = asked.answers(classifier, blank).probabilities
    logits_fn = asked.logits_of(classifier, probabilities)
    packet = uncertainty.of_classifier(
        logits_fn, label, shape=shape, kind=setting["packet"],
        temperature=setting["temperature"],
    )  # fmt: skip
    place = uncertainty_places.place(data, label, setting["centre"])
    domain = domain_of(setting["domain"], place.middle)
    return Case(shape, packet, place, domain, sizes, seed)


def domain_of(text: str, middle: np.ndarray) -> Domain:
    """Returns "box", "sine" or "window:0.1" as a domain round a centre."""
    kind, _, width = text.partition(":")
    return {
        "box": Box,
        "sine": SineWindow,
        "window": lambda: GaussianWindow(middle, float(width)),
    }[kind]()


def checked(
    found: Relation, of_faces: Mapping[str, list] | None, others: Sequence
) -> list[dict[str, Any]]:
    """Returns every check of a relation as JSON values.

    Args:
      found: The relation.
      of_faces: See `Case.faces`.
      others: Relations by other estimators to compare it with.
    """
    names, b = (), None
    if of_faces:
        names = of_faces["axes"]
        b = Estimate(*(np.array(of_faces[key]) for key in ("value", "stderr")))
    told = checks.of_relation(found, b, names)
    for other in others:
        told += checks.of_two(other, found)
    return [
        {
            "name": check.name,
            "agrees": bool(check.agrees),
            "furthest": check.furthest,
            "allowed": check.allowed,
            "words": check.words,
        }
        for check in told
    ]
