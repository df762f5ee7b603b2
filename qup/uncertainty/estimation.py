"""Estimation of one packet of one network on one domain, from a setting to files.

A setting has JSON values: "packet", "label", "temperature", "domain" ("box", "sine" or
"window:0.1") and "centre" ("mean", of the training images of the label, or "image:7", the test
image of that number).
"""

import dataclasses
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup.core import extras, hashing, progress
from qup.core.classifier import inspect_classifier
from qup.core.errors import InputError
from qup.core.measurements import ModelInfo
from qup.core.types import LogitsFn
from qup.datasets import Dataset
from qup.uncertainty import boundary, checks, importance, matrix, packets, records
from qup.uncertainty.axes import Axes, compute_principal_axes, join_axes, sample_directions
from qup.uncertainty.domains import Box, Domain, GaussianWindow, SineWindow
from qup.uncertainty.matrix import MatrixForm
from qup.uncertainty.packets import Packet
from qup.uncertainty.relation import Estimate, Relation

# Groups of the jackknife, and the largest batch.
_NUM_GROUPS, _MAX_BATCH_SIZE = 40, 500


@dataclasses.dataclass(frozen=True, eq=False)
class PacketLocation:
    """The images and the position of a packet.

    Attributes:
      data: The images.
      label: Y.
      centre: The centre of a window, float32 [size] in [0, 1].
    """

    data: Dataset
    label: int
    centre: np.ndarray


def build_location(data: Dataset, label: int, centre: str) -> PacketLocation:
    """Returns a location, or raises an InputError where no training image has the label."""
    if centre == "mean":
        centre_image = _load_label_images(data, label).mean(0)
    else:
        images, _, _ = data.get_arrays("test")
        centre_image = images[int(centre.partition(":")[2])] / np.float32(255)
    return PacketLocation(data, label, centre_image.astype(np.float32).ravel())


def _load_label_images(data: Dataset, label: int) -> np.ndarray:
    images, labels, _ = data.get_arrays("train")
    if not (labels == label).any():
        raise InputError(
            f"No training image of {data.info.name} has the label {label}, so there is no mean "
            "and no principal axis. Use more training images, another label, or --centre=image:0."
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
    """Returns every pixel and the requested directions.

    Args:
      packet: Of the network.
      location: sign_gradient is taken at its centre.
      directions: "pca": K, principal axes of the training images of the label; "random": K;
        "sign_gradient": True; "file": digest of `directions_file`; "pixel": numbers of pixels
        with their own rows.
      directions_file: An .npy of [k, size] or of k images.
      seed: Of random directions.
      required: A gradient of 0 is an error; otherwise there is no sign_gradient then.

    Returns:
      (axes, names of the axes with their own rows).

    Raises:
      InputError: A direction does not exist.
    """
    groups = []
    if "pca" in directions:
        images = _load_label_images(location.data, location.label)
        groups.append(("pca", compute_principal_axes(images, directions["pca"])))
    if "sign_gradient" in directions:
        rows = _compute_sign_gradient(packet, location.centre, required)
        groups.append(("sign_gradient", rows))
    if "random" in directions:
        rows = sample_directions(packet.size, directions["random"], seed)
        groups.append(("random", rows))
    if "file" in directions:
        groups.append(("file", _load_directions(directions_file, directions["file"])))
    axes = join_axes(packet.size, groups, None)
    pixel_names = [f"pixel:{i}" for i in directions.get("pixel", ())]
    return axes, pixel_names + list(axes.names[len(axes.pixels) :])


def _compute_sign_gradient(packet: Packet, centre: np.ndarray, required: bool) -> np.ndarray:
    """Returns sign(grad l), [1, size]; [0, size] where the gradient is 0."""
    _, gradients = packet.value_and_gradient(centre[None])
    signs = np.sign(gradients)
    signs = signs[np.isfinite(signs).all(1) & signs.any(1)]
    if required and not len(signs):
        raise InputError(
            "The gradient of the packet at the centre is 0 or not finite, so sign_gradient is not "
            "a direction. Choose another --centre, or remove sign_gradient from --directions."
        )
    return signs


def _load_directions(path: str, digest: str) -> np.ndarray:
    content = pathlib.Path(path).expanduser().read_bytes()
    if hashing.hash_bytes(content) != digest:
        raise InputError(f"{path} changed during the run. Run the same command again.")
    rows = np.load(io.BytesIO(content), allow_pickle=False)
    return rows.reshape(len(rows), -1)


@dataclasses.dataclass(frozen=True, eq=False)
class EstimationTask:
    """A packet on a domain, and the sizes of its estimators.

    Attributes:
      shape: Of an image.
      packet: The packet.
      location: See `PacketLocation`.
      domain: The domain.
      sizes: "num_samples", "num_chains", "num_steps", "num_faces".
      seed: Of all random numbers.
    """

    shape: tuple[int, int, int]
    packet: Packet
    location: PacketLocation
    domain: Domain
    sizes: Mapping[str, int]
    seed: int

    def estimate(self, estimator: str, axes: Axes) -> Relation:
        """Runs an estimator, "importance" or "mcmc", or raises its InputError."""
        if estimator == "mcmc":
            with extras.explain_missing("The estimator mcmc"):
                from qup.uncertainty import mcmc
            estimate_relation = mcmc.relation
            options = {name: self.sizes[name] for name in ("num_chains", "num_steps")}
            total = math.prod(options.values())
        else:
            samples_per_group = math.ceil(self.sizes["num_samples"] / _NUM_GROUPS)
            batches_per_group = math.ceil(samples_per_group / _MAX_BATCH_SIZE)
            batch_size = math.ceil(samples_per_group / batches_per_group)
            total = _NUM_GROUPS * batches_per_group * batch_size
            estimate_relation = importance.relation
            options = {"num_samples": total, "batch_size": batch_size, "num_groups": _NUM_GROUPS}
        with progress.open_counter(estimator, total, "sample") as on_progress:
            return estimate_relation(
                self.packet,
                self.domain,
                axes=axes,
                seed=self.seed,
                on_progress=on_progress,
                **options,
            )

    def estimate_faces(self, relation: Relation) -> dict[str, list] | None:
        """Returns B by the faces, along evenly spaced pixels and directions; None in a window."""
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
    """Returns at most `max_count` of the names, evenly spaced."""
    count = min(max_count, len(names))
    return [names[int((i + 0.5) * len(names) / count)] for i in range(count)]


def build_task(
    classifier: LogitsFn,
    data: Dataset,
    setting: Mapping[str, Any],
    sizes: Mapping[str, int],
    seed: int,
) -> EstimationTask:
    """Returns the task of a setting.

    Args:
      classifier: Returns logits, or probabilities.
      data: The images.
      setting: See above.
      sizes: See `EstimationTask`.
      seed: See `EstimationTask`.

    Raises:
      InputError: Logits that are not finite, or a centre that does not exist.
    """
    shape, label = data.info.image_shape, setting["label"]
    inspect_classifier(classifier, np.zeros((1, *shape), np.float32))
    packet = packets.of_classifier(
        classifier, label, shape=shape, kind=setting["packet"], temperature=setting["temperature"]
    )
    location = build_location(data, label, setting["centre"])
    domain = parse_domain(setting["domain"], location.centre)
    return EstimationTask(shape, packet, location, domain, sizes, seed)


def parse_domain(text: str, centre: np.ndarray) -> Domain:
    """Returns the domain of "box", "sine" or "window:0.1"."""
    kind, _, width = text.partition(":")
    if kind == "window":
        return GaussianWindow(centre, float(width))
    return {"box": Box, "sine": SineWindow}[kind]()


def run_checks(
    relation: Relation, faces_record: Mapping[str, list] | None, others: Sequence
) -> list[dict[str, Any]]:
    """Returns every check of a relation as JSON values.

    Args:
      relation: The relation.
      faces_record: See `EstimationTask.estimate_faces`.
      others: Relations by other estimators, for comparison.
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


def save_relations(
    task: EstimationTask,
    by_estimator: Mapping[str, Relation],
    model_info: ModelInfo,
    extra_metadata: Mapping[str, Any],
    folder: pathlib.Path,
) -> None:
    """Writes the files of an `UncertaintyMap`: relations, checks, matrices and setting.json.

    Args:
      task: The task.
      by_estimator: Relations by estimator.
      model_info: The network.
      extra_metadata: Further JSON values, with "domain".
      folder: Of the artifact.
    """
    metadata = {
        "refused": {},
        **extra_metadata,
        "dataset": model_info.dataset,
        "model": model_info.model,
        "epochs": model_info.epochs,
        "seed": model_info.seed,
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
    """Writes the matrix form, each field with its errors."""
    path.parent.mkdir(exist_ok=True)
    names = relation.axes.names[len(relation.axes.pixels) :]
    arrays = {"axes": np.array(names)}
    for field in dataclasses.fields(form):
        estimate = getattr(form, field.name)
        arrays[field.name] = estimate.value
        arrays[f"{field.name}_stderr"] = estimate.stderr
    np.savez(path, **arrays)


def _eigenvalues_to_json(form: MatrixForm | None) -> dict[str, Any] | None:
    """Returns "count" of directions, and the eigenvalues of `MatrixForm` with errors, as JSON."""
    if form is None:
        return None
    record: dict[str, Any] = {"count": len(form.sigma.value)}
    for name in ("least", "least_vanishing"):
        estimate = getattr(form, name)
        record[name] = [float(estimate.value), float(estimate.stderr)]
    return record
