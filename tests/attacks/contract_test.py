"""`attacks.run` with what users pass, interrupted, in other batches, and its flags."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import batch_sizes, engine, store
from qup.core.classifier import Classifier
from qup.core.errors import InputError

_SHAPE, _COUNT = (5, 5, 1), 20
_WEIGHTS = np.random.default_rng(0).normal(size=(25, 4)).astype(np.float32)
_IMAGES = np.random.default_rng(1).random((_COUNT, *_SHAPE)).astype(np.float32)


def _logits(images):
    return tf.reshape(images, (-1, 25)) @ _WEIGHTS


_LABELS = _logits(_IMAGES).numpy().argmax(1)


def _flags(result) -> set[str]:
    return {flag.name for flag in result.flags}


class TestArguments:
    def test_a_column_of_labels_is_accepted(self):
        expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1)
        column = attacks.run("pgd", _logits, _IMAGES, _LABELS[:, None], epsilon=0.1)
        np.testing.assert_array_equal(expected.images, column.images)
        images = attacks.get("fgsm")(_logits, _IMAGES, _LABELS[:, None], epsilon=0.1)
        assert images.shape == _IMAGES.shape

    @pytest.mark.parametrize(
        "labels,advice",
        [
            (np.eye(4)[_LABELS], r"labels.argmax\(-1\)"),
            (_LABELS.astype(float), r"labels.astype\(int\)"),
            (_LABELS > 1, "Convert two classes"),
            (np.array(["cat"] * _COUNT), "return_inverse"),
            (3, "One|one label per image"),
        ],
    )
    def test_the_advice_is_right_for_what_was_received(self, labels, advice):
        with pytest.raises(InputError, match=advice):
            attacks.run("pgd", _logits, _IMAGES, labels, epsilon=0.1)

    @pytest.mark.parametrize("batch_size", [None, 8])
    def test_a_dataset_of_images_and_labels_is_taken(self, batch_size):
        dataset = tf.data.Dataset.from_tensor_slices((_IMAGES, _LABELS))
        if batch_size:
            dataset = dataset.batch(batch_size)
        expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1)
        result = attacks.run("pgd", _logits, dataset, None, epsilon=0.1)
        np.testing.assert_array_equal(expected.images, result.images)
        with pytest.raises(InputError, match="Without labels"):
            attacks.run("pgd", _logits, _IMAGES, None, epsilon=0.1)

    @pytest.mark.parametrize(
        "images",
        [
            _IMAGES.astype(object),
            [_IMAGES[0, :3], _IMAGES[1]],
            np.full(_IMAGES.shape, "a"),
            [[1.0, 2.0], [3.0]],
        ],
    )
    def test_images_that_are_no_numbers_are_one_line(self, images):
        with pytest.raises(InputError) as error:
            attacks.run("pgd", _logits, images, _LABELS[: len(images)], epsilon=0.1)
        assert len(str(error.value)) < 600

    @pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
    def test_models_of_any_precision_are_attacked(self, dtype):
        def logits_fn(images):
            return tf.cast(tf.reshape(images, (-1, 25)) @ _WEIGHTS, dtype)

        expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1)
        result = attacks.run("pgd", logits_fn, _IMAGES, _LABELS, epsilon=0.1)
        assert abs(expected.robust_accuracy - result.robust_accuracy) <= 5

    def test_mixed_precision_models_are_attacked(self):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(4, dtype="mixed_float16")]
        model = keras.Sequential([keras.Input(_SHAPE), *layers])
        labels = keras.ops.convert_to_numpy(model(_IMAGES)).argmax(1)
        assert attacks.run("pgd", model, _IMAGES, labels, epsilon=0.3).success.any()

    def test_a_range_and_other_bounds_are_refused(self):
        def logits_fn(images):
            return _logits(images / 255)

        options = {"epsilon": 0.1, "pixel_range": (0, 255)}
        expected = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1)
        stated = attacks.run("pgd", logits_fn, _IMAGES, _LABELS, **options)
        np.testing.assert_allclose(stated.images, expected.images, atol=1e-5)
        with pytest.raises(InputError, match="without pixel_range"):
            attacks.run("pgd", logits_fn, 255 * _IMAGES, _LABELS, bounds=(0, 255), **options)
        classifier = Classifier(logits_fn, pixel_range=(0, 255))
        with pytest.raises(InputError, match="without pixel_range"):
            attacks.get("pgd")(classifier, _IMAGES, _LABELS, epsilon=0.1, bounds=(0, 255))


class TestSuccess:
    @pytest.mark.parametrize("name", ["pgd", "square", "deepfool", "fgsm", "carlini_wagner"])
    @pytest.mark.parametrize("labels_dtype", ["int64", "uint64", "uint8"])
    def test_a_misclassified_image_is_broken_at_distance_zero(self, name, labels_dtype):
        labels = ((_LABELS + (np.arange(_COUNT) < 6)) % 4).astype(labels_dtype)
        quick = {"square": {"num_queries": 20}, "carlini_wagner": {"num_steps": 20}}.get(name, {})
        budget = {"epsilon": 1e-6} if attacks.traits(name)["kind"] == "budget" else {}
        result = attacks.run(
            name, _logits, _IMAGES, labels, batch_size=np.int64(8), seed=2**33, **quick, **budget
        )
        assert result.success[:6].all() and not result.correct[:6].any()
        assert (result.distances["linf"][:6] == 0).all() and (result.stage[:6] == -1).all()
        assert result.test_accuracy == 70.0

    def test_recomputed_by_the_model_at_the_end(self):
        result = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1, fixed_batch=True)
        classes = _logits(np.asarray(result.images)).numpy().argmax(1)
        np.testing.assert_array_equal(classes != _LABELS, result.success)


class TestFlags:
    def test_a_plain_result_has_none(self):
        assert not _flags(attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.1))

    def test_few_steps_are_said(self):
        options = {"epsilon": 0.1, "num_steps": 19}
        assert _flags(attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)) == {"few_steps"}
        assert "few_steps" in _flags(attacks.run("pgd4", _logits, _IMAGES, _LABELS, epsilon=0.1))

    def test_nothing_broken_at_a_budget_but_not_without_one(self):
        result = attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=1e-7)
        assert "nothing_broken" in _flags(result)
        assert not _flags(attacks.run("pgd", _logits, _IMAGES, _LABELS, epsilon=0.0))

    def test_labels_in_another_order_are_at_chance(self):
        labels = (_LABELS + 1) % 4
        assert "at_chance" in _flags(attacks.run("pgd", _logits, _IMAGES, labels, epsilon=0.1))

    def test_one_class_for_everything_is_said_even_above_chance(self):
        def constant(images):
            return 0.01 * _logits(images) + tf.constant([9.0, 0, 0, 0])

        labels = (np.arange(_COUNT) > 15).astype(int)  # 80 % have the class 0.
        flags = _flags(attacks.run("pgd", constant, _IMAGES, labels, epsilon=0.1))
        assert "one_class" in flags and "at_chance" not in flags

    def test_targets_that_are_not_reached_are_no_gain_of_accuracy(self):
        labels = (_LABELS + (np.arange(_COUNT) < 12)) % 4
        options = {"epsilon": 1e-4, "targets": (labels + 2) % 4}
        flags = _flags(attacks.run("pgd", _logits, _IMAGES, labels, **options))
        assert "above_test_accuracy" not in flags

    def test_a_model_that_is_trained_further_has_new_flags(self):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(4)]
        model = keras.Sequential([keras.Input(_SHAPE), *layers])
        labels = keras.ops.convert_to_numpy(model(_IMAGES)).argmax(1)
        assert not _flags(attacks.run("pgd", model, _IMAGES, labels, epsilon=0.2))
        kernel, bias = layers[1].get_weights()
        layers[1].set_weights([0 * kernel, bias])
        assert "zero_gradient" in _flags(attacks.run("pgd", model, _IMAGES, labels, epsilon=0.2))

    def test_an_attack_that_does_not_move(self):
        def stand_still(logits_fn, images, labels, *, epsilon):
            return images

        flags = _flags(attacks.run(stand_still, _logits, _IMAGES, _LABELS, epsilon=0.1))
        assert flags == {"nothing_broken"}

    def test_an_attack_that_moves_the_wrong_way(self):
        def help_along(logits_fn, images, labels, *, epsilon):
            towards = tf.gather(tf.transpose(_WEIGHTS), labels)
            step = tf.reshape(tf.sign(towards), tf.shape(images))
            return tf.clip_by_value(images + epsilon * step, 0, 1)

        result = attacks.run(help_along, _logits, _IMAGES, _LABELS, epsilon=0.02)
        assert _flags(result) >= {"no_progress"}

    @pytest.mark.parametrize("name", ["apgd_ce", "fab", "autoattack", "jsma", "ddn"])
    def test_attacks_that_return_the_clean_image_where_they_fail_have_none(self, name):
        budget = {"epsilon": 0.05} if attacks.traits(name)["kind"] == "budget" else {}
        result = attacks.run(name, _logits, _IMAGES, _LABELS, **budget)
        assert result.success.any() and not _flags(result)

    def test_flags_are_those_of_all_shards(self, tmp_path):
        options = {"epsilon": 0.1, "num_steps": 4, "batch_size": 2}
        options["output"] = tmp_path / "out"
        first = attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
        stored = attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
        assert first.flags == stored.flags and _flags(stored) == {"few_steps"}


class TestBatches:
    def test_fixed_batches_give_one_result_however_images_are_cut(self):
        options = {"batch_size": 16, "fixed_batch": True}
        whole = attacks.run("deepfool", _logits, _IMAGES, _LABELS, **options)
        for size in (1, 3, 7):
            parts = [
                attacks.run(
                    "deepfool",
                    _logits,
                    _IMAGES[start : start + size],
                    _LABELS[start : start + size],
                    ids=np.arange(start, min(start + size, _COUNT)),
                    **options,
                ).images
                for start in range(0, _COUNT, size)
            ]
            np.testing.assert_array_equal(np.concatenate(parts), whole.images)

    def test_few_rows_are_attacked_in_a_smaller_batch(self, monkeypatch):
        sizes = []
        take_steps = engine.DynamicBatch._take_steps

        def record(batch):
            take_steps(batch)
            sizes.append(len(batch._row_indices))

        monkeypatch.setattr(engine.DynamicBatch, "_take_steps", record)
        monkeypatch.setattr(batch_sizes, "COMPILATION_ROWS", 100)
        images = np.tile(_IMAGES, (4, 1, 1, 1))[:64]
        labels = np.tile(_LABELS, 4)[:64]
        # All but two images are broken at once.
        epsilon = np.full(64, 0.5, np.float32)
        epsilon[[5, 40]] = 1e-6
        options = {"num_steps": 40, "keep": "first_adversarial", "epsilon": epsilon}
        small = attacks.run("pgd", _logits, images, labels, batch_size=64, **options)
        assert sizes[0] == 32 and sizes[-1] <= 4
        fixed = attacks.run(
            "pgd", _logits, images, labels, batch_size=64, fixed_batch=True, **options
        )
        assert sizes[-1] == 64
        np.testing.assert_array_equal(small.success, fixed.success)
        np.testing.assert_array_equal(small.gradient_calls, fixed.gradient_calls)
        np.testing.assert_allclose(small.images, fixed.images, atol=1e-5)


class _Killed(BaseException):
    pass


class TestInterruption:
    @pytest.mark.parametrize("attack", ["square", "function"])
    def test_an_interrupted_shard_resumes_where_it_was(self, attack, tmp_path, monkeypatch):
        monkeypatch.setattr(store, "_SAVE_INTERVAL_S", 0.0)
        monkeypatch.setattr(store, "_MAX_SAVE_SHARE", np.inf)
        finished = []

        def darken(logits_fn, images, labels, *, epsilon):
            return tf.maximum(images - epsilon, 0)

        name = darken if attack == "function" else attack
        options = {"epsilon": 0.05, "batch_size": 8} | (
            {"num_queries": 40} if attack == "square" else {}
        )
        expected = attacks.run(name, _logits, _IMAGES, _LABELS, **options)

        def stop(count):
            finished.append(count)
            if len(finished) == 2:
                raise _Killed

        with pytest.raises(_Killed):
            attacks.run(
                name, _logits, _IMAGES, _LABELS, output=tmp_path, on_progress=stop, **options
            )
        assert list(tmp_path.glob("unfinished-*/*.npz"))
        counts = []
        resumed = attacks.run(
            name, _logits, _IMAGES, _LABELS, output=tmp_path, on_progress=counts.append, **options
        )
        assert counts[0] >= finished[0] + finished[1] > 0
        np.testing.assert_array_equal(resumed.success, expected.success)
        np.testing.assert_array_equal(resumed.images, expected.images)
        np.testing.assert_array_equal(resumed.gradient_calls, expected.gradient_calls)
        assert not list(tmp_path.glob("unfinished-*/*.npz"))

    def test_a_damaged_or_foreign_part_is_ignored(self, tmp_path):
        options = {"epsilon": 0.05, "output": tmp_path / "out"}
        result = attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
        part = tmp_path / "out" / "unfinished-00000" / "0-0-0.npz"
        part.parent.mkdir()
        for write in (
            lambda: part.write_bytes(b"PK not a zip"),
            lambda: np.savez(part, examples="others", finished=np.ones(_COUNT, bool)),
            lambda: np.savez(part, examples="others"),
        ):
            write()
            for path in (tmp_path / "out").glob("shard-*"):
                path.unlink()
            again = attacks.run("pgd", _logits, _IMAGES, _LABELS, **options)
            np.testing.assert_array_equal(result.images, again.images)
            assert not part.parent.exists()
            part.parent.mkdir()

    def test_complete_stages_are_not_repeated(self, tmp_path):
        options = {"epsilon": 0.03, "batch_size": 8}
        expected = attacks.run("autoattack", _logits, _IMAGES, _LABELS, **options)
        names = []

        def stop(count):
            names.append([path.stem for path in tmp_path.glob("unfinished-*/*.npz")])
            if len(names[-1]) == 3:
                raise _Killed

        with pytest.raises(_Killed):
            attacks.run(
                "autoattack",
                _logits,
                _IMAGES,
                _LABELS,
                output=tmp_path,
                on_progress=stop,
                **options,
            )
        resumed = attacks.run("autoattack", _logits, _IMAGES, _LABELS, output=tmp_path, **options)
        np.testing.assert_array_equal(resumed.stage, expected.stage)
        np.testing.assert_array_equal(resumed.images, expected.images)
        np.testing.assert_array_equal(resumed.gradient_calls, expected.gradient_calls)
        assert not list(tmp_path.glob("unfinished-*"))


def test_layers_that_xla_cannot_compile_are_refused_in_one_line():
    def logits_fn(images):
        resized = tf.image.resize(images, (5, 5), method="bicubic", antialias=True)
        return _logits(resized)

    with pytest.raises(InputError, match="xla='off'"):
        attacks.run("pgd", logits_fn, _IMAGES, _LABELS, epsilon=0.1, xla="on")
    assert len(attacks.run("pgd", logits_fn, _IMAGES, _LABELS, epsilon=0.1)) == _COUNT
