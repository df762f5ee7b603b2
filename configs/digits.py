"""scikit-learn's digits: the embedded default.

    python -m bin.run_ifa

Real handwriting, 1,797 images, no network and no files.
"""

from configs import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "digits"
    config.dataset.validation_size = 120
    # 1,317 images are 20 batches: as many steps as MNIST's first 2 %.
    config.training.epochs = (20,)
    config.translator.epochs = 15
    config.attack.check_size = 360
    if size == "smoke":
        defaults.shrink(config, train=None, test=None)
        config.training.epochs = (2,)
    return config
