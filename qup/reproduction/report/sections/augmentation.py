"""Iterative FGSM Augmentation: supplement, Table 1 and Fig. 4."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from qup.core.measurements import Row
from qup.pipelines import figures, paper
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.presets import TablePreset as TablePreset
from qup.reproduction.report import document, queries, sections
from qup.reproduction.report.data import (
    TABLE_FILTERS,
    AccuracyKind,
    ReportData,
    average_by_step,
    estimate_accuracy,
    find_trajectory_rows,
)
from qup.reproduction.report.document import (
    Block,
    BulletList,
    Cell,
    Paragraph,
    ReportFigure,
    Section,
    Table,
)
from qup.reproduction.report.figures import augmentation, controls
from qup.reproduction.report.figures.augmentation import AccuracyTexts, NetworkTrajectory
from qup.reproduction.report.queries import TranslatorResults
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change

_AUGMENTATION_COLUMNS = ("network", "epochs", "", "paper: TA", "ours: TA", "paper: RA")
_ROBUST_KINDS = (
    AccuracyKind.PGD4_CLIPPED,
    AccuracyKind.PGD4_UNCLIPPED,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.WORST_CASE,
)
_AUGMENTATION_INTRO = (
    "A Pix2Pix network is taught the way that N opposite-FGSM steps take "
    "each training image (towards its true class), and is put before the "
    "classifier: CL is the classifier alone, ACL the pair. Attacks go through "
    "both networks. An RA that falls far under a stronger attack, or that the "
    "checks below flag, is masked: its gradients mislead the attack, and the "
    "number says little of robustness."
)


@sections.register(order=40)
def supp_table1(data: ReportData) -> Section:
    """Returns the supplement's Table 1."""
    return _build_pair_section(
        data, "table2", "supp_table1", "Supplement, Table 1: augmentation on MNIST"
    )


@sections.register(order=50)
def supp_fig4(data: ReportData) -> Section:
    """Returns the supplement's Fig. 4."""
    return _build_pair_section(
        data, "table3", "supp_fig4", "Supplement, Fig. 4: augmentation on CIFAR-10"
    )


def _build_pair_section(data: ReportData, table: str, name: str, title: str) -> Section:
    preset = data.scale.tables[table]
    blocks: list[Block] = [Paragraph(_AUGMENTATION_INTRO), _build_augmentation_table(data, preset)]
    for network in preset.networks:
        for epochs in preset.epochs:
            blocks += _iter_network_blocks(data, network, epochs)
    return Section(name, title, tuple(blocks))


def _build_augmentation_table(data: ReportData, preset: TablePreset) -> Table:
    head = (*_AUGMENTATION_COLUMNS, *(f"ours: {kind.format_title(data)}" for kind in _ROBUST_KINDS))
    body = tuple(
        _build_augmentation_cells(data, network, epochs, classifier)
        for network in preset.networks
        for epochs in preset.epochs
        for classifier in ("CL", "ACL")
    )
    return Table(head, body, f"Percent. {document.INTERVAL_NOTE}")


def _build_augmentation_cells(
    data: ReportData, network: NetworkPreset, epochs: int, classifier: str
) -> tuple[Cell, ...]:
    published = paper.find_published_accuracy(network.dataset, network.model, classifier, epochs)
    estimates = {
        kind: estimate_accuracy(data, network, classifier, epochs, kind) for kind in AccuracyKind
    }
    return (
        Cell(network.title),
        Cell(str(epochs)),
        Cell(classifier),
        document.format_published(published and published.test_accuracy),
        document.format_cell(estimates[AccuracyKind.CLEAN]),
        document.format_published(published and published.robust_accuracy),
        *(document.format_cell(estimates[kind]) for kind in _ROBUST_KINDS),
    )


def _iter_network_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields the walk's images and the checks of one network."""
    trajectory_rows = find_trajectory_rows(data, network, epochs)
    if not trajectory_rows:
        return
    name = f"{network.dataset}-{network.model}-{epochs}"
    title = document.format_network(network.title, network.dataset, epochs)
    first_row = min(trajectory_rows, key=lambda row: (not row.artifact, row.seed))
    arrays = data.load_arrays(first_row)
    if arrays:
        yield ReportFigure(
            f"images-{name}",
            figures.plot_stage_images(figures.build_stage_images(arrays)),
            "Rows of images: X_0, Delta_N, X_N, G(X_0), X_0 + G(X_0), and X_0 attacked.",
            "The first test images, their Delta_N and X_N, what the "
            "translator makes of them, and the images under attack "
            f"({title}, seed {first_row.seed}; deltas around grey).",
            raster=True,
        )
    yield from _iter_masking_blocks(data, network, epochs)


def _iter_masking_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields what the checks for masked gradients say of the pair."""
    rows = data.find(
        dataset=network.dataset,
        model=network.model,
        classifier="ACL",
        epochs=epochs,
        measure="masking",
        **TABLE_FILTERS,
    )
    if not rows:
        yield Paragraph(
            f"Whether the gradients of {network.title} after "
            f"{document.format_count(epochs, 'epoch')} are masked behind its "
            "translator was not checked."
        )
        return
    first_seed = min(row.seed for row in rows)
    rows = [row for row in rows if row.seed == first_seed]
    flagged_rows = [row for row in rows if row.value == 1]
    undecided_rows = [row for row in rows if math.isnan(row.value)]
    yield Paragraph(
        f"Checks for masked gradients of ACL, {network.title}, "
        f"{document.format_count(epochs, 'epoch')}, seed {first_seed}: {len(flagged_rows)} of "
        f"{len(rows)} flagged, {len(undecided_rows)} not decided. What was flagged:"
    )
    check_texts = _load_check_texts(data, rows)
    yield BulletList(
        tuple(
            f"{row.parameters['check']}: "
            f"{check_texts.get(row.parameters['check'], 'no words kept')}"
            for row in flagged_rows
        )
        or ("nothing.",)
    )


def _load_check_texts(data: ReportData, rows: list[Row]) -> dict[str, str]:
    arrays = data.load_arrays(rows[0])
    if not arrays:
        return {}
    return dict(zip(arrays["names"].tolist(), arrays["words"].tolist(), strict=True))


# Supplement, Figs. 2 and 3: the walk X_n, and the pipeline that learns it.


_TRAJECTORY_INTRO = (
    "Training images are walked down the loss of their true label, and X_n "
    "is attacked in the ball round X_n. That both accuracies rise says what "
    "knowing the label gives; it says nothing of images without one."
)
_PIPELINE_INTRO = (
    "The pipeline of the paper with the numbers that were measured in its "
    "boxes. X_n are training images; CL and ACL are the classifier alone and "
    "behind its translator, on test images, under four steps of PGD within "
    "[0, 1] through all that stands there."
)
# The paper's Fig. 3: n to TA and RA of X_n in percent, of a network that it
# does not name.
PAPER_TRAJECTORY = {
    0: (94.41, 3.19),
    1: (97.23, 29.60),
    2: (98.71, 39.47),
    3: (99.31, 52.20),
    4: (99.70, 63.88),
    5: (99.84, 73.81),
}


@sections.register(order=36)
def supp_fig2(data: ReportData) -> Section:
    """Returns the supplement's Fig. 2."""
    blocks: list[Block] = [Paragraph(_TRAJECTORY_INTRO)]
    for table in data.scale.tables.values():
        blocks += _iter_trajectory_blocks(data, table)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "Supplement, Fig. 2: TA and RA of the walked X_n"
    return Section("supp_fig2", title, tuple(blocks))


def _iter_trajectory_blocks(data: ReportData, table: TablePreset) -> Iterator[Block]:
    """Yields picture and table of a data set; nothing without rows."""
    panels: dict[str, list[NetworkTrajectory]] = {}
    body = []
    for epochs in table.epochs:
        for network in table.networks:
            estimates = average_by_step(find_trajectory_rows(data, network, epochs))
            if not estimates["test_accuracy"]:
                continue
            points = {
                measure: {n: (x.value, x.low, x.high) for n, x in estimates_by_step.items()}
                for measure, estimates_by_step in estimates.items()
            }
            panel = panels.setdefault(document.format_count(epochs, "epoch"), [])
            panel.append(NetworkTrajectory(network.title, network.model, points))
            body += _build_trajectory_cells(network, epochs, estimates)
    if not panels:
        return
    name = ", ".join(dict.fromkeys(n.dataset for n in table.networks))
    yield ReportFigure(
        f"supp-fig2-{name.replace(', ', '-')}",
        augmentation.plot_trajectories(panels, name),
        f"TA and RA of walked training images over the steps, on {name}.",
        f"TA and RA of X_n over n, {name}. Bars: 95 % intervals.",
    )
    head = ("network", "epochs", "n", "TA of X_n", "RA of X_n")
    caption = f"Percent of training images, {name}. {document.INTERVAL_NOTE}"
    yield Table(head, tuple(body), caption)


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
            *(document.format_cell(estimates[m].get(n)) for m in estimates),
        )
        for n in dict.fromkeys([*steps[:2], steps[-1]])
    ]


@sections.register(order=37)
def supp_fig3(data: ReportData) -> Section:
    """Returns the supplement's Fig. 3, of each data set that was run."""
    blocks: list[Block] = [Paragraph(_PIPELINE_INTRO)]
    for table in data.scale.tables.values():
        for network, epochs, rows in _iter_drawn_networks(data, table):
            blocks += _iter_pipeline_blocks(data, network, epochs, rows)
    if len(blocks) == 1:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
    title = "Supplement, Fig. 3: the pipeline"
    return Section("supp_fig3", title, tuple(blocks))


def _iter_drawn_networks(
    data: ReportData, table: TablePreset
) -> Iterator[tuple[NetworkPreset, int, list[Row]]]:
    """Yields the network to draw, the residual one where it was run."""
    for network in sorted(table.networks, key=lambda n: n.model != "resnet"):
        for epochs in reversed(table.epochs):
            rows = find_trajectory_rows(data, network, epochs)
            estimates = [
                estimate_accuracy(data, network, classifier, epochs, AccuracyKind.CLEAN)
                for classifier in ("CL", "ACL")
            ]
            if rows and all(estimates):
                yield network, epochs, rows
                return


def _format_seed_count(counts: set[int]) -> str:
    """Returns over how many seeds the numbers of one drawing are means."""
    least, most = min(counts), max(counts)
    if least == most:
        return "one seed" if most == 1 else f"means over {most} seeds"
    return f"means over {least} to {most} seeds"


def _iter_pipeline_blocks(
    data: ReportData, network: NetworkPreset, epochs: int, rows: list[Row]
) -> Iterator[Block]:
    trajectory = average_by_step(rows)
    estimates = {
        classifier: [
            estimate_accuracy(data, network, classifier, epochs, kind)
            for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        ]
        for classifier in ("CL", "ACL")
    }
    pairs = {
        classifier: AccuracyTexts(*map(_format_percent, pair_estimates))
        for classifier, pair_estimates in estimates.items()
    }
    title = document.format_network(network.title, network.dataset, epochs)
    counts = {len({row.seed for row in rows})}
    counts |= {
        estimate.num_seeds
        for pair_estimates in estimates.values()
        for estimate in pair_estimates
        if estimate
    }
    yield ReportFigure(
        f"supp-fig3-{network.dataset}",
        augmentation.plot_pipeline(
            classifier=f"{network.title}, {document.format_count(epochs, 'epoch')}",
            classifier_only=pairs["CL"],
            pair=pairs["ACL"],
            iterates={
                n: AccuracyTexts(*(_format_percent(trajectory[m].get(n)) for m in trajectory))
                for n in trajectory["test_accuracy"]
            },
            title=f"{title}; {_format_seed_count(counts)}",
            images=_load_stage_images(data, rows),
        ),
        "Four parts: training of the classifier, the walk of the training "
        "images, training of the translator, and the pair, with TA and RA.",
        f"{title}. Images: the first test image; deltas around grey.",
    )
    head = ("n", "paper: TA", "ours: TA", "paper: RA", "ours: RA")
    body = tuple(
        (
            Cell(str(n)),
            document.format_published(PAPER_TRAJECTORY.get(n, (None, None))[0]),
            document.format_cell(trajectory["test_accuracy"][n]),
            document.format_published(PAPER_TRAJECTORY.get(n, (None, None))[1]),
            document.format_cell(trajectory["robust_accuracy"].get(n)),
        )
        for n in trajectory["test_accuracy"]
    )
    yield Table(
        head,
        body,
        f"Percent of training images, {title}; of its own numbers the paper "
        'names no data set, and "for instance the Residual neural network". '
        f"{document.INTERVAL_NOTE}",
    )


def _format_percent(estimate: IntervalEstimate | None) -> str:
    return "not run" if estimate is None else f"{estimate.value:.1f} %"


def _load_stage_images(data: ReportData, rows: list[Row]) -> dict[str, np.ndarray] | None:
    """Returns the stages of the first test image; None where they are lost."""
    artifact_rows = [row for row in rows if row.artifact]
    arrays = data.load_arrays(min(artifact_rows, key=lambda r: r.seed)) if artifact_rows else None
    if arrays is None:
        return None
    start, end = arrays["x_0"][0], arrays["x_n"][0]
    delta, translated = end - start, arrays["translated"][0]
    scale = 2.0 * max(float(np.abs(delta).max()), 1e-6)
    return {
        "x_0": start,
        "x_n": start + translated,
        "delta_n": 0.5 + delta / scale,
        "translated": 0.5 + translated / scale,
    }


# The capacity sweep: what larger translators learn of Delta, and what for.


_CAPACITY_INTRO = (
    "The supplement holds that no Pix2Pix learns Delta_N. Here is the mean "
    "error of Delta on test images, as a share of the mean |Delta|: 1 is what "
    "no translation at all would miss. The line of the class template is a "
    "fixed pattern for the true class; a translator above it knows less of "
    "Delta than the class alone tells. If a larger network, or Delta_1 instead "
    "of Delta_N, brings the error down, it is a matter of capacity or of the "
    "target, and no principle; if the accuracies do not follow the error, "
    "they are made of something else."
)
_CAPACITY_COLUMNS = (
    "translator",
    "parameters",
    "error of Delta",
    "of the class template",
    "ACL: TA",
    f"ACL: {AccuracyKind.PGD4_CLIPPED.value}",
    "images",
)
_CAPACITY_TITLE = "Capacity: translators of other sizes, and Delta_1"


@sections.register(order=66)
def capacity(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Paragraph(_CAPACITY_INTRO)]
    sizes = queries.find_translators_by_size(data, network, epochs)
    if not sizes:
        blocks.append(Paragraph(f"It was {document.NOT_RUN}."))
        return Section("capacity", _CAPACITY_TITLE, tuple(blocks))
    body = tuple(_build_capacity_cells(data, network, epochs, translator) for translator in sizes)
    title = document.format_network(network.title, network.dataset, epochs)
    caption = (
        f"Errors as shares of the mean |Delta|, accuracies in percent: {title}."
        f" {document.INTERVAL_NOTE}"
    )
    blocks += [
        Table(_CAPACITY_COLUMNS, body, caption),
        Paragraph(_describe_size_effect(sizes)),
        _build_capacity_figure(data, network, epochs, sizes),
    ]
    return Section("capacity", _CAPACITY_TITLE, tuple(blocks))


def _estimate_pair(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    translator: TranslatorResults,
    kind: AccuracyKind,
) -> IntervalEstimate | None:
    return estimate_accuracy(data, network, "ACL", epochs, kind, control=translator.control)


def _build_capacity_cells(
    data: ReportData, network: NetworkPreset, epochs: int, translator: TranslatorResults
) -> tuple[Cell, ...]:
    error = average_over_seeds(translator.error_rows)
    template = average_over_seeds(
        queries.find_translation_errors(data, network, epochs, translator.control, "class_template")
    )
    return (
        Cell(translator.title),
        Cell(f"{translator.num_parameters:,}"),
        document.format_cell(error, 4),
        document.format_cell(template, 4),
        *(
            document.format_cell(_estimate_pair(data, network, epochs, translator, kind))
            for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        ),
        Cell(f"{error.n:,}"),
    )


def _describe_size_effect(sizes: list[TranslatorResults]) -> str:
    """Says whether the error falls with the size, and for Delta_1."""
    delta_n_sizes = [translator for translator in sizes if translator.predicts_delta_n]
    text = f"Sizes of Delta_N: {len(delta_n_sizes)}. "
    gain = None
    if len(delta_n_sizes) > 1:
        gain = compute_change(delta_n_sizes[0].error_rows, delta_n_sizes[-1].error_rows)
    if gain is None:
        text += "Whether the error falls with the size is undecided: at "
        text += "least two sizes of the same seeds are needed."
    else:
        conclusion = {
            -1: "the error falls with the size",
            0: "no change with the size can be told from chance",
            1: "the error grows with the size",
        }[gain.sign]
        text += (
            f"From {delta_n_sizes[0].num_parameters:,} to {delta_n_sizes[-1].num_parameters:,} "
            f"parameters the error changes by {document.format_estimate(gain, 4)}: {conclusion}."
        )
    delta_1 = next((translator for translator in sizes if translator.control == "delta_1"), None)
    delta_n = next((translator for translator in sizes if translator.control is None), None)
    if delta_1 is None or delta_n is None:
        return f"{text} Delta_1 against Delta_N: {document.NOT_RUN}."
    gain = compute_change(delta_n.error_rows, delta_1.error_rows)
    if gain is None:
        return f"{text} Delta_1 against Delta_N: no seed has both."
    conclusion = {
        -1: "Delta_1 is learnt better",
        1: "Delta_1 is learnt worse",
        0: "which is learnt better is undecided",
    }[gain.sign]
    return (
        f"{text} Error of Delta_1 less that of Delta_N, by translators of "
        f"one size: {document.format_estimate(gain, 4)}: {conclusion}."
    )


def _build_capacity_figure(
    data: ReportData, network: NetworkPreset, epochs: int, sizes: list[TranslatorResults]
) -> ReportFigure:
    series: dict[str, dict[int, tuple]] = {}
    accuracies: dict[str, dict[int, tuple]] = {}
    for translator in sizes:
        name = "Delta_N" if translator.predicts_delta_n else "Delta_1"
        error = average_over_seeds(translator.error_rows)
        series.setdefault(name, {})[translator.num_parameters] = error.point
        for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED):
            estimate = _estimate_pair(data, network, epochs, translator, kind)
            if estimate is not None and translator.predicts_delta_n:
                curve = accuracies.setdefault(f"ACL, {kind.value}", {})
                curve[translator.num_parameters] = estimate.point
    references = {
        f"CL, {kind.value}": x.point
        for kind in (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED)
        if (x := estimate_accuracy(data, network, "CL", epochs, kind))
    }
    reference = next((translator for translator in sizes if translator.predicts_delta_n), sizes[0])
    template_error = average_over_seeds(
        queries.find_translation_errors(data, network, epochs, reference.control, "class_template")
    )
    title = document.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        "capacity",
        controls.plot_capacity(
            series,
            accuracies,
            references,
            title=title,
            template_error=template_error and template_error.point,
        ),
        "Error of Delta, and TA and RA of the pair, over the number of "
        f"parameters of the translator: {title}.",
        "Above: the error of Delta on test images; below: TA and RA of the "
        f"pairs, and of the classifier alone across: {title}.",
    )
