"""Iterative FGSM Augmentation: supplement, Table 1 and Figs. 2 to 4, and the capacity sweep."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from qup.core.measurements import Row
from qup.pipelines import figures
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import (
    TABLE_FILTERS,
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
    estimate_trajectory,
    select_trajectory,
)
from qup.reproduction.report.document import Block, BulletList, Cell, Paragraph, ReportFigure, Table
from qup.reproduction.report.figures import augmentation, controls
from qup.reproduction.report.figures.augmentation import AccuracyTexts, NetworkTrajectory
from qup.reproduction.report.queries import TranslatorResults
from qup.reproduction.report.sections.tables import build_accuracy_table
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change

_ACCURACY_KINDS = (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
# The paper's Fig. 3: n to TA and RA of X_n in percent, of a network that it does not name.
PAPER_TRAJECTORY = {
    0: (94.41, 3.19),
    1: (97.23, 29.60),
    2: (98.71, 39.47),
    3: (99.31, 52.20),
    4: (99.70, 63.88),
    5: (99.84, 73.81),
}
_CAPACITY_COLUMNS = (
    "translator",
    "parameters",
    "error of Delta",
    "of the class template",
    "ACL: TA",
    f"ACL: {AccuracyKind.PGD4_CLIPPED.value}",
    "images",
)


@sections.register(order=40, title="Supplement, Table 1: augmentation on MNIST")
def supp_table1(data: ReportData) -> Iterator[Block]:
    """Yields CL and ACL of Table 2's networks."""
    yield from _iterate_pair_blocks(data, "table2")


@sections.register(order=50, title="Supplement, Fig. 4: augmentation on CIFAR-10")
def supp_fig4(data: ReportData) -> Iterator[Block]:
    """Yields CL and ACL of Table 3's networks."""
    yield from _iterate_pair_blocks(data, "table3")


def _iterate_pair_blocks(data: ReportData, name: str) -> Iterator[Block]:
    preset = data.scale.tables[name]
    yield build_accuracy_table(data, preset, ("CL", "ACL"))
    for network in preset.networks:
        for epochs in preset.epochs:
            frame = select_trajectory(data, network, epochs)
            if len(frame):
                yield from _iterate_stage_figures(data, network, epochs, list(frame["row"]))
                yield from _iterate_masking_blocks(data, network, epochs)


def _iterate_stage_figures(
    data: ReportData, network: NetworkPreset, epochs: int, rows: list[Row]
) -> Iterator[ReportFigure]:
    first_row = min(rows, key=lambda row: (not row.artifact, row.seed))
    arrays = data.load_arrays(first_row)
    if arrays:
        yield ReportFigure(
            f"images-{network.dataset}-{network.model}-{epochs}",
            figures.plot_stage_images(figures.build_stage_images(arrays)),
            "Rows of images: X_0, Delta_N, X_N, G(X_0), X_0 + G(X_0), and X_0 attacked.",
            "The first test images, their Delta_N and X_N, the output of the translator, and the "
            f"images under attack ({document.format_network(network, epochs)}, seed "
            f"{first_row.seed}; deltas around grey).",
            raster=True,
        )


def _iterate_masking_blocks(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterator[Block]:
    """Yields the results of the checks for masked gradients of the pair, of the first seed."""
    title = f"{network.title}, {document.format_count(epochs, 'epoch')}"
    rows = data.find(
        classifier="ACL",
        measure="masking",
        **TABLE_FILTERS,
        **build_network_filters(network, epochs),
    )
    if not rows:
        yield Paragraph(f"Masked gradients of ACL, {title}: not checked.")
        return
    first_seed = min(row.seed for row in rows)
    rows = [row for row in rows if row.seed == first_seed]
    flagged = [row.parameters["check"] for row in rows if row.value == 1]
    num_undecided = sum(math.isnan(row.value) for row in rows)
    arrays = data.load_arrays(rows[0])
    texts = (
        dict(zip(*(arrays[k].tolist() for k in ("names", "words")), strict=True)) if arrays else {}
    )
    yield Paragraph(
        f"Checks for masked gradients of ACL, {title}, seed {first_seed}: {len(flagged)} of "
        f"{len(rows)} flagged, {num_undecided} undecided. Flagged checks:"
    )
    yield BulletList(
        tuple(f"{check}: {texts.get(check, 'no description stored')}" for check in flagged)
        or ("none.",)
    )


@sections.register(order=36, title="Supplement, Fig. 2: TA and RA of X_n")
def supp_fig2(data: ReportData) -> Iterator[Block]:
    """Yields a figure and a table of accuracies over the steps of opposite FGSM."""
    for table in data.scale.tables.values():
        panels: dict[str, list[NetworkTrajectory]] = {}
        body = []
        for epochs in table.epochs:
            for network in table.networks:
                estimates = estimate_trajectory(data, network, epochs)
                if not estimates["test_accuracy"]:
                    continue
                points = {
                    m: {n: x.point for n, x in by_step.items()} for m, by_step in estimates.items()
                }
                panel = panels.setdefault(document.format_count(epochs, "epoch"), [])
                panel.append(NetworkTrajectory(network.title, network.model, points))
                body += _build_trajectory_cells(network, epochs, estimates)
        if not panels:
            continue
        datasets = list(dict.fromkeys(network.dataset for network in table.networks))
        title = ", ".join(map(document.format_dataset, datasets))
        yield ReportFigure(
            f"supp-fig2-{'-'.join(datasets)}",
            augmentation.plot_trajectories(panels, title),
            f"TA and RA of training images X_n over n, on {title}.",
            f"TA and RA of X_n over n, {title}. Bars: 95 % intervals.",
        )
        yield Table(
            ("network", "epochs", "n", "TA of X_n", "RA of X_n"),
            tuple(body),
            f"Percent of training images, {title}. {document.INTERVAL_NOTE}",
        )


def _build_trajectory_cells(
    network: NetworkPreset, epochs: int, estimates: Mapping[str, Mapping[int, IntervalEstimate]]
) -> list[tuple[Cell, ...]]:
    """Returns lines of the first, the second and the last n."""
    steps = list(estimates["test_accuracy"])
    return [
        (
            Cell(network.title),
            Cell(str(epochs)),
            Cell(str(n)),
            *(document.format_cell(by_step.get(n)) for by_step in estimates.values()),
        )
        for n in dict.fromkeys([*steps[:2], steps[-1]])
    ]


@sections.register(order=37, title="Supplement, Fig. 3: the pipeline")
def supp_fig3(data: ReportData) -> Iterator[Block]:
    """Yields the pipeline with our numbers, of one network per data set."""
    for table in data.scale.tables.values():
        # ResNet, as in the paper, or another network that has pairs.
        candidates = (
            (network, epochs)
            for network in sorted(table.networks, key=lambda n: n.model != "resnet")
            for epochs in reversed(table.epochs)
        )
        for network, epochs in candidates:
            frame = select_trajectory(data, network, epochs)
            estimates = {
                classifier: [
                    estimate_accuracy(data, network, classifier, epochs, kind)
                    for kind in _ACCURACY_KINDS
                ]
                for classifier in ("CL", "ACL")
            }
            if len(frame) and all(clean for clean, _ in estimates.values()):
                rows = list(frame["row"])
                yield from _iterate_pipeline_blocks(data, network, epochs, rows, estimates)
                break


def _iterate_pipeline_blocks(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    rows: list[Row],
    estimates: Mapping[str, list[IntervalEstimate | None]],
) -> Iterator[Block]:
    clean, robust = estimate_trajectory(data, network, epochs).values()
    title = document.format_network(network, epochs)
    counts = {len({row.seed for row in rows})}
    counts |= {x.num_seeds for pair in estimates.values() for x in pair if x}
    yield ReportFigure(
        f"supp-fig3-{network.dataset}",
        augmentation.plot_pipeline(
            classifier=f"{network.title}, {document.format_count(epochs, 'epoch')}",
            classifier_only=_format_accuracies(*estimates["CL"]),
            pair=_format_accuracies(*estimates["ACL"]),
            iterates={n: _format_accuracies(clean[n], robust.get(n)) for n in clean},
            title=f"{title}; {_format_seed_count(min(counts), max(counts))}",
            images=_load_stage_images(data, rows),
        ),
        "Four stages: training of the classifier, opposite FGSM on the training images, training "
        "of the translator, and the pair, with TA and RA.",
        f"{title}. Images: the first test image; deltas around grey.",
    )
    body = []
    for n in clean:
        originals = PAPER_TRAJECTORY.get(n, (None, None))
        pairs = zip(originals, (clean[n], robust.get(n)), strict=True)
        cells = [(document.format_published(x), document.format_cell(ours)) for x, ours in pairs]
        body.append((Cell(str(n)), *cells[0], *cells[1]))
    yield Table(
        ("n", "paper: TA", "ours: TA", "paper: RA", "ours: RA"),
        tuple(body),
        f"Percent of training images, {title}. The paper names no data set for its numbers, and "
        f'"for instance the Residual neural network". {document.INTERVAL_NOTE}',
    )


def _format_accuracies(*estimates: IntervalEstimate | None) -> AccuracyTexts:
    return AccuracyTexts(
        *("not run" if estimate is None else f"{estimate.value:.1f} %" for estimate in estimates)
    )


def _format_seed_count(least: int, most: int) -> str:
    if least == most:
        return "one seed" if most == 1 else f"means over {most} seeds"
    return f"means over {least} to {most} seeds"


def _load_stage_images(data: ReportData, rows: list[Row]) -> dict[str, np.ndarray] | None:
    """Returns the stages of the first test image; None if they are missing."""
    artifact_rows = [row for row in rows if row.artifact]
    arrays = data.load_arrays(min(artifact_rows, key=lambda r: r.seed)) if artifact_rows else None
    if arrays is None:
        return None
    start, end, translated = (arrays[name][0] for name in ("x_0", "x_n", "translated"))
    delta = end - start
    scale = 2.0 * max(float(np.abs(delta).max()), 1e-6)
    return {
        "x_0": start,
        "x_n": start + translated,
        "delta_n": 0.5 + delta / scale,
        "translated": 0.5 + translated / scale,
    }


@sections.register(order=66, title="Capacity: translators of other sizes, and Delta_1")
def capacity(data: ReportData) -> Iterator[Block]:
    """Yields the errors of translators by size, and the accuracies of their pairs."""
    network, epochs = data.main_network, data.main_epochs[0]
    translators = queries.find_translators_by_size(data, network, epochs)
    if not translators:
        return
    title = document.format_network(network, epochs)
    yield Table(
        _CAPACITY_COLUMNS,
        tuple(_build_capacity_cells(data, network, epochs, t) for t in translators),
        f"Errors as shares of the mean |Delta|, accuracies in percent: {title}. "
        f"{document.INTERVAL_NOTE}",
    )
    yield Paragraph(f"{_describe_size_effect(translators)} {_describe_delta_1(translators)}")
    yield _build_capacity_figure(data, network, epochs, translators)


def _build_capacity_cells(
    data: ReportData, network: NetworkPreset, epochs: int, translator: TranslatorResults
) -> tuple[Cell, ...]:
    error = average_over_seeds(translator.error_rows)
    template_rows = queries.find_translation_errors(
        data, network, epochs, translator.control, "class_template"
    )
    return (
        Cell(translator.title),
        Cell(f"{translator.num_parameters:,}"),
        document.format_cell(error, 4),
        document.format_cell(average_over_seeds(template_rows), 4),
        *(
            document.format_cell(
                estimate_accuracy(data, network, "ACL", epochs, kind, control=translator.control)
            )
            for kind in _ACCURACY_KINDS
        ),
        Cell(f"{error.n:,}"),
    )


def _describe_size_effect(translators: list[TranslatorResults]) -> str:
    sizes = [translator for translator in translators if translator.target == "Delta_N"]
    change = compute_change(sizes[0].error_rows, sizes[-1].error_rows) if len(sizes) > 1 else None
    text = f"Sizes of Delta_N: {len(sizes)}."
    if change is None:
        return (
            f"{text} Whether the error falls with the size is undecided: this needs at least two "
            "sizes with the same seeds."
        )
    conclusion = {
        -1: "the error falls with the size",
        0: "no significant change with the size",
        1: "the error grows with the size",
    }[change.sign]
    return (
        f"{text} From {sizes[0].num_parameters:,} to {sizes[-1].num_parameters:,} parameters the "
        f"error changes by {document.format_estimate(change, 4)}: {conclusion}."
    )


def _describe_delta_1(translators: list[TranslatorResults]) -> str:
    rows = {translator.control: translator.error_rows for translator in translators}
    if "delta_1" not in rows or None not in rows:
        return f"Delta_1 against Delta_N: {document.NOT_RUN}."
    change = compute_change(rows[None], rows["delta_1"])
    if change is None:
        return "Delta_1 against Delta_N: no seed has both."
    conclusion = {
        -1: "Delta_1 is learned better",
        1: "Delta_1 is learned worse",
        0: "which one is learned better is undecided",
    }[change.sign]
    return (
        "Error of Delta_1 minus that of Delta_N, by translators of the same size: "
        f"{document.format_estimate(change, 4)}: {conclusion}."
    )


def _build_capacity_figure(
    data: ReportData, network: NetworkPreset, epochs: int, translators: list[TranslatorResults]
) -> ReportFigure:
    series: dict[str, dict[int, tuple]] = {}
    accuracies: dict[str, dict[int, tuple]] = {}
    for translator in translators:
        error = average_over_seeds(translator.error_rows)
        series.setdefault(translator.target, {})[translator.num_parameters] = error.point
        for kind in _ACCURACY_KINDS if translator.target == "Delta_N" else ():
            estimate = estimate_accuracy(
                data, network, "ACL", epochs, kind, control=translator.control
            )
            if estimate is not None:
                curve = accuracies.setdefault(f"ACL, {kind.value}", {})
                curve[translator.num_parameters] = estimate.point
    references = {
        f"CL, {kind.value}": x.point
        for kind in _ACCURACY_KINDS
        if (x := estimate_accuracy(data, network, "CL", epochs, kind))
    }
    template_error = average_over_seeds(
        queries.find_translation_errors(
            data, network, epochs, translators[0].control, "class_template"
        )
    )
    title = document.format_network(network, epochs)
    return ReportFigure(
        "capacity",
        controls.plot_capacity(
            series,
            accuracies,
            references,
            title=title,
            template_error=template_error and template_error.point,
        ),
        "Error of Delta, and TA and RA of the pair, over the number of parameters of the "
        f"translator: {title}.",
        "Top: the error of Delta on test images; bottom: TA and RA of the pairs, and of the "
        f"classifier alone as lines: {title}.",
    )
