"""The summary, the verdicts on the claims, and the protocol."""

from collections import Counter
from collections.abc import Iterator

from qup.reproduction.report import claims, document, queries, sections
from qup.reproduction.report.claims import ClaimResult, Outcome
from qup.reproduction.report.data import AccuracyKind, ReportData, estimate_accuracy
from qup.reproduction.report.document import (
    Block,
    BulletList,
    Cell,
    Command,
    Paragraph,
    Table,
    render_prose,
)

_OUTCOME_TONES = {Outcome.SUPPORTED: "good", Outcome.CONTRADICTED: "bad"}
_VERDICT_COLUMNS = (
    "claim",
    "where",
    "outcome",
    "what was measured",
    "another outcome under",
    "rule",
)
_STEP_PARAMETERS = ("augmentation_num_steps", "augmentation_step_size", "augmentation_pixel_clip")


@sections.register(order=0, title="Summary")
def summary(data: ReportData) -> Iterator[Block]:
    """Yields the answer, the main numbers, and the terms."""
    results = [claims.get(name)(data) for name in claims.names()]
    counts = Counter(result.outcome for result in results)
    supported = [result for result in results if result.outcome is Outcome.SUPPORTED]
    yield from render_prose(
        "summary_scope",
        data=data,
        num_claims=len(results),
        counts=", ".join(f"{counts[o]} {o.value}" for o in Outcome if counts[o]),
        num_supported=len(supported),
        num_sensitive=sum(bool(result.sensitivity) for result in supported),
    )
    yield from _iterate_main_results(data)
    yield _build_extremes_table(data)
    yield from render_prose("summary_glossary")


def _iterate_main_results(data: ReportData) -> Iterator[Block]:
    """Yields how TA and RA change over epochs, and by training on adversarial images."""
    attack = AccuracyKind.WORST_CASE.format_title(data).removeprefix("RA, ")
    texts = []
    for network, epochs in data.list_networks():
        changes = queries.compute_epoch_changes(data, network, epochs, AccuracyKind.WORST_CASE)
        if changes is not None:
            clean, robust, (first, last) = changes
            texts.append(
                f"{document.format_network(network)}, {first} to {last} epochs: "
                f"TA {document.format_signed(clean)}, RA {document.format_signed(robust)}"
            )
    if texts:
        yield Paragraph(
            "Do accuracy and robustness exclude each other? Changes over the epochs of standard "
            f"training, in points, RA under {attack}:"
        )
        yield BulletList(tuple(texts))
    counter_example = claims.get("accurate_and_robust_exclude")(data)
    if counter_example.outcome is not Outcome.NOT_RUN:
        yield Paragraph(
            "Training on adversarial images instead, in points, RA under "
            f"{attack} ({counter_example.scope}):"
        )
        yield BulletList(tuple(counter_example.text.rstrip(".").split("; ")))


def _build_extremes_table(data: ReportData) -> Table:
    """Returns TA and RA of each network after the fewest and the most epochs that were run."""
    kinds = (AccuracyKind.CLEAN, AccuracyKind.PGD4_CLIPPED, AccuracyKind.WORST_CASE)
    body = []
    for network, all_epochs in data.list_networks():
        measured_epochs = [
            n for n in all_epochs if estimate_accuracy(data, network, "CL", n, AccuracyKind.CLEAN)
        ]
        for epochs in dict.fromkeys([*measured_epochs[:1], *measured_epochs[-1:]]):
            estimates = [estimate_accuracy(data, network, "CL", epochs, kind) for kind in kinds]
            body.append(
                (
                    Cell(f"{network.title}, {document.format_dataset(network.dataset)}"),
                    Cell(str(epochs)),
                    *map(document.format_cell, estimates),
                )
            )
    head = ("network", "epochs", *(kind.format_title(data) for kind in kinds))
    return Table(head, tuple(body), f"The classifiers alone, in percent. {document.INTERVAL_NOTE}")


@sections.register(order=10, title="Verdicts")
def verdicts(data: ReportData) -> Iterator[Block]:
    """Yields the table of claims, their outcomes and their rules."""
    body = []
    for name in claims.names():
        traits, result = claims.traits(name), claims.get(name)(data)
        tone = _OUTCOME_TONES.get(result.outcome, "muted")
        body.append(
            (
                Cell(f'"{traits["quote"]}"'),
                Cell(traits["where"]),
                Cell(_format_outcome(result), result.rows, tone),
                Cell(result.text),
                Cell(result.sensitivity or "-"),
                Cell(traits["threshold"]),
            )
        )
    yield Table(_VERDICT_COLUMNS, tuple(body))


def _format_outcome(result: ClaimResult) -> str:
    scope = f" ({result.scope})" if result.scope else ""
    return f"{result.outcome.value}{scope}"


@sections.register(order=200, title="Protocol")
def protocol(data: ReportData) -> Iterator[Block]:
    """Yields scale, assumptions, commands, versions and failures."""
    run_info = data.run_info
    seeds = ", ".join(map(str, run_info.get("seeds", ()))) or "none"
    yield Paragraph(
        f"Scale {data.scale.name}; seeds {seeds}; {run_info.get('seconds', 0) / 3600:.1f} hours of "
        f"computing; {len(data.rows)} measurements."
    )
    yield Paragraph("Assumptions where the paper gives no details:")
    yield from render_prose("protocol_assumptions", step_settings=_list_step_settings(data))
    yield Paragraph("To repeat the computation, and to write this page from its measurements:")
    yield Command(f"qup reproduce --scale={data.scale.name} --workdir=FOLDER\nqup report FOLDER")
    versions = dict(run_info.get("versions", {}))
    if run_info.get("anonymous"):
        versions.pop("system", None)
    body = tuple((Cell(name), Cell(str(version))) for name, version in sorted(versions.items()))
    yield Table(("package", "version"), body)
    failures = run_info.get("failed", {})
    if failures:
        yield Paragraph("Steps that failed in the latest run:")
        yield BulletList(tuple(f"{step}: {error}" for step, error in failures.items()))


def _list_step_settings(data: ReportData) -> list[str]:
    """Returns the steps of opposite FGSM that the translators were trained on, by data set."""
    frame = data.select(classifier="ACL", measure="test_accuracy", control=None)
    if frame.empty or not {*_STEP_PARAMETERS} <= {*frame.columns}:
        return []
    settings = frame[["dataset", *_STEP_PARAMETERS]].dropna().drop_duplicates()
    return [
        f"{document.format_dataset(dataset)}: {steps} of {size:g}, {'' if clip else 'not '}clipped"
        for dataset, steps, size, clip in sorted(settings.itertuples(index=False))
    ]
