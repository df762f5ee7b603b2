"""Controls of the pair, the label leak, and robust training."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from qup.core.measurements import Row
from qup.reproduction.presets import NetworkPreset
from qup.reproduction.report import document, sections
from qup.reproduction.report.data import (
    AccuracyKind,
    ReportData,
    build_network_filters,
    estimate_accuracy,
    estimate_groups,
    find_accuracy_rows,
)
from qup.reproduction.report.document import (
    Block,
    Cell,
    Paragraph,
    ReportFigure,
    Table,
    render_prose,
)
from qup.reproduction.report.figures import augmentation, tables
from qup.reproduction.report.figures import controls as figures_controls
from qup.reproduction.report.figures.controls import Control
from qup.reproduction.report.figures.style import NetworkStyle
from qup.reproduction.report.statistics import IntervalEstimate, average_over_seeds, compute_change

# The training targets of control pairs, by the parameter "control".
_CONTROL_TITLES = {
    "permuted_labels": "ACL, opposite FGSM with permuted labels",
    "predicted_labels": "ACL, opposite FGSM with the classifier's labels",
    "class_template": "ACL, one fixed Delta per class",
    "delta_1": "ACL, one long step instead of N",
}
_Estimates = dict[AccuracyKind, IntervalEstimate | None]


@sections.register(order=60, title="Controls")
def controls(data: ReportData) -> Iterator[Block]:
    """Yields TA and RA of the classifier, the pair and its controls, and of robust training."""
    network, epochs = data.main_network, data.main_epochs[0]
    controls_by_title = {
        title: estimates for title, estimates in _iterate_controls(data, network, epochs)
    }
    if not any(any(estimates.values()) for estimates in controls_by_title.values()):
        return
    yield Table(
        ("", *(kind.format_title(data) for kind in AccuracyKind)),
        tuple(
            (Cell(title), *map(document.format_cell, estimates.values()))
            for title, estimates in controls_by_title.items()
        ),
        f"Percent. {document.INTERVAL_NOTE}",
    )
    lines = [
        Control(
            title,
            {
                kind.format_title(data): estimate.point
                for kind, estimate in estimates.items()
                if estimate is not None and kind is not AccuracyKind.PGD4_UNCLIPPED
            },
        )
        for title, estimates in controls_by_title.items()
        if any(estimates.values())
    ]
    title = document.format_network(network, epochs)
    yield ReportFigure(
        "controls",
        figures_controls.plot_controls(lines, title=title),
        f"TA and RA of the classifier, the pair and every control: {title}.",
        f"TA and RA of CL, ACL and every control that was run: {title}. Bars: 95 % intervals.",
    )
    yield from _iterate_frontier_figures(data, network)


def _iterate_controls(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterator[tuple[str, _Estimates]]:
    """Yields the title and the accuracies of each control."""

    def estimate_kinds(
        preset: NetworkPreset, classifier: str, num_epochs: int, **filters: Any
    ) -> _Estimates:
        return {
            kind: estimate_accuracy(data, preset, classifier, num_epochs, kind, **filters)
            for kind in AccuracyKind
        }

    yield "CL", estimate_kinds(network, "CL", epochs)
    yield "ACL", estimate_kinds(network, "ACL", epochs)
    classifier_only = estimate_kinds(network, "ACL", epochs, through="classifier")
    yield "ACL, attacked through the classifier alone", classifier_only
    for control, title in _CONTROL_TITLES.items():
        yield title, estimate_kinds(network, "ACL", epochs, control=control)
    pairs = data.select(
        dataset=network.dataset, model=network.model, classifier="ACL", epochs=epochs, control=None
    )
    # The pair itself has one of the widths.
    pair_widths = set(pairs["translator_width"]) if "translator_width" in pairs else set()
    for width in data.scale.widths:
        if width not in pair_widths:
            estimates = estimate_kinds(network, "ACL", epochs, control=f"width_{width}")
            yield f"ACL, translator of width {width}", estimates
    unet = NetworkPreset(network.dataset, "unet_classifier", "")
    for num_epochs in sorted(data.select(model=unet.model)["epochs"].unique()):
        yield "U-Net with the size of the translator", estimate_kinds(unet, "CL", num_epochs)
    for method, title in document.METHOD_TITLES.items():
        for num_epochs in data.scale.robust_epochs:
            estimates = estimate_kinds(network, "CL", num_epochs, method=method)
            yield f"CL by {title}, {document.format_count(num_epochs, 'epoch')}", estimates


def _iterate_frontier_figures(data: ReportData, network: NetworkPreset) -> Iterator[ReportFigure]:
    """Yields TA against RA of every training of the network."""
    paths = []
    for method in (None, *document.METHOD_TITLES):
        points = {}
        for n in data.scale.robust_epochs if method else data.main_epochs:
            pair = [
                estimate_accuracy(data, network, "CL", n, kind, method=method)
                for kind in (AccuracyKind.CLEAN, AccuracyKind.WORST_CASE)
            ]
            if all(pair):
                points[n] = tuple(estimate.point for estimate in pair)
        if points:
            style = NetworkStyle(network.title, network.model, method or "standard")
            paths.append(tables.TrainingPath(style, points))
    if paths:
        yield ReportFigure(
            "frontier",
            tables.plot_frontier(
                paths,
                title=document.format_network(network),
                attack=AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, "),
                note="bars: 95 % intervals; numbers: epochs",
            ),
            "Test accuracy against robust accuracy of standard and robust training.",
            "TA against RA: arrows lead from fewer to more epochs. Under a strict trade-off no "
            "point is above and to the right of another.",
        )


# The network that is evaluated, and the network that was attacked.
_TRANSFER_TITLES = {
    ("CL", "CL"): "CL, attacked itself",
    ("CL", "ACL"): "CL, images attacked through the pair",
    ("ACL", "ACL"): "ACL, attacked through both networks",
    ("ACL", "through"): "ACL, attacked through the classifier alone",
    ("ACL", "CL"): "ACL, images attacked on CL",
}
_LABEL_TITLES = {"true": "true labels", "predicted": "predicted labels"}
# Key of a curve: its measure, and the image that was attacked.
_CURVES = {
    "clean": ("test_accuracy", None),
    "attacked_after": ("robust_accuracy", "X_n"),
    "attacked_before": ("robust_accuracy", "X_0"),
}
_TEST_IMAGE_COLUMNS = (
    "labels",
    "n",
    "TA of X_n",
    "RA, X_n attacked",
    "RA, X_0 attacked, then iterated",
    "images",
)
_READER_TITLES = {
    "nearest_template": "G(X), nearest mean Delta of a class",
    "classifier_of_delta": "G(X), classified without its image",
    "pair": "X + G(X), decision of the pair",
    "delta_of_true_label": "Delta of the true label",
}
# The images, and whether they were attacked through both networks.
_IMAGE_SUBSETS = {
    "all images": ("all", False),
    "classifier wrong": ("misclassified", False),
    "attacked, all images": ("all", True),
    "attacked, classifier wrong": ("misclassified", True),
}


@sections.register(order=62, title="Label leak: the knowledge in the pair's accuracy")
def leaks(data: ReportData) -> Iterator[Block]:
    """Yields classes read from Delta, transferred attacks, and X_n of test images."""
    network, epochs = data.main_network, data.main_epochs[0]
    for iterate_blocks, name, subject in (
        (_iterate_leakage_blocks, "", "Reading the translator's Delta as a class"),
        (_iterate_transfer_blocks, "transfers", "Transferred attacks"),
        (_iterate_test_image_blocks, "test_images", "Opposite FGSM on test images"),
    ):
        yield from render_prose(name) if name else ()
        blocks = tuple(iterate_blocks(data, network, epochs))
        yield from blocks or (Paragraph(f"{subject}: {document.NOT_RUN}."),)


def _iterate_leakage_blocks(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterator[Block]:
    """Yields the accuracy of the class that is read from Delta."""
    frame = data.select(
        classifier="ACL",
        measure="implied_class_accuracy",
        control=None,
        **build_network_filters(network, epochs),
    )
    if frame.empty:
        return
    frame = frame.assign(is_attacked=frame["attack"].notna())
    groups = estimate_groups(frame, "read_by", "images", "is_attacked")
    estimates = {
        reader: {title: groups.get((reader, *subset)) for title, subset in _IMAGE_SUBSETS.items()}
        for reader in _READER_TITLES
    }
    title = document.format_network(network, epochs)
    body = [
        (Cell(_READER_TITLES[reader]), *map(document.format_cell, by_subset.values()))
        for reader, by_subset in estimates.items()
    ]
    first_reader = next(iter(estimates.values()))
    counts = (f"{x.n:,}" if x else document.NOT_RUN for x in first_reader.values())
    body.append((Cell("images (least of all seeds)"), *map(Cell, counts)))
    yield Table(
        ("class read from", *_IMAGE_SUBSETS),
        tuple(body),
        f"Percent of classes that are the true class: {title}. {document.INTERVAL_NOTE}",
    )
    lines = [
        Control(
            _READER_TITLES[reader],
            {subset: estimate.point for subset, estimate in by_subset.items() if estimate},
        )
        for reader, by_subset in estimates.items()
    ]
    yield ReportFigure(
        "leak-implied",
        figures_controls.plot_controls([line for line in lines if line.points], title=title),
        f"Accuracy of the class that is read from the translator's Delta: {title}.",
        "Accuracy of the class that is read from Delta. Bars: 95 % intervals.",
    )
    first_row = min(frame["row"], key=lambda row: row.seed)
    arrays = data.load_arrays(first_row)
    if arrays is not None:
        means = arrays["templates"]
        names = [f"class {label}" for label in range(len(means))]
        yield ReportFigure(
            "leak-templates",
            augmentation.plot_class_templates(means, names, title="mean Delta_N of each class"),
            f"The mean Delta_N of the training images of each class: {title}.",
            "The part of Delta_N that the label alone determines: its mean over the training "
            f"images of each class ({title}, seed {first_row.seed}). Red is brighter.",
            raster=True,
        )


def _iterate_transfer_blocks(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterator[Block]:
    """Yields RA by the network that was attacked."""
    robust_rows = {
        transfer: _find_transfer_rows(data, network, epochs, *transfer, "robust_accuracy")
        for transfer in _TRANSFER_TITLES
    }
    if not any(robust_rows.values()):
        return
    body = []
    for (classifier, made_on), title in _TRANSFER_TITLES.items():
        estimate = average_over_seeds(robust_rows[classifier, made_on])
        broken_cell = Cell("-", tone="muted")
        # An attack on the evaluated network is not a transfer.
        if made_on not in (classifier, "through"):
            measure = "broken_by_transfer_alone"
            rows = _find_transfer_rows(data, network, epochs, classifier, made_on, measure)
            broken_cell = document.format_cell(average_over_seeds(rows))
        count_cell = Cell(f"{estimate.n:,}" if estimate else "-")
        body.append((Cell(title), document.format_cell(estimate), broken_cell, count_cell))
    yield Table(
        ("", AccuracyKind.PGD4_CLIPPED.value, "broken by these images alone", "n"),
        tuple(body),
        f'Percent: {document.format_network(network, epochs)}. "Broken by these images alone": '
        "classified correctly before, and under the attack on the network itself. "
        f"{document.INTERVAL_NOTE}",
    )
    yield Paragraph(_describe_transfers(robust_rows))


def _find_transfer_rows(
    data: ReportData,
    network: NetworkPreset,
    epochs: int,
    classifier: str,
    made_on: str,
    measure: str,
) -> list[Row]:
    """Returns rows of one network by the network that was attacked."""
    if made_on == "through":
        return find_accuracy_rows(
            data, network, classifier, epochs, AccuracyKind.PGD4_CLIPPED, through="classifier"
        )
    return data.find(
        classifier=classifier,
        measure=measure,
        made_on=made_on,
        pixel_clip=True,
        control=None,
        **build_network_filters(network, epochs),
    )


def _describe_transfers(robust_rows: dict[tuple[str, str], list[Row]]) -> str:
    """Returns whether an attack with less knowledge breaks more of the pair."""
    sentences = ["RA of ACL minus that under the attack through both."]
    for made_on in ("through", "CL"):
        title = _TRANSFER_TITLES["ACL", made_on].removeprefix("ACL, ").capitalize()
        difference = compute_change(robust_rows["ACL", "ACL"], robust_rows["ACL", made_on])
        if difference is None:
            sentences.append(f"{title}: {document.NOT_RUN} on the same seeds.")
            continue
        conclusion = {
            -1: "breaks more than the attack through both, although it has less knowledge: the "
            "gradient through the translator is misleading",
            0: "no significant difference at this number of images and seeds",
            1: "breaks fewer than the attack through both, as expected",
        }[difference.sign]
        sentences.append(f"{title}: {document.format_estimate(difference)}; {conclusion}.")
    return " ".join(sentences)


def _iterate_test_image_blocks(
    data: ReportData, network: NetworkPreset, epochs: int
) -> Iterator[Block]:
    """Yields TA and RA of test images X_n, iterated with true and with predicted labels."""
    frame = data.select(
        classifier="CL",
        images="X_n",
        split="test",
        control=None,
        **build_network_filters(network, epochs),
    )
    curves = {
        label: {key: _estimate_curve(frame, label, *curve) for key, curve in _CURVES.items()}
        for label in _LABEL_TITLES
    }
    if not any(any(by_key.values()) for by_key in curves.values()):
        return
    body = []
    for label, by_key in curves.items():
        steps = list(by_key["clean"])
        for step in dict.fromkeys([*steps[:1], *steps[-1:]]):
            estimates = [by_key[key].get(step) for key in _CURVES]
            cells = map(document.format_cell, estimates)
            count_cell = Cell(f"{estimates[0].n:,}")
            body.append((Cell(_LABEL_TITLES[label]), Cell(str(step)), *cells, count_cell))
    title = document.format_network(network, epochs)
    yield Table(_TEST_IMAGE_COLUMNS, tuple(body), f"Percent: {title}. {document.INTERVAL_NOTE}")
    panels = {
        _LABEL_TITLES[label]: {
            key: {step: estimate.point for step, estimate in curve.items()}
            for key, curve in by_key.items()
        }
        for label, by_key in curves.items()
        if by_key["clean"]
    }
    yield ReportFigure(
        "leak-walks",
        augmentation.plot_label_comparison(panels, title),
        f"TA and RA of test images X_n over n, with true and with predicted labels: {title}.",
        "Opposite FGSM on test images with true (left) and with predicted labels (right).",
    )


def _estimate_curve(
    frame: pd.DataFrame, label: str, measure: str, attacked_image: str | None
) -> dict[int, IntervalEstimate]:
    """Returns n to the mean over seeds of one curve."""
    filters = {"measure": measure, "attacked_image": attacked_image, "walked_with": label}
    for name, value in filters.items():
        column = frame[name] if name in frame else pd.Series(None, frame.index, object)
        frame = frame[column.isna() if value is None else column == value]
    return estimate_groups(frame, "step")
