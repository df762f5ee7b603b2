"""Supplement, Fig. 5 and section 4: frequencies of Delta."""

import json
from collections.abc import Iterator
from typing import Any

from qup.evidence_figures.frequency import (
    cutoffs,
    ratios,
    response,
    sensitivity,
    spectra,
)
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Picture, Section, Words
from qup.report.material import Material

_WORDS = (
    "The paper takes the share of Delta_1's Fourier magnitudes that lie "
    "outside a small window around zero frequency, and reads more of it in "
    "more accurate networks. Delta_1 is a field of signs, which whitens it: "
    "the line of white noise is what it has to be compared with. These are "
    "frequencies in the image plane. The F-principle, which the paper cites, "
    "is about response frequencies, over the space of images; it is "
    "measured apart, below."
)


@sections.register(order=80)
def supp_fig5(material: Material) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Words(_WORDS)]
    blocks += _ratio(material)
    for name, picture in _ARRAYS.items():
        for row in _first(material, name):
            arrays = material.arrays(row)
            if arrays is not None:
                arrays["told"] = json.loads(str(arrays["told"]))
                blocks += picture(row, arrays)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 5 and section 4: frequencies"
    return Section("supp_fig5", title, tuple(blocks))


def _ratio(material: Material) -> list[Picture]:
    rows = [
        *material.find(measure="high_frequency_ratio", split="test",
                       grey="luma", control=None, method=None, figure=None),
        *material.find(measure="test_accuracy", evaluation=None, step=None,
                       control=None, method=None, classifier="CL",
                       figure=None),
    ]  # fmt: skip
    rows = [row for row in rows if "augmentation_num_steps" not in
            row.parameters]  # fmt: skip
    if not any(row.measure == "high_frequency_ratio" for row in rows):
        return []
    return [
        Picture(
            "frequency-ratio", ratios.over_accuracy(rows),
            "High-frequency ratio of Delta_1 against test accuracy.",
            "High-frequency ratio of Delta_1 against TA, the paper's "
            "windows; numbers at points are epochs.",
        )
    ]  # fmt: skip


def _first(material: Material, name: str) -> Iterator[Row]:
    """Yields a row of each network's arrays of that name, its first seed."""
    seen = set()
    for row in sorted(material.rows, key=lambda r: (r.epochs, r.seed)):
        if row.artifact.endswith(f"/{name}.npz"):
            key = (row.dataset, row.model)
            walked = "augmentation_num_steps" in row.parameters
            if name == "spectrum" and not walked:
                continue
            if key not in seen:
                seen.add(key)
                yield row


def _of(row: Row) -> str:
    named = numbers.named(row.model, row.dataset, row.epochs)
    return f"{named}, seed {row.seed}"


def _spectrum(row: Row, arrays: dict[str, Any]) -> Iterator[Picture]:
    of = _of(row)
    mark = f"{row.dataset}-{row.model}"
    yield Picture(
        f"spectra-radial-{mark}", spectra.radial(arrays),
        f"Radially averaged power spectra: {of}.",
        f"Power over the length of the frequency: {of}.",
    )  # fmt: skip
    yield Picture(
        f"spectra-planes-{mark}", spectra.planes(arrays),
        f"Mean logarithm of power over the plane of frequencies: {of}.",
        f"Mean logarithm of power over the plane of frequencies: {of}.",
        raster=True,
    )  # fmt: skip
    yield Picture(
        f"spectra-cutoff-{mark}", cutoffs.draw({of: arrays}),
        f"High-frequency ratio over the window's size: {of}.",
        "The ratio over every symmetric window, less that of white noise: "
        f"{of}.",
    )  # fmt: skip
    yield Picture(
        f"spectra-error-{mark}", spectra.error(arrays),
        f"Spectrum of the translator's error: {of}.",
        "Supplement, section 4: what the translator misses of Delta_N, "
        f"frequency by frequency: {of}.",
    )  # fmt: skip


def _sensitivity(row: Row, arrays: dict[str, Any]) -> Iterator[Picture]:
    of = _of(row)
    yield Picture(
        f"sensitivity-{row.dataset}-{row.model}",
        sensitivity.heat_maps({of: arrays}),
        f"Error under each Fourier basis vector: {of}.",
        "Percent of images misclassified when one Fourier basis vector is "
        f"added: {of}.",
        raster=True,
    )  # fmt: skip


def _response(row: Row, arrays: dict[str, Any]) -> Iterator[Picture]:
    yield Picture(
        f"response-{row.dataset}-{row.model}", response.convergence(arrays),
        "Relative errors of low and high response frequencies by epoch.",
        "The F-principle: response frequencies, over the space of images "
        "(not image frequencies), learnt low before high.",
    )  # fmt: skip


_ARRAYS = {
    "spectrum": _spectrum, "sensitivity": _sensitivity, "response": _response,
}  # fmt: skip
