"""training.strategy: the default changes nothing, mirrored trains, multi_worker is refused."""

import json

import keras
import numpy as np
import pytest

from qup.cli import settings
from qup.core import errors
from qup.pipelines import config as configs
from qup.pipelines import train
from qup.training import strategies


def _get_config(workdir, **changes):
    config = settings.load_dataset_settings("digits", "full")
    config.workdir = str(workdir)
    config.model.width = 0.25
    config.dataset.train_size = 320
    config.training.epochs = (2,)
    config.update_from_flattened_dict(changes)
    return config


def test_the_flag_has_the_strategies_of_the_library():
    assert settings.STRATEGIES == strategies.STRATEGIES


def test_the_default_is_no_part_of_the_identity():
    config = settings.load_dataset_settings("digits", "full")
    before = json.loads(config.to_json_best_effort())
    assert before["training"]["strategy"] == "none"
    assert "strategy" not in configs.get_config_identity(config)["training"]
    config.training.strategy = "mirrored"
    assert configs.get_config_identity(config)["training"]["strategy"] == "mirrored"


@pytest.mark.parametrize(
    ("strategy", "message"),
    [("multi_worker", "Train with qup train-worker"), ("mirored", "Did you mean 'mirrored'")],
)
def test_what_a_pipeline_cannot_do_is_refused(tmp_path, strategy, message):
    config = _get_config(tmp_path / "run", **{"training.strategy": strategy})
    with pytest.raises(errors.InputError, match=message) as caught:
        train.run(config, train.TrainRequest())
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["standard", "pgd_at", "free"])
def test_one_mirrored_replica_trains_the_network_of_a_process(tmp_path, method):
    weights = []
    for strategy in ("none", "mirrored"):
        workdir = tmp_path / strategy
        config = _get_config(workdir, **{"training.strategy": strategy})
        config.training.batch_size = 16
        train.run(config, train.TrainRequest(method=method, epsilon=0.1, num_robust_images=16))
        weights.append(keras.models.load_model(workdir / "model.keras").get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # The same folder under another strategy is another training.
    config.workdir = str(tmp_path / "none")
    with pytest.raises(errors.InputError, match=r"other settings: replicas .None then, 1 now"):
        train.run(config, train.TrainRequest(method=method, epsilon=0.1, num_robust_images=16))


@pytest.mark.parametrize("strategy", [object(), "mirrored"])
def test_a_strategy_must_be_one(strategy):
    with pytest.raises(errors.InputError, match=r"training.build_strategy; received"):
        strategies.ReplicaGroup(strategy)


def test_unknown_strategies_and_a_missing_list_of_workers_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(errors.InputError, match="Unknown strategy 'parameter_server'"):
        strategies.build_strategy("parameter_server")
    with pytest.raises(errors.InputError, match="TF_CONFIG is not set"):
        strategies.build_strategy("multi_worker")
    assert strategies.build_strategy("none") is None
