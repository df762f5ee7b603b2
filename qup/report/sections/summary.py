"""The first screen: what was asked, what came out, in six parts."""

from collections import Counter

from qup.report import claims, numbers, sections
from qup.report.blocks import Block, Cell, Points, Section, Table, Words
from qup.report.claims import Outcome
from qup.report.material import Material
from qup.report.selection import Look, accuracy

_DIFFICULT = (
    "What was easy: data sets, architectures and the attack's four steps are "
    "standard.",
    "What was difficult: the paper gives no seeds, recipes, pixel clip, walk "
    "length with its step, or translator training; each choice moves RA by "
    "more than the effects it reports. Four steps of PGD are too weak to "
    "believe an RA: see the strong attacks beside it.",
    "Contact with the authors: none; their code was not available to us.",
)


@sections.register(order=0)
def summary(material: Material) -> Section:
    """Returns the summary."""
    counted = Counter(
        claims.get(name)(material).outcome for name in claims.names()
    )
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
            f"scale {material.scale.name}; each claim is a rule whose "
            "threshold was fixed before the run, or says that it was not."
            + (" Numbers of the smoke scale mean nothing." if small else "")
        ),
        Words(f"Results: of {len(claims.names())} claims, {told}."),
        _table(material),
        Points(_DIFFICULT),
    ]
    return Section("summary", "Summary", tuple(blocks))


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
