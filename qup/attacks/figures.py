"""The figure of an attack's result.

`AttackResult.plot` imports this module by its name, so that a change of a figure's style is no
change of the attacks, whose code identifies stored results.
"""

from typing import TYPE_CHECKING

import numpy as np

from qup.core import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qup.attacks.results import AttackResult


def plot_distances(result: "AttackResult", norm: str) -> "Figure":
    """Returns the share of images that withstand, in percent, over the distance.

    Args:
      result: The result.
      norm: "l0", "l1", "l2" or "linf".
    """
    from matplotlib.figure import Figure

    distances = np.sort(result.distances[norm][result.success & result.correct])
    steps = np.concatenate([[0.0], distances])
    withstood = 100 * (result.correct.sum() - np.arange(len(steps))) / max(len(result), 1)
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.add_subplot()
    axis.step(steps, withstood, where="post", color=plotting.BLUE)
    axis.set(
        xlabel=f"{norm} distance of the adversarial image",
        ylabel=f"accuracy in percent of {len(result):,} images",
        ylim=(-3, 103),
        xlim=(0, None),
    )
    plotting.tidy_axis(axis)
    return figure


def render(figure: "Figure", file_format: str) -> bytes:
    """Returns a figure as a file."""
    return plotting.render_figure(figure, file_format)
