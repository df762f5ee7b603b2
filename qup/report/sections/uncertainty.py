"""Eqs. 14 and 19: sigma_x, sigma_p, their product and its bound."""

from qup.evidence_figures import products
from qup.measurements import Row
from qup.measures.uncertainty.importance import LEAST_SAMPLES
from qup.report import numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.selection import Look, accuracy, of_network
from qup.scales import Network

_OWN = "uncertainty"
_MEASURES = ("sigma_x", "sigma_p", "uncertainty_product", "uncertainty_bound")
_WORDS = (
    "The deviations of a pixel and of the gradient under the density psi^2 "
    "of the paper's neural packet psi = l / sqrt(beta), means over all "
    "pixels, by importance sampling. On the box [0, 1]^M of images the "
    "printed bound of 1/2 lacks a boundary term B: what holds is sigma_x "
    "sigma_p >= |1 - B| / 2. In a Gaussian window, at whose edge the packet "
    "vanishes, the bound is 1/2. That the inequality holds is true of any "
    "sample, and no test. Another temperature of the logits changes sigma_p "
    "and no decision (see Temperature): sigma_p is not fixed by TA."
)


def found(
    material: Material,
    network: Network,
    epochs: int,
    measure: str,
    domain: str,
    temperature: float = 1.0,
    method: str | None = None,
) -> Estimate | None:
    """Returns a mean over pixels and seeds; None where it was not run.

    Args:
      material: Everything.
      network: The network.
      epochs: Its epochs.
      measure: "sigma_x", "sigma_p", ...
      domain: "box", "window:0.1", ...
      temperature: Of the logits.
      method: Of a robust training; None for a standard one.
    """
    rows = material.find(
        measure=measure, domain=domain, temperature=temperature,
        evaluation=_OWN, over="pixels", statistic="mean",
        estimator="importance", control=None, packet="loss", method=method,
        **of_network(network, epochs),
    )  # fmt: skip
    return over_seeds(rows)


def refused(
    material: Material,
    network: Network,
    epochs: int,
    domain: str,
    temperature: float = 1.0,
) -> list[Row]:
    """Returns the sizes of samples that were too few, a row a seed."""
    return material.find(
        measure="effective_sample_size", refused=True, domain=domain,
        temperature=temperature, evaluation=_OWN, estimator="importance",
        control=None, packet="loss", method=None,
        **of_network(network, epochs),
    )  # fmt: skip


def domains(material: Material) -> list[str]:
    """Returns the domains in which classifiers were measured."""
    rows = material.find(
        evaluation=_OWN, measure="sigma_p", packet="loss", control=None
    )
    return sorted({_domain(row) for row in rows})


def _domain(row: Row) -> str:
    return str(row.parameters["domain"])


@sections.register(order=100)
def uncertainty(material: Material) -> Section:
    """Returns the section."""
    table = material.scale.tables["table2"]
    network = table.networks[0]
    body = []
    for domain in domains(material):
        for epochs in table.epochs:
            line = _line(material, network, epochs, domain)
            body += [line] if line else []
    blocks: list[Block] = [Words(_WORDS)]
    if body:
        head = (
            "domain",
            "epochs",
            "TA",
            Look.CLIP.value,
            *(m.replace("_", " ") for m in _MEASURES),
            "refused",
        )
        caption = (
            f"{network.title} on {network.dataset}; {_packet(material)}. "
            f"{numbers.KEY} Refused: seeds whose points weigh as much as "
            f"fewer than {LEAST_SAMPLES:.0f} equal ones, and as how many; "
            "the means leave them out, and so are not of all trainings."
        )
        blocks.append(Table(head, tuple(body), caption))
        blocks += _pictures(material, network, table.epochs)
    else:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    title = "Eqs. 14 and 19: the uncertainty relation"
    return Section("uncertainty", title, tuple(blocks))  # fmt: skip


def _line(
    material: Material, network: Network, epochs: int, domain: str
) -> tuple[Cell, ...] | None:
    values = [
        found(material, network, epochs, measure, domain)
        for measure in _MEASURES
    ]
    lost = refused(material, network, epochs, domain)
    if not any(values) and not lost:
        return None
    looks = [
        accuracy(material, network, "CL", epochs, look)
        for look in (Look.CLEAN, Look.CLIP)
    ]
    return (
        Cell(domain), Cell(str(epochs)),
        *(numbers.cell(x) for x in looks),
        *(
            Cell("refused", tone="muted") if x is None and lost
            else numbers.cell(x, 5)
            for x in values
        ),
        Cell(_sizes(lost) or "-", tuple(lost), "muted"),
    )  # fmt: skip


def _sizes(lost: list[Row]) -> str:
    return ", ".join(f"seed {row.seed}: {row.value:.0f}" for row in lost)


def _packet(material: Material) -> str:
    """Returns whose packet it is, and of how many points."""
    rows = material.find(
        evaluation=_OWN, measure="sigma_p", packet="loss", control=None,
        over="pixels", statistic="mean", estimator="importance",
    )  # fmt: skip
    labels = sorted({row.parameters["label"] for row in rows})
    counts = sorted({f"{row.n:,}" for row in rows})
    return (
        f"the loss of label {', '.join(map(str, labels))}, "
        f"{' or '.join(counts)} points; a window stands on the mean image of "
        "that label"
    )


def _pictures(
    material: Material, network: Network, epochs: tuple[int, ...]
) -> list[Picture]:
    pictures = []
    for domain in domains(material):
        points = {
            measure: {
                n: (x.value, x.low, x.high)
                for n in epochs
                if (x := found(material, network, n, measure, domain))
            }
            for measure in _MEASURES
        }
        if not points["sigma_p"]:
            continue
        title = f"{network.title} on {network.dataset}, {domain}"
        pictures.append(
            Picture(
                f"uncertainty-{domain.replace(':', '-')}",
                products.over_epochs(points, title),
                f"sigma_x, sigma_p and their product over epochs: {title}.",
                f"Left: sigma_p; right: the product and its bound: {title}. "
                "Bars: 95 % intervals.",
            )
        )
    return pictures
