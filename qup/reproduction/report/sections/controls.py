"""The controls: whose accuracy is the pair's, and counter-examples."""

from collections.abc import Iterable, Iterator

from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, sections
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
    find_accuracy_rows,
)
from qup.reproduction.report.document import Block, Cell, Paragraph, ReportFigure, Section, Table
from qup.reproduction.report.figures import augmentation, tables
from qup.reproduction.report.figures import controls as figures_controls
from qup.reproduction.report.figures.controls import Control
from qup.reproduction.report.figures.style import NetworkStyle as NetworkStyle
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change

_CONTROL_KINDS = (
    AccuracyKind.CLEAN,
    AccuracyKind.PGD4_CLIPPED,
    AccuracyKind.PGD4_UNCLIPPED,
    AccuracyKind.PGD_STRONG,
    AccuracyKind.WORST_CASE,
)
# What a pair with these deltas was taught, by the parameter "control".
_CONTROL_TITLES = {
    "permuted_labels": "ACL, walk with permuted labels",
    "predicted_labels": "ACL, walk with the classifier's own labels",
    "class_template": "ACL, one fixed Delta a class",
    "delta_1": "ACL, one long step instead of N",
}
_CONTROLS_INTRO = (
    "Delta_N is made with the true label, so a translator that learns it "
    "learns to classify. If the pair's gain were the paper's conjugate "
    "structure, it should vanish with permuted labels, and be greater with "
    "Delta_N than with one fixed pattern a class; if it is the translator's "
    "own knowledge of the classes, a fixed pattern does as well, and a plain "
    "classifier of the translator's size is as accurate."
)


@sections.register(order=60)
def controls(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    table_rows = list(_iter_control_rows(data, network, epochs))
    blocks: list[Block] = [Paragraph(_CONTROLS_INTRO)]
    if any(any(estimates.values()) for _, estimates in table_rows):
        blocks.append(_build_controls_table(data, table_rows))
        blocks.append(_build_controls_figure(data, table_rows, network, epochs))
        blocks += _build_frontier_figures(data, network)
    else:
        blocks.append(Paragraph(f"They were {document.NOT_RUN}."))
    return Section("controls", "Controls", tuple(blocks))


def _iter_control_rows(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterable[tuple[str, dict[AccuracyKind, IntervalEstimate | None]]]:
    """Yields titles, and what every look found."""

    def estimate_kinds(network_preset: NetworkPreset, classifier: str, num_epochs: int, **filters):
        return {
            kind: estimate_accuracy(data, network_preset, classifier, num_epochs, kind, **filters)
            for kind in _CONTROL_KINDS
        }

    yield "CL", estimate_kinds(network, "CL", epochs)
    yield "ACL", estimate_kinds(network, "ACL", epochs)
    classifier_only = estimate_kinds(network, "ACL", epochs, through="classifier")
    yield "ACL, attacked through the classifier alone", classifier_only
    for control, title in _CONTROL_TITLES.items():
        yield title, estimate_kinds(network, "ACL", epochs, control=control)
    measured_widths = {
        row.parameters.get("translator_width")
        for row in data.find(
            dataset=network.dataset,
            model=network.model,
            classifier="ACL",
            epochs=epochs,
            control=None,
        )
    }
    for width in data.scale.widths:
        if width in measured_widths:
            continue
        estimates = estimate_kinds(network, "ACL", epochs, control=f"width_{width}")
        yield f"ACL, translator of width {width}", estimates
    unet = NetworkPreset(network.dataset, "unet_classifier", "")
    for num_epochs in sorted({r.epochs for r in data.find(model=unet.model)}):
        yield "U-Net of the translator's size", estimate_kinds(unet, "CL", num_epochs)
    for method, title in (("pgd_at", "PGD-AT"), ("trades", "TRADES")):
        for num_epochs in data.scale.robust_epochs:
            estimates = estimate_kinds(network, "CL", num_epochs, method=method)
            yield f"CL by {title}, {document.format_count(num_epochs, 'epoch')}", estimates


def _build_controls_table(data: ReportData, table_rows: list) -> Table:
    body = tuple(
        (Cell(title), *(document.format_cell(estimates[kind]) for kind in _CONTROL_KINDS))
        for title, estimates in table_rows
    )
    head = ("", *(kind.format_title(data) for kind in _CONTROL_KINDS))
    return Table(head, body, f"Percent. {document.INTERVAL_NOTE}")


def _build_controls_figure(
    data: ReportData, table_rows: list, network: NetworkPreset, epochs: int
) -> ReportFigure:
    drawn_controls = [
        Control(
            title,
            {
                kind.format_title(data): (x.value, x.low, x.high)
                for kind, x in estimates.items()
                if x is not None and kind is not AccuracyKind.PGD4_UNCLIPPED
            },
        )
        for title, estimates in table_rows
        if any(estimates.values())
    ]
    title = document.format_network(network.title, network.dataset, epochs)
    return ReportFigure(
        "controls",
        figures_controls.plot_controls(drawn_controls, title=title),
        f"TA and RA of the classifier, the pair and every control: {title}.",
        f"TA and RA of CL, ACL and every control that was run: {title}. Bars: 95 % intervals.",
    )


def _build_frontier_figures(data: ReportData, network: NetworkPreset) -> list[ReportFigure]:
    """Draws every training of the network, TA against RA."""
    epochs = data.scale.tables["table2"].epochs
    trainings = (
        ("standard", None, epochs),
        ("pgd_at", "pgd_at", data.scale.robust_epochs),
        ("trades", "trades", data.scale.robust_epochs),
    )
    training_paths = []
    for training, method, epoch_counts in trainings:
        points = {}
        for n in epoch_counts:
            pair = [
                estimate_accuracy(data, network, "CL", n, kind, method=method)
                for kind in (AccuracyKind.CLEAN, AccuracyKind.WORST_CASE)
            ]
            if all(pair):
                points[n] = tuple((x.value, x.low, x.high) for x in pair)
        if points:
            style = NetworkStyle(network.title, network.model, training)
            training_paths.append(tables.TrainingPath(style, points))
    if not training_paths:
        return []
    attack = AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, ")
    figure = tables.plot_frontier(
        training_paths,
        title=f"{network.title} on {network.dataset}",
        attack=attack,
        note="bars: 95 % intervals; numbers: epochs",
    )
    return [
        ReportFigure(
            "frontier",
            figure,
            "Test accuracy against robust accuracy of standard and robust trainings.",
            "TA against RA: arrows go from fewer to more epochs. A strict "
            "trade-off would leave no point above and to the right of "
            "another.",
        )
    ]


# Attacks made on one network and shown to the other: blocks of `leaks`.


_TRANSFER_INTRO = (
    "Images that were attacked on one network are shown to the other. An "
    "attack through both networks knows everything of the pair, so no attack "
    "that knows less should break more of its images: where one does, the "
    "gradient through the translator misleads, and the pair's RA says little."
)
# (evaluated on, made on): what a line is called.
_TRANSFER_TITLES = {
    ("CL", "CL"): "CL, attacked itself",
    ("CL", "ACL"): "CL, images attacked through the pair",
    ("ACL", "ACL"): "ACL, attacked through both networks",
    ("ACL", "through"): "ACL, attacked through the classifier alone",
    ("ACL", "CL"): "ACL, images attacked on CL",
}


def build_transfer_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> list[Block]:
    """Returns words, and a table of RA by where the images were made."""
    rows_by_transfer = {
        transfer: _find_transfer_rows(data, network, epochs, *transfer, "robust_accuracy")
        for transfer in _TRANSFER_TITLES
    }
    if not any(rows_by_transfer.values()):
        note = f"Attacks carried over were {document.NOT_RUN}."
        return [Paragraph(_TRANSFER_INTRO), Paragraph(note)]
    body = []
    for transfer, title in _TRANSFER_TITLES.items():
        transfer_only_rows = _find_transfer_rows(
            data, network, epochs, *transfer, "broken_by_transfer_alone"
        )
        estimate = average_over_seeds(rows_by_transfer[transfer])
        # An attack on the network itself is no transfer.
        is_own_attack = transfer[0] == transfer[1] or transfer[1] == "through"
        body.append(
            (
                Cell(title),
                document.format_cell(estimate),
                Cell("-", tone="muted")
                if is_own_attack
                else document.format_cell(average_over_seeds(transfer_only_rows)),
                Cell(f"{estimate.n:,}" if estimate else "-"),
            )
        )
    head = ("", AccuracyKind.PGD4_CLIPPED.value, "broken by these images alone", "n")
    network_title = document.format_network(network.title, network.dataset, epochs)
    caption = (
        f'Percent: {network_title}. "Broken by these images alone": right before, and '
        f"under the attack on the network itself. {document.INTERVAL_NOTE}"
    )
    return [
        Paragraph(_TRANSFER_INTRO),
        Table(head, tuple(body), caption),
        Paragraph(_describe_transfers(rows_by_transfer)),
    ]


def _find_transfer_rows(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    classifier: str,
    made_on: str,
    measure: str,
) -> list[Row]:
    """Returns rows of one network by where the images were made."""
    if made_on == "through":
        if measure != "robust_accuracy":
            return []
        filters = {"through": "classifier"}
        return find_accuracy_rows(
            data, network, classifier, epochs, AccuracyKind.PGD4_CLIPPED, **filters
        )
    return data.find(
        classifier=classifier,
        measure=measure,
        made_on=made_on,
        pixel_clip=True,
        control=None,
        **build_network_filters(network, epochs),
    )


def _describe_transfers(rows_by_transfer: dict[tuple[str, str], list[Row]]) -> str:
    """Says whether an attack that knows less breaks more of the pair."""
    sentences = []
    for made_on in ("through", "CL"):
        difference = compute_change(
            rows_by_transfer["ACL", "ACL"], rows_by_transfer["ACL", made_on]
        )
        attack_title = _TRANSFER_TITLES["ACL", made_on].removeprefix("ACL, ")
        if difference is None:
            sentences.append(f"{attack_title}: {document.NOT_RUN} on the same seeds")
            continue
        conclusion = {
            -1: "breaks more than the attack through both, which it should "
            "not: the gradient through the translator misleads",
            0: "cannot be told from the attack through both at this number of images and seeds",
            1: "breaks fewer than the attack through both, as it should",
        }[difference.sign]
        sentences.append(
            f"{attack_title}: RA differs by {document.format_estimate(difference)}; {conclusion}"
        )
    return f"RA of ACL less that under the attack through both. {_join_sentences(sentences)}"


def _join_sentences(sentences: list[str]) -> str:
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)


# Test images walked with true and with predicted labels: blocks of `leaks`.
#
# What the translator is to learn can be made of a test image itself, with its
# label; the gain over the same walk with the classifier's own label is what
# the label is worth.


_TEST_TRAJECTORY_INTRO = (
    "The walk needs a label. Of test images it can be made with the true one, "
    "which nobody would know, and with the one that the classifier says. "
    "With its own label a walk can change no wrong decision into a right one "
    "but by chance; what the true label adds is information, not robustness. "
    '"X_0 attacked, then walked" is what a translator that learnt the walk '
    "exactly would defend."
)
_LABEL_TITLES = {"true": "true labels", "predicted": "predicted labels"}
# Key: measure, and which image was attacked.
_CURVE_MEASURES = {
    "clean": ("test_accuracy", None),
    "attacked_after": ("robust_accuracy", "X_n"),
    "attacked_before": ("robust_accuracy", "X_0"),
}
_TEST_TRAJECTORY_COLUMNS = (
    "walked with",
    "n",
    "TA of X_n",
    "RA, X_n attacked",
    "RA, X_0 attacked, then walked",
    "images",
)


def build_test_image_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> list[Block]:
    """Returns words, a table of the walks' ends, and a figure."""
    trajectory_rows = data.find(
        classifier="CL",
        images="X_n",
        split="test",
        control=None,
        **build_network_filters(network, epochs),
    )
    curves = {
        (label, key): _average_curve(trajectory_rows, label, *_CURVE_MEASURES[key])
        for label in _LABEL_TITLES
        for key in _CURVE_MEASURES
    }
    if not any(curves.values()):
        return [Paragraph(_TEST_TRAJECTORY_INTRO), Paragraph(f"This was {document.NOT_RUN}.")]
    network_title = document.format_network(network.title, network.dataset, epochs)
    body = [
        _build_test_image_cells(curves, label, step)
        for label in _LABEL_TITLES
        for step in _get_first_and_last(curves[label, "clean"])
    ]
    panels = {
        f"walked with {label_title}": {
            key: {n: x.point for n, x in curves[label, key].items()} for key in _CURVE_MEASURES
        }
        for label, label_title in _LABEL_TITLES.items()
        if curves[label, "clean"]
    }
    return [
        Paragraph(_TEST_TRAJECTORY_INTRO),
        Table(
            _TEST_TRAJECTORY_COLUMNS,
            tuple(body),
            f"Percent: {network_title}. {document.INTERVAL_NOTE}",
        ),
        ReportFigure(
            "leak-walks",
            augmentation.plot_label_comparison(panels, network_title),
            "TA and RA of test images over the steps of the walk, with true "
            f"and with predicted labels: {network_title}.",
            "Test images walked with true (left) and with predicted labels (right).",
        ),
    ]


def _average_curve(
    trajectory_rows: list[Row], label: str, measure: str, attacked_image: str | None
) -> dict[int, IntervalEstimate]:
    """Returns n to what was found."""
    rows_by_step: dict[int, list[Row]] = {}
    for row in trajectory_rows:
        parameters = row.parameters
        if (row.measure, parameters.get("attacked_image"), parameters.get("walked_with")) == (
            measure,
            attacked_image,
            label,
        ):
            rows_by_step.setdefault(parameters["step"], []).append(row)
    return {step: average_over_seeds(rows_by_step[step]) for step in sorted(rows_by_step)}


def _get_first_and_last(curve: dict[int, IntervalEstimate]) -> list[int]:
    return list(dict.fromkeys([*list(curve)[:1], *list(curve)[-1:]]))


def _build_test_image_cells(
    curves: dict[tuple[str, str], dict[int, IntervalEstimate]], label: str, step: int
) -> tuple[Cell, ...]:
    estimates = [curves[label, key].get(step) for key in _CURVE_MEASURES]
    return (
        Cell(_LABEL_TITLES[label]),
        Cell(str(step)),
        *(document.format_cell(x) for x in estimates),
        Cell(f"{estimates[0].n:,}"),
    )


# The label leak: which class the translator tells, and to whom.


_LEAKAGE_INTRO = (
    "A translator that was taught with true labels may simply classify. Here "
    "its Delta is read as a class: by the nearest of the mean Deltas of the "
    "training classes, and by the classifier that is shown the Delta without "
    "its image. Where the classifier alone is wrong, the pair can be right "
    'only by what the translator knows; "Delta of the true label" is what '
    "was to be learnt."
)
_READER_TITLES = {
    "nearest_template": "G(X), nearest mean Delta of a class",
    "classifier_of_delta": "G(X), shown to the classifier alone",
    "pair": "X + G(X), the pair's decision",
    "delta_of_true_label": "Delta of the true label",
}
# Which images, and whether attacked through both networks.
_IMAGE_SUBSETS = {
    "all images": ("all", False),
    "classifier wrong": ("misclassified", False),
    "attacked, all images": ("all", True),
    "attacked, classifier wrong": ("misclassified", True),
}


@sections.register(order=62)
def leaks(data: ReportData) -> Section:
    """Returns the section."""
    table = data.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    blocks: list[Block] = [Paragraph(_LEAKAGE_INTRO)]
    blocks += list(_iter_leakage_blocks(data, network, epochs)) or [
        Paragraph(f"What the translator's Delta implies was {document.NOT_RUN}.")
    ]
    blocks += build_transfer_blocks(data, network, epochs)
    blocks += build_test_image_blocks(data, network, epochs)
    title = "Label leak: whose knowledge the pair's accuracy is"
    return Section("leaks", title, tuple(blocks))


def _iter_leakage_blocks(data: ReportData, network: NetworkPreset, epochs: int) -> Iterator[Block]:
    """Yields the accuracy of the class that the translator tells."""
    reader_rows = data.find(
        classifier="ACL",
        measure="implied_class_accuracy",
        control=None,
        **build_network_filters(network, epochs),
    )
    if not reader_rows:
        return
    estimates = {
        (reader, title): average_over_seeds(
            [
                row
                for row in reader_rows
                if row.parameters["read_by"] == reader
                and row.parameters["images"] == images
                and bool(row.attack) == is_attacked
            ]
        )
        for reader in _READER_TITLES
        for title, (images, is_attacked) in _IMAGE_SUBSETS.items()
    }
    network_title = document.format_network(network.title, network.dataset, epochs)
    body = tuple(
        (
            Cell(reader_title),
            *(document.format_cell(estimates[reader, subset]) for subset in _IMAGE_SUBSETS),
        )
        for reader, reader_title in _READER_TITLES.items()
    )
    yield Table(
        ("class read from", *_IMAGE_SUBSETS),
        (*body, _build_count_cells(estimates)),
        f"Percent of classes that are the true one: {network_title}. {document.INTERVAL_NOTE}",
    )
    drawn_controls = [
        Control(
            reader_title,
            {subset: x.point for subset in _IMAGE_SUBSETS if (x := estimates[reader, subset])},
        )
        for reader, reader_title in _READER_TITLES.items()
    ]
    yield ReportFigure(
        "leak-implied",
        figures_controls.plot_controls(
            [c for c in drawn_controls if c.points], title=network_title
        ),
        f"Accuracy of the class that the translator's Delta implies: {network_title}.",
        "How often the class that a Delta tells is the true one. Bars: 95 % intervals.",
    )
    yield from _iter_template_figures(data, reader_rows, network_title)


def _build_count_cells(
    estimates: dict[tuple[str, str], IntervalEstimate | None],
) -> tuple[Cell, ...]:
    """Returns the line of the numbers of images."""
    reader = next(iter(_READER_TITLES))
    counts = (estimates[reader, subset] for subset in _IMAGE_SUBSETS)
    texts = (f"{x.n:,}" if x else document.NOT_RUN for x in counts)
    return (Cell("images (the least of a seed)"), *map(Cell, texts))


def _iter_template_figures(
    data: ReportData, reader_rows: list[Row], network_title: str
) -> Iterator[ReportFigure]:
    first_row = min(reader_rows, key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is None:
        return
    means = arrays["templates"]
    yield ReportFigure(
        "leak-templates",
        augmentation.plot_class_templates(
            means, [f"class {i}" for i in range(len(means))], title="mean Delta_N of each class"
        ),
        f"The mean Delta_N of the training images of each class: {network_title}.",
        "What the label alone tells of Delta_N: its mean over the training "
        f"images of each class ({network_title}, seed {first_row.seed}). Red is brighter.",
        raster=True,
    )
