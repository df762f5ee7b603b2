"""Generated patterns: for tests, not for results.

python -m bin.run_ifa --dataset=synthetic
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "synthetic"
    config.dataset.image_size = 16
    config.training.batch_size = 32
    config.training.epochs = (2,)
    config.attack.check_size = 64
    config.augmentation.batch_size = 64
    config.translator.width = 4
    config.translator.epochs = 2
    config.translator.batch_size = 32
    if size == "smoke":
        config.augmentation.num_steps = 5
        config.attack.check_steps = 5
    return config
