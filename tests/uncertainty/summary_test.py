"""Tables and sentences of the summary follow from the numbers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from qup import uncertainty
from qup.core import errors
from qup.core.measurements import Row
from qup.uncertainty import checks as uncertainty_checks
from qup.uncertainty import importance, summary
from qup.uncertainty import records as uncertainty_records
from tests.uncertainty.synthetic import accuracy, check, record, run


def _summarize(*records, rows=(), settings=()):
    return summary.format_summary(list(records), list(rows), list(settings))


def _read_table(text, first_column):
    """Returns the rows of the Markdown table that begins with a column of this name."""
    lines = iter(text.splitlines())
    for line in lines:
        names = [cell.strip() for cell in line.strip("|").split("|")]
        if names[0] == first_column:
            break
    else:
        return []
    next(lines)
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = (cell.strip() for cell in line[1:-1].split("|"))
        table.append(dict(zip(names, cells, strict=True)))
    return table


def _column(value, index, changed):
    column = np.full(16, value)
    column[index] = changed
    return column


def test_networks_have_their_numbers_with_errors():
    text = _summarize(record(changes={"sigma_x": (0.0712, 0.0014)}), rows=accuracy(95.0, robust=20))
    assert text.startswith(
        "**loss packet of tiny on toy: Gaussian window of width s = 0.1 around the class mean**"
    )
    assert "Means over pixels ± one standard error" in text
    assert "RA: percent of 500 images (pgd, ε = 0.1)." in text
    (row,) = _read_table(text, "network")
    assert row == {
        "network": "5 epochs",
        "label": "3",
        "domain": "window:0.1",
        "TA": "95.00",
        "RA": "20.00",
        "by": "IS",
        "sigma_x": "0.0712 ± 0.0014",
        "sigma_p": "7.071 ± 0.010",
        "product": "0.5003 ± 0.0010",
        "excess": "(3.00 ± 0.10)e-4",
        "bound": "1/2",
        "B": "0.000 ± 0.020",
        "ESS": "4,000",
        "n": "5,000",
        "R-hat": "-",
        "checks": "1/1",
    }
    (row,) = _read_table(_summarize(record(estimator="mcmc")), "network")
    assert (row["by"], row["R-hat"]) == ("HMC", "1.0020")


def test_the_bound_is_one_half_in_a_window_and_another_number_on_the_box():
    window, box = _summarize(record()), _summarize(record(domain_text="box"))
    assert "exactly 1/2" in window
    assert "Eq. 14" not in window
    assert "the bound is 1/2 |1 - B|" in box
    (row,) = _read_table(box, "network")
    assert (row["bound"], row["B"]) == ("0.00400 ± 0.00020", "0.99200 ± 0.00040")
    assert row["excess"] == "-"
    assert "below the 1/2 of the paper's Eq. 14 in 1 of 1 relations" in box
    for text in (window, box):
        assert "not a finding" in text


def test_on_the_box_one_half_is_missed_only_beyond_the_error():
    near = record(domain_text="box", changes={"uncertainty_product": (0.45, 0.02)})
    assert "Eq. 14 in 0 of 1 relations" in _summarize(near)


def test_a_noisy_bound_is_an_upper_limit():
    noise = record(domain_text="box", changes={"covariance": (-0.004, 0.003)})
    (row,) = _read_table(_summarize(noise), "network")
    assert row["bound"] == "< 0.004"


def test_an_excess_is_significant_beyond_three_errors_only():
    for error, count in ((0.00009, 1), (0.00011, 0)):
        changes = {"product_by_correlation": (0.5003, error)}
        text = _summarize(record(changes=changes))
        assert f"excess over 1/2 is significant in {count} of 1 relations" in text


def test_the_widths_of_the_window_alone_are_recognised():
    sentence = "{} of 1 relations of this network equal both within three standard errors"
    text = _summarize(record())
    assert "has sigma_x = 0.07071 and sigma_p = 7.071" in text
    assert sentence.format(1) in text
    assert sentence.format(0) in _summarize(record(changes={"sigma_x": (0.08, 0.001)}))
    assert "without a network" not in _summarize(record(domain_text="sine"))


def test_a_product_below_its_bound_is_flagged():
    product = _column(0.5003, 2, 0.48), 1e-3
    text = _summarize(record(changes={"uncertainty_product": product}))
    assert "**PRODUCT BELOW 1/2** at 1 of 16 pixels (5 epochs, label 3, window:0.1" in text
    assert "BELOW" not in _summarize(record())


def test_an_unknown_number_is_never_a_value():
    some = record(changes={"uncertainty_product": (_column(0.5, 4, np.nan), 1e-3)})
    text = _summarize(some)
    assert "importance sampling): the product at 1 of 16 pixels" in text
    assert _read_table(text, "network")[0]["product"] == "0.5000 ± 0.0010"
    names = (
        "uncertainty_product",
        "product_by_correlation",
        "sigma_p",
        "uncertainty_bound",
        "covariance",
    )
    for domain in ("window:0.1", "box"):
        nothing = record(domain_text=domain, changes=dict.fromkeys(names, (np.nan, np.nan)))
        text = _summarize(nothing)
        (row,) = _read_table(text, "network")
        assert row["product"] == row["sigma_p"] == "not estimated"
        assert "the product at 16 of 16 pixels" in text
        assert "nan" not in text.lower()
        assert "significant in 1" not in text and "<" not in row["bound"]


def test_an_unknown_number_is_not_compared():
    unknown = {"product_by_correlation": (np.nan, np.nan)}
    text = _summarize(record(epochs=1, changes=unknown), record())
    assert _read_table(text, "first")[0]["excess"] == "not estimated"


def test_few_effective_samples_are_flagged():
    assert "FEWER THAN 500" in _summarize(record(effective_sample_size=420.0))
    assert "FEWER THAN 500" not in _summarize(record())


def test_a_failed_check_is_flagged_and_a_passed_one_is_not():
    bad = check("faces", furthest=7.3)
    text = _summarize(record(checks=[check(), bad], domain_text="box"))
    assert "- 1 of 2 checks passed." in text
    assert f"**CHECK FAILED** (5 epochs, label 3, box, importance sampling): {bad['words']}" in text
    assert "Do not rely" in text
    assert _read_table(text, "network")[0]["checks"] == "1/2 FAILED"
    good = _summarize(record(checks=[check(), check("chains", 1.002, 1.01)]))
    assert "2 of 2 checks passed" in good
    assert "FAILED" not in good
    assert "NO CHECK WAS MADE" in _summarize(record(checks=[]))


def test_every_failed_check_is_listed():
    text = _summarize(
        record(checks=[check(furthest=5.0)]),
        record(label=8, checks=[check(furthest=9.0)]),
        record(label=9, checks=[check(furthest=np.nan, agrees=False)]),
    )
    assert "0 of 3 checks passed" in text
    assert text.count("**CHECK FAILED**") == 3


def test_refused_estimates_are_listed_with_their_reasons():
    text = _summarize(record(refused={"mcmc": "Too few samples."}))
    assert "**NOT ESTIMATED** (5 epochs, label 3, window:0.1, MCMC): Too few samples." in text
    assert "NOT ESTIMATED" not in _summarize(record())


def test_a_network_without_any_estimate_has_a_line():
    _, setting = record(temperature=0.25, refused={"importance": "Too few samples."})
    setting["domain"] = setting.pop("domain_text")
    text = _summarize(record(), rows=accuracy(95.0), settings=[setting])
    _, row = _read_table(text, "network")
    assert (row["network"], row["TA"]) == ("5 epochs, T = 0.25", "95.00")
    assert (row["product"], row["sigma_x"]) == ("not estimated", "-")
    assert "(5 epochs, T = 0.25, label 3, window:0.1, importance sampling): Too few" in text


def test_epochs_are_compared_next_to_ta_and_ra():
    early = record(epochs=1, changes={"product_by_correlation": (0.5001, 1e-6)})
    rows = accuracy(80.0, epochs=1, robust=31.0) + accuracy(95.0, robust=30.0)
    (row,) = _read_table(_summarize(early, record(), rows=rows), "first")
    assert row == {
        "first": "1 epoch",
        "second": "5 epochs",
        "label": "3",
        "same samples": "no",
        "excess": "(2.00 ± 0.10)e-4 *",
        "sigma_x": "(0.0 ± 1.4)e-4",
        "sigma_p": "0.000 ± 0.014",
        "TA": "15.0 ± 1.4 *",
        "RA": "-1.0 ± 1.4",
    }


def test_every_label_is_compared():
    def box(label, epochs, value):
        changes = {"sigma_p": (value, 1e-4)}
        return record(domain_text="box", label=label, epochs=epochs, changes=changes)

    text = _summarize(box(1, 1, 0.1), box(1, 5, 0.2), box(2, 1, 0.2), box(2, 5, 0.1))
    differences = {row["label"]: row["sigma_p"] for row in _read_table(text, "first")}
    assert differences == {"1": "0.10000 ± 0.00014 *", "2": "-0.10000 ± 0.00014 *"}


def test_a_number_that_changes_with_temperature_is_no_function_of_accuracy():
    sentence = "Dividing the logits by T changes neither TA nor exact RA"
    same = _summarize(record(), record(temperature=4.0))
    assert _read_table(same, "first")[0]["second"] == "5 epochs, T = 4"
    assert sentence not in same
    moved = _summarize(record(), record(temperature=4.0, changes={"sigma_p": (6.0, 1e-2)}))
    assert f"{sentence}, but it changes sigma_p." in moved
    assert "not functions of (TA, RA)" in moved
    assert _read_table(moved, "first")[0]["sigma_p"] == "-1.071 ± 0.014 *"


def test_a_dependence_on_the_window_is_flagged():
    wide = record(domain_text="window:0.2", changes={"product_by_correlation": (0.51, 1e-4)})
    text = _summarize(record(), record(epochs=1), wide)
    row = _read_table(text, "first")[-1]
    assert (row["first"], row["second"]) == ("window:0.1", "window:0.2")
    assert (row["excess"], row["sigma_x"]) == ("0.00970 ± 0.00010 *", "-")
    assert "DEPENDS ON THE WINDOW" in text
    steady = _summarize(record(), record(epochs=1), record(domain_text="window:0.2"))
    assert "DEPENDS" not in steady


def test_the_matrix_form_of_directions():
    form = {"count": 11, "least": [2e-6, 3e-7], "least_vanishing": [-1e-5, 1e-6]}
    text = _summarize(record(matrix=form))
    assert "Matrix form between 11 directions" in text
    assert "Sigma - C P_c^-1 C^T is (2.00 ± 0.30)e-6. It is never negative on a sample." in text
    # In a window noise alone makes the other one negative.
    assert "boundary term" not in text
    box = _summarize(record(domain_text="box", matrix=form))
    assert "Sigma - P^-1/4 is (-1.00 ± 0.10)e-5: Eq. 14 FAILS" in box
    form = {**form, "least_vanishing": [-2e-6, 1e-6]}
    assert "is not seen to fail" in _summarize(record(domain_text="box", matrix=form))
    assert "eigenvalue" not in _summarize(record())
    unknown = _summarize(record(matrix={**form, "least": [np.nan, np.nan]}))
    assert "Sigma - C P_c^-1 C^T is not estimated" in unknown


def test_controls_are_compared_with_the_network():
    rows = accuracy(95.0) + accuracy(10.0, epochs=0, control="untrained")
    twin = record(control="untrained", epochs=0)
    text = _summarize(record(), twin, rows=rows)
    (row,) = _read_table(text, "first")
    assert (row["first"], row["second"], row["TA"]) == ("untrained", "5 epochs", "85.0 ± 1.4 *")
    assert "*" not in row["excess"] + row["sigma_x"] + row["sigma_p"]
    other = record(control="untrained", epochs=0, changes={"sigma_p": (6.0, 1e-2)})
    (row,) = _read_table(_summarize(record(), other, rows=rows), "first")
    assert row["sigma_p"] == "1.071 ± 0.014 *"


def test_a_number_that_does_not_follow_accuracy_is_named():
    def box(value, **metadata):
        changes = {"uncertainty_product": (value, 1e-4)}
        return record(domain_text="box", changes=changes, **metadata)

    rows = accuracy(80.0, epochs=1) + accuracy(95.0)
    rows += accuracy(10.0, control="random_labels")
    records = [box(0.01, epochs=1), box(0.03)]
    text = _summarize(*records, box(0.05, control="random_labels"), rows=rows)
    assert "The product does not follow TA: both rise from 1 epoch to 5 epochs" in text
    text = _summarize(*records, box(0.005, control="random_labels"), rows=rows)
    assert "does not follow" not in text


def test_without_controls_nothing_is_concluded():
    assert "NO CONTROL WAS MEASURED" in _summarize(record())
    only = _summarize(record(control="constant", epochs=0))
    assert "ONLY CONTROLS WERE MEASURED" in only


def test_the_mean_of_a_row_goes_before_that_of_the_axes():
    parameters = {
        "control": "",
        "label": 3,
        "packet": "loss",
        "temperature": 1.0,
        "domain": "window:0.1",
        "centre": "mean",
        "estimator": "importance",
        "over": "pixels",
        "statistic": "mean",
    }
    row = Row(
        dataset="toy",
        model="tiny",
        classifier="CL",
        attack="",
        epsilon=None,
        measure="uncertainty_product",
        value=0.50021,
        stderr=2e-5,
        n=5000,
        epochs=5,
        seed=0,
        parameters=parameters,
    )
    assert "0.500210 ± 0.000020" in _summarize(record(), rows=[row])
    row = dataclasses.replace(row, parameters={**parameters, "label": 4})
    assert "0.500210" not in _summarize(record(), rows=[row])


def test_named_axes_have_a_table():
    rows = accuracy(95.0, axis="pca:1")
    text = _summarize(record(directions=2), rows=rows)
    (axis,) = _read_table(text, "axis")
    assert axis == {
        "axis": "pca:1",
        "label": "3",
        "by": "IS",
        "sigma_x": "0.07071 ± 0.00010",
        "sigma_p": "7.071 ± 0.010",
        "product": "0.5003 ± 0.0010",
        "bound": "0.5 ± 0",
    }


def test_a_run_has_a_section_and_the_box_another():
    records, rows = run()
    text = summary.format_summary(records, rows)
    assert len(_read_table(text, "network")) == len(records)
    assert len(_read_table(text, "first")) == 5
    assert "{" not in text and "\n\n\n" not in text
    box = [record(domain_text="box")]
    both = summary.format_summary(records + box, rows)
    assert both.startswith(text)
    assert both.count("packet of tiny on toy") == 2


def test_no_record_is_refused():
    with pytest.raises(errors.InputError, match="at least one"):
        summary.format_summary([], [])


def test_a_real_relation_as_saved(tmp_path):
    packet = uncertainty.of_function(lambda x: tf.zeros_like(x[:, 0]), dimensions=4)
    window = uncertainty.GaussianWindow(np.full(4, 0.5), 0.2)
    relation = importance.relation(packet, window, num_samples=2000, batch_size=50)
    path = tmp_path / "importance.npz"
    checks = [
        {**vars(check), "words": check.message}
        for check in uncertainty_checks.check_relation(relation)
    ]
    uncertainty_records.save(path, relation, label=None, domain_text="window:0.2", checks=checks)
    text = _summarize(uncertainty_records.load(path))
    # A constant loss: the window alone, 1/2 and nothing more.
    assert "1 of 1 relations of this network equal both" in text
    assert "excess over 1/2 is significant in 0 of 1" in text
    assert "3 of 3 checks passed" in text
