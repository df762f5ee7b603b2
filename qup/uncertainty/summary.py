"""A summary of measured uncertainty relations: tables and fixed sentences, as Markdown.

```python
records = [uncertainty.records.load(path) for path in paths]
print(format_summary(records, rows))
```

The template states every finding in a fixed sentence; only its numbers depend on the data. A
difference counts as significant beyond three standard errors.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qup.core import extras
from qup.core.formatting import NOT_ESTIMATED, format_with_error
from qup.core.measurements import Row
from qup.uncertainty.checks import compute_z_quantile
from qup.uncertainty.importance import MIN_EFFECTIVE_SAMPLES
from qup.uncertainty.records import (
    MeanEstimate,
    RelationRecord,
    build_records,
    classify_difference,
    compute_difference,
    find_accuracy_row,
    find_accuracy_rows,
    format_attack,
    format_domain,
    format_estimator,
    format_network,
    group_by_setting,
    have_same_samples,
    select_final_records,
    select_most_exact,
    select_snapshots,
)

with extras.explain_missing("qup.uncertainty.summary"):
    import jinja2

# Groups of the jackknife minus 1, for records without this number.
_DEFAULT_DEGREES_OF_FREEDOM = 39
_PRODUCT = "uncertainty_product"
_TITLES = {_PRODUCT: "product", "excess": "excess"}
_ESTIMATOR_LABELS = {"importance": "IS", "mcmc": "HMC"}
_HALF = MeanEstimate(0.5, 0.0)

_TEMPLATE = jinja2.Template(
    """\
**{{ first.packet }} packet of {{ first.model }}{{ " on " + first.dataset if first.dataset }}: \
{{ domain }}**

{{ networks }}

Means over {{ unit }} ± one standard error. IS: importance sampling; HMC: Hamiltonian Monte Carlo. \
ESS: effective sample size, of HMC the median over the axes.\
{{ " Excess: product minus 1/2." if first.vanishes }}\
{{ " It is that of 1/2 / |corr(x, s)|, with less noise." if first.use_correlation_estimator }}
{%- if not first.vanishes %} <: an upper limit; noise hides the bound at more than half of the \
{{ unit }}.{% endif %}
{%- for name, row in accuracies.items() %} {{ name }}: percent of {{ row.n }} images\
{{ attack(row) }}.{% endfor +%}
{% if axes %}

Along single axes, {{ network(first) }}:

{{ axes }}
{% endif %}

{% if first.vanishes %}
- The packet vanishes at the boundary: B = 0 and the bound is exactly 1/2. Every network satisfies \
it (Cramér-Rao), so this is not a finding.
{% for width, sigma_x, sigma_p, count in window_widths %}
- A window of width {{ width }} without a network has sigma_x = {{ sigma_x }} and \
sigma_p = {{ sigma_p }}. {{ count }} of {{ num_labels }} relations of this network equal both \
within three standard errors.
{% endfor %}
- The excess over 1/2 is significant in {{ num_excess }} of {{ num_labels }} relations of this \
network.
{% else %}
- The packet does not vanish at the boundary: the bound is 1/2 |1 - B|. Every sample satisfies it \
(Cauchy-Schwarz), so this is not a finding.
- The product is significantly below the 1/2 of the paper's Eq. 14 in {{ num_below_eq14 }} of \
{{ num_labels }} relations of this network.
{% endif %}
{% for name, count, least, without, is_violated in matrices %}
- Matrix form between {{ count }} directions ({{ name }}): the smallest eigenvalue of \
Sigma - C P_c^-1 C^T is {{ least }}. It is never negative on a sample.
{% if without %}
- Without the boundary term ({{ name }}), the smallest eigenvalue of Sigma - P^-1/4 is \
{{ without }}: Eq. 14 {{ "FAILS" if is_violated else "is not seen to fail" }} for a combination of \
directions.
{% endif %}
{% endfor %}
- {{ num_passed }} of {{ num_checks }} checks passed.\
{{ " **NO CHECK WAS MADE.**" if not num_checks }}
{% for name, message in failed %}
- **CHECK FAILED** ({{ name }}): {{ message }} Do not rely on these numbers.
{% endfor %}
{% for name, count, total in below %}
- **PRODUCT BELOW 1/2** at {{ count }} of {{ total }} {{ unit }} ({{ name }}), by more than chance \
allows: the estimate is wrong.
{% endfor %}
{% for name, size in small %}
- **FEWER THAN {{ min_size }} EFFECTIVE SAMPLES** ({{ name }}): {{ size }}. Do not trust the errors.
{% endfor %}
{% for name, count, total in unknown %}
- **NOT ESTIMATED** ({{ name }}): the product at {{ count }} of {{ total }} {{ unit }}.
{% endfor %}
{% for name, reason in refused %}
- **NOT ESTIMATED** ({{ name }}): {{ reason }}
{% endfor %}
{% if differences %}

Differences, second minus first; *: more than three standard errors; same samples: the error is \
that of the difference itself.

{{ differences }}
{% endif %}

{% if changed_by_temperature %}
- Dividing the logits by T changes neither TA nor exact RA, but it changes \
{{ changed_by_temperature }}. So these are not functions of (TA, RA).
{% endif %}
{% if depends_on_width %}
- **THE EXCESS DEPENDS ON THE WINDOW'S WIDTH.**
{% endif %}
{% for measure, up, down in reversals %}
- The {{ measure }} does not follow TA: both rise from {{ up }}, but the {{ measure }} rises and \
TA falls from {{ down }}.
{% endfor %}
{% if only_controls %}
- **ONLY CONTROLS WERE MEASURED.** They say nothing about a trained network.
{% elif not has_controls %}
- **NO CONTROL WAS MEASURED.** Nothing can be concluded about training or accuracy.
{% endif %}
- This is one architecture and one seed.
""",
    trim_blocks=True,
)


def format_summary(
    records: Iterable[tuple], rows: Sequence[Row], settings: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Returns a section for each packet and domain.

    Args:
      records: Pairs of `records.load`.
      rows: Measurements: accuracies of the networks, and `measurements.build_relation_rows`.
      settings: Metadata of every analysis, also of those whose estimators all failed, with the
        reasons under "refused".

    Raises:
      InputError: There is no record.
    """
    all_records = build_records(records, rows)
    groups = group_by_setting(all_records)
    sections = []
    for (packet, domain), group in groups.items():
        further_widths = [
            record
            for record in all_records
            if (record["packet"], record.domain) == (packet, group[0].domain)
            and (packet, record["domain_text"]) not in groups
        ]
        failed_settings = [
            setting
            for setting in settings
            if setting["packet"] == packet
            and setting["domain"].partition(":")[0] == group[0].domain
            and not any(_is_of(record, setting) for record in group + further_widths)
            and (setting["domain"] == domain or (packet, setting["domain"]) not in groups)
        ]
        sections.append(_format_section(group, further_widths, failed_settings, rows))
    return "\n\n".join(sections)


def _is_of(record: RelationRecord, setting: Mapping[str, Any]) -> bool:
    names = ("model", "epochs", "control", "label", "temperature", "centre")
    return record["domain_text"] == setting["domain"] and all(
        record[name] == setting[name] for name in names
    )


def _format_section(
    group: Sequence[RelationRecord],
    further_widths: Sequence[RelationRecord],
    failed_settings: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
) -> str:
    records = [*group, *further_widths]
    final_records = select_final_records(group)
    refusals = [(record, record["refused"]) for record in records]
    refusals += [(setting, setting["refused"]) for setting in failed_settings]
    return _TEMPLATE.render(
        first=final_records[0],
        domain=format_domain(group),
        unit=final_records[0].unit,
        networks=format_table(_build_network_table(records, failed_settings, rows)),
        accuracies=_find_accuracies(records, rows),
        axes=format_table(_build_axis_table(final_records, rows)),
        attack=format_attack,
        network=format_network,
        refused=sorted(
            {
                (f"{_name_network(network)}, {format_estimator(estimator)}", reason)
                for network, reasons in refusals
                for estimator, reason in reasons.items()
            }
        ),
        **_summarize_bound(select_most_exact(final_records)),
        **_summarize_checks(records),
        **_summarize_comparisons(group, further_widths, rows),
    ).strip()


def _summarize_bound(records: Sequence[RelationRecord]) -> dict[str, Any]:
    """Returns the template's values on the bound, from a record for each label."""
    return {
        "num_labels": len(records),
        "window_widths": _compare_with_window(records),
        "num_excess": sum(classify_difference(r.mean("excess")) == 1 for r in records),
        "num_below_eq14": sum(
            classify_difference(_subtract(r.mean(_PRODUCT), _HALF)) == -1 for r in records
        ),
        "matrices": [_describe_matrix(record) for record in records if record["matrix"]],
    }


def _summarize_checks(records: Sequence[RelationRecord]) -> dict[str, Any]:
    """Returns the template's values on checks and on estimates that cannot be trusted."""
    checks = [(record, check) for record in records for check in record["checks"]]
    return {
        "num_checks": len(checks),
        "num_passed": sum(check["agrees"] for _, check in checks),
        "failed": [
            (_name_relation(record), check["words"])
            for record, check in checks
            if not check["agrees"]
        ],
        "below": _filter_counts(records, _count_below_half),
        "unknown": _filter_counts(records, _count_unknown),
        "min_size": MIN_EFFECTIVE_SAMPLES,
        "small": [
            (_name_relation(record), f"{record['effective_sample_size']:,.0f}")
            for record in records
            if (record["effective_sample_size"] or MIN_EFFECTIVE_SAMPLES) < MIN_EFFECTIVE_SAMPLES
        ],
    }


def _summarize_comparisons(
    group: Sequence[RelationRecord], further_widths: Sequence[RelationRecord], rows: Sequence[Row]
) -> dict[str, Any]:
    """Returns the template's values on differences between networks and settings."""
    comparisons = _list_comparisons(group, further_widths)

    def is_significant(kind: str, measure: str) -> bool:
        return any(
            classify_difference(compute_difference(*pair, measure))
            for pair_kind, pair in comparisons
            if pair_kind == kind
        )

    changed = [m for m in _choose_compared(group) if is_significant("temperature", m)]
    return {
        "differences": format_table(_build_difference_table(comparisons, rows)),
        "changed_by_temperature": ", ".join(_TITLES.get(m, m) for m in changed),
        "depends_on_width": is_significant("width", "excess"),
        "reversals": _find_reversals(group, rows),
        "only_controls": bool(select_final_records(group)[0]["control"]),
        "has_controls": any(kind in ("control", "temperature") for kind, _ in comparisons),
    }


def _format_mean(mean: MeanEstimate) -> str:
    return format_with_error(mean.value, mean.stderr)


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns an aligned Markdown table, or "" without rows."""
    if not rows:
        return ""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in table]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _build_network_table(
    records: Sequence[RelationRecord], failed_settings: Iterable[Mapping], rows: Sequence[Row]
) -> list[dict[str, str]]:
    table = []
    for record in records:
        r_hat = record["diagnostics"].get("r_hat")
        num_passed = sum(check["agrees"] for check in record["checks"])
        table.append(
            {
                **_format_network_cells(record, record["domain_text"], rows),
                "by": _ESTIMATOR_LABELS.get(record["estimator"], record["estimator"]),
                "sigma_x": _format_mean(record.mean("sigma_x")),
                "sigma_p": _format_mean(record.mean("sigma_p")),
                "product": _format_mean(record.mean(_PRODUCT)),
                "excess": _format_mean(record.mean("excess")) if record["vanishes"] else "-",
                "bound": _format_bound(record),
                "B": _format_mean(record.mean("boundary_term")),
                "ESS": f"{record['effective_sample_size'] or record['n']:,.0f}",
                "n": f"{record['n']:,}",
                "R-hat": "-" if r_hat is None else f"{r_hat:.4f}",
                "checks": f"{num_passed}/{len(record['checks'])}"
                + " FAILED" * (num_passed < len(record["checks"])),
            }
        )
    for setting in failed_settings:
        cells = _format_network_cells(setting, setting["domain"], rows)
        table.append({**dict.fromkeys(table[0], "-"), **cells, "product": NOT_ESTIMATED})
    return table


def _format_network_cells(
    network: RelationRecord | Mapping, domain: str, rows: Sequence[Row]
) -> dict[str, str]:
    accuracies = find_accuracy_rows(rows, network)
    return {
        "network": format_network(network),
        "label": "-" if network["label"] is None else str(network["label"]),
        "domain": domain,
        **{
            title: f"{accuracies[measure].value:.2f}" if measure in accuracies else "-"
            for title, measure in (("TA", "test_accuracy"), ("RA", "robust_accuracy"))
        },
    }


def _format_bound(record: RelationRecord) -> str:
    """Returns the bound: an upper limit where noise hides it at more than half of the axes."""
    if record["vanishes"]:
        return "1/2"
    bound = record.mean("uncertainty_bound")
    value, error = record.pixel_values("covariance")
    is_exact = np.abs(value) + error < 1e-9
    is_noise = np.mean((np.abs(value) > 2 * error) | is_exact) < 0.5
    if is_noise and math.isfinite(bound.value) and bound.value > 0:
        return f"< {bound.value:.4g}"
    return _format_mean(bound)


def _build_axis_table(
    records: Sequence[RelationRecord], rows: Sequence[Row]
) -> list[dict[str, str]]:
    """Returns the axes with their own rows."""
    axis_names = dict.fromkeys(row.parameters["axis"] for row in rows if "axis" in row.parameters)
    measures = ("sigma_x", "sigma_p", _PRODUCT, "uncertainty_bound")
    return [
        {
            "axis": name,
            "label": str(record["label"]),
            "by": _ESTIMATOR_LABELS.get(record["estimator"], record["estimator"]),
            **{
                measure.removeprefix("uncertainty_"): _format_mean(record.axis_value(measure, name))
                for measure in measures
            },
        }
        for record in records
        for name in axis_names
        if name in record.names
    ]


def _find_accuracies(networks: Iterable[RelationRecord], rows: Sequence[Row]) -> dict[str, Row]:
    accuracies: dict[str, Row] = {}
    for network in networks:
        for measure, row in find_accuracy_rows(rows, network).items():
            accuracies.setdefault("TA" if measure == "test_accuracy" else "RA", row)
    return accuracies


def _name_network(network: RelationRecord | Mapping) -> str:
    domain = network["domain_text"] if isinstance(network, RelationRecord) else network["domain"]
    label = [] if network["label"] is None else [f"label {network['label']}"]
    return ", ".join([format_network(network), *label, domain])


def _name_relation(record: RelationRecord) -> str:
    return f"{_name_network(record)}, {format_estimator(record['estimator'])}"


def _subtract(first: MeanEstimate, second: MeanEstimate) -> MeanEstimate:
    return MeanEstimate(first.value - second.value, math.hypot(first.stderr, second.stderr))


def _compare_with_window(records: Sequence[RelationRecord]) -> Iterator[tuple]:
    """Yields width, sigma_x and sigma_p of a window alone, and how many relations equal both."""
    width = records[0].width
    if not math.isfinite(width):
        return
    window = {"sigma_x": width * 0.5**0.5, "sigma_p": 0.5**0.5 / width}
    num_equal = sum(
        all(
            classify_difference(_subtract(record.mean(measure), MeanEstimate(value, 0.0))) == 0
            for measure, value in window.items()
        )
        for record in records
    )
    yield f"{width:g}", *(f"{value:.4g}" for value in window.values()), num_equal


def _describe_matrix(record: RelationRecord) -> tuple:
    """Returns the record's name, number of directions and smallest eigenvalues."""
    least, without = (
        MeanEstimate(*record["matrix"][name]) for name in ("least", "least_vanishing")
    )
    return (
        _name_relation(record),
        record["matrix"]["count"],
        _format_mean(least),
        # In a window noise alone makes it negative.
        None if record["vanishes"] else _format_mean(without),
        classify_difference(without) == -1,
    )


def _count_below_half(record: RelationRecord) -> int:
    """Returns at how many axes the product is below the bound of 1/2 beyond chance."""
    if not record["vanishes"]:
        return 0
    value, error = record.pixel_values(_PRODUCT)
    degrees_of_freedom = record.metadata.get("freedom", _DEFAULT_DEGREES_OF_FREEDOM)
    threshold = compute_z_quantile(len(value), degrees_of_freedom)
    return int(np.sum(0.5 - value > threshold * np.maximum(error, 1e-6)))


def _count_unknown(record: RelationRecord) -> int:
    mean = record.mean(_PRODUCT)
    return mean.n - mean.num_known


def _filter_counts(records: Iterable[RelationRecord], count) -> list[tuple[str, int, int]]:
    counts = ((record, count(record)) for record in records)
    return [(_name_relation(r), number, r.mean(_PRODUCT).n) for r, number in counts if number]


RecordPair = tuple[RelationRecord, RelationRecord]


def _choose_compared(records: Sequence[RelationRecord]) -> tuple[str, ...]:
    """Returns the measures to compare: the excess where it has less noise than the product."""
    first_measure = "excess" if records[0].use_correlation_estimator else _PRODUCT
    return first_measure, "sigma_x", "sigma_p"


def _list_comparisons(
    group: Sequence[RelationRecord], further_widths: Sequence[RelationRecord]
) -> list[tuple[str, RecordPair]]:
    """Returns pairs of records by kind: "epochs", "temperature", "width" and "control"."""
    final_records = select_final_records(group)
    snapshots = select_snapshots(group)
    series = {
        "epochs": (snapshots, lambda record: record["epochs"]),
        "temperature": (
            [
                record
                for record in group
                if (record["control"], record["epochs"])
                == (final_records[0]["control"], final_records[0]["epochs"])
            ],
            lambda record: record["temperature"],
        ),
        "width": (
            [
                record
                for record in select_final_records([*group, *further_widths])
                if math.isfinite(record.width)
            ],
            lambda record: record.width,
        ),
    }
    comparisons = []
    for kind, (records, get_value) in series.items():
        values = sorted({get_value(record) for record in records})
        if len(values) > 1:
            first_and_last = (
                [r for r in records if get_value(r) == end] for end in (values[0], values[-1])
            )
            comparisons += [(kind, pair) for pair in _match_records(*first_and_last)]
    if not final_records[0]["control"]:
        controls: dict[str, list[RelationRecord]] = {}
        for record in group:
            if record["control"]:
                controls.setdefault(format_network(record), []).append(record)
        for records in controls.values():
            comparisons += [("control", pair) for pair in _match_records(records, final_records)]
    return comparisons


def _match_records(
    first: Sequence[RelationRecord], second: Sequence[RelationRecord]
) -> list[RecordPair]:
    """Returns a pair for each label, of one estimator if possible, with the smallest error."""

    def get_error(pair: RecordPair) -> float:
        error = compute_difference(*pair, _choose_compared(pair)[0]).stderr
        return error if math.isfinite(error) else math.inf

    pairs = []
    for label in dict.fromkeys(record["label"] for record in first):
        candidates = [(a, b) for a in first for b in second if a["label"] == b["label"] == label]
        same_estimator = [(a, b) for a, b in candidates if a["estimator"] == b["estimator"]]
        if candidates:
            pairs.append(min(same_estimator or candidates, key=get_error))
    return pairs


def _build_difference_table(
    comparisons: Iterable[tuple[str, RecordPair]], rows: Sequence[Row]
) -> list[dict[str, str]]:
    table = []
    for kind, (first, second) in comparisons:
        names = [format_network(first), format_network(second)]
        if kind == "width":
            names = [first["domain_text"], second["domain_text"]]
        cells = {
            "first": names[0],
            "second": names[1],
            "label": "-" if first["label"] is None else str(first["label"]),
            "same samples": "yes" if have_same_samples(first, second) else "no",
        }
        for measure in _choose_compared([first]):
            # Other widths have other sigma_x and sigma_p by definition.
            is_compared = kind != "width" or measure == "excess"
            difference = compute_difference(first, second, measure)
            cells[_TITLES.get(measure, measure)] = (
                _format_difference(difference) if is_compared else "-"
            )
        for title, measure in (("TA", "test_accuracy"), ("RA", "robust_accuracy")):
            difference = _compare_accuracies(first, second, rows, measure)
            cells[title] = "-" if difference is None else _format_difference(difference)
        table.append(cells)
    return table


def _format_difference(difference: MeanEstimate) -> str:
    return _format_mean(difference) + " *" * bool(classify_difference(difference))


def _compare_accuracies(
    first: RelationRecord,
    second: RelationRecord,
    rows: Sequence[Row],
    measure: str = "test_accuracy",
) -> MeanEstimate | None:
    """Returns the difference of an accuracy in percent, or None where one is unknown."""
    accuracies = [find_accuracy_row(rows, record, measure) for record in (first, second)]
    if None in accuracies:
        return None
    before, after = (
        MeanEstimate(row.value, math.nan if row.stderr is None else row.stderr)
        for row in accuracies
    )
    return _subtract(after, before)


def _find_reversals(
    group: Sequence[RelationRecord], rows: Sequence[Row]
) -> list[tuple[str, str, str]]:
    """Returns (measure, networks, networks) where a measure rises with TA and against it."""
    measure = _choose_compared(group)[0]
    names_by_sign: dict[int | None, str] = {}
    records = [record for record in group if record["temperature"] == 1]
    for first, second in itertools.permutations(records, 2):
        if (first["label"], first["estimator"]) != (second["label"], second["estimator"]):
            continue
        difference = _compare_accuracies(first, second, rows)
        if difference and classify_difference(compute_difference(first, second, measure)) == 1:
            names = f"{format_network(first)} to {format_network(second)}"
            names_by_sign.setdefault(classify_difference(difference), names)
    if not {1, -1} <= set(names_by_sign):
        return []
    return [(_TITLES[measure], names_by_sign[1], names_by_sign[-1])]
