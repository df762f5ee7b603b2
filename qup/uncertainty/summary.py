"""What a measured uncertainty relation says, and does not say, in words.

```python
found = [uncertainty.records.load(path) for path in paths]
print(uncertainty_text.paragraph(found, rows))
```

Every sentence is chosen by the numbers: a difference is named beyond three
standard errors only, a check that failed stands in capitals.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from qup.core.measurements import Row
from qup.uncertainty import checks, importance, selection
from qup.uncertainty import records as uncertainty_records
from qup.uncertainty.records import ATOL, MeanEstimate, RelationRecord

# Numbers and their changes in words.


UNKNOWN = "could not be estimated"
RISES, FALLS, STAYS = "rises", "falls", "stays"
# Below it a number is written with a power of ten.
_SCIENTIFIC_BELOW = 1e-3
# Below it a number is rounding.
_EPS = 1e-12


def format_estimate(estimate: MeanEstimate) -> str:
    """Returns "0.5004 ± 0.0012"; words where it could not be estimated."""
    value, error = estimate.value, estimate.stderr
    if not math.isfinite(value):
        return f"a number that {UNKNOWN.upper()}"
    if not math.isfinite(error):
        return f"{value:.3g} (its error {UNKNOWN.upper()})"
    largest = max(abs(value), error)
    if largest < _EPS:
        return "0"
    if largest >= _SCIENTIFIC_BELOW:
        return _format_pair(value, error)
    exponent = math.floor(math.log10(largest))
    return f"({_format_pair(value / 10**exponent, error / 10**exponent)})e{exponent}"


def _format_pair(value: float, error: float) -> str:
    """Returns both with two digits of the error, at most nine decimals."""
    digits = 4
    if error > 0:
        digits = min(max(0, 1 - math.floor(math.log10(error))), 9)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def row_to_estimate(row: Row) -> MeanEstimate:
    """Returns a row's value and error."""
    error = math.nan if row.stderr is None else row.stderr
    return MeanEstimate(row.value, error, 1, 1)


def classify_change(before: MeanEstimate, after: MeanEstimate) -> str | None:
    """Returns how a number moves beyond its errors; None where unknown."""
    error = math.hypot(before.stderr, after.stderr)
    return classify_difference(MeanEstimate(after.value - before.value, error, 1, 1))


def classify_difference(difference: MeanEstimate) -> str | None:
    """Returns the same of a difference."""
    distance = uncertainty_records.z_score(difference, MeanEstimate(0.0, 0.0, 1, 1))
    if math.isnan(distance):
        return None
    if distance <= uncertainty_records.Z_THRESHOLD:
        return STAYS
    return RISES if difference.value > 0 else FALLS


def join_words(items: Iterable[str]) -> str:
    """Returns "a, b and c"."""
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


# A number of one label, or the least and the greatest of several.


def select_known(records: Sequence[RelationRecord], measure: str) -> list[RelationRecord]:
    """Returns those of which a measure could be estimated."""
    return [record for record in records if np.isfinite(record.mean(measure).value)]


def format_range(records: Sequence[RelationRecord], measure: str, with_labels: bool = True) -> str:
    """Returns a number; of several labels the least and the greatest."""
    known_records = select_known(records, measure)
    if not known_records:
        return f"a number that {UNKNOWN.upper()}"

    def value(record: RelationRecord) -> float:
        return record.mean(measure).value

    least, greatest = (choose(known_records, key=value) for choose in (min, max))
    selected = [least, greatest]
    if classify_change(least.mean(measure), greatest.mean(measure)) == STAYS:
        selected = [known_records[0]]
    show_labels = with_labels and len(records) > 1
    format_name = selection.format_labels if len(selected) > 1 else _format_alike
    return " to ".join(
        format_estimate(record.mean(measure)) + f" ({format_name([record])})" * show_labels
        for record in selected
    )


def _format_alike(records: Sequence[RelationRecord]) -> str:
    return f"{selection.format_labels(records)}, the others alike"


# What the bound is, and what keeping to it is worth.


_BOUNDS_PRODUCT, _BOUND = "uncertainty_product", "uncertainty_bound"
# Groups of the jackknife less one, where a record does not tell.
_DEFAULT_DOF = 39


def describe_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the bound of one network, a record a label."""
    return _describe_half_bound(records) if records[0]["vanishes"] else _describe_box_bound(records)


def _describe_half_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences where the bound is 1/2."""
    yield "The packet vanishes at the boundary, so the bound is exactly 1/2."
    yield _describe_window_widths(records)
    num_below = sum(_count_below_half(record) for record in records)
    if select_known(records, _BOUNDS_PRODUCT) and not num_below:
        yield ("That it is kept is the Cramér-Rao inequality, true of every network: no finding.")
    if num_below:
        unit = selection.pluralize(num_below, records[0].unit.removesuffix("s"))
        yield (
            f"AT {num_below} {unit.upper()} THE PRODUCT IS BELOW 1/2 by more than "
            "chance allows: the estimate is at fault."
        )
    yield _describe_excess(records)


def _describe_window_widths(records: Sequence[RelationRecord]) -> str:
    """Says whether the widths are those of a Gaussian window alone."""
    width = records[0].width
    if not np.isfinite(width):
        return ""
    window_values = {"sigma_x": width * 0.5**0.5, "sigma_p": 0.5**0.5 / width}
    changes = {
        classify_change(MeanEstimate(value, 0.0, 1, 1), record.mean(measure))
        for measure, value in window_values.items()
        for record in records
    }
    if changes != {STAYS}:
        return ""
    return (
        "No difference of the mean sigma_x and sigma_p from those of the "
        "window without any network is resolved."
    )


def _describe_excess(records: Sequence[RelationRecord]) -> str:
    excesses = {record: record.mean("excess") for record in records}
    if not any(np.isfinite(excess.value) for excess in excesses.values()):
        return f"The excess over 1/2 {UNKNOWN}."
    positive_records = [record for record in records if _is_positive(excesses[record])]
    if not positive_records:
        return "No excess over 1/2 is seen beyond three standard errors."
    method_text = (
        ", freed of most noise by Cov(x, s) = -1/2," * records[0].use_correlation_estimator
    )
    return f"The excess over 1/2{method_text} is {format_range(positive_records, 'excess')}."


def _is_positive(mean: MeanEstimate) -> bool:
    zero = MeanEstimate(0.0, 0.0, 1, 1)
    return (
        mean.value > 0 and uncertainty_records.z_score(mean, zero) > uncertainty_records.Z_THRESHOLD
    )


def _count_below_half(record: RelationRecord) -> int:
    """Returns at how many axes the product is below 1/2 beyond chance."""
    value, error = record.pixel_values(_BOUNDS_PRODUCT)
    threshold = checks.z_quantile(len(value), record.metadata.get("freedom", _DEFAULT_DOF))
    return int(np.sum(0.5 - value > threshold * np.maximum(error, 1e-6)))


def _describe_box_bound(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences where the bound has a boundary term."""
    yield (
        "The packet does not vanish at the faces, so the bound is not 1/2 but "
        f"1/2 |1 - B|, on average {format_range(records, _BOUND)}. That it is "
        "kept follows from the arithmetic of any sample: no finding."
    )
    share = min(map(_compute_resolved_share, select_known(records, _BOUND)), default=1.0)
    if share < 0.5:
        yield (
            f"At only {100 * share:.0f} % of the {records[0].unit} is the bound "
            "told from 0: it is mostly noise, an upper limit."
        )
    half = MeanEstimate(0.5, 0.0, 1, 1)
    if all(classify_change(record.mean(_BOUNDS_PRODUCT), half) == RISES for record in records):
        yield ("The product is below the 1/2 of the paper's Eq. 14, which does not hold here.")


def _compute_resolved_share(record: RelationRecord) -> float:
    """Returns the share of axes whose bound is told from 0, or is 0."""
    value, error = record.pixel_values("covariance")
    is_exact = np.abs(value) + error < 1e-9
    return float(np.mean((np.abs(value) > 2 * error) | is_exact))


# What holds of all combinations of directions at once.


def describe_matrix_form(records: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the matrix form, where there are directions.

    Args:
      records: Records of one network, a record a label.
    """
    matrix_records = [record for record in records if record["matrix"]]
    if not matrix_records:
        return
    known_records = [
        record for record in matrix_records if math.isfinite(record["matrix"]["least"][0])
    ]
    if not known_records:
        yield f"The matrix form {UNKNOWN.upper()}."
        return
    record = min(known_records, key=lambda record: record["matrix"]["least"][0])
    label_text = f" ({selection.format_labels([record])})" * (len(records) > 1)
    yield (
        f"Of the {record['matrix']['count']} directions together the smallest "
        "eigenvalue of Sigma - C P_c^-1 C^T, the distance of their best "
        f"combination from its bound, is {format_estimate(_find_eigenvalue(record, 'least'))}"
        f"{label_text}: "
        "on no sample is it negative beyond its error, no finding."
    )
    if not record["vanishes"]:
        yield _describe_without_boundary(known_records)


def _describe_without_boundary(records: Sequence[RelationRecord]) -> str:
    """Says whether Eq. 14 for all combinations, Sigma >= P^-1/4, is broken."""
    record = min(records, key=lambda record: record["matrix"]["least_vanishing"][0])
    least = _find_eigenvalue(record, "least_vanishing")
    distance = uncertainty_records.z_score(least, MeanEstimate(0.0, 0.0, 1, 1))
    is_violated = least.value < 0 and distance > uncertainty_records.Z_THRESHOLD
    verdict = "is broken" if is_violated else "is not seen to be broken"
    return (
        "Without the boundary term, of Sigma - P^-1/4, it is "
        f"{format_estimate(least)}: the paper's bound {verdict} here."
    )


def _find_eigenvalue(record: RelationRecord, name: str) -> MeanEstimate:
    return MeanEstimate(*record["matrix"][name], 1, 1)


# What was measured, and the numbers.


_FINDINGS_PRODUCT = "uncertainty_product"
_MIN_SAMPLES = importance.MIN_EFFECTIVE_SAMPLES


def describe_network(group: Sequence[RelationRecord]) -> Iterator[str]:
    """Yields sentences on the network itself.

    Args:
      group: Records of one packet in one domain.
    """
    records = selection.select_final_records(group)
    exact_records = selection.select_most_exact(records)
    yield _describe_setting(records)
    yield _describe_estimators(records)
    yield _describe_means(exact_records)
    yield _describe_unknown(exact_records)
    yield from describe_bound(exact_records)
    yield from describe_matrix_form(exact_records)


def _describe_setting(records: Sequence[RelationRecord]) -> str:
    first = records[0]
    network_name = selection.format_network(first)
    network_name += " network" if first["control"] else ""
    packet_name = f"{first['packet']} packet of {first['model']}"
    packet_name += f" on {first['dataset']}" if first["dataset"] else ""
    phrases = [
        packet_name,
        network_name,
        selection.format_labels(records),
        selection.format_domain(records),
    ]
    return f"**The {', '.join(part for part in phrases if part)}.**"


def _describe_estimators(records: Sequence[RelationRecord]) -> str:
    """Says along what and by which estimators was measured."""
    parts = []
    for kind in sorted({record["estimator"] for record in records}):
        estimator_records = [record for record in records if record["estimator"] == kind]
        sizes = [record["effective_sample_size"] for record in estimator_records]
        text = f"{selection.format_estimator(kind)} ({estimator_records[0]['n']:,} samples"
        if None not in sizes:
            at_least = "at least " * (len(estimator_records) > 1)
            text += f", effective size {at_least}{min(sizes):,.0f}"
        parts.append(f"{text})")
    count = len(records[0].pixel_values(_FINDINGS_PRODUCT)[0])
    unit = selection.pluralize(count, records[0].unit.removesuffix("s"))
    sentence = f"Measured along {count:,} {unit} by {join_words(parts)}."
    if any((record["effective_sample_size"] or _MIN_SAMPLES) < _MIN_SAMPLES for record in records):
        sentence += f" FEWER THAN {_MIN_SAMPLES} EFFECTIVE SAMPLES: do not trust errors."
    return sentence


def _describe_means(records: Sequence[RelationRecord]) -> str:
    names = {_FINDINGS_PRODUCT: "the product", "sigma_x": "sigma_x", "sigma_p": "sigma_p"}
    known_measures = [name for name in names if select_known(records, name)]
    parts = [
        f"{names[name]} {format_range(records, name, with_labels=name == known_measures[0])}"
        for name in known_measures
    ]
    text = f"On average over {records[0].unit}: {join_words(parts)}. " * bool(parts)
    unknown_names = [title for name, title in names.items() if name not in known_measures]
    if unknown_names:
        sentence = f"{join_words(unknown_names)} {UNKNOWN.upper()}."
        text += sentence[:1].upper() + sentence[1:]
    return text.rstrip()


def _describe_unknown(records: Sequence[RelationRecord]) -> str:
    record_means = [(record, record.mean(_FINDINGS_PRODUCT)) for record in records]
    record, mean = max(record_means, key=lambda pair: pair[1].n - pair[1].num_known)
    if mean.num_known in (0, mean.n):
        return ""
    label_text = f" ({selection.format_labels([record])})" * (len(records) > 1)
    return (
        f"At {mean.n - mean.num_known:,} of {mean.n:,} {record.unit}{label_text} the "
        f"product {UNKNOWN.upper()}."
    )


# Which checks passed, and which did not.


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
    record_text = f"{_format_record(record)}, {selection.format_estimator(record['estimator'])}"
    more_text = f" and {len(failed) - 1} more" * (len(failed) > 1)
    return f"{record_text[:1].upper()}{record_text[1:]}{more_text}: {check['words']}"


def _format_record(record: RelationRecord) -> str:
    phrases = [selection.format_labels([record]), selection.format_network(record)]
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
            f"By {selection.format_estimator(estimator)} {len(names)} "
            f"{selection.pluralize(len(names), 'relation')} COULD NOT BE "
            f"ESTIMATED ({'; '.join(sorted(names))})."
        )


# Networks two by two, and in what they differ.


RecordPair = tuple[RelationRecord, RelationRecord]


def choose_compared(records: Sequence[RelationRecord]) -> dict[str, str]:
    """Returns what is compared: the excess tells more than the product."""
    first_measure = {"uncertainty_product": "the product"}
    if records[0].use_correlation_estimator:
        first_measure = {"excess": "the excess"}
    return {**first_measure, "sigma_x": "sigma_x", "sigma_p": "sigma_p"}


def match_records(
    first: Sequence[RelationRecord], second: Sequence[RelationRecord]
) -> list[RecordPair]:
    """Returns records of one label, by one estimator where there are such.

    Of several such pairs the one that tells most of the first measure.
    """
    matched_pairs = []
    for label in dict.fromkeys(record["label"] for record in first):
        first_records = [record for record in first if record["label"] == label]
        second_records = [record for record in second if record["label"] == label]
        estimators = {record["estimator"] for record in first_records}
        estimators &= {record["estimator"] for record in second_records}
        candidates = [
            (a, b)
            for a in first_records
            for b in second_records
            if not estimators or a["estimator"] == b["estimator"]
        ]
        if candidates:
            matched_pairs.append(min(candidates, key=_pair_error))
    return matched_pairs


def _pair_error(pair: RecordPair) -> float:
    measure = next(iter(choose_compared(pair)))
    error = uncertainty_records.compute_difference(*pair, measure).stderr
    return error if math.isfinite(error) else math.inf


def classify_changes(pairs: Sequence[RecordPair], measure: str) -> list[str | None]:
    """Returns how a measure changes in each pair; None where unknown."""
    return [
        classify_difference(uncertainty_records.compute_difference(a, b, measure)) for a, b in pairs
    ]


def find_changed(pairs: Sequence[RecordPair]) -> list[str]:
    """Returns the names of what changes for any label."""
    return [
        name
        for measure, name in choose_compared([a for a, _ in pairs]).items()
        if {RISES, FALLS} & set(classify_changes(pairs, measure))
    ]


def describe_changes(pairs: Sequence[RecordPair]) -> str:
    """Returns "the product rises from a to b, while sigma_x stays ..."."""
    phrases, unchanged, unknown = [], [], []
    for measure, name in choose_compared([a for a, _ in pairs]).items():
        classified = classify_changes(pairs, measure)
        if set(classified) == {None}:
            unknown.append(name)
        elif set(classified) <= {STAYS, None}:
            unchanged.append(name)
        else:
            phrases.append(f"{name} {_describe_change(pairs, measure, classified)}")
    text = join_words(phrases)
    if unchanged:
        text += f"{', while ' * bool(phrases)}no change of {join_words(unchanged)} is "
        text += "resolved"
    if unknown:
        text += f"{'; ' * bool(text)}{join_words(unknown)} COULD NOT BE COMPARED"
    return text


def _describe_change(pairs: Sequence[RecordPair], measure: str, classified: list) -> str:
    if len(set(classified)) > 1:
        return join_words(
            f"{direction} for {classified.count(direction)} of {len(classified)} labels"
            for direction in (RISES, FALLS)
            if direction in classified
        )
    before, after = (_format_plain(record.mean(measure).value) for record in pairs[0])
    text = f"{classified[0]} from {before} to {after}"
    if uncertainty_records.have_same_samples(*pairs[0]):
        change_text = format_estimate(uncertainty_records.compute_difference(*pairs[0], measure))
        text += f" (by {change_text} on the same samples)"
    if len(pairs) > 1:
        text += f" ({selection.format_labels([pairs[0][0]])}; all labels alike)"
    return text


def _format_plain(value: float) -> str:
    """Returns a number; what float32 does not resolve is said to be small."""
    return f"{value:.3g}" if abs(value) >= ATOL else f"less than {ATOL:.0e}"


# What moves with epochs, with the temperature and with the window.


def describe_trends(
    records: Sequence[RelationRecord], domain_records: Sequence[RelationRecord], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields sentences on one network as it changes.

    Args:
      records: Records of one packet in one domain.
      domain_records: Records of that packet in every window, or on the box.
      rows: Those of the accuracies.
    """
    yield _describe_epochs(records, rows)
    yield _describe_temperatures(records)
    yield _describe_widths(domain_records)


def _describe_epochs(records: Sequence[RelationRecord], rows: Sequence[Row]) -> str:
    snapshots = selection.select_snapshots(records)
    if not snapshots or snapshots[0]["epochs"] == snapshots[-1]["epochs"]:
        return ""
    first, last = snapshots[0]["epochs"], snapshots[-1]["epochs"]
    early = [record for record in snapshots if record["epochs"] == first]
    late = [record for record in snapshots if record["epochs"] == last]
    record_pairs = match_records(early, late)
    if not record_pairs:
        return ""
    accuracy_text = _describe_accuracies(early[0], late[0], rows)
    prefix = f"{accuracy_text}; " if accuracy_text else ""
    return f"From {first} to {last} epochs {prefix}{describe_changes(record_pairs)}."


def _describe_accuracies(early: RelationRecord, late: RelationRecord, rows: Sequence[Row]) -> str:
    before, after = (selection.find_accuracy_rows(rows, record) for record in (early, late))
    phrases = []
    for measure, name in (("test_accuracy", "TA"), ("robust_accuracy", "RA")):
        if measure not in before or measure not in after:
            continue
        before_row, after_row = before[measure], after[measure]
        change = classify_change(row_to_estimate(before_row), row_to_estimate(after_row))
        text = f"goes from {before_row.value:.1f} to {after_row.value:.1f} %"
        if change in (RISES, FALLS):
            text = text.replace("goes", change)
        elif change == STAYS:
            text += " (within its error)"
        phrases.append(f"{name}{selection.format_attack(after_row)} {text}")
    return join_words(phrases)


def match_temperatures(records: Sequence[RelationRecord]) -> list[RecordPair]:
    """Returns the newest network at its lowest and highest temperature."""
    final_record = selection.select_final_records(records)[0]
    network_records = [record for record in records if record["control"] == final_record["control"]]
    network_records = [
        record for record in network_records if record["epochs"] == final_record["epochs"]
    ]
    temperatures = sorted({record["temperature"] for record in network_records})
    if len(temperatures) < 2:
        return []
    cold = [record for record in network_records if record["temperature"] == temperatures[0]]
    hot = [record for record in network_records if record["temperature"] == temperatures[-1]]
    return match_records(cold, hot)


def _describe_temperatures(records: Sequence[RelationRecord]) -> str:
    record_pairs = match_temperatures(records)
    if not record_pairs:
        return ""
    lowest, highest = (record["temperature"] for record in record_pairs[0])
    text = (
        "Dividing the logits by T leaves TA and exact RA as they are; from "
        f"T = {lowest:g} to {highest:g} {describe_changes(record_pairs)}"
    )
    changed = find_changed(record_pairs)
    if changed:
        text += f": {join_words(changed)} {'are' if len(changed) > 1 else 'is'} no "
        text += "function of TA and RA"
    return f"{text}."


def _describe_widths(records: Sequence[RelationRecord]) -> str:
    window_records = [
        record for record in selection.select_final_records(records) if record.domain == "window"
    ]
    widths = sorted({record.width for record in window_records})
    if len(widths) < 2:
        return ""
    narrow = [record for record in window_records if record.width == widths[0]]
    wide = [record for record in window_records if record.width == widths[-1]]
    record_pairs = match_records(narrow, wide)
    if not record_pairs:
        return ""
    text = f"From s = {widths[0]:g} to {widths[-1]:g}"
    changes = set(classify_changes(record_pairs, "excess"))
    if changes & {RISES, FALLS}:
        pair_changes = classify_changes(record_pairs, "excess")
        index = next(i for i, change in enumerate(pair_changes) if change != STAYS)
        narrow_text, wide_text = (
            format_estimate(record.mean("excess")) for record in record_pairs[index]
        )
        return (
            f"{text} the excess goes from {narrow_text} to {wide_text}: IT DEPENDS ON THE WINDOW."
        )
    if changes == {None}:
        return f"{text} the excess COULD NOT BE COMPARED."
    return f"{text} no change of the excess is resolved."


# What the controls say, and hence what may not be concluded.


def describe_controls(group: Sequence[RelationRecord], rows: Sequence[Row]) -> Iterator[str]:
    """Yields sentences on the controls, and the conclusion.

    Args:
      group: Records of one packet in one domain.
      rows: Those of the accuracies.
    """
    network_records = selection.select_final_records(group)
    if network_records[0]["control"]:
        yield ("ONLY CONTROLS WERE MEASURED: this says nothing of a trained network.")
        return
    pairs_by_control = _match_controls(group, network_records)
    yield from _describe_differences(pairs_by_control, rows)
    yield from _describe_conclusion(group, pairs_by_control, rows)


def _match_controls(
    group: Sequence[RelationRecord], network_records: Sequence[RelationRecord]
) -> dict[str, list[RecordPair]]:
    """Returns (control, network) of every label, by the control's name."""
    others = [record for record in group if record["control"]]
    pairs_by_control = {}
    for name in dict.fromkeys(selection.format_network(record) for record in others):
        control_records = [record for record in others if selection.format_network(record) == name]
        pairs_by_control[name] = match_records(control_records, network_records)
    return {name: record_pairs for name, record_pairs in pairs_by_control.items() if record_pairs}


def _describe_differences(
    pairs_by_control: dict[str, list[RecordPair]], rows: Sequence[Row]
) -> Iterator[str]:
    """Yields a sentence for each way in which controls differ."""
    names_by_change: dict[str, list[str]] = {}
    for name, record_pairs in pairs_by_control.items():
        row = selection.find_accuracy_row(rows, record_pairs[0][0])
        description = f"{name} (TA {row.value:.1f} %)" if row else name
        names_by_change.setdefault(join_words(find_changed(record_pairs)), []).append(description)
    for change, names in names_by_change.items():
        others = f"{selection.pluralize(len(names), 'the control')} {join_words(names)}"
        if change:
            yield (f"Beyond three standard errors it differs in {change} from {others}.")
        else:
            yield f"No difference from {others} is resolved."


def _describe_conclusion(
    group: Sequence[RelationRecord],
    pairs_by_control: dict[str, list[RecordPair]],
    rows: Sequence[Row],
) -> Iterator[str]:
    temperature_pairs = match_temperatures(group)
    changed = find_changed(temperature_pairs) if temperature_pairs else []
    mixed_text = _describe_mixed(group, rows)
    if mixed_text:
        yield mixed_text
    if not pairs_by_control and not temperature_pairs:
        yield (
            "NO CONTROL WAS MEASURED: nothing may be said of what training or "
            "accuracy have to do with these numbers."
        )
    elif not (changed or mixed_text):
        yield ("Nothing here excludes a link with accuracy, and nothing proves it.")
    yield "One architecture and one seed make no law."


def _classify_accuracy(
    first: RelationRecord, second: RelationRecord, rows: Sequence[Row]
) -> str | None:
    """Returns how TA changes from one network to another."""
    accuracy_rows = [selection.find_accuracy_row(rows, record) for record in (first, second)]
    if None in accuracy_rows:
        return None
    return classify_change(*(row_to_estimate(row) for row in accuracy_rows))


def _describe_mixed(group: Sequence[RelationRecord], rows: Sequence[Row]) -> str:
    """Says whether a number rises with TA here and against it there."""
    plain_records = [record for record in group if record["temperature"] == 1]
    measure, name = next(iter(choose_compared(group).items()))
    names_by_change: dict[str, str] = {}
    for first, second in itertools.permutations(plain_records, 2):
        same_label = first["label"] == second["label"]
        if not (same_label and first["estimator"] == second["estimator"]):
            continue
        change = _classify_accuracy(first, second, rows)
        if classify_changes([(first, second)], measure) == [RISES]:
            names = f"from {selection.format_network(first)} to {selection.format_network(second)}"
            names_by_change.setdefault(str(change), names)
    if not {RISES, FALLS} <= set(names_by_change):
        return ""
    return (
        f"{name.capitalize()} does not follow TA: both rise {names_by_change[RISES]}, "
        f"but {name} rises and TA falls {names_by_change[FALLS]}."
    )


def format_summary(records: Iterable[tuple], rows: Sequence[Row]) -> str:
    """Returns a paragraph for each packet and domain, Markdown.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Measurements: the networks' accuracies, and the means of
        `uncertainty_rows.of_relation`.

    Raises:
      InputError: There is no record.
    """
    relation_records = uncertainty_records.build_records(records, rows)
    paragraphs = []
    for (packet, _), group in selection.group_by_setting(relation_records).items():
        key = packet, group[0].domain
        domain_records = [
            record for record in relation_records if (record["packet"], record.domain) == key
        ]
        sentences = [
            *describe_network(group),
            *describe_checks(domain_records),
            *describe_trends(group, domain_records, rows),
            *describe_controls(group, rows),
        ]
        paragraphs.append(" ".join(sentence for sentence in sentences if sentence))
    return "\n\n".join(paragraphs)
