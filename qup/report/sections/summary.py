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
    "length with its step, or translator training. Seed and clip alone move "
    "RA by more than most changes over epochs that it reports on MNIST. Four "
    "steps of PGD are too weak to believe an RA: see the strong attacks "
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
            f"scale {material.scale.name}; each claim is a rule with a "
            "threshold, which tells what was known when it was written."
            + (" Numbers of the smoke scale mean nothing." if small else "")
        ),
        Words(
            f"Results: of {len(claims.names())} claims, {told}. One of them, "
            "the bound in a window, is a theorem that says nothing of "
            "accuracy."
        ),
        _table(material),
        Points(_DIFFICULT),
        Words("What the words mean:"),
        Points(_GLOSSARY),
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
