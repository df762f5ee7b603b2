"""An interrupted attack resumes in the middle of its steps, bit for bit."""

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import engine, store
from qup.core import interruption
from qup.core.errors import InputError
from qup.core.parts import Part

_SHAPE, _CLASSES = (6, 6, 1), 5
_RANDOM = np.random.default_rng(0)
_WEIGHTS = tf.constant(_RANDOM.normal(size=(36, _CLASSES)), tf.float32)
_IMAGES = np.random.default_rng(1).random((90, *_SHAPE), np.float32)


# A product of matrices, whose rounding may depend on the number of rows and on a row's position.
def _logits(images):
    return tf.tanh(tf.reshape(images, (-1, 36)) @ _WEIGHTS) @ _WEIGHTS[:_CLASSES]


_LABELS = np.argmax(_logits(_IMAGES), 1)
_BUDGET = {"epsilon": 0.05, "batch_size": 16}
_CASES = {
    "pgd": {**_BUDGET, "num_steps": 60},
    "apgd_t": {**_BUDGET, "num_steps": 20, "num_targets": 3},
    "fab": {**_BUDGET, "num_steps": 20, "norm": "linf", "restarts": 2},
    "square": {**_BUDGET, "num_queries": 200},
    "carlini_wagner": {"batch_size": 16, "num_steps": 20, "search_steps": 3},
}


class _Killed(BaseException):
    pass


def _patch_calls(patch, before_call):
    """Calls `before_call` before each call of a program."""
    for name in ("masked_steps", "step"):
        compile_program = engine.Program._compile

        def compile_and_watch(program, function, compile_program=compile_program, name=name):
            compiled = compile_program(program, function)
            if function.__name__ != f"_{name}":
                return compiled

            def call(*arguments):
                before_call()
                return compiled(*arguments)

            return call

        patch.setattr(engine.Program, "_compile", compile_and_watch)


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(store, "_SAVE_INTERVAL_S", 0.0)
    monkeypatch.setattr(store, "_MAX_SAVE_SHARE", np.inf)


def _make_classifier():
    """Returns another object each time, so that nothing is compiled yet."""
    return lambda images: _logits(images)


@pytest.mark.parametrize("name", _CASES)
def test_a_killed_attack_resumes_in_the_middle_of_its_steps(
    name, tmp_path, monkeypatch, save_always
):
    options = _CASES[name]
    num_calls, stop_at = 0, set()

    def count_and_kill():
        nonlocal num_calls
        num_calls += 1
        if num_calls in stop_at:
            raise _Killed

    # How many steps a call takes depends on its time; with one each, calls can be compared.
    monkeypatch.setattr(engine, "_MAX_STEPS_PER_CALL", 1)
    _patch_calls(monkeypatch, count_and_kill)
    expected = attacks.run(
        name, _make_classifier(), _IMAGES, _LABELS, output=tmp_path / "whole", **options
    )
    total, num_calls, num_kills = num_calls, 0, 0
    stop_at |= set(np.random.default_rng(2).choice(np.arange(1, total), 3, replace=False).tolist())
    while True:
        try:
            resumed = attacks.run(
                name, _make_classifier(), _IMAGES, _LABELS, output=tmp_path / "out", **options
            )
            break
        except _Killed:
            num_kills += 1
    assert num_kills == len(stop_at)
    # A call in which the attack was killed is made again; nothing else is.
    assert num_calls == total + num_kills
    np.testing.assert_array_equal(np.asarray(resumed.images), np.asarray(expected.images))
    for column, values in expected.columns().items():
        np.testing.assert_array_equal(resumed.columns()[column], values, column)


def test_a_batch_is_saved_before_any_row_finishes(tmp_path, monkeypatch, save_always):
    num_calls = 0

    def kill():
        nonlocal num_calls
        num_calls += 1
        if num_calls == 3:
            raise _Killed

    finished = []
    with monkeypatch.context() as patch, pytest.raises(_Killed):
        _patch_calls(patch, kill)
        options = {"num_queries": 10_000, "epsilon": 1e-5, "batch_size": 128}
        attacks.run(
            "square",
            _make_classifier(),
            _IMAGES,
            _LABELS,
            output=tmp_path,
            on_progress=finished.append,
            **options,
        )
    assert not finished
    (path,) = tmp_path.glob("unfinished-*/*.npz")
    with np.load(path) as stored:
        assert not stored["finished"].any() and stored["batch/steps_taken"].max() > 0


def test_a_full_disk_is_one_line_and_keeps_what_is_saved(tmp_path, monkeypatch, save_always):
    options = _CASES["square"]
    expected = attacks.run("square", _logits, _IMAGES, _LABELS, **options)
    savez, saves = np.savez, []

    def fill_disk(*arguments, **arrays):
        saves.append(arguments)
        if len(saves) == 4:
            raise OSError(28, "No space left on device")
        savez(*arguments, **arrays)

    monkeypatch.setattr(np, "savez", fill_disk)
    with pytest.raises(InputError, match=r"No space left on device.*Free some space") as error:
        attacks.run("square", _logits, _IMAGES, _LABELS, output=tmp_path, **options)
    assert "\n" not in str(error.value)
    (path,) = tmp_path.glob("unfinished-*/*.npz")
    with np.load(path) as stored:
        assert stored["batch/steps_taken"].max() > 0
    resumed = attacks.run("square", _logits, _IMAGES, _LABELS, output=tmp_path, **options)
    np.testing.assert_array_equal(resumed.gradient_calls, expected.gradient_calls)
    np.testing.assert_array_equal(resumed.success, expected.success)


def test_an_interruption_says_how_many_images_are_finished(tmp_path):
    options = {**_CASES["square"], "epsilon": 0.02}
    signalled = []

    def interrupt(count):
        if not signalled:
            signalled.append(count)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attacks.run(
            "square",
            _make_classifier(),
            _IMAGES,
            _LABELS,
            output=tmp_path,
            on_progress=interrupt,
            **options,
        )
    text = interruption.describe_finished()
    finished = int(text.split()[0])
    assert 0 < finished < 90 and text == f"{finished} of 90 images are finished and kept. "
    attacks.run("square", _logits, _IMAGES, _LABELS, output=tmp_path / "other", **options)
    assert interruption.describe_finished() == ""


def test_a_signal_saves_at_once(tmp_path):
    urgent = []
    unfinished = store.UnfinishedShard(tmp_path / "unfinished", "digest")
    progress = unfinished.load_progress("0-0-0", _IMAGES)
    progress.save(lambda: urgent.append(1) or {}, False)
    assert not urgent and not list(tmp_path.rglob("*.npz"))
    progress.save(lambda: urgent.append(1) or {"queue": np.arange(3)}, True)
    assert urgent and len(list(tmp_path.rglob("*.npz"))) == 1
    again = store.UnfinishedShard(tmp_path / "unfinished", "digest").load_progress("0-0-0", _IMAGES)
    np.testing.assert_array_equal(again.batch["queue"], np.arange(3))


def _assert_same(result, expected):
    np.testing.assert_array_equal(np.asarray(result.images[:]), np.asarray(expected.images[:]))
    for name, column in expected.columns().items():
        np.testing.assert_array_equal(result.columns()[name], column, err_msg=name)


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.parametrize("count", [2, 3, 9])
def test_parts_give_the_result_of_one_process(name, count, tmp_path):
    options = {"fixed_batch": True, **_CASES[name]}
    whole = attacks.run(name, _logits, _IMAGES, _LABELS, output=tmp_path / "whole", **options)
    options["output"] = tmp_path / "parts"
    for number in reversed(range(1, count + 1)):
        part = Part(number, count)
        classifier = _make_classifier()
        assert attacks.run(name, classifier, _IMAGES, _LABELS, part=part, **options) is None
    stored = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert sum(name.endswith(".npz") for name in stored) == 6
    joined = attacks.run(name, _make_classifier(), _IMAGES, _LABELS, **options)
    _assert_same(joined, whole)
    assert joined.flags == whole.flags


def test_parts_at_several_budgets_and_of_a_generator(tmp_path):
    options = {"fixed_batch": True, "batch_size": 16, "epsilons": (0.02, 0.2), "num_steps": 20}

    def iterate_images():
        return (_IMAGES[start : start + 11] for start in range(0, len(_IMAGES), 11))

    expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
    options["output"] = tmp_path / "parts"
    for number in (2, 1):
        attacks.run("pgd", _logits, iterate_images(), _LABELS, part=Part(number, 2), **options)
    joined = attacks.run("pgd", _logits, iterate_images(), _LABELS, **options)
    for result, other in zip(joined, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(result.images[:]), other.images)
        np.testing.assert_array_equal(result.success, other.success)


def test_a_missing_part_is_computed_by_the_whole(tmp_path):
    options = {"fixed_batch": True, **_CASES["pgd"]}
    expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, output=tmp_path / "whole", **options)
    options["output"] = tmp_path / "parts"
    attacks.run("pgd", _logits, _IMAGES, _LABELS, part=Part(2, 3), **options)
    _assert_same(attacks.run("pgd", _logits, _IMAGES, _LABELS, **options), expected)


def test_a_part_has_a_share_of_the_progress(tmp_path):
    shares = []
    options = {"fixed_batch": True, **_CASES["pgd"], "output": tmp_path / "parts"}
    part = Part(1, 3)
    attacks.run("pgd", _logits, _IMAGES, _LABELS, part=part, on_share=shares.append, **options)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"fixed_batch": True}, {"output": "folder"}])
def test_a_part_needs_a_folder_and_batches_of_one_size(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"part needs output.*fixed_batch=True"):
        attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1, part=Part(1, 2), **options)
    assert not list(tmp_path.iterdir())


def test_results_of_batches_of_another_kind_are_not_mixed(tmp_path):
    options = {**_CASES["pgd"], "output": tmp_path / "out"}
    attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
    with pytest.raises(InputError, match="fixed_batch"):
        attacks.run("pgd", _logits, _IMAGES, _LABELS, fixed_batch=True, **options)
