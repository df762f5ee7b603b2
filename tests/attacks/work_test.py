"""The share of an attack that is done, while it runs."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from qup import attacks
from qup.attacks import work
from qup.attacks.inputs import ExampleBatch
from qup.core import progress

_WEIGHTS = np.random.default_rng(0).normal(size=(36, 5)).astype(np.float32)


def _classify(images):
    return tf.reshape(images, (-1, 36)) @ _WEIGHTS


def _load_images(count):
    images = np.random.default_rng(1).uniform(size=(count, 6, 6, 1)).astype(np.float32)
    return images, (images.reshape(count, 36) @ _WEIGHTS).argmax(-1)


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("pgd", {"epsilon": 0.02}),
        ("apgd_t", {"epsilons": [0.02, 0.005, 0.01], "num_steps": 10, "num_targets": 3}),
        ("deepfool", {"epsilons": [0.1, 0.2], "norm": "l2"}),
        ("apgd_ce", {"epsilon": 0.02, "num_steps": 10, "targets": "all"}),
        ("carlini_wagner", {"num_steps": 10, "search_steps": 2}),
    ],
)
def test_the_share_rises_to_one(attack, options, tmp_path):
    shares = []
    images, labels = _load_images(50)
    options = {"batch_size": 8, "logs_flags": False, "output": tmp_path / "shards", **options}
    attacks.run(attack, _classify, images, labels, on_share=shares.append, **options)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5 and shares[-1] == 1
    assert len(set(shares)) > 5
    again = []
    attacks.run(attack, _classify, images, labels, on_share=again.append, **options)
    assert again[-1] == 1


def test_the_share_rises_before_any_image_is_finished():
    shares, finished = [], []

    def on_progress(count):
        if count:
            finished.append(len(shares))

    images, labels = _load_images(8)
    attacks.run(
        "square",
        _classify,
        images,
        labels,
        epsilon=1e-4,
        num_queries=400,
        batch_size=8,
        on_share=shares.append,
        on_progress=on_progress,
    )
    assert finished[0] >= 4 and shares[finished[0] - 1] > 0.5


def test_a_function_reports_its_batches():
    shares = []
    attacks.run(
        lambda logits_fn, images, labels, **options: images,
        _classify,
        *_load_images(32),
        epsilon=0.1,
        batch_size=8,
        logs_flags=False,
        on_share=shares.append,
    )
    assert len(shares) == 5 and shares == sorted(shares) and shares[-1] == 1


def test_stages_that_no_image_reaches_do_not_count_as_left():
    shares = []
    counter = work.ShareCounter(10, 1, shares.append)
    examples = ExampleBatch(
        np.zeros((10, 4, 4, 1), np.float32), np.zeros(10, int), np.arange(10), np.zeros(10)
    )
    attack = attacks.build_method("apgd_t", epsilon=0.1, num_steps=99, num_targets=2)
    counter.begin_attack(attack, examples, number=0, num_choices=1)
    counter.begin_stage(0, 0, 10)(0.5)
    assert shares[-1] == pytest.approx(0.25)
    counter.begin_stage(0, 1, 2)(0.0)
    assert shares[-1] == pytest.approx(10 / 12)
    counter.end_shard(10)
    assert shares[-1] == 1


def test_progress_is_shown_on_request(monkeypatch):
    opened = []

    @contextlib.contextmanager
    def open_share(title, *, lines, on_share):
        opened.append((title, lines))
        yield on_share or (lambda share: None)

    monkeypatch.setattr(progress, "open_share", open_share)
    images, labels = _load_images(4)
    attacks.run("fgsm", _classify, images, labels, epsilon=0.1)
    assert opened == []
    shares = []
    attacks.run(
        "fgsm", _classify, images, labels, epsilon=0.1, show_progress=True, on_share=shares.append
    )
    assert opened == [("fgsm", True)] and shares[-1] == 1


def test_methods_know_their_largest_number_of_steps():
    shape = (8, 8, 1)

    def count(name, **options):
        return attacks.build_method(name, **options).count_max_steps(shape)

    assert count("pgd", epsilon=0.1) == 40
    assert count("pgd", epsilon=0.1, keep="first_adversarial", num_steps=7) == 7
    assert count("carlini_wagner", num_steps=10, search_steps=3) == 30
    assert count("fab", epsilon=0.1, num_steps=10, restarts=2) == 20
    assert 90 < count("square", epsilon=0.1, num_queries=100) < 100
    assert count("jsma", gamma=0.25) == 8
    assert count("iterative_fgsm_search", num_steps=5, max_attempts=3) == 18
