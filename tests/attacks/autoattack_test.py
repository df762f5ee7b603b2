"""AutoAttack: the published settings, and the worst case of its parts."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.core.errors import InputError
from tests.attacks import black_box
from tests.attacks.linear_distances import LinearClassifier

# What the authors' set_version sets: (attack, number of parts, settings).
_APGD = {"num_steps": 100, "rho": 0.75, "expectation": 1}
_RAND = _APGD | {"expectation": 20}
_FAB = {"num_steps": 100, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
_SQUARE = {
    "num_queries": 5000,
    "p_init": 0.8,
    "rescale_schedule": False,
    "loss": "margin",
    "targeted": False,
}
_PUBLISHED = {
    ("standard", "linf"): [
        ("apgd_ce", 1, _APGD | {"loss": "cross_entropy"}),
        ("apgd_t", 9, _APGD | {"num_targets": 9}),
        ("fab_t", 9, _FAB | {"num_targets": 9, "restarts": 1}),
        ("square", 1, _SQUARE),
    ],
    ("standard", "l1"): [
        ("apgd_ce", 5, _APGD),
        ("apgd_t", 5, _APGD),
        ("fab_t", 9, _FAB | {"restarts": 1}),
        ("square", 1, _SQUARE),
    ],
    ("plus", "linf"): [
        ("apgd_ce", 5, _APGD),
        ("apgd_dlr", 5, _APGD),
        # Its restarts are one part: they go on from the best distance.
        ("fab", 1, _FAB | {"restarts": 5}),
        ("square", 1, _SQUARE),
        ("apgd_t", 9, _APGD),
        ("fab_t", 9, _FAB | {"restarts": 1}),
    ],
    ("rand", "linf"): [("apgd_ce", 1, _RAND), ("apgd_dlr", 1, _RAND)],
}
for _version in ("plus", "rand", "standard"):
    _PUBLISHED[_version, "l2"] = _PUBLISHED[_version, "linf"]


@pytest.mark.parametrize("version,norm", sorted(_PUBLISHED))
def test_settings_are_the_published_ones(version, norm):
    method = attacks.build_method(
        "autoattack", epsilon=0.3, norm=norm, version=version, seed=7, bounds=(-1, 1), xla="off"
    )
    parts = list(method.stages())
    shared = {"epsilon": 0.3, "norm": norm, "seed": 7, "bounds": (-1, 1), "xla": "off"}
    for name, count, settings in _PUBLISHED[version, norm]:
        for part in parts[:count]:
            assert part.name == name
            result = vars(part)
            assert result == result | shared | settings
        del parts[:count]
    assert not parts


_OPTIONS = {"epsilon": 0.1, "batch_size": 60}


@pytest.fixture(scope="module")
def digits():
    """A trained network, 60 images, and labels, of which two are wrong."""
    network, images, labels = black_box.train_digits_classifier()
    return network, images, (labels + (np.arange(60) < 2)) % 10


@pytest.fixture(scope="module")
def whole(digits):
    return attacks.run("autoattack", *digits, **_OPTIONS)


def test_breaks_what_it_says(whole, digits):
    network, images, labels = digits
    assert 0 < whole.robust_accuracy < 60
    assert whole.success[:2].all()
    assert (whole.distances["linf"] <= 0.1 * (1 + 1e-5)).all()
    result = network(whole.images).numpy().argmax(-1) != labels
    assert (result == whole.success).all()
    assert (whole.images[~result] == images[~result]).all()
    left = whole.after_stages()
    assert list(left) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert list(left.values()) == sorted(left.values(), reverse=True)
    assert left["square"] == whole.robust_accuracy


@pytest.mark.parametrize(
    "name,options",
    [
        ("pgd", {"num_steps": 100, "step_size": 0.01, "random_start": True}),
        ("apgd_ce", {}),
        ("apgd_t", {}),
        ("fab_t", {}),
        # Its windows do not depend on how many queries there are.
        ("square", {"num_queries": 500}),
    ],
)
def test_breaks_what_another_does(name, options, whole, digits):
    alone = attacks.run(name, *digits, **_OPTIONS, **options)
    # 0.3 points are less than one of 60.
    assert alone.success.sum() > 15
    assert alone.robust_accuracy >= whole.robust_accuracy


def test_what_the_first_breaks_is_asked_no_further(whole, digits):
    alone = attacks.run("apgd_ce", *digits, **_OPTIONS)
    first = whole.stage == 0
    assert first.sum() > 10 and (first == alone.success & alone.correct).all()
    assert (whole.gradient_calls[first] == alone.gradient_calls[first]).all()
    assert (whole.forward_calls[first] == alone.forward_calls[first]).all()
    assert (whole.gradient_calls[whole.correct & ~first] > 101).all()


def test_rand_takes_twenty_passes_a_gradient():
    model = LinearClassifier((4, 6), classes=4, count=3)

    def noisy(images):
        noise = tf.random.normal(tf.shape(images), stddev=0.002)
        return model(images + noise)

    tf.random.set_seed(0)
    exact = model.compute_distances("linf", (0.0, 1.0)).min(1)
    result = attacks.run(
        "autoattack",
        noisy,
        model.images,
        model.labels,
        version="rand",
        epsilon=exact * [4.0, 0.01, 0.01],
    )
    assert result.success[0]
    assert result.gradient_calls[0] == 20 * 101
    left = ~result.success
    assert (result.gradient_calls[left] == 2 * 20 * 101).all()


def test_bad_options():
    with pytest.raises(InputError, match="Did you mean 'standard'"):
        attacks.build_method("autoattack", epsilon=0.1, version="standart")
    with pytest.raises(InputError, match="epsilon"):
        attacks.build_method("autoattack")
    with pytest.raises(InputError, match="norm"):
        attacks.build_method("autoattack", epsilon=0.1, norm="l0")


@pytest.mark.parametrize(
    "num_classes,version,norm,names",
    [
        (2, "standard", "linf", ["apgd_ce", "fab_t", "square"]),
        (2, "standard", "l1", ["apgd_ce"] * 5 + ["fab_t", "square"]),
        (2, "plus", "l2", ["apgd_ce"] * 5 + ["fab", "square", "fab_t"]),
        (2, "rand", "linf", ["apgd_ce"]),
        (3, "standard", "linf", ["apgd_ce", "apgd_dlr", "fab_t", "fab_t", "square"]),
        (3, "standard", "l1", ["apgd_ce"] * 5 + ["apgd_dlr", "fab_t", "fab_t", "square"]),
        (3, "plus", "l2", ["apgd_ce"] * 5 + ["apgd_dlr"] * 5 + ["fab", "square", "fab_t", "fab_t"]),
        (3, "rand", "linf", ["apgd_ce", "apgd_dlr"]),
    ],
)
def test_few_classes_leave_out_the_losses_that_need_more(num_classes, version, norm, names):
    attack = attacks.build_method("autoattack", epsilon=0.3, norm=norm, version=version, seed=7)
    few = attack.for_classes(num_classes)
    assert few.name == f"autoattack_{num_classes}_classes"
    assert few.min_classes == 2 and few.for_classes(num_classes) == few
    stages = few.stages()
    assert [stage.name for stage in stages] == names
    full = {stage.name: vars(stage) for stage in attack.stages()}
    for stage in stages:
        if stage.name in full:
            assert vars(stage) == full[stage.name] | (
                {"num_targets": num_classes - 1} if stage.name == "fab_t" else {}
            )
    for enough in (4, 5, 10, 1000):
        assert attack.for_classes(enough) is attack


@pytest.mark.parametrize(
    "classes,norm",
    [
        (2, "linf"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((2, "l2"), (2, "l1"), (3, "linf"), (3, "l2"), (3, "l1"))
        ),
    ],
)
def test_few_classes_are_attacked_to_their_exact_distance(classes, norm):
    model = LinearClassifier((4, 6, 1), classes=classes, count=6, seed=3)
    exact = model.compute_distances(norm, (0.0, 1.0)).min(1)
    factors = np.where(np.arange(6) % 2, 0.97, 1.05)
    result = attacks.run(
        "autoattack", model, model.images, model.labels, norm=norm, epsilon=exact * factors
    )
    assert result.success.tolist() == (factors > 1).tolist()
    assert "apgd_t" not in result.stages and "fab_t" in result.stages
    images = attacks.get("autoattack")(
        model, model.images, model.labels, norm=norm, epsilon=float(exact.max() * 1.05)
    )
    assert (np.argmax(model(images), 1) != model.labels).all()
