"""The first screen: what was asked, what came out, in six parts."""

from collections import Counter
from collections.abc import Iterator

from qup.report import claims, numbers, sections
from qup.report.blocks import Block, BulletList, Cell, Paragraph, Section, Table
from qup.report.claims import ClaimResult, Outcome, trade_off
from qup.report.material import ReportData
from qup.report.selection import AccuracyKind, estimate_accuracy

_DIFFICULTIES = (
    "What was easy: data sets, architectures and the attack's four steps are standard.",
    "What was difficult: the paper gives no seeds, recipes, pixel clip, step "
    "of the walk beside its N, or translator training. Seed and clip alone "
    "move RA by more than most changes over epochs that it reports on MNIST. "
    "Four steps of PGD are too weak to believe an RA: see the strong attacks "
    "beside it.",
    "Contact with the authors: none. The paper cites its code at "
    "doi:10.7910/DVN/FKFJZQ, which we did not consult.",
)
_GLOSSARY = (
    "TA, test accuracy: percent of the test images classified rightly. RA, "
    "robust accuracy: of all test images, after an attack.",
    "FGSM: one step along the sign of the loss's gradient; PGD-4: four "
    "smaller ones, clipped to the range of images or not; AutoAttack: four "
    "strong attacks, the worst of which counts for each image.",
    "CL: a classifier alone. ACL: a translator (Pix2Pix) that adds Delta_N "
    "to an image, and the classifier behind it. X_n: an image walked n steps "
    "down the loss of its true label, X_0 + Delta_n.",
    "Packet: the paper's psi, proportional to a label's loss over all "
    "images; sigma_x and sigma_p: the deviations of a pixel and of the "
    "momentum -i d/dx in it. Box: the images [0, 1]^M; window: a Gaussian "
    "round one of them.",
    "PGD-AT and TRADES: trainings on attacked images. CLEVER: an estimate of "
    "the distance to the next class.",
)


@sections.register(order=0)
def summary(data: ReportData) -> Section:
    """Returns the summary."""
    results = [claims.get(name)(data) for name in claims.names()]
    outcome_counts = Counter(result.outcome for result in results)
    counts_text = ", ".join(
        f"{outcome_counts[outcome]} {outcome.value}"
        for outcome in Outcome
        if outcome_counts[outcome]
    )
    is_smoke = data.scale.name == "smoke"
    blocks: list[Block] = [
        Paragraph(
            "Scope: the paper (Zhang, Zhang, Chen, Pang and Meng, arXiv "
            "2205.01493 v3 and supplement) holds that a network cannot be "
            "both accurate and robust, because pixel and attack obey an "
            "uncertainty relation. This report measures its tables, figures "
            "and equations anew, over seeds, with its weak attack and with "
            "strong ones, and adds the controls that could refute it."
        ),
        Paragraph(
            "Methodology: our own implementation on TensorFlow and Keras; "
            f"scale {data.scale.name}; each claim is a rule with a "
            "threshold, which tells what was known when it was written."
            + (" Numbers of the smoke scale mean nothing." if is_smoke else "")
        ),
        Paragraph(
            f"Results: of {len(results)} claims, {counts_text}.{_format_sensitive_count(results)} "
            "One of them, the bound in a window, is a theorem that says "
            "nothing of accuracy."
        ),
        *_iter_main_results(data),
        _build_extremes_table(data),
        BulletList(_DIFFICULTIES),
        Paragraph("What the words mean:"),
        BulletList(_GLOSSARY),
    ]
    return Section("summary", "Summary", tuple(blocks))


def _format_sensitive_count(results: list[ClaimResult]) -> str:
    """Returns how many outcomes do not hold in general."""
    supported = [v for v in results if v.outcome is Outcome.SUPPORTED]
    num_sensitive = sum(1 for result in supported if result.sensitivity)
    if not num_sensitive:
        return ""
    return (
        f" Of the {len(supported)} supported, {num_sensitive} would have another outcome "
        "under another attack, norm or domain that the table of verdicts names."
    )


def _iter_main_results(data: ReportData) -> Iterator[Block]:
    """Yields what the title asks, as far as it was measured."""
    attack = AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, ")
    texts = []
    for table in data.scale.tables.values():
        for network in table.networks:
            changes = trade_off.compute_epoch_changes(data, network, AccuracyKind.WORST_CASE)
            if changes is not None:
                clean, robust, (first, last) = changes
                texts.append(
                    f"{network.title} on {network.dataset}, {first} to {last} "
                    f"epochs: TA {trade_off.format_signed(clean)}, RA "
                    f"{trade_off.format_signed(robust)}"
                )
    if texts:
        yield Paragraph(
            "Do accuracy and robustness exclude each other? Over the epochs "
            f"of a usual training, in points, RA under {attack}:"
        )
        yield BulletList(tuple(texts))
    counter_example = claims.get("accurate_and_robust_exclude")(data)
    if counter_example.outcome is not Outcome.NOT_RUN:
        yield Paragraph(
            "Trained on attacked images instead, in points, RA under "
            f"{attack} ({counter_example.scope}):"
        )
        yield BulletList(tuple(counter_example.text.rstrip(".").split("; ")))


def _build_extremes_table(data: ReportData) -> Table:
    """Returns the least and the most trained of each network that was run."""
    kinds = (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED, AccuracyKind.WORST_CASE)
    body = []
    for table in data.scale.tables.values():
        for network in table.networks:
            measured_epochs = [
                n
                for n in table.epochs
                if estimate_accuracy(data, network, "CL", n, AccuracyKind.CLEAN)
            ]
            for epochs in dict.fromkeys([*measured_epochs[:1], *measured_epochs[-1:]]):
                estimates = [estimate_accuracy(data, network, "CL", epochs, kind) for kind in kinds]
                body.append(
                    (
                        Cell(f"{network.title}, {network.dataset}"),
                        Cell(str(epochs)),
                        *(numbers.format_cell(x) for x in estimates),
                    )
                )
    head = ("network", "epochs", *(kind.format_title(data) for kind in kinds))
    return Table(head, tuple(body), f"The classifiers alone, in percent. {numbers.INTERVAL_NOTE}")
