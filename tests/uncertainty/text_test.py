"""The words on a measured relation follow from its numbers."""

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


def _words(*records, rows=()):
    return summary.format_summary(list(records), list(rows))


def _column(value, place, changed):
    column = np.full(16, value)
    column[place] = changed
    return column


def test_tells_what_was_measured_and_the_numbers_with_their_errors():
    words = _words(record(changes={"sigma_x": (0.0712, 0.0014)}))
    assert "loss packet of tiny on toy, 5 epochs, label 3" in words
    assert "window of width s = 0.1 around the class mean" in words
    assert "16 pixels by importance sampling (5,000 samples" in words
    assert "effective size 4,000" in words
    assert "0.5003 ± 0.0010" in words
    assert "sigma_x 0.0712 ± 0.0014" in words


def test_the_bound_is_one_half_in_a_window_and_another_number_on_the_box():
    window, box = _words(record()), _words(record(domain_text="box"))
    assert "exactly 1/2" in window
    assert "Eq. 14" not in window
    assert "1/2 |1 - B|, on average 0.00400 ± 0.00020" in box
    assert "below the 1/2 of the paper's Eq. 14" in box
    for words in (window, box):
        assert "no finding" in words


def test_on_the_box_one_half_is_missed_only_beyond_the_error():
    near = record(domain_text="box", changes={"uncertainty_product": (0.45, 0.02)})
    assert "Eq. 14" not in _words(near)


def test_a_bound_that_is_noise_is_said_to_be():
    noise = record(domain_text="box", changes={"covariance": (-0.004, 0.003)})
    assert "mostly noise" in _words(noise)
    assert "mostly noise" not in _words(record(domain_text="box"))


def test_an_excess_is_named_beyond_three_errors_only():
    seen = {"product_by_correlation": (0.5003, 0.00009)}
    unseen = {"product_by_correlation": (0.5003, 0.00011)}
    assert "is (3.00 ± 0.90)e-4" in _words(record(changes=seen))
    assert "No excess over 1/2" in _words(record(changes=unseen))


def test_widths_of_the_window_alone_are_recognised():
    alone = "those of the window without any network"
    assert alone in _words(record())
    assert alone not in _words(record(changes={"sigma_x": (0.08, 0.001)}))
    assert alone not in _words(record(domain_text="sine"))


def test_a_product_below_its_bound_is_flagged():
    product = _column(0.5003, 2, 0.48), 1e-3
    words = _words(record(changes={"uncertainty_product": product}))
    assert "AT 1 PIXEL THE PRODUCT IS BELOW 1/2" in words
    assert "BELOW" not in _words(record())


def test_what_could_not_be_estimated_is_said_so_and_never_a_value():
    some = record(changes={"uncertainty_product": (_column(0.5, 4, np.nan), 1e-3)})
    words = _words(some)
    assert "At 1 of 16 pixels the product COULD NOT BE ESTIMATED" in words
    assert "the product 0.5000 ± 0.0010" in words
    for domain in ("window:0.1", "box"):
        nothing = record(
            domain_text=domain,
            changes={
                name: (np.nan, np.nan)
                for name in (
                    "uncertainty_product",
                    "product_by_correlation",
                    "sigma_p",
                    "uncertainty_bound",
                    "covariance",
                )
            },
        )
        words = _words(nothing)
        assert "The product and sigma_p COULD NOT BE ESTIMATED" in words
        assert "nan" not in words.lower()
        assert "mostly noise" not in words


def test_nothing_is_compared_with_what_is_not_known():
    unknown = {"product_by_correlation": (np.nan, np.nan)}
    words = _words(record(epochs=1, changes=unknown), record())
    assert "the excess COULD NOT BE COMPARED" in words


def test_few_effective_samples_are_flagged():
    assert "FEWER THAN 500" in _words(record(effective_sample_size=420.0))
    assert "FEWER THAN 500" not in _words(record())


def test_a_failed_check_is_flagged_and_a_passed_one_is_not():
    bad = check("faces", furthest=7.3)
    words = _words(record(checks=[check(), bad], domain_text="box"))
    assert "**1 OF 2 CHECKS FAILED.**" in words
    assert bad["words"] in words
    assert "Do not rely" in words
    good = _words(record(checks=[check(), check("chains", 1.002, 1.01)]))
    assert "All 2 checks that can fail have passed" in good
    assert "FAILED" not in good
    assert "NO CHECK WAS MADE" in _words(record(checks=[]))


def test_of_several_failures_the_worst_is_told_and_the_others_are_counted():
    words = _words(
        record(checks=[check(furthest=5.0)]),
        record(label=8, checks=[check(furthest=9.0)]),
        record(label=9, checks=[check(furthest=np.nan, agrees=False)]),
    )
    assert "3 OF 3 CHECKS FAILED" in words
    assert "Label 9, 5 epochs, s = 0.1, importance sampling and 2 more" in words


def test_what_was_refused_is_told():
    words = _words(record(refused={"mcmc": "Too few samples."}))
    assert "By MCMC 1 relation COULD NOT BE ESTIMATED" in words
    assert "COULD NOT" not in _words(record())


def test_epochs_are_compared_beside_ta_and_ra():
    early = record(epochs=1, changes={"product_by_correlation": (0.5001, 1e-6)})
    rows = accuracy(80.0, epochs=1, robust=31.0) + accuracy(95.0, robust=30.0)
    words = _words(early, record(), rows=rows)
    assert "From 1 to 5 epochs TA rises from 80.0 to 95.0 %" in words
    assert "RA (pgd, ε = 0.1) goes from 31.0 to 30.0 % (within" in words
    assert "the excess rises from 0.0001 to 0.0003" in words
    assert "no change of sigma_x and sigma_p is resolved" in words
    falls = _words(record(epochs=1), record(changes={"product_by_correlation": (0.5001, 1e-6)}))
    assert "the excess falls from 0.0003 to 0.0001" in falls


def test_labels_that_move_apart_are_counted():
    def box(label, epochs, value):
        changes = {"sigma_p": (value, 1e-4)}
        return record(domain_text="box", label=label, epochs=epochs, changes=changes)

    words = _words(box(1, 1, 0.1), box(1, 5, 0.2), box(2, 1, 0.2), box(2, 5, 0.1))
    assert "sigma_p rises for 1 of 2 labels and falls for 1 of 2" in words


def test_temperature_moves_or_does_not():
    same = _words(record(), record(temperature=4.0))
    assert "from T = 1 to 4 no change of the excess, sigma_x and" in same
    assert "no function of TA and RA" not in same
    moved = _words(record(), record(temperature=4.0, changes={"sigma_p": (6.0, 1e-2)}))
    assert "sigma_p falls from 7.07 to 6" in moved
    assert "sigma_p is no function of TA and RA" in moved


def test_a_dependence_on_the_window_is_flagged():
    wide = record(domain_text="window:0.2", changes={"product_by_correlation": (0.51, 1e-4)})
    words = _words(record(), record(epochs=1), wide)
    assert "From s = 0.1 to 0.2" in words
    assert "IT DEPENDS ON THE WINDOW" in words
    steady = _words(record(), record(epochs=1), record(domain_text="window:0.2"))
    assert "DEPENDS" not in steady


def test_the_matrix_form_is_told_of_directions():
    form = {"count": 11, "least": [2e-6, 3e-7], "least_vanishing": [-1e-5, 1e-6]}
    words = _words(record(matrix=form))
    assert "Of the 11 directions together the smallest eigenvalue" in words
    assert "from its bound, is (2.00 ± 0.30)e-6: on no sample" in words
    # In a window noise alone takes it below 0.
    assert "boundary term" not in words
    box = record(domain_text="box", matrix=form)
    assert "is (-1.00 ± 0.10)e-5: the paper's bound is broken" in _words(box)
    form = {**form, "least_vanishing": [-2e-6, 1e-6]}
    box = record(domain_text="box", matrix=form)
    assert "is not seen to be broken" in _words(box)
    assert "eigenvalue" not in _words(record())
    unknown = {**form, "least": [np.nan, np.nan]}
    words = _words(record(matrix=unknown))
    assert "The matrix form COULD NOT BE ESTIMATED" in words


def test_controls_that_differ_and_controls_that_do_not():
    rows = accuracy(95.0) + accuracy(10.0, epochs=0, control="untrained")
    twin = record(control="untrained", epochs=0)
    words = _words(record(), twin, rows=rows)
    assert "No difference from the control untrained (TA 10.0 %) is" in words
    other = record(control="untrained", epochs=0, changes={"sigma_p": (6.0, 1e-2)})
    words = _words(record(), other, rows=rows)
    assert "differs in sigma_p from the control untrained" in words


def test_a_control_of_the_same_accuracy_proves_nothing():
    rows = accuracy(95.0) + accuracy(95.5, control="other")
    words = _words(record(), record(control="other"), rows=rows)
    assert "No difference from the control other" in words
    assert "Nothing here excludes a link" in words


def test_a_number_that_does_not_follow_accuracy_is_named():
    def box(value, **told):
        changes = {"uncertainty_product": (value, 1e-4)}
        return record(domain_text="box", changes=changes, **told)

    rows = accuracy(80.0, epochs=1) + accuracy(95.0)
    rows += accuracy(10.0, control="random_labels")
    records = [box(0.01, epochs=1), box(0.03)]
    words = _words(*records, box(0.05, control="random_labels"), rows=rows)
    assert "The product does not follow TA: both rise from 1 epoch to" in words
    words = _words(*records, box(0.005, control="random_labels"), rows=rows)
    assert "does not follow" not in words


def test_without_controls_nothing_is_concluded():
    assert "NO CONTROL WAS MEASURED" in _words(record())
    only = _words(record(control="constant", epochs=0))
    assert "ONLY CONTROLS WERE MEASURED" in only


def test_a_mean_that_rows_tell_goes_before_our_own():
    told = {
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
        "toy", "tiny", "CL", "", None, "uncertainty_product", 0.50021, 2e-5, 5000, 5, 0, "", told
    )
    assert "0.500210 ± 0.000020" in _words(record(), rows=[row])
    other = {**told, "label": 4}
    row = Row(*row.key()[:6], 0.50021, 2e-5, 5000, 5, 0, "", other)
    assert "0.500210" not in _words(record(), rows=[row])


def test_a_run_is_told_in_a_paragraph_and_the_box_in_another():
    records, rows = run()
    words = summary.format_summary(records, rows)
    assert "\n" not in words
    assert 120 <= sum(w.strip("(.,;:*").isalpha() for w in words.split()) <= 250
    box = [record(domain_text="box")]
    both = summary.format_summary(records + box, rows).split("\n\n")
    assert both[0] == words
    assert len(both) == 2


def test_no_record_is_refused():
    with pytest.raises(errors.InputError, match="at least one"):
        summary.format_summary([], [])


def test_a_real_relation_is_told_as_saved(tmp_path):
    packet = uncertainty.of_function(lambda x: tf.zeros_like(x[:, 0]), dimensions=4)
    window = uncertainty.GaussianWindow(np.full(4, 0.5), 0.2)
    found = importance.relation(packet, window, num_samples=2000, batch_size=50)
    path = tmp_path / "importance.npz"
    checks = [vars(each) for each in uncertainty_checks.check_relation(found)]
    uncertainty_records.save(path, found, label=None, domain_text="window:0.2", checks=checks)
    words = _words(uncertainty_records.load(path))
    # A constant loss: the window alone, 1/2 and nothing more.
    assert "those of the window without any network" in words
    assert "No excess over 1/2" in words
    assert "All 3 checks" in words
