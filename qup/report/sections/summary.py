"""The first screen: what was asked, what came out, in six parts."""

from collections import Counter
from collections.abc import Iterator

from qup.report import claims, numbers, sections
from qup.report.blocks import Block, Cell, Points, Section, Table, Words
from qup.report.claims import Outcome, Verdict, trade_off
from qup.report.material import Material
from qup.report.selection import Look, accuracy

_DIFFICULT = (
    "What was easy: data sets, architectures and the attack's four steps are "
    "standard.",
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
def summary(material: Material) -> Section:
    """Returns the summary."""
    judged = [claims.get(name)(material) for name in claims.names()]
    counted = Counter(verdict.outcome for verdict in judged)
    told = ", ".join(
        f"{counted[outcome]} {outcome.value}"
        for outcome in Outcome
        if counted[outcome]
    )
    small = material.scale.name == "smoke"
    blocks: list[Block] = [
        Words(
            "Scope: the paper (Zhang, Zhang, Chen, Pang and Meng, arXiv "
            "2205.01493 v3 and supplement) holds that a network cannot be "
            "both accurate and robust, because pixel and attack obey an "
            "uncertainty relation. This report measures its tables, figures "
            "and equations anew, over seeds, with its weak attack and with "
            "strong ones, and adds the controls that could refute it."
        ),
        Words(
            "Methodology: our own implementation on TensorFlow and Keras; "
            f"scale {material.scale.name}; each claim is a rule with a "
            "threshold, which tells what was known when it was written."
            + (" Numbers of the smoke scale mean nothing." if small else "")
        ),
        Words(
            f"Results: of {len(judged)} claims, {told}.{_elsewhere(judged)} "
            "One of them, the bound in a window, is a theorem that says "
            "nothing of accuracy."
        ),
        *_answers(material),
        _table(material),
        Points(_DIFFICULT),
        Words("What the words mean:"),
        Points(_GLOSSARY),
    ]
    return Section("summary", "Summary", tuple(blocks))


def _elsewhere(judged: list[Verdict]) -> str:
    """Returns how many outcomes do not hold in general."""
    held = [v for v in judged if v.outcome is Outcome.SUPPORTED]
    moved = sum(1 for verdict in held if verdict.switch)
    if not moved:
        return ""
    return (
        f" Of the {len(held)} supported, {moved} would have another outcome "
        "under another attack, norm or domain that the table of verdicts names."
    )


def _answers(material: Material) -> Iterator[Block]:
    """Yields what the title asks, as far as it was measured."""
    attack = Look.WORST.title(material).removeprefix("RA, ")
    usual = []
    for table in material.scale.tables.values():
        for network in table.networks:
            found = trade_off.changes(material, network, Look.WORST)
            if found is not None:
                clean, robust, (first, last) = found
                usual.append(
                    f"{network.title} on {network.dataset}, {first} to {last} "
                    f"epochs: TA {trade_off.signed(clean)}, RA "
                    f"{trade_off.signed(robust)}"
                )
    if usual:
        yield Words(
            "Do accuracy and robustness exclude each other? Over the epochs "
            f"of a usual training, in points, RA under {attack}:"
        )
        yield Points(tuple(usual))
    counter = claims.get("accurate_and_robust_exclude")(material)
    if counter.outcome is not Outcome.NOT_RUN:
        yield Words(
            "Trained on attacked images instead, in points, RA under "
            f"{attack} ({counter.scope}):"
        )
        yield Points(tuple(counter.words.rstrip(".").split("; ")))


def _table(material: Material) -> Table:
    """Returns the least and the most trained of each network that was run."""
    looks = (Look.CLEAN, Look.CLIP, Look.WORST)
    body = []
    for table in material.scale.tables.values():
        for network in table.networks:
            run = [
                n for n in table.epochs
                if accuracy(material, network, "CL", n, Look.CLEAN)
            ]  # fmt: skip
            for epochs in dict.fromkeys([*run[:1], *run[-1:]]):
                found = [
                    accuracy(material, network, "CL", epochs, look)
                    for look in looks
                ]
                body.append((
                    Cell(f"{network.title}, {network.dataset}"),
                    Cell(str(epochs)), *(numbers.cell(x) for x in found),
                ))  # fmt: skip
    head = ("network", "epochs", *(look.title(material) for look in looks))
    return Table(
        head, tuple(body),
        f"The classifiers alone, in percent. {numbers.KEY}",
    )  # fmt: skip
