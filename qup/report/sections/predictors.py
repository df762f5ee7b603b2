"""What predicts robustness: sigma_p, or what is simpler."""

import math
from collections.abc import Iterable, Iterator

from qup.evidence_figures import predicting
from qup.evidence_figures.predicting import Candidate
from qup.rank_correlations import FEWEST, INTERVAL_FROM, Correlation
from qup.report import candidates, correlations, numbers, sections
from qup.report.blocks import Block, Cell, Picture, Section, Table, Words
from qup.report.candidates import Candidates
from qup.report.material import Material
from qup.report.selection import Look

_WORDS = (
    "Section 3.3 of the paper explains a low RA by a large sigma_p. Here it "
    "stands beside what is simpler: TA, the gradient of the loss at the test "
    "images, their margin over its gradient (to first order the distance to "
    "the boundary), and CLEVER. Each network counts once, with its mean over "
    "the seeds of which both numbers were measured; correlations are of "
    "ranks. The partial ones ask whether a number says anything of RA that "
    "margin and gradient do not say. Networks at several epochs of one "
    "training are kin, so p is too small rather than too large. sigma_x, "
    "sigma_p and their product are of one label, RA is of all."
)
_LEVEL = 0.05
# Name: title, axis, logarithmic.
_KINDS = {
    "test_accuracy": ("TA", "percent", False),
    "gradient_l1": ("input gradient", "mean |dl/dX|, summed over X", True),
    "margin_ratio": ("margin ratio", "mean m / |dm/dX|, of [0, 1]", True),
    "clever_linf": ("CLEVER", "mean score in L-inf, of [0, 1]", True),
    "sigma_x": ("sigma_x, box", "mean over pixels", False),
    "sigma_p": ("sigma_p, box", "mean over pixels", True),
    "uncertainty_product": ("product, box", "mean over pixels", True),
}
_FIXED = ("margin_ratio", "gradient_l1")
_HEAD = (
    "candidate", "networks", "rank correlation with RA", "p",
    "given margin ratio", "given input gradient", "verdict",
)  # fmt: skip


@sections.register(order=105)
def predictors(material: Material) -> Section:
    """Returns the section."""
    blocks: list[Block] = [Words(_WORDS)]
    names = dict.fromkeys(
        network.dataset
        for table in material.scale.tables.values()
        for network in table.networks
    )
    for dataset in names:
        blocks += _of_dataset(material, dataset)
    if len(blocks) == 1:
        blocks.append(Words(f"It was {numbers.NOT_RUN}."))
    return Section("predictors", "What predicts robustness", tuple(blocks))


def _of_dataset(material: Material, dataset: str) -> Iterator[Block]:
    networks = candidates.measured(material, dataset)
    look = candidates.attack(networks)
    if look is None:
        return
    networks = [of for of in networks if look in of.robust]
    if len(networks) < FEWEST:
        yield Words(
            f"{dataset}: {numbers.count(len(networks), 'network')}, too few "
            "to correlate."
        )
        return
    found = {
        name: correlations.correlated(networks, look, name) for name in _KINDS
    }
    title = look.title(material)
    counted = numbers.count(len(networks), "network")
    seeds = min(of.robust[look].seeds for of in networks)
    yield Words(
        f"{dataset}: {counted} with {title}, each of at least "
        f"{numbers.count(seeds, 'seed')}: "
        f"{'; '.join(of.title for of in networks)}. "
        f"{candidates.sampling(networks)}"
    )
    tried = sum(x is not None for x in found.values())
    many = len(networks) >= INTERVAL_FROM
    body = tuple(
        _line(networks, look, name, found[name], tried) for name in _KINDS
    )
    yield Table(
        _HEAD, body,
        f"{dataset}, {title}: Spearman's correlation"
        f"{', with its 95 % interval' if many else ''}. A "
        f"verdict needs p below {_LEVEL} / {max(tried, 1)}, for as many were "
        f"tried. {_least(found.values())}",
    )  # fmt: skip
    yield _picture(networks, look, found, dataset, title)


def _least(found: Iterable[Correlation | None]) -> str:
    """Says where so few networks cannot have a verdict at all."""
    held = [of for of in found if of is not None]
    if not held:
        return ""
    most = max(of.n for of in held)
    least = 2 / math.factorial(most)
    if least < _LEVEL / len(held):
        return ""
    return (
        f"Of {most} networks p cannot be below {least:.2g}: none can have it."
    )


def _line(
    networks: list[Candidates],
    look: Look,
    name: str,
    found: Correlation | None,
    tried: int,
) -> tuple[Cell, ...]:
    own = [of for of in networks if correlations.known(of, name)]
    rows = tuple(
        row for of in own for row in correlations.value_of(of, name).rows
    )
    if not own:
        empty = (Cell(numbers.NOT_RUN, tone="muted"),)
        return (Cell(_KINDS[name][0]), Cell("0"), *(5 * empty))
    partial = (
        Cell("-", tone="muted")
        if fixed == name
        else _told(correlations.correlated(networks, look, name, fixed))
        for fixed in _FIXED
    )
    return (
        Cell(_KINDS[name][0]), Cell(str(len(own))),
        _told(found, rows), Cell(f"{found.p_value:.2g}" if found else "-"),
        *partial, _verdict(found, tried),
    )  # fmt: skip


def _told(found: Correlation | None, rows: tuple = ()) -> Cell:
    if found is None:
        return Cell("too few that differ", tone="muted")
    text = f"{found.value:+.2f}"
    if found.interval:
        text += f" [{found.interval[0]:+.2f}, {found.interval[1]:+.2f}]"
    return Cell(text, rows)


def _verdict(found: Correlation | None, tried: int) -> Cell:
    if found is None:
        return Cell("undecided: too few that differ", tone="muted")
    if found.p_value >= _LEVEL / tried:
        return Cell(f"undecided at n = {found.n}", tone="muted")
    way = "rises" if found.value > 0 else "falls"
    return Cell(f"RA {way} with it")


def _picture(
    networks: list[Candidates],
    look: Look,
    found: dict[str, Correlation | None],
    dataset: str,
    title: str,
) -> Picture:
    shown = []
    for name, (words, label, logarithmic) in _KINDS.items():
        values = {
            of.title: correlations.value_of(of, name).point
            for of in networks
            if correlations.known(of, name)
        }
        positive = all(point[0] > 0 for point in values.values())
        if values:
            shown.append(
                Candidate(
                    words, label, values, found[name], logarithmic and positive
                )
            )
    looks = {of.title: (of.look, of.robust[look].point) for of in networks}
    return Picture(
        f"predictors-{dataset}",
        predicting.draw(
            shown, looks, title=dataset, attack=title.removeprefix("RA, "),
            note="Bars: 95 % intervals.",
        ),
        f"RA of {numbers.count(len(networks), 'network')} on {dataset} over "
        "every candidate.",
        f"{title} of every network on {dataset} over what might predict it.",
    )  # fmt: skip
