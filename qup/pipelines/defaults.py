"""Every setting of the pipelines and its default.

The files of configs/, one per dataset, start from here. Groups:
`dataset, model, training, attack, augmentation, translator, serving`.
"""

from collections.abc import Collection

from ml_collections import config_dict

_int, _float, _str, _any = (
    lambda kind=kind: config_dict.placeholder(kind) for kind in (int, float, str, object)
)


def get_config() -> config_dict.ConfigDict:
    """Returns the settings; None leaves a value to the model or the data."""
    config = config_dict.ConfigDict()
    # Seed of initialisation, order, split, attack and translator.
    config.seed = 0
    # Folder of the results; None: runs/<dataset>-<model>-<hash of the settings>.
    config.workdir = _str()
    # Folder of the artifacts and their metadata; None: QUP_PIPELINE_ROOT, else workdir/pipeline.
    config.pipeline_root = _str()
    # Reuse intact results of earlier runs.
    config.enable_cache = True
    # "full" hashes every reused file; "stat" hashes files whose size, time or
    # inode has changed.
    config.verify = "stat"
    # The paper's printed equations, see `read_literally`.
    config.paper_literal = False
    config.dataset = {
        "name": "digits",
        # None: TFDS_DATA_DIR, else ~/tensorflow_datasets.
        "data_dir": _str(),
        # Folder of original files that were fetched by hand.
        "manual_dir": _str(),
        # Number of images, from the first; None: all.
        "train_size": _int(),
        "test_size": _int(),
        # Number of training images moved to the split "validation".
        "validation_size": 0,
        # The split of TA and RA: "test" or "validation".
        "evaluation_split": "test",
        # Pixels, for image_folder and synthetic: 32 for squares, 28,36 for height and width.
        "image_size": _any(),
        # 1 or 3, for image_folder (None: 1 if all files are grey) and synthetic.
        "channels": _int(),
        # Of files with 16 bits per channel in image_folder; None: what their values need.
        "bit_depth": _int(),
        # Files of NumPy for arrays: a .npy file each, or one .npz file as images.
        "images": _str(),
        "labels": _str(),
        # The values of black and white in arrays, such as 0,255 or -1,1.
        "value_range": _any(),
    }
    config.model = {
        "name": "convnet",
        # Factor of the number of channels.
        "width": 1.0,
        # resnet only: 18, 20, 32, 44, 56 or 110.
        "depth": _int(),
    }
    # None: the model's own recipe.
    config.training = {
        # The pipeline runs after each of these numbers of epochs.
        "epochs": (1,),
        "optimizer": _str(),
        "learning_rate": _float(),
        "batch_size": _int(),
        # Random rotation, shift and zoom, as in the notebook of YGCNN.
        "augment": False,
        # Where classifiers and translators are trained: "none", one device; "mirrored", all GPUs
        # of this machine; "multi_worker" is for train-worker alone.
        "strategy": "none",
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
        # Clip attacked pixels to [0, 1]; the other case is measured too.
        "pixel_clip": True,
        "loss": "cross_entropy",
        # Differentiate "both" networks of the pair, or the "classifier" alone.
        "through": "both",
        # A stronger attack: its number of steps from a random start (0: none),
        # and its number of images.
        "check_steps": 40,
        "check_size": 1000,
        "batch_size": 500,
    }
    config.augmentation = {
        # N, the number of opposite-FGSM steps.
        "num_steps": 20,
        # epsilon of the supplement.
        "step_size": 0.02,
        # Number of training images, from the first; None: all.
        "num_images": _int(),
        # Clip every X_n to [0, 1].
        "pixel_clip": True,
        "loss": "log_odds",
        # The n at which TA and RA of X_n are measured (N is added).
        "points": (0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 150),
        # Images per shard.
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
    # Of `qup ifa`, for the models that it pushes.
    config.serving = {
        # Runtimes that must answer as Keras does: tensorflow,openvino,onnxruntime,litert.
        "runtimes": "tensorflow",
        # Further formats in the folder of a version: onnx,litert.
        "exports": _str(),
    }
    return config


def read_literally(config: config_dict.ConfigDict, keep: Collection[str] = ()) -> None:
    """Sets the values of the paper's printed equations (--config.paper_literal).

    No pixel clip in the attack and in opposite FGSM, N = 200 and step = epsilon.
    Opposite FGSM keeps its loss: its gradient has the sign of that of
    cross-entropy, and does not underflow.

    Args:
      config: The settings, changed in place.
      keep: Keys that keep their values, such as "augmentation.num_steps".
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
    """Reduces a run to about a minute, as a test of every step (--smoke)."""
    config.dataset.train_size = train
    config.dataset.test_size = test
    config.attack.check_size = 200
    config.attack.check_steps = 10
    config.augmentation.num_steps = 5
    config.translator.epochs = 1
    config.translator.width = 8
