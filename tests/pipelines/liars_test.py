"""`bin.run_attack` on classifiers that look robust and are not, as SavedModels."""

import numpy as np
import pytest
import tensorflow as tf

from configs import arrays
from qup.core.errors import InputError
from qup.core.measurements import RELIABILITY, read_rows
from qup.pipelines import attack
from qup.pipelines.attack_request import AttackRequest
from tests.attacks.liars_test import LIARS, build_honest, build_liars

pytestmark = pytest.mark.slow
_COUNT, _TOLERANCE = 50, 4.0


@pytest.fixture(scope="module")
def liars():
    return build_liars()


def _build_config(workdir):
    """Returns the settings of the images of the honest network."""
    _, images, labels = build_honest()
    workdir.parent.mkdir(exist_ok=True)
    path = workdir.parent / "images.npz"
    np.savez(path, images=np.round(255 * images).astype(np.uint8), labels=labels)
    config = arrays.get_config()
    config.dataset.images = str(path)
    config.workdir = str(workdir)
    return config


def _measure(classifier, path, workdir) -> tuple[float, float, list[str], str]:
    """Returns the RA of PGD and of Square, the reasons to doubt the first, and the table."""
    module = tf.Module()
    module.networks = [build_honest()[0], getattr(classifier, "layers", [])]
    signature = [tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")]
    serve = tf.function(lambda image: {"logits": classifier(image)}, input_signature=signature)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    config = _build_config(workdir)
    request = AttackRequest(
        attacks=("pgd", "square"),
        options=("square.num_queries=300",),
        epsilons=(0.15,),
        num_images=_COUNT,
        batch_size=_COUNT,
        saved_model=str(path),
    )
    table = attack.run(config, request)
    rows = read_rows(workdir / "measurements.csv")
    robust = {row.attack: row.value for row in rows if row.measure == "robust_accuracy"}
    (reliability,) = (r for r in rows if r.measure == RELIABILITY and r.attack == "pgd")
    reasons = list(reliability.parameters.get("reasons", ()))
    assert reliability.value == float(bool(reasons))
    return robust["pgd"], robust["square"], reasons, table


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    robust, _, reasons, table = _measure(build_honest()[0], folder / "model", folder / "run")
    assert not reasons and "flagged" not in table
    return robust


@pytest.mark.parametrize("liar", [liar for liar in LIARS if liar != "leak"])
def test_a_liar_is_refused_flagged_or_seen_through(liar, liars, truth, tmp_path):
    try:
        robust, _, reasons, table = _measure(liars[liar], tmp_path / "model", tmp_path / "run")
    except InputError as error:
        assert len(str(error)) <= 600 and "\n" not in str(error)
        return
    assert reasons or robust <= truth + _TOLERANCE
    assert not reasons or "flagged" in table


def test_a_model_file_that_rescales_is_refused_until_its_range_is_stated(liars, tmp_path):
    liars["wrong_range"].build((None, 8, 8, 1))
    liars["wrong_range"].save(tmp_path / "model.keras")
    config = _build_config(tmp_path / "run")
    options = {
        "attacks": ("pgd",),
        "epsilons": (0.15,),
        "num_images": _COUNT,
        "batch_size": _COUNT,
        "model_path": str(tmp_path / "model.keras"),
    }
    with pytest.raises(InputError, match="--pixel_range=0,255"):
        attack.run(config, AttackRequest(**options))
    attack.run(config, AttackRequest(**options, pixel_range="0,255"))
    rows = read_rows(tmp_path / "run" / "measurements.csv")
    (accuracy,) = (row.value for row in rows if row.measure == "test_accuracy")
    assert accuracy > 85 and np.isfinite(accuracy)
