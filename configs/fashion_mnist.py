"""Fashion-MNIST, a harder MNIST (Xiao, Rasul, Vollgraf 2017); not in the paper.

python -m bin.run_ifa --dataset=fashion_mnist
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "fashion_mnist"
    config.attack.epsilon = 0.1
    config.augmentation.step_size = 0.02
    if size == "smoke":
        defaults.shrink(config, train=2000, test=500)
    return config
