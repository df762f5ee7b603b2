"""Which checks passed, and which did not."""

from collections.abc import Iterator, Sequence

from qup import uncertainty_networks as networks
from qup.uncertainty_measured import RelationRecord
from qup.uncertainty_text.numbers import join_words

_CHECK_TITLES = {
    "covariance": "Cov(x, s) = -1/2",
    "momentum": "mean momentum 0",
    "forms": "sigma_p in two forms",
    "faces": "B by covariance and by the faces",
    "chains": "R-hat",
    "estimators": "importance sampling and MCMC",
}


def describe_checks(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on all checks, and on what was refused.

    Args:
      records: Records of one packet in one kind of domain.
    """
    record_checks = [(record, check) for record in records for check in record["checks"]]
    failed = [(record, check) for record, check in record_checks if not check["agrees"]]
    if not record_checks:
        yield "NO CHECK WAS MADE of these numbers."
    elif failed:
        yield f"**{len(failed)} OF {len(record_checks)} CHECKS FAILED.**"
        for name in dict.fromkeys(check["name"] for _, check in failed):
            yield _describe_worst([pair for pair in failed if pair[1]["name"] == name])
        yield "Do not rely on those numbers."
    else:
        names = dict.fromkeys(check["name"] for _, check in record_checks)
        titles = join_words(_CHECK_TITLES.get(name, name) for name in names)
        count = f"All {len(record_checks)} checks" if len(record_checks) > 1 else "The one check"
        verb = "have" if len(record_checks) > 1 else "has"
        yield f"{count} that can fail {verb} passed: {titles}."
    yield from _describe_refusals(records)


def _describe_worst(failed: Sequence[tuple[RelationRecord, dict]]) -> str:
    """Returns the words of the worst of one kind, and how many there are."""

    def compute_distance(pair: tuple[RelationRecord, dict]) -> float:
        # What could not be estimated is the worst.
        furthest = pair[1]["furthest"]
        return furthest if furthest == furthest else float("inf")

    record, check = max(failed, key=compute_distance)
    record_text = f"{_format_record(record)}, {networks.format_estimator(record['estimator'])}"
    more_text = f" and {len(failed) - 1} more" * (len(failed) > 1)
    return f"{record_text[:1].upper()}{record_text[1:]}{more_text}: {check['words']}"


def _format_record(record: RelationRecord) -> str:
    phrases = [networks.format_labels([record]), networks.format_network(record)]
    phrases += [f"s = {record.width:g}"] if record.width == record.width else []
    return ", ".join(phrase for phrase in phrases if phrase)


def _describe_refusals(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields what an estimator could not estimate, a sentence each."""
    refusals: dict[str, set[str]] = {}
    for record in records:
        for estimator in record["refused"]:
            refusals.setdefault(estimator, set()).add(_format_record(record))
    for estimator, names in sorted(refusals.items()):
        yield (
            f"By {networks.format_estimator(estimator)} {len(names)} "
            f"{networks.pluralize(len(names), 'relation')} COULD NOT BE "
            f"ESTIMATED ({'; '.join(sorted(names))})."
        )
