"""What --options and --epsilon of bin.run_attack may say."""

import pytest

from qup.core import errors
from qup.pipelines.attack_request import AttackRequest


def _build_options(*options, attack="pgd", norm="linf", **given):
    request = AttackRequest(attacks=tuple(attack.split(",")), options=options, **given)
    return request.build_attack_specs(0.1, norm)


@pytest.mark.parametrize("text", ["true", "True", "TRUE"])
def test_true_and_false_are_bools(text):
    (result,) = _build_options(f"pgd.random_start={text}")
    assert result["random_start"] is True
    (result,) = _build_options("pgd.random_start=false")
    assert result["random_start"] is False


def test_values_have_the_types_that_the_attack_declares():
    (result,) = _build_options(
        "pgd.num_steps=1e2", "pgd.step_size=None", "pgd.epsilon=1", "pgd.keep='last'"
    )
    assert result["num_steps"] == 100 and type(result["num_steps"]) is int
    assert result["step_size"] is None and result["keep"] == "last"
    assert type(result["epsilon"]) is float


@pytest.mark.parametrize(
    "attack,option,message",
    [
        ("pgd", "targeted=false", r"Set pgd\.targets to one of: least_likely"),
        ("cleverhans_pgd", "targeted=abc", "cleverhans_pgd.targets"),
        ("pgd", "targets=likeliest", "Known: all, least_likely"),
        ("deepfool", "targets=random", "deepfool has no targeted form.*pgd"),
        ("pgd", "random_start=maybe", "true or false; received 'maybe'"),
        ("pgd", "random_start=1", "true or false"),
        ("pgd", "restarts=1.5", "an integer"),
        ("pgd", "num_steps=many", "an integer"),
        ("pgd", "step_size=abc", "a finite number"),
        ("pgd", "seed=1", "--seed"),
        ("pgd", "ids=1", "cannot be set for one attack"),
        ("cleverhans_pgd", "num_steps=0", "num_steps"),
        ("cleverhans_pgd", "step_size=abc", "a finite number"),
        ("cleverhans_pgd", "epsilon=-1", "epsilon must be"),
        ("cleverhans_pgd", "norm=l1", "norm"),
        ("cleverhans_pgd", "norm=lx", "norm"),
        ("pgd", "norm=l2", "pgd in l2 needs an explicit budget"),
        ("pgd", "epsilon=8", "Divide by 255"),
    ],
)
def test_options_are_refused_before_any_work(attack, option, message):
    with pytest.raises(errors.InputError, match=message):
        _build_options(f"{attack}.{option}", attack=attack)


def test_targets_are_chosen_by_name():
    (result,) = _build_options("pgd.targets=least_likely")
    assert result["targets"] == "least_likely" and "targeted" not in result


def test_another_norm_needs_an_epsilon():
    (result,) = _build_options("pgd.norm=l2", "pgd.epsilon=2")
    assert result["epsilon"] == 2
    (result,) = _build_options("pgd.norm=l2", epsilons=(2.0,))
    assert result["epsilon"] == 2
    (result,) = _build_options("pgd.norm=l2", norm="l2")
    assert result["epsilon"] == 0.1
    with pytest.raises(errors.InputError, match="Divide by 255"):
        _build_options(epsilons=(8.0,))


def test_an_epsilon_that_nobody_takes_is_refused(caplog):
    with pytest.raises(errors.InputError, match=r"fab\.epsilon"):
        _build_options(attack="fab", epsilons=(0.05,))
    (result,) = _build_options("fab.epsilon=0.05", attack="fab")
    assert result["epsilon"] == 0.05
    both = _build_options(attack="pgd,fab", epsilons=(0.05,))
    assert both == [{"name": "pgd", "epsilon": 0.05}, {"name": "fab"}]
    assert any("not used by fab" in r.getMessage() for r in caplog.records)
