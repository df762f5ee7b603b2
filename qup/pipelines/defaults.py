"""Every setting of Iterative FGSM Augmentation and its default.

The other files of this folder start from here, one a dataset. Groups:
`dataset, model, training, attack, augmentation, translator`.
"""

from collections.abc import Collection

from ml_collections import config_dict

_int, _float, _str = (lambda kind=kind: config_dict.placeholder(kind) for kind in (int, float, str))


def get_config() -> config_dict.ConfigDict:
    """Returns the settings; None where the model or the data decides."""
    config = config_dict.ConfigDict()
    # Drives initialisation, order, split, attack and translator.
    config.seed = 0
    # Files of the run; None: runs/<dataset>-<model>-<hash of the settings>.
    config.workdir = _str()
    # Folder of the artifacts and their metadata; None: workdir/pipeline.
    config.pipeline_root = _str()
    # Reuse results that are known and intact.
    config.enable_cache = True
    # "full" hashes every reused file; "stat" only those whose size, time or
    # inode has changed.
    config.verify = "stat"
    # The paper's printed equations, see `read_literally`.
    config.paper_literal = False
    config.dataset = {
        "name": "digits",
        # None: TFDS_DATA_DIR, else ~/tensorflow_datasets.
        "data_dir": _str(),
        # Original files fetched by hand.
        "manual_dir": _str(),
        # Only the first that many images.
        "train_size": _int(),
        "test_size": _int(),
        # Training images held out as the split "validation".
        "validation_size": 0,
        # What TA and RA are measured on: "test" or "validation".
        "evaluation_split": "test",
        # Side in pixels, for image_folder and synthetic.
        "image_size": _int(),
    }
    config.model = {
        "name": "convnet",
        # Multiplies the channels.
        "width": 1.0,
        # resnet alone: 18, 20, 32, 44, 56 or 110.
        "depth": _int(),
    }
    # None: the model's own recipe.
    config.training = {
        # A snapshot is kept, and the road is run, at each.
        "epochs": (1,),
        "optimizer": _str(),
        "learning_rate": _float(),
        "batch_size": _int(),
        # Rotate, shift and zoom, as YGCNN's notebook does.
        "augment": False,
    }
    config.attack = {
        "name": "pgd",
        "epsilon": 0.1,
        "num_steps": 4,
        # None: epsilon / num_steps.
        "step_size": _float(),
        "norm": "linf",
        "random_start": False,
        "restarts": 1,
        # Keep attacked pixels in [0, 1]; the other way is measured beside.
        "pixel_clip": True,
        "loss": "cross_entropy",
        # Differentiate "both" networks of the pair, or the "classifier".
        "through": "both",
        # A stronger look: that many steps from a random start (0: none),
        # on the first that many images.
        "check_steps": 40,
        "check_size": 1000,
        "batch_size": 500,
    }
    config.augmentation = {
        # N, the number of opposite-FGSM steps.
        "num_steps": 20,
        # The supplement's epsilon.
        "step_size": 0.02,
        # Walk only the first that many training images.
        "num_images": _int(),
        # Keep every X_n in [0, 1].
        "pixel_clip": True,
        "loss": "log_odds",
        # The n at which TA and RA of X_n are measured (N is added).
        "points": (0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 150),
        # Images a shard.
        "batch_size": 500,
    }
    config.translator = {
        # 16: 1.94 M parameters; 64: 31.0 M, for a GPU.
        "width": 16,
        "epochs": 10,
        "batch_size": 64,
        "learning_rate": 2e-4,
        "beta_1": 0.5,
        "l1_weight": 100.0,
        "schedule": "cosine",
    }
    return config


def read_literally(config: config_dict.ConfigDict, keep: Collection[str] = ()) -> None:
    """Sets what the paper's printed equations say (--config.paper_literal).

    No pixel clip in the attack and in the walk, N = 200 and step = epsilon.
    The walk keeps its loss, whose sign is that of cross-entropy without its
    underflow.

    Args:
      config: The settings, changed in place.
      keep: Names, such as "augmentation.num_steps", that were given by
        themselves and stay.
    """
    literal = {
        "attack.pixel_clip": False,
        "augmentation.pixel_clip": False,
        "augmentation.num_steps": 200,
        "augmentation.step_size": config.attack.epsilon,
    }
    config.paper_literal = True
    config.update_from_flattened_dict(
        {key: value for key, value in literal.items() if key not in keep}
    )


def shrink(config: config_dict.ConfigDict, *, train: int | None, test: int | None) -> None:
    """Makes a run of a minute, to see that every stage works (--smoke)."""
    config.dataset.train_size = train
    config.dataset.test_size = test
    config.attack.check_size = 200
    config.attack.check_steps = 10
    config.augmentation.num_steps = 5
    config.translator.epochs = 1
    config.translator.width = 8
