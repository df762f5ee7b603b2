"""Supplement, Fig. 5 and section 4: frequencies of Delta; Table 4: conjugates of attacks."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qup.core.measurements import Row
from qup.pipelines import figures
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import data as report_data
from qup.reproduction.report import document, sections
from qup.reproduction.report.data import ReportData, estimate_groups
from qup.reproduction.report.document import Block, Cell, ReportFigure, Table
from qup.reproduction.report.figures import frequency, style
from qup.robustness import spectrum
from qup.robustness.conjugates import TABLE_4

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


@sections.register(order=80, title="Supplement, Fig. 5 and section 4: frequencies")
def supp_fig5(data: ReportData) -> Iterator[Block]:
    """Yields the ratio over TA, spectra, heat maps and response frequencies."""
    filters = {"control": None, "method": None, "figure": None, "augmentation_num_steps": None}
    ratios = data.find(measure="high_frequency_ratio", split="test", grey="luma", **filters)
    if ratios:
        accuracies = data.find(
            measure="test_accuracy", evaluation=None, step=None, classifier="CL", **filters
        )
        networks = [_find_network(data, row) for row in ratios]
        titles = {n.dataset: document.format_dataset(n.dataset) for n in networks}
        titles |= {n.model: n.title for n in networks}
        yield ReportFigure(
            "frequency-ratio",
            frequency.plot_ratios([*ratios, *accuracies], titles),
            "High-frequency ratio of Delta_1 against test accuracy.",
            "High-frequency ratio of Delta_1 against TA, in the paper's windows; the numbers at "
            "the points are epochs.",
        )
    for name, iterate_figures in _FIGURE_ITERATORS.items():
        for row in _find_first_rows(data, name):
            arrays = data.load_arrays(row)
            if arrays is not None:
                network = document.format_network(_find_network(data, row))
                yield from iterate_figures(row, style.decode_metadata(arrays, network))


def _find_first_rows(data: ReportData, name: str) -> list[Row]:
    """Returns a row per network with arrays of that name, of the fewest epochs and first seed."""
    frame = data.frame[data.frame["artifact"].str.endswith(f"/{name}.npz", na=False)]
    if name == "spectrum":
        # Spectra without a translator have no error to draw.
        if "augmentation_num_steps" not in frame:
            return []
        frame = frame[frame["augmentation_num_steps"].notna()]
    frame = frame.sort_values(["epochs", "seed"], kind="stable")
    return list(frame.drop_duplicates(["dataset", "model"])["row"])


def _find_network(data: ReportData, row: Row) -> NetworkPreset:
    preset = data.scale.find_network(row.dataset, row.model)
    return preset or NetworkPreset(row.dataset, row.model, row.model)


def _format_title(row: Row, arrays: dict[str, Any]) -> str:
    epochs = document.format_count(row.epochs, "epoch")
    return f"{arrays['metadata']['network']}, {epochs}, seed {row.seed}"


def _iterate_spectrum_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    title, name = _format_title(row, arrays), f"{row.dataset}-{row.model}"
    yield ReportFigure(
        f"spectra-radial-{name}",
        frequency.plot_radial_spectra(arrays),
        f"Radially averaged power spectra: {title}.",
        f"Power over the length of the frequency: {title}.",
    )
    yield ReportFigure(
        f"spectra-planes-{name}",
        frequency.plot_spectrum_planes(arrays),
        f"Mean logarithm of power over the plane of frequencies: {title}.",
        f"Mean logarithm of power over the plane of frequencies: {title}.",
        raster=True,
    )
    yield ReportFigure(
        f"spectra-cutoff-{name}",
        frequency.plot_cutoffs({title: arrays}),
        f"High-frequency ratio over the size of the window: {title}.",
        f"The ratio of every symmetric window, and its difference to white noise: {title}.",
    )
    yield ReportFigure(
        f"spectra-error-{name}",
        frequency.plot_translation_error(arrays),
        f"Spectrum of the translator's error: {title}.",
        "Supplement, section 4: the error of the translator in Delta_N, frequency by frequency: "
        f"{title}.",
    )


def _iterate_sensitivity_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    title = _format_title(row, arrays)
    yield ReportFigure(
        f"sensitivity-{row.dataset}-{row.model}",
        frequency.plot_heat_maps({title: arrays}),
        f"Error under each Fourier basis vector: {title}.",
        f"Percent of images that are misclassified with one added Fourier basis vector: {title}.",
        raster=True,
    )


def _iterate_response_figures(row: Row, arrays: dict[str, Any]) -> Iterator[ReportFigure]:
    network = arrays["metadata"]["network"]
    yield ReportFigure(
        f"response-{row.dataset}-{row.model}",
        frequency.plot_convergence(arrays),
        f"Relative errors of low and high response frequencies by epoch: {network}.",
        "The F-principle: response frequencies, over the space of images (not image frequencies), "
        f"are fitted low before high ({network}).",
    )


_FIGURE_ITERATORS = {
    "spectrum": _iterate_spectrum_figures,
    "sensitivity": _iterate_sensitivity_figures,
    "response": _iterate_response_figures,
}


@sections.register(order=75, title="Table 4: attacks and their conjugates")
def table4(data: ReportData) -> Iterator[Block]:
    """Yields Table 4 with our numbers and its figure, per network."""
    for network, epochs in data.list_checkpoints():
        frame = data.select(
            dataset=network.dataset, model=network.model, epochs=epochs, figure="table4"
        )
        if len(frame):
            yield from _iterate_conjugate_blocks(data, network, epochs, frame)


def _iterate_conjugate_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, frame: pd.DataFrame
) -> Iterator[Block]:
    title = document.format_network(network, epochs)
    first_row = min(frame["row"], key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    noise_note = ""
    if arrays is not None:
        shape = arrays["clean"].shape[:2]
        share = spectrum.compute_white_share(shape, spectrum.compute_window(shape, "literal"))
        noise_note = f" The share of high frequencies of white noise is {share:.3f}."
    count = max(frame["n"])
    frame = frame.reindex(columns=[*dict.fromkeys((*frame.columns, "field", "window"))])
    estimates = estimate_groups(frame, "attack", "measure", "field", "window")
    yield Table(
        _CONJUGATE_COLUMNS,
        tuple(_build_conjugate_cells(name, estimates) for name in TABLE_4),
        f"{title}: the first {count:,} test images that are classified correctly. Success in "
        "percent; the others are means over the adversarial images, of conjugates over all "
        f"images.{noise_note} {document.INTERVAL_NOTE}",
    )
    if arrays is None:
        return
    names = report_data.resolve_class_names(network.dataset, arrays["class_names"])
    image = f"test image {int(arrays['image_id'])}, class {names[int(arrays['image_label'])]}"
    yield ReportFigure(
        f"table4-{network.dataset}-{network.model}-{epochs}",
        figures.plot_conjugates(
            {**arrays, "class_names": names},
            f"{title}, seed {first_row.seed}: {image}",
            f"Curves: means over up to {count:,} images, each with its mean power as 1",
        ),
        f"Image, perturbation, conjugate and spectra of each attack: {title}.",
        f"{image} under each attack ({title}, seed {first_row.seed}): the attacked image, the "
        "perturbation and the conjugate (red above 0, blue below, each on its own scale), the "
        "spectrum of the conjugate with zero frequency in the middle, and radial means of power. "
        "The image was chosen so that one pixel is enough, if there is such an image.",
        raster=True,
    )


def _build_conjugate_cells(name: str, estimates: dict[tuple, Any]) -> tuple[Cell, ...]:
    entry = TABLE_4[name]
    has_run = any(attack == name for attack, *_ in estimates)

    def build_cell(
        measure: str, digits: int, field: str | None = None, window: str | None = None
    ) -> Cell:
        estimate = estimates.get((name, measure, field, window))
        if estimate is None and has_run:
            return Cell("none adversarial", tone="muted")
        return document.format_cell(estimate, digits)

    empty_cell = Cell("-", tone="muted")
    ratio = "high_frequency_ratio"
    return (
        Cell(name.replace("_", " ")),
        Cell(entry.description, tone="paper"),
        build_cell("success_rate", 1),
        *(build_cell(f"perturbation_{norm}", 3) for norm in _PERTURBATION_NORMS),
        build_cell("conjugate_cosine", 2) if entry.symbol else empty_cell,
        build_cell(ratio, 3, "perturbation", "literal"),
        build_cell(ratio, 3, "conjugate", "literal") if entry.symbol else empty_cell,
    )
