"""Street View House Numbers, cropped (Netzer et al. 2011); not in the paper.

python -m bin.run_ifa --dataset=svhn_cropped
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "svhn_cropped"
    config.attack.epsilon = 8 / 255
    config.augmentation.step_size = 2 / 255
    if size == "smoke":
        defaults.shrink(config, train=2000, test=500)
    return config
