"""The user's own images as files of NumPy.

python -m bin.run_attack --images=x.npy --labels=y.npy --model_path=mine.keras --attack=pgd
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "arrays"
    config.attack.epsilon = 8 / 255
    config.augmentation.step_size = 2 / 255
    if size == "smoke":
        defaults.shrink(config, train=None, test=None)
    return config
