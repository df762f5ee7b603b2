"""Iterative FGSM Augmentation, from images to a table of accuracies.

Trains a classifier, attacks it, walks its training images down the loss,
teaches a Pix2Pix network that walk, puts it before the classifier and
attacks the pair (arXiv 2205.01493, supplement, Fig. 3).

    python -m bin.run_ifa
    python -m bin.run_ifa --dataset=mnist --epochs=1,30,50

Further settings: --config.group.key=value; configs/defaults.py tells all.
"""

from absl import flags

from bin import command_line, starting
from qup.core.interruption import SignalGuard

command_line.define_flags()
flags.adopt_module_key_flags(command_line)


def main(config) -> str:
    """Runs the road with the settings `config`; returns the table."""
    with SignalGuard():
        from qup.pipelines import ifa

    return ifa.run(config)


if __name__ == "__main__":
    starting.run(main)
