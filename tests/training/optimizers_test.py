"""Every optimizer of Keras: it learns and resumes; other names and values are one line."""

import numpy as np
import pytest

from configs import synthetic
from qup import datasets, models, training
from qup.core import errors
from qup.core.types import Recipe
from qup.pipelines import config as pipeline_config

# What is wrong with a name; each is a string on a command line.
_WRONG = ["42", "l2", "1e308", "adamwx", "", "None", "Optimizer", "lossscaleoptimizer", "a" * 5000]


def _fit(model, data, name, epochs, **options):
    recipe = Recipe(optimizer=name, learning_rate=1e-3, batch_size=16)
    training.fit_classifier(model, data, epochs=epochs, recipe=recipe, **options)


def test_the_usual_names_are_among_them():
    names = training.list_optimizers()
    assert {"adam", "adamw", "nadam", "lion", "adamax", "adagrad", "sgd", "rmsprop"} <= {*names}
    assert not {"optimizer", "lossscaleoptimizer", "multioptimizer"} & {*names}


@pytest.mark.slow
@pytest.mark.parametrize("name", training.list_optimizers())
def test_it_learns_and_a_resumed_training_is_equal(name, tmp_path):
    data = datasets.load("synthetic", train_size=64, test_size=16)
    build = lambda seed: models.build("convnet", data.info, width=0.1, seed=seed)  # noqa: E731
    complete, losses = build(0), []
    before = complete.get_weights()
    _fit(complete, data, name, 2, hook=lambda _, metrics: losses.append(metrics["loss"]))
    assert np.all(np.isfinite(losses))
    assert any(np.any(a != b) for a, b in zip(before, complete.get_weights(), strict=True))
    _fit(build(0), data, name, 1, directory=tmp_path)
    resumed = build(9)
    _fit(resumed, data, name, 2, directory=tmp_path)
    for one, other in zip(complete.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", training.list_optimizers())
def test_the_settings_take_it(name):
    config = synthetic.get_config()
    config.training.optimizer = name
    pipeline_config.check_config(config)


@pytest.mark.parametrize("name", _WRONG)
def test_other_names_are_one_line(name):
    config = synthetic.get_config()
    config.training.optimizer = name
    data = datasets.load("synthetic", train_size=16, test_size=16)
    model = models.build("convnet", data.info, width=0.1)
    for check in (lambda: pipeline_config.check_config(config), lambda: _fit(model, data, name, 1)):
        with pytest.raises(errors.InputError, match=r"Known: adadelta, .*adamw") as caught:
            check()
        assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"), [("AdamW", "adamw"), ("nadan", "nadam"), ("SGD", "sgd")]
)
def test_the_nearest_name_is_suggested(name, nearest):
    with pytest.raises(errors.InputError, match=f"Did you mean '{nearest}'"):
        training.classifier.build_optimizer(Recipe(optimizer=name))


@pytest.mark.parametrize("options", [{"momentun": 0.9}, {"momentum": "high"}, {"momentum": 2.0}])
def test_an_option_that_keras_refuses_is_one_line(options):
    with pytest.raises(errors.InputError, match="'sgd' does not take") as caught:
        training.classifier.build_optimizer(Recipe(optimizer="sgd", optimizer_options=options))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("digits", [21, 100, 400, 5000])
@pytest.mark.parametrize("key", ["augmentation.num_steps", "training.epochs", "seed"])
def test_numbers_of_many_digits_are_one_line(key, digits):
    config = synthetic.get_config()
    value = 10**digits
    config.update_from_flattened_dict({key: (value,) if key == "training.epochs" else value})
    with pytest.raises(errors.InputError, match="must be a finite number") as caught:
        pipeline_config.check_config(config)
    assert len(str(caught.value)) < 300
