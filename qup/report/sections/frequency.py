"""Supplement, Fig. 5 and section 4: frequencies of Delta."""

import json
from collections.abc import Iterator
from typing import Any

from qup.evidence_figures.frequency import cutoffs, ratios, response, sensitivity, spectra
from qup.measurements import Row
from qup.report import numbers, sections
from qup.report.blocks import Block, Paragraph, ReportFigure, Section
from qup.report.material import ReportData

_FREQUENCY_INTRO = (
    "The paper takes the share of Delta_1's Fourier magnitudes that lie "
    "outside a small window around zero frequency, and reads more of it in "
    "more accurate networks. Delta_1 is a field of signs, which whitens it: "
    "the line of white noise is what it has to be compared with. These are "
    "frequencies in the image plane. The F-principle, which the paper cites, "
    "is about response frequencies, over the space of images; it is "
    "measured apart, below."
)


@sections.register(order=80)
def supp_fig5(data: ReportData) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Paragraph(_FREQUENCY_INTRO)]
    blocks += _build_ratio_figures(data)
    for name, build_figures in _FIGURE_BUILDERS.items():
        for row in _iter_first_rows(data, name):
            arrays = data.load_arrays(row)
            if arrays is not None:
                arrays["told"] = json.loads(str(arrays["told"]))
                blocks += build_figures(row, arrays)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {numbers.NOT_RUN}."))
    title = "Supplement, Fig. 5 and section 4: frequencies"
    return Section("supp_fig5", title, tuple(blocks))


def _build_ratio_figures(data: ReportData) -> list[ReportFigure]:
    rows = [
        *data.find(
            measure="high_frequency_ratio",
            split="test",
            grey="luma",
            control=None,
            method=None,
            figure=None,
        ),
        *data.find(
            measure="test_accuracy",
            evaluation=None,
            step=None,
            control=None,
            method=None,
            classifier="CL",
            figure=None,
        ),
    ]
    rows = [row for row in rows if "augmentation_num_steps" not in row.parameters]
    if not any(row.measure == "high_frequency_ratio" for row in rows):
        return []
    return [
        ReportFigure(
            "frequency-ratio",
            ratios.plot_ratios(rows),
            "High-frequency ratio of Delta_1 against test accuracy.",
            "High-frequency ratio of Delta_1 against TA, the paper's "
            "windows; numbers at points are epochs.",
        )
    ]


def _iter_first_rows(data: ReportData, name: str) -> Iterator[Row]:
    """Yields a row of each network's arrays of that name, its first seed."""
    seen = set()
    for row in sorted(data.rows, key=lambda r: (r.epochs, r.seed)):
        if row.artifact.endswith(f"/{name}.npz"):
            key = (row.dataset, row.model)
            has_augmentation = "augmentation_num_steps" in row.parameters
            if name == "spectrum" and not has_augmentation:
                continue
            if key not in seen:
                seen.add(key)
                yield row


def _format_network(row: Row) -> str:
    network_title = numbers.format_network(row.model, row.dataset, row.epochs)
    return f"{network_title}, seed {row.seed}"


def _iter_spectrum_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    network_title = _format_network(row)
    network_suffix = f"{row.dataset}-{row.model}"
    yield ReportFigure(
        f"spectra-radial-{network_suffix}",
        spectra.plot_radial_spectra(arrays),
        f"Radially averaged power spectra: {network_title}.",
        f"Power over the length of the frequency: {network_title}.",
    )
    yield ReportFigure(
        f"spectra-planes-{network_suffix}",
        spectra.plot_spectrum_planes(arrays),
        f"Mean logarithm of power over the plane of frequencies: {network_title}.",
        f"Mean logarithm of power over the plane of frequencies: {network_title}.",
        raster=True,
    )
    yield ReportFigure(
        f"spectra-cutoff-{network_suffix}",
        cutoffs.plot_cutoffs({network_title: arrays}),
        f"High-frequency ratio over the window's size: {network_title}.",
        f"The ratio over every symmetric window, less that of white noise: {network_title}.",
    )
    yield ReportFigure(
        f"spectra-error-{network_suffix}",
        spectra.plot_translation_error(arrays),
        f"Spectrum of the translator's error: {network_title}.",
        "Supplement, section 4: what the translator misses of Delta_N, "
        f"frequency by frequency: {network_title}.",
    )


def _iter_sensitivity_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    network_title = _format_network(row)
    yield ReportFigure(
        f"sensitivity-{row.dataset}-{row.model}",
        sensitivity.plot_heat_maps({network_title: arrays}),
        f"Error under each Fourier basis vector: {network_title}.",
        f"Percent of images misclassified when one Fourier basis vector is added: {network_title}.",
        raster=True,
    )


def _iter_response_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    yield ReportFigure(
        f"response-{row.dataset}-{row.model}",
        response.plot_convergence(arrays),
        "Relative errors of low and high response frequencies by epoch.",
        "The F-principle: response frequencies, over the space of images "
        "(not image frequencies), learnt low before high.",
    )


_FIGURE_BUILDERS = {
    "spectrum": _iter_spectrum_figures,
    "sensitivity": _iter_sensitivity_figures,
    "response": _iter_response_figures,
}
