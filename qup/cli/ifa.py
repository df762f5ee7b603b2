"""Iterative FGSM Augmentation, from images to a table of accuracies.

Trains a classifier, attacks it, lowers the loss of its training images by
opposite FGSM, trains a Pix2Pix network to predict these perturbations, puts
it in front of the classifier and attacks the two together (arXiv 2205.01493,
supplement, Fig. 3). docs/pipeline.md explains the steps and the settings.

    qup ifa
    qup ifa --dataset=mnist --epochs=1,30,50

Further settings: --config.group.key=value; --help lists all.
"""

from absl import flags

from qup.cli import engines, settings
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines the flags of the settings."""
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    engines.define_flags()
    flags.adopt_module_key_flags(engines)


def main(config) -> str:
    """Runs the pipeline with the settings `config`; returns the table."""
    engine = engines.resolve()
    with SignalGuard():
        from qup.pipelines import ifa

    return ifa.run(config, engine)


def run() -> None:
    """Runs the command."""
    settings.run(main)
