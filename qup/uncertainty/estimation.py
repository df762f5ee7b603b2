"""One packet of one network on one domain: estimated and checked."""

import dataclasses
import functools
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup.attacks import inputs
from qup.core import extras, hashing, progress
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.core.types import LogitsFn
from qup.datasets import Dataset
from qup.uncertainty import axes, boundary, checks, importance, matrix, packets, records
from qup.uncertainty.axes import Axes
from qup.uncertainty.domains import Box, Domain, GaussianWindow, SineWindow
from qup.uncertainty.matrix import MatrixForm
from qup.uncertainty.packets import Packet
from qup.uncertainty.relation import Estimate, Relation

# Where the uncertainty of a network is measured, and along which lines.


_CENTRE_SPLIT = "test"


@dataclasses.dataclass(frozen=True, eq=False)
class PacketLocation:
    """Where a packet is measured.

    Attributes:
      data: The images.
      label: Y.
      centre: The centre of a window, float32 [size] in [0, 1].
    """

    data: Dataset
    label: int
    centre: np.ndarray


def build_location(data: Dataset, label: int, centre: str) -> PacketLocation:
    """Returns a place.

    Args:
      data: The images.
      label: Y.
      centre: "mean", of the training images of that label, or "image:7", the
        test image of that number, whatever its label.

    Raises:
      InputError: No training image has the label.
    """
    if centre == "mean":
        centre_image = _load_label_images(data, label).mean(0)
    else:
        images, _, _ = data.get_arrays(_CENTRE_SPLIT)
        centre_image = images[int(centre.partition(":")[2])] / np.float32(255)
    return PacketLocation(data, label, centre_image.astype(np.float32).ravel())


def _load_label_images(data: Dataset, label: int) -> np.ndarray:
    images, labels, _ = data.get_arrays("train")
    if not (labels == label).any():
        raise InputError(
            f"No training image of {data.info.name} has the label {label}, so "
            "they have no mean and no principal axes. Use more training "
            "images, another label, or --centre=image:0."
        )
    return images[labels == label] / np.float32(255)


def choose_axes(
    packet: Packet,
    location: PacketLocation,
    directions: Mapping[str, Any],
    *,
    directions_file: str | None,
    seed: int,
    required: bool = True,
) -> tuple[Axes, list[str]]:
    """Returns every pixel and the directions asked for.

    Args:
      packet: Of the network.
      location: Its centre is where sign_gradient is taken.
      directions: "pca": K, principal axes of the training images of the label;
        "random": K; "sign_gradient": True; "file": digest of `directions_file`;
        "pixel": numbers of those that have rows of their own.
      directions_file: An .npy of [k, size] or of k images.
      seed: Of the random ones.
      required: Whether there has to be a sign_gradient; else it is left out
        where the gradient is 0.

    Returns:
      (axes, names): names of those that have rows of their own.

    Raises:
      InputError: A direction that there is not.
    """
    groups = []
    if "pca" in directions:
        images = _load_label_images(location.data, location.label)
        groups.append(("pca", axes.compute_principal_axes(images, directions["pca"])))
    if "sign_gradient" in directions:
        rows = _compute_sign_gradient(packet, location.centre, required)
        groups.append(("sign_gradient", rows))
    if "random" in directions:
        rows = axes.sample_directions(packet.size, directions["random"], seed)
        groups.append(("random", rows))
    if "file" in directions:
        groups.append(("file", _load_directions(directions_file, directions["file"])))
    all_axes = axes.join_axes(packet.size, groups, None)
    pixel_names = [f"pixel:{i}" for i in directions.get("pixel", ())]
    return all_axes, pixel_names + list(all_axes.names[len(all_axes.pixels) :])


def _compute_sign_gradient(packet: Packet, centre: np.ndarray, required: bool) -> np.ndarray:
    """Returns sign(grad l) as a row; none where the gradient is 0."""
    _, gradients = packet.value_and_gradient(centre[None])
    signs = np.sign(gradients)
    signs = signs[np.isfinite(signs).all(1) & signs.any(1)]
    if required and not len(signs):
        raise InputError(
            "The packet has no gradient at the centre, so that sign_gradient "
            "is no direction. Choose another --centre, or leave it out."
        )
    return signs


def _load_directions(path: str, digest: str) -> np.ndarray:
    content = pathlib.Path(path).expanduser().read_bytes()
    if hashing.hash_bytes(content) != digest:
        raise InputError(f"{path} changed while it was in use. Start again.")
    rows = np.load(io.BytesIO(content), allow_pickle=False)
    return rows.reshape(len(rows), -1)


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
        with extras.explain_missing("The estimator mcmc"):
            from qup.uncertainty import mcmc as markov

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
        boundary_term = boundary.estimate_by_conditionals(self.packet, self.domain, relation, names)
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
    probabilities = inputs.inspect_classifier(classifier, blank_image).probabilities
    logits_fn = inputs.convert_to_logits(classifier, probabilities)
    packet = packets.of_classifier(
        logits_fn, label, shape=shape, kind=setting["packet"], temperature=setting["temperature"]
    )
    location = build_location(data, label, setting["centre"])
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


# Measured relations as the files of an `UncertaintyMap`.


def save_relations(
    task: EstimationTask,
    by_estimator: Mapping[str, Relation],
    subject: ModelInfo,
    extra_metadata: Mapping[str, Any],
    folder: pathlib.Path,
) -> None:
    """Writes the relations with their checks, and what was measured.

    Args:
      task: What was measured.
      by_estimator: By estimator.
      subject: Whose packet it is.
      extra_metadata: What else is to be told: JSON values, "domain" among them.
      folder: Of an `UncertaintyMap`.
    """
    metadata = {
        "refused": {},
        **extra_metadata,
        "dataset": subject.dataset,
        "model": subject.model,
        "epochs": subject.epochs,
        "seed": subject.seed,
        "image_shape": list(task.shape),
    }
    (folder / "setting.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")
    metadata["domain_text"] = metadata.pop("domain")
    others = []
    for name, relation in by_estimator.items():
        faces = task.estimate_faces(relation)
        checks = run_checks(relation, faces, others)
        others.append(relation)
        form = None
        if len(relation.axes.directions) > 1:
            form = matrix.compute_matrix_form(relation)
            _save_matrix(folder / "matrices" / f"{name}.npz", relation, form)
        records.save(
            folder / f"{name}.npz",
            relation,
            **metadata,
            faces=faces,
            checks=checks,
            matrix=_eigenvalues_to_json(form),
        )


def _save_matrix(path: pathlib.Path, relation: Relation, form: MatrixForm) -> None:
    """Writes the matrix form, each matrix [k, k] with its errors."""
    path.parent.mkdir(exist_ok=True)
    names = relation.axes.names[len(relation.axes.pixels) :]
    arrays = {"axes": np.array(names)}
    for field in dataclasses.fields(form):
        estimate = getattr(form, field.name)
        arrays[field.name] = estimate.value
        arrays[f"{field.name}_stderr"] = estimate.stderr
    np.savez(path, **arrays)


def _eigenvalues_to_json(form: MatrixForm | None) -> dict[str, Any] | None:
    """Returns the smallest eigenvalues of a matrix form as JSON values.

    Returns:
      "count" of directions; "least" and "least_vanishing", see `MatrixForm`,
      pairs of a value and its error. None without a form.
    """
    if form is None:
        return None
    record: dict[str, Any] = {"count": len(form.sigma.value)}
    for name in ("least", "least_vanishing"):
        estimate = getattr(form, name)
        record[name] = [float(estimate.value), float(estimate.stderr)]
    return record
