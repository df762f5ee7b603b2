"""One packet of one network on one domain: estimated and checked."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup import progress
from qup.attacks.base import checks as classifier_checks
from qup.components import uncertainty_places
from qup.components.uncertainty_places import PacketLocation
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
_NUM_GROUPS, _MAX_BATCH_SIZE = 40, 500


@dataclasses.dataclass(frozen=True, eq=False)
class EstimationTask:
    """What is measured.

    Attributes:
      shape: Of an image.
      packet: The packet.
      location: Where it is measured.
      domain: Where the packet lives.
      sizes: "num_samples", "num_chains", "num_steps", "num_faces".
      seed: Of everything random.
    """

    shape: tuple[int, int, int]
    packet: Packet
    location: PacketLocation
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
        estimate_relation, total = getattr(self, f"_{estimator}")()
        with progress.open_counter(estimator, total, "sample") as on_progress:
            return estimate_relation(
                self.packet, self.domain, axes=axes, seed=self.seed, on_progress=on_progress
            )

    def _importance(self):
        samples_per_group = math.ceil(self.sizes["num_samples"] / _NUM_GROUPS)
        batches_per_group = math.ceil(samples_per_group / _MAX_BATCH_SIZE)
        batch_size = math.ceil(samples_per_group / batches_per_group)
        total = _NUM_GROUPS * batches_per_group * batch_size
        estimate_relation = functools.partial(
            importance.relation, num_samples=total, batch_size=batch_size, num_groups=_NUM_GROUPS
        )
        return estimate_relation, total

    def _mcmc(self):
        # Imports TensorFlow Probability.
        from qup.measures.uncertainty import markov

        chain_sizes = {name: self.sizes[name] for name in ("num_chains", "num_steps")}
        return functools.partial(markov.relation, **chain_sizes), math.prod(chain_sizes.values())

    def estimate_faces(self, relation: Relation) -> dict[str, list] | None:
        """Returns B by the faces along some axes; None of a window.

        Some are evenly spaced pixels, and as many of the directions.
        """
        if relation.vanishes:
            return None
        count, axis_names = len(relation.axes.pixels), relation.axes.names
        names = [
            name
            for group in (axis_names[:count], axis_names[count:])
            for name in _pick_evenly_spaced(group, self.sizes["num_faces"])
        ]
        boundary_term = faces.estimate_by_conditionals(self.packet, self.domain, relation, names)
        return {
            "axes": names,
            "value": boundary_term.value.tolist(),
            "stderr": boundary_term.stderr.tolist(),
        }


def _pick_evenly_spaced(names: Sequence[str], max_count: int) -> list[str]:
    """Returns at most so many of the names, evenly spaced."""
    count = min(max_count, len(names))
    return [names[int((i + 0.5) * len(names) / count)] for i in range(count)]


def build_task(
    classifier: LogitsFn,
    data: Dataset,
    setting: Mapping[str, Any],
    sizes: Mapping[str, int],
    seed: int,
) -> EstimationTask:
    """Returns the case that a setting describes.

    Args:
      classifier: Gives logits, or probabilities.
      data: The images.
      setting: "packet", "label", "temperature", "domain" ("box", "sine" or
        "window:0.1") and "centre", see `uncertainty_places.place`.
      sizes: See `EstimationTask`.
      seed: The same.

    Raises:
      InputError: Logits that are not finite, a centre that there is not.
    """
    shape, label = data.info.image_shape, setting["label"]
    blank_image = np.zeros((1, *shape), np.float32)
    probabilities = classifier_checks.inspect_classifier(classifier, blank_image).probabilities
    logits_fn = classifier_checks.convert_to_logits(classifier, probabilities)
    packet = uncertainty.of_classifier(
        logits_fn, label, shape=shape, kind=setting["packet"], temperature=setting["temperature"]
    )
    location = uncertainty_places.build_location(data, label, setting["centre"])
    domain = parse_domain(setting["domain"], location.centre)
    return EstimationTask(shape, packet, location, domain, sizes, seed)


def parse_domain(text: str, centre: np.ndarray) -> Domain:
    """Returns "box", "sine" or "window:0.1" as a domain round a centre."""
    kind, _, width = text.partition(":")
    return {"box": Box, "sine": SineWindow, "window": lambda: GaussianWindow(centre, float(width))}[
        kind
    ]()


def run_checks(
    relation: Relation, faces_record: Mapping[str, list] | None, others: Sequence
) -> list[dict[str, Any]]:
    """Returns every check of a relation as JSON values.

    Args:
      relation: The relation.
      faces_record: See `EstimationTask.faces`.
      others: Relations by other estimators to compare it with.
    """
    names, boundary_term = (), None
    if faces_record:
        names = faces_record["axes"]
        boundary_term = Estimate(*(np.array(faces_record[key]) for key in ("value", "stderr")))
    all_checks = checks.check_relation(relation, boundary_term, names)
    for other in others:
        all_checks += checks.check_agreement(other, relation)
    return [
        {
            "name": check.name,
            "agrees": bool(check.agrees),
            "furthest": check.furthest,
            "allowed": check.allowed,
            "words": check.message,
        }
        for check in all_checks
    ]
