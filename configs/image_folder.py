"""The user's own images, train/<class>/* and test/<class>/*.

python -m bin.run_ifa --dataset=image_folder --data_dir=FOLDER
"""

from qup.pipelines import defaults


def get_config(size: str = "full"):
    """Returns the settings; `size` is "full" or "smoke"."""
    config = defaults.get_config()
    config.dataset.name = "image_folder"
    config.dataset.image_size = 32
    config.attack.epsilon = 8 / 255
    config.augmentation.step_size = 2 / 255
    if size == "smoke":
        defaults.shrink(config, train=None, test=None)
    return config
