"""Supplement, Fig. 5 and section 4: frequencies of Delta."""

import json
from collections.abc import Iterator
from typing import Any

from qup.core.measurements import Row
from qup.pipelines import figures
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import data as report_data
from qup.reproduction.report import document, sections
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.figures import frequency
from qup.reproduction.report.statistics import average_over_seeds
from qup.robustness import spectrum
from qup.robustness.conjugates import TABLE_4

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
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
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
            frequency.plot_ratios(rows),
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
    network_title = document.format_network(row.model, row.dataset, row.epochs)
    return f"{network_title}, seed {row.seed}"


def _iter_spectrum_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    network_title = _format_network(row)
    network_suffix = f"{row.dataset}-{row.model}"
    yield ReportFigure(
        f"spectra-radial-{network_suffix}",
        frequency.plot_radial_spectra(arrays),
        f"Radially averaged power spectra: {network_title}.",
        f"Power over the length of the frequency: {network_title}.",
    )
    yield ReportFigure(
        f"spectra-planes-{network_suffix}",
        frequency.plot_spectrum_planes(arrays),
        f"Mean logarithm of power over the plane of frequencies: {network_title}.",
        f"Mean logarithm of power over the plane of frequencies: {network_title}.",
        raster=True,
    )
    yield ReportFigure(
        f"spectra-cutoff-{network_suffix}",
        frequency.plot_cutoffs({network_title: arrays}),
        f"High-frequency ratio over the window's size: {network_title}.",
        f"The ratio over every symmetric window, less that of white noise: {network_title}.",
    )
    yield ReportFigure(
        f"spectra-error-{network_suffix}",
        frequency.plot_translation_error(arrays),
        f"Spectrum of the translator's error: {network_title}.",
        "Supplement, section 4: what the translator misses of Delta_N, "
        f"frequency by frequency: {network_title}.",
    )


def _iter_sensitivity_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    network_title = _format_network(row)
    yield ReportFigure(
        f"sensitivity-{row.dataset}-{row.model}",
        frequency.plot_heat_maps({network_title: arrays}),
        f"Error under each Fourier basis vector: {network_title}.",
        f"Percent of images misclassified when one Fourier basis vector is added: {network_title}.",
        raster=True,
    )


def _iter_response_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    yield ReportFigure(
        f"response-{row.dataset}-{row.model}",
        frequency.plot_convergence(arrays),
        "Relative errors of low and high response frequencies by epoch.",
        "The F-principle: response frequencies, over the space of images "
        "(not image frequencies), learnt low before high.",
    )


_FIGURE_BUILDERS = {
    "spectrum": _iter_spectrum_figures,
    "sensitivity": _iter_sensitivity_figures,
    "response": _iter_response_figures,
}


# Table 4: attacks, their conjugates, and the spectra of both.


_CONJUGATES_INTRO = (
    "The paper lists attacks with a field that could stand where Eq. 21 has "
    'the gradient, their "possible effective conjugate", and knows none for '
    "the two black-box ones. Here every attack ran with its own options on "
    "the same images. The cosine tells how far a perturbation lies along the "
    "field by which its last step moved, whatever the sign: 1 is one "
    "direction, and two unrelated fields have about 0. The share of high "
    "frequencies is that of the supplement's Fig. 5."
)
_PERTURBATION_NORMS = ("l0", "l1", "l2", "linf")
_CONJUGATE_COLUMNS = (
    "attack",
    "possible effective conjugate",
    "success",
    "L0",
    "L1",
    "L2",
    "L-inf",
    "cosine",
    "high: perturbation",
    "high: conjugate",
)


@sections.register(order=75)
def table4(data: ReportData) -> Section:
    """Returns Table 4."""
    blocks: list[Block] = [Paragraph(_CONJUGATES_INTRO)]
    for table in data.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                rows = data.find(
                    dataset=network.dataset, model=network.model, epochs=epochs, figure="table4"
                )
                blocks += _iter_conjugate_blocks(data, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "Table 4: attacks and their conjugates"
    return Section("table4", title, tuple(blocks))


def _iter_conjugate_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    """Yields table and picture of one network; nothing without rows."""
    if not rows:
        return
    title = document.format_network(network.title, network.dataset, epochs)
    first_row = min(rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    white_noise_note = ""
    if arrays is not None:
        share = _compute_white_share(arrays)
        white_noise_note = f" Of white noise the share of high frequencies is {share:.3f}."
    count = max(row.n for row in rows)
    body = tuple(_build_conjugate_cells(name, rows) for name in TABLE_4)
    yield Table(
        _CONJUGATE_COLUMNS,
        body,
        f"{title}: the first {count:,} test images that are classified "
        "rightly. Success in percent; all else are means over the images "
        f"that were broken, of conjugates over all.{white_noise_note} {document.INTERVAL_NOTE}",
    )
    if arrays is None:
        return
    names = report_data.resolve_class_names(network.dataset, arrays["class_names"])
    name = names[int(arrays["image_label"])]
    image = f"test image {int(arrays['image_id'])}, a {name}"
    yield ReportFigure(
        f"table4-{network.dataset}-{network.model}-{epochs}",
        figures.plot_conjugates(
            {**arrays, "class_names": names},
            f"{title}, seed {first_row.seed}: {image}",
            f"Curves: means over up to {count:,} images, each with its mean power as 1",
        ),
        f"Each attack's image, perturbation, conjugate and spectra: {title}.",
        f"{image} under each attack ({title}, seed {first_row.seed}): what the "
        "attack made of it, the perturbation and the conjugate (red above 0, "
        "blue below, each on its own scale), the conjugate's spectrum with "
        "zero frequency in the middle, and radial means of power. The image "
        "was chosen so that even one pixel is enough, where there is such.",
        raster=True,
    )


def _compute_white_share(arrays) -> float:
    shape = arrays["clean"].shape[:2]
    return spectrum.compute_white_share(shape, spectrum.compute_window(shape, "literal"))


def _build_conjugate_cells(name: str, rows: list[Row]) -> tuple[Cell, ...]:
    def build_cell(measure: str, digits: int, **filters: str) -> Cell:
        measure_rows = [
            row
            for row in rows
            if (row.attack, row.measure) == (name, measure)
            and all(row.parameters.get(k) == v for k, v in filters.items())
        ]
        if not measure_rows and has_run:
            return Cell("none broken", tone="muted")
        return document.format_cell(average_over_seeds(measure_rows), digits)

    entry = TABLE_4[name]
    has_run = any(row.attack == name for row in rows)
    empty_cell = Cell("-", tone="muted")
    shares = {
        field: build_cell("high_frequency_ratio", 3, field=field, window="literal")
        for field in ("perturbation", "conjugate")
    }
    return (
        Cell(name.replace("_", " ")),
        Cell(entry.description, tone="paper"),
        build_cell("success_rate", 1),
        *(build_cell(f"perturbation_{norm}", 3) for norm in _PERTURBATION_NORMS),
        build_cell("conjugate_cosine", 2) if entry.symbol else empty_cell,
        shares["perturbation"],
        shares["conjugate"] if entry.symbol else empty_cell,
    )
