"""Attacks made on one network and shown to the other: blocks of `leaks`."""

from qup.measurements import Row
from qup.report import numbers
from qup.report.blocks import Block, Cell, Paragraph, Table
from qup.report.estimates import average_over_seeds, compute_change
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, build_network_filters, find_accuracy_rows
from qup.scales import NetworkPreset

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
        note = f"Attacks carried over were {numbers.NOT_RUN}."
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
                numbers.format_cell(estimate),
                Cell("-", tone="muted")
                if is_own_attack
                else numbers.format_cell(average_over_seeds(transfer_only_rows)),
                Cell(f"{estimate.n:,}" if estimate else "-"),
            )
        )
    head = ("", AccuracyKind.PGD4_CLIPPED.value, "broken by these images alone", "n")
    network_title = numbers.format_network(network.title, network.dataset, epochs)
    caption = (
        f'Percent: {network_title}. "Broken by these images alone": right before, and '
        f"under the attack on the network itself. {numbers.INTERVAL_NOTE}"
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
            sentences.append(f"{attack_title}: {numbers.NOT_RUN} on the same seeds")
            continue
        conclusion = {
            -1: "breaks more than the attack through both, which it should "
            "not: the gradient through the translator misleads",
            0: "cannot be told from the attack through both at this number of images and seeds",
            1: "breaks fewer than the attack through both, as it should",
        }[difference.sign]
        sentences.append(
            f"{attack_title}: RA differs by {numbers.format_estimate(difference)}; {conclusion}"
        )
    return f"RA of ACL less that under the attack through both. {_join_sentences(sentences)}"


def _join_sentences(sentences: list[str]) -> str:
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)
