"""What was measured, and the numbers."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.measures.uncertainty import importance
from qup.uncertainty_measured import Measured
from qup.uncertainty_text import averages, bounds, matrices
from qup.uncertainty_text.numbers import UNKNOWN, listed

_PRODUCT = "uncertainty_product"
_LEAST = importance.LEAST_SAMPLES


def sentences(group: Sequence[Measured]) -> Iterator[str]:
    """Yields sentences on the network itself.

    Args:
      group: Records of one packet in one domain.
    """
    own = networks.main(group)
    exact = networks.exact(own)
    yield _lead(own)
    yield _how(own)
    yield _averages(exact)
    yield _unknown(exact)
    yield from bounds.sentences(exact)
    yield from matrices.sentences(exact)


def _lead(own: Sequence[Measured]) -> str:
    first = own[0]
    network = networks.network(first)
    network += " network" if first["control"] else ""
    packet = f"{first['packet']} packet of {first['model']}"
    packet += f" on {first['dataset']}" if first["dataset"] else ""
    words = [packet, network, networks.labels(own), networks.domain(own)]
    return f"**The {', '.join(part for part in words if part)}.**"


def _how(own: Sequence[Measured]) -> str:
    """Says along what and by which estimators was measured."""
    parts = []
    for kind in sorted({of["estimator"] for of in own}):
        same = [of for of in own if of["estimator"] == kind]
        sizes = [of["effective_sample_size"] for of in same]
        words = f"{networks.estimator(kind)} ({same[0]['n']:,} samples"
        if None not in sizes:
            least = "at least " * (len(same) > 1)
            words += f", effective size {least}{min(sizes):,.0f}"
        parts.append(f"{words})")
    count = len(own[0].shown(_PRODUCT)[0])
    unit = networks.plural(count, own[0].unit.removesuffix("s"))
    told = f"Measured along {count:,} {unit} by {listed(parts)}."
    if any((of["effective_sample_size"] or _LEAST) < _LEAST for of in own):
        told += f" FEWER THAN {_LEAST} EFFECTIVE SAMPLES: do not trust errors."
    return told


def _averages(exact: Sequence[Measured]) -> str:
    names = {_PRODUCT: "the product", "sigma_x": "sigma_x",
             "sigma_p": "sigma_p"}  # fmt: skip
    there = [name for name in names if averages.known(exact, name)]
    parts = [
        f"{names[name]} {averages.ends(exact, name, labelled=name == there[0])}"
        for name in there
    ]
    words = f"On average over {exact[0].unit}: {listed(parts)}. " * bool(parts)
    lost = [word for name, word in names.items() if name not in there]
    if lost:
        told = f"{listed(lost)} {UNKNOWN.upper()}."
        words += told[:1].upper() + told[1:]
    return words.rstrip()


def _unknown(exact: Sequence[Measured]) -> str:
    told = [(of, of.average(_PRODUCT)) for of in exact]
    of, most = max(told, key=lambda pair: pair[1].n - pair[1].known)
    if most.known in (0, most.n):
        return ""
    where = f" ({networks.labels([of])})" * (len(exact) > 1)
    return (
        f"At {most.n - most.known:,} of {most.n:,} {of.unit}{where} the "
        f"product {UNKNOWN.upper()}."
    )
