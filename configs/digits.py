"""scikit-learn's digits: the default dataset, included in scikit-learn.

    python -m bin.run_ifa

Real handwriting, 1,797 images, no network and no files. Seed 0, two cores:
CL TA 96.11, RA (PGD-4) 23.61; ACL TA 98.33, RA 64.17, but 9.17 under 40
steps from a random start.
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "digits"
    config.dataset.validation_size = 120
    # One epoch of 1,317 images is 20 batches, 2 % of an epoch of MNIST.
    config.training.epochs = (20,)
    # A small, fast translator: the demo ends within minutes. A learning rate
    # of 2e-4 needs more steps than 1,317 images give.
    config.translator.width = 8
    config.translator.learning_rate = 1e-3
    config.translator.epochs = 30
    config.attack.check_size = 360
    if size == "smoke":
        defaults.shrink(config, train=None, test=None)
        config.training.epochs = (2,)
    return config
