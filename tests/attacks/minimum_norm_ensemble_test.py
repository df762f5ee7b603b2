"""The ensemble of minimum-norm attacks: the closest image of its members."""

import numpy as np
import pytest

from qup import attacks
from qup.core.errors import InputError
from tests.attacks import closest_searches as searches

every_norm = pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])


@every_norm
def test_is_the_closest_of_its_members(norm):
    model = searches.build_linear_classifier()
    result = searches.attack_linear_classifier("minimum_norm", norm, (0.0, 1.0))
    method = attacks.build_method("minimum_norm", norm=norm)
    distances, calls = [], []
    for stage in dict.fromkeys(method.stages()):
        own = {"loss": stage.loss} if hasattr(stage, "loss") else {}
        own |= {"norm": norm} if len(attacks.traits(stage.name)["norms"]) > 1 else {}
        member = attacks.run(stage.name, model, model.images, model.labels, batch_size=8, **own)
        distances.append(np.where(member.success, member.distances[norm], np.inf))
        calls.append(member.gradient_calls)
    np.testing.assert_allclose(result.distances[norm], np.min(distances, 0), rtol=1e-6)
    np.testing.assert_allclose(result.gradient_calls, np.sum(calls, 0))
    assert set(result.stages) == {stage.name for stage in method.stages()}
    assert (result.stage >= 0).all()


@every_norm
def test_is_near_the_exact_distance(norm):
    limit = 1.001 if norm == "l0" else 1.01
    assert searches.measure_excess("minimum_norm", norm, (0.0, 1.0)).mean() <= limit


@every_norm
def test_targets_need_members_with_targets(norm):
    method = attacks.build_method("minimum_norm", norm=norm, targeted=True)
    assert method.stages() and all(stage.targeted for stage in method.stages())
    searches.check_targets("minimum_norm", norm)


def test_members_by_name():
    method = attacks.build_method("minimum_norm", norm="l2", members="deepfool, ddn")
    assert [stage.name for stage in method.stages()] == ["deepfool", "ddn"]
    model = searches.build_linear_classifier()
    result = attacks.run(
        "minimum_norm", model, model.images, model.labels, norm="l2", members="deepfool,ddn"
    )
    assert result.stages == ("deepfool", "ddn") and result.success.all()


@pytest.mark.parametrize(
    "options,message",
    [
        ({"members": "dnn"}, "Did you mean ddn|dnn"),
        ({"members": "pgd"}, "pgd"),
        ({"members": "jsma"}, "jsma"),
        ({"members": ""}, "member"),
        ({"members": 3}, "separated by commas"),
        ({"members": "minimum_norm"}, "minimum_norm"),
        ({"members": "fab", "targeted": True}, "fab"),
        ({"norm": "l7"}, "norm"),
    ],
)
def test_bad_members_are_told_in_words(options, message):
    with pytest.raises(InputError, match=message):
        attacks.build_method("minimum_norm", **({"norm": "l2"} | options))
