"""Each rule of the verdict page: a row flips, and the verdict flips."""

import dataclasses

import pytest

from qup.core.measurements import Row
from qup.reproduction import presets
from qup.reproduction.report import claims, sections
from qup.reproduction.report.claims import Outcome
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import BulletList, Paragraph

_CPU = presets.get_scale("cpu")
_PGD = {"num_steps": 4, "random_start": False, "loss": "cross_entropy", "pixel_clip": True}
_YES, _NO = Outcome.SUPPORTED, Outcome.CONTRADICTED
_OPEN = Outcome.UNDECIDED


def _rows(
    value, measure="test_accuracy", *, attack="", epsilon=None, kind="CL", epochs=1, **parameters
):
    """Returns rows of three seeds, .1 apart in their last digits."""
    return [
        Row(
            "mnist",
            "convnet",
            kind,
            attack,
            epsilon,
            measure,
            value * (1 + 1e-4 * seed),
            None,
            1000,
            epochs,
            seed,
            parameters={"split": "test", **parameters},
        )
        for seed in range(3)
    ]


def _looks(clean, robust, *, kind="CL", epochs=1, **parameters):
    if kind == "ACL":
        parameters["through"] = "both"
    common = {"kind": kind, "epochs": epochs, **parameters}
    return [
        *_rows(clean, **common),
        *_rows(robust, "robust_accuracy", attack="pgd", epsilon=0.1, **_PGD, **common),
    ]


def _worst(robust, *, kind="CL", epochs=1, **parameters):
    if kind == "ACL":
        parameters["through"] = "both"
    return _rows(
        robust,
        "robust_accuracy",
        attack="autoattack",
        epsilon=0.1,
        kind=kind,
        epochs=epochs,
        evaluation="per_image",
        **parameters,
    )


def _judge(name, rows):
    return claims.get(name)(ReportData(None, tuple(rows), _CPU))


def _packet(value, measure, domain, epochs):
    return _rows(
        value,
        measure,
        epochs=epochs,
        domain=domain,
        temperature=1.0,
        evaluation="uncertainty",
        over="pixels",
        statistic="mean",
        estimator="importance",
        control="",
        packet="loss",
    )


@pytest.mark.parametrize(
    ("name", "domain", "value", "outcome"),
    [
        ("product_on_the_box", "box", 0.01, _NO),
        ("product_on_the_box", "box", 0.6, _YES),
        ("product_in_a_window", "window:0.1", 0.50003, _YES),
        ("product_in_a_window", "window:0.1", 0.49, _NO),
    ],
)
def test_product(name, domain, value, outcome):
    rows = _packet(value, "uncertainty_product", domain, 1)
    if domain != "box":
        rows += _packet(0.1, "sigma_p", domain, 1)
    assert _judge(name, rows).outcome is outcome


def test_a_noisy_product_does_not_keep_the_bound():
    rows = _packet(0.5, "uncertainty_product", "window:0.1", 1)
    rows = [dataclasses.replace(row, value=row.value + 0.1 * (row.seed - 1)) for row in rows]
    rows += _packet(0.1, "sigma_p", "window:0.1", 1)
    assert _judge("product_in_a_window", rows).outcome is _OPEN


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ((99.0, 50.0, 0.27, 0.12), _YES),
        ((99.0, 70.0, 0.27, 0.12), _NO),
        ((99.0, 50.0, 0.29, 0.12), _NO),
        ((97.0, 50.0, 0.27, 0.12), _OPEN),
    ],
)
def test_exchange_of_the_deviations(last, outcome):
    rows = []
    for epochs, found in ((1, (97.0, 60.0, 0.28, 0.02)), (50, last)):
        clean, robust, x, p = found
        rows += _looks(clean, robust, epochs=epochs)
        rows += _packet(x, "sigma_x", "box", epochs)
        rows += _packet(p, "sigma_p", "box", epochs)
    assert _judge("smaller_x_larger_p", rows).outcome is outcome


def test_exchange_under_another_attack_is_told():
    rows = []
    for epochs, robust, worst in ((1, 60.0, 50.0), (50, 70.0, 20.0)):
        rows += _looks(97.0 + epochs / 50, robust, epochs=epochs)
        rows += _worst(worst, epochs=epochs)
        rows += _packet(0.2887, "sigma_x", "box", epochs)
        rows += _packet(0.02 + epochs / 500, "sigma_p", "box", epochs)
    verdict = _judge("smaller_x_larger_p", rows)
    assert verdict.outcome is _NO
    assert verdict.sensitivity == "RA, AutoAttack: undecided"


@pytest.mark.parametrize(
    ("clean", "robust", "outcome"), [(99, 90, _YES), (99, 50, _NO), (99, 60, _OPEN), (95, 90, _NO)]
)
def test_augmentation(clean, robust, outcome):
    rows = _looks(97.0, 60.0)
    rows += _looks(float(clean), float(robust), kind="ACL")
    assert _judge("augmentation_raises_robustness", rows).outcome is outcome


def test_augmentation_must_raise_both_at_every_number_of_epochs():
    rows = _looks(97.0, 60.0) + _looks(99.0, 90.0, kind="ACL")
    rows += _looks(99.0, 60.0, epochs=50)
    rows += _looks(99.0, 90.0, epochs=50, kind="ACL")
    verdict = _judge("augmentation_raises_robustness", rows)
    assert verdict.outcome is _OPEN
    told = "1 supported, 1 undecided, 16 not run"
    assert verdict.scope == f"networks at their epochs: {told}"


def test_augmentation_that_is_masked_is_told():
    rows = _looks(97.0, 60.0) + _looks(99.0, 90.0, kind="ACL")
    rows += _worst(50.0) + _worst(10.0, kind="ACL")
    verdict = _judge("augmentation_raises_robustness", rows)
    assert verdict.outcome is _YES
    assert verdict.sensitivity == "RA, AutoAttack: contradicted"


@pytest.mark.parametrize(("template", "outcome"), [(98.0, _YES), (99.5, _NO)])
def test_class_templates(template, outcome):
    rows = _looks(99.0, 90.0, kind="ACL")
    rows += _looks(template, 80.0, kind="ACL", control="class_template")
    verdict = _judge("more_than_a_class_template", rows)
    assert verdict.outcome is outcome and "gains" not in verdict.text
    verdict = _judge("more_than_a_class_template", rows + _looks(97.0, 60.0))
    told = f"{template - 97:.1f} of 2.0 points of TA, 20.0 of 30.0 points of RA"
    assert told in verdict.text


@pytest.mark.parametrize(
    ("clean", "robust", "outcome"),
    [
        (97.5, 85.0, _NO),
        (95.0, 85.0, _YES),
        (97.5, 40.0, _OPEN),
        (96.5, 85.0, _NO),
        (96.0, 85.0, _OPEN),
    ],
)
def test_counter_examples(clean, robust, outcome):
    (epochs,) = _CPU.robust_epochs
    rows = _looks(97.0, 60.0) + _worst(50.0)
    rows += _looks(clean, 90.0, epochs=epochs, method="pgd_at")
    rows += _worst(robust, epochs=epochs, method="pgd_at")
    verdict = _judge("accurate_and_robust_exclude", rows)
    assert verdict.outcome is outcome
    # One counter-example is enough.
    rows += _looks(95.0, 90.0, epochs=epochs, method="trades")
    rows += _worst(85.0, epochs=epochs, method="trades")
    if outcome is _NO:
        assert _judge("accurate_and_robust_exclude", rows).outcome is _NO


def test_the_summary_answers_what_the_title_asks():
    (epochs,) = _CPU.robust_epochs
    rows = _looks(97.0, 60.0) + _worst(50.0)
    rows += _looks(99.0, 65.0, epochs=50) + _worst(20.0, epochs=50)
    rows += _looks(98.8, 95.0, epochs=epochs, method="pgd_at")
    rows += _worst(94.0, epochs=epochs, method="pgd_at")
    blocks = sections.get("summary")(ReportData(None, tuple(rows), _CPU)).blocks
    text = " ".join(block.text for block in blocks if isinstance(block, Paragraph))
    points = [p for block in blocks if isinstance(block, BulletList) for p in block.texts]
    # TA and RA rise together under four steps alone.
    assert "1 would have another outcome under another attack" in text
    usual, robust, *_ = points
    assert usual.startswith("ConvNet on MNIST, 1 to 50 epochs: TA +2.00 ±")
    assert "RA -30.00 ±" in usual
    assert robust.startswith("PGD-AT, 10 epochs, minus the standard network of")
    assert "RA 74.0" in robust


@pytest.mark.parametrize(("ratio", "outcome"), [(0.9, _YES), (0.8, _NO)])
def test_frequency_ratio(ratio, outcome):
    rows = []
    for epochs, clean, found in ((1, 97.0, 0.85), (50, 99.0, ratio)):
        rows += _looks(clean, 50.0, epochs=epochs)
        rows += _rows(
            found, "high_frequency_ratio", epochs=epochs, field="delta", window="literal", step=1
        )
    assert _judge("ratio_follows_accuracy", rows).outcome is outcome


@pytest.mark.parametrize(("high", "outcome"), [(0.9, _YES), (0.2, _NO)])
def test_translators_error(high, outcome):
    rows = []
    for band, value in (("low", 0.5), ("high", high)):
        rows += _rows(value, "relative_spectral_error", band=band, window="literal")
    name = "translators_miss_high_frequencies"
    assert _judge(name, rows).outcome is outcome


@pytest.mark.parametrize(("robust", "outcome"), [(40.0, _YES), (90.0, _NO)])
def test_gradient_without_its_sign(robust, outcome):
    # Of the same images; those of all say nothing.
    rows = _looks(40.0, 60.0)
    rows += _rows(97.0, evaluation="gradient_steps")
    for direction, last in (("raw_l2", robust), ("raw_linf", 95.0)):
        for epsilon, value in ((0.05, 96.0), (0.075, 96.0), (0.1, last)):
            rows += _rows(
                value,
                "robust_accuracy",
                attack="gradient_steps",
                epsilon=epsilon,
                evaluation="gradient_steps",
                num_steps=1,
                loss="cross_entropy",
                direction=direction,
            )
    verdict = _judge("gradient_instead_of_sign", rows)
    assert verdict.outcome is outcome
    told = "a step with the L-inf norm of the sign's: contradicted"
    assert verdict.sensitivity == (told if outcome is _YES else "")


@pytest.mark.parametrize(("robust", "outcome"), [(99.0, _YES), (50.0, _NO)])
def test_walk(robust, outcome):
    rows = []
    for step, clean, found in ((0, 97.0, 60.0), (20, 100.0, robust)):
        rows += _looks(clean, found, images="X_n", step=step, split="train")
    assert _judge("walks_raise_both", rows).outcome is outcome


@pytest.mark.parametrize(("overlap", "outcome"), [(0.2, _YES), (0.4, _NO), (0.3, _OPEN)])
def test_packets_of_two_classes(overlap, outcome):
    rows = []
    ends = {
        "sigma_x": (0.2, 0.1),
        "sigma_p": (1.0, 4.0),
        "overlap_x": (0.3, overlap),
        "overlap_p": (0.999, 0.998),
    }
    for domain, last in (("box", overlap), ("sine", 0.3)):
        ends["overlap_x"] = (0.3, last)
        for measure, pair in ends.items():
            for epochs, value in zip((1, 50), pair, strict=True):
                rows += _rows(
                    value,
                    measure,
                    epochs=epochs,
                    figure="fig2",
                    packet="loss",
                    domain=domain,
                    temperature=1.0,
                )
    verdict = _judge("packets_overlap", rows)
    assert verdict.outcome is outcome
    other = "" if outcome is _OPEN else "domain sine: undecided"
    assert verdict.sensitivity == other
    few = [row for row in rows if row.epochs == 1]
    assert _judge("packets_overlap", few).outcome is Outcome.NOT_RUN


@pytest.mark.parametrize(
    ("box", "window", "outcome"),
    [(0.01, 0.50001, Outcome.MIXED), (0.6, 0.6, _YES), (0.01, 0.4, _NO)],
)
def test_relation_of_a_generator(box, window, outcome):
    rows = []
    for domain, value in (("box", box), ("window:0.1", window)):
        rows += _rows(
            value,
            "uncertainty_product",
            kind="ACL",
            packet="l1",
            control="translator",
            over="pixels",
            statistic="mean",
            domain=domain,
            evaluation="uncertainty",
        )
    found = _judge("product_of_a_generator", rows)
    assert found.outcome is outcome and len(found.rows) == 6
    # One domain is not both.
    half = [row for row in rows if row.parameters["domain"] != "box"]
    assert _judge("product_of_a_generator", half).outcome is _OPEN
    # A classifier's packets say nothing of it.
    others = _packet(0.6, "uncertainty_product", "box", 1)
    assert _judge("product_of_a_generator", others).outcome is Outcome.NOT_RUN
