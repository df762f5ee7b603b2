"""The first screen: what was asked, what came out, in six parts."""

from collections import Counter
from collections.abc import Iterator

from qup.reproduction.report import claims, document, sections
from qup.reproduction.report.claims import ClaimResult, Outcome, tables
from qup.reproduction.report.data import AccuracyKind, ReportData, estimate_accuracy
from qup.reproduction.report.document import (
    Block,
    BulletList,
    Cell,
    Command,
    Paragraph,
    Section,
    Table,
)

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
            changes = tables.compute_epoch_changes(data, network, AccuracyKind.WORST_CASE)
            if changes is not None:
                clean, robust, (first, last) = changes
                texts.append(
                    f"{network.title} on {network.dataset}, {first} to {last} "
                    f"epochs: TA {tables.format_signed(clean)}, RA "
                    f"{tables.format_signed(robust)}"
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
                        *(document.format_cell(x) for x in estimates),
                    )
                )
    head = ("network", "epochs", *(kind.format_title(data) for kind in kinds))
    return Table(head, tuple(body), f"The classifiers alone, in percent. {document.INTERVAL_NOTE}")


# The verdict page: each claim, its rule, and what the rows say.


_OUTCOME_TONES = {Outcome.SUPPORTED: "good", Outcome.CONTRADICTED: "bad"}
_VERDICT_COLUMNS = (
    "claim",
    "where",
    "outcome",
    "what was measured",
    "another outcome under",
    "rule",
)


@sections.register(order=10)
def verdicts(data: ReportData) -> Section:
    """Returns the table of verdicts."""
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
    introduction = Paragraph(
        "Each claim of the paper is a rule with a threshold. Rules stood in "
        "the code before the runs over seeds, some of them after one network "
        "had been measured, and some took their form after the results had "
        "been seen: each says so. An outcome is what the rows of this report "
        "say under the rule, no more; an undecided one has an interval that "
        "reaches across the threshold. Of several networks, unless the rule "
        "says otherwise, the outcome is that of at least half of those that "
        "were run, where none has the opposite one; mixed where they differ. "
        "Brackets count them, those that were not run too."
    )
    return Section("verdicts", "Verdicts", (introduction, Table(_VERDICT_COLUMNS, tuple(body))))


def _format_outcome(result: claims.ClaimResult) -> str:
    scope = f" ({result.scope})" if result.scope else ""
    return f"{result.outcome.value}{scope}"


# How it was measured, and what was not: versions, seeds, time, failures.


_ASSUMPTIONS = (
    "The loss of the attacks is cross-entropy of the logits with the true "
    "label; l_inf names the ball. Step = epsilon / 4, no random start: the "
    "paper's 4 x 0.025 = 0.1 and 4 x 2/255 = 8/255.",
    "The paper does not say whether attacked pixels are clipped to [0, 1]; both are given.",
    "RA is the share of all test images that are classified rightly after the "
    "attack; one that was misclassified before and is right afterwards counts "
    "(the rows robust_accuracy_strict leave it out).",
    "Recipes are not in the paper, and we did not consult the code that it "
    "cites: ConvNet is LeNet-5 with Adam 1e-3, the others are "
    "described in the models' own documentation. No augmentation.",
    "The supplement walks N = 200 steps; their length and their clip stand "
    "nowhere beside it. Ours were chosen to come near the supplement's Table "
    "1 on held-out images, so agreement with that table is no independent "
    "evidence.",
)


@sections.register(order=200)
def protocol(data: ReportData) -> Section:
    """Returns how it was measured."""
    run_info = data.run_info
    seeds = ", ".join(str(seed) for seed in run_info.get("seeds", ())) or "none"
    hours = run_info.get("seconds", 0) / 3600
    blocks: list[Block] = [
        Paragraph(
            f"Scale {data.scale.name}; seeds {seeds}; {hours:.1f} hours "
            f"of computing; {len(data.rows)} measurements."
        ),
        Paragraph("Where the paper leaves something open, we assumed:"),
        BulletList((*_ASSUMPTIONS, *_format_augmentations(data))),
        Paragraph("To compute all of it, and to write this page anew from the measurements alone:"),
        Command(
            f"python -m bin.reproduce --scale={data.scale.name} "
            f"--workdir=FOLDER\npython -m bin.report FOLDER"
        ),
        _build_versions_table(data),
    ]
    failures = run_info.get("failed", {})
    if failures:
        blocks.append(Paragraph("Steps that failed in the newest run:"))
        blocks.append(BulletList(tuple(f"{k}: {v}" for k, v in failures.items())))
    return Section("protocol", "How it was measured", tuple(blocks))


def _format_augmentations(data: ReportData) -> tuple[str, ...]:
    """Returns the walks that the pairs' translators were taught."""
    names = ("augmentation_num_steps", "augmentation_step_size", "augmentation_pixel_clip")
    pairs = data.find(classifier="ACL", measure="test_accuracy", control=None)
    settings = sorted(
        {
            (row.dataset, *(row.parameters[name] for name in names))
            for row in pairs
            if all(name in row.parameters for name in names)
        }
    )
    if not settings:
        return ()
    texts = (
        f"{dataset}: {steps} of {size:g}, {'' if clip else 'not '}clipped"
        for dataset, steps, size, clip in settings
    )
    return (f"Our walks, steps and their length: {'; '.join(texts)}.",)


def _build_versions_table(data: ReportData) -> Table:
    versions = dict(data.run_info.get("versions", {}))
    if data.run_info.get("anonymous"):
        versions.pop("system", None)
    body = tuple((Cell(k), Cell(str(v))) for k, v in sorted(versions.items()))
    return Table(("what", "version"), body)
