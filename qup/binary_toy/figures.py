"""The paper's Fig. 2, of real networks.

```python
packets(portraits, "sine").savefig("packets.png")
```
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup.binary_toy.conjugates import GridAmplitude
from qup.binary_toy.portraits import DensityPanel, PacketPair

# Colour-blind safe (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00")
_LINE_STYLES = ("-", (0, (4, 1.5)))
_CONTOUR_SHARES = (0.9, 0.5)
# Of a P axis: on the box the densities have long tails.
_MIN_REACH = 24.0
_PACKET_TITLES = {
    "loss": r"loss (the paper's): $\psi_Y^2 \propto l_Y(x)^2$",
    "sqrt_prob": r"sqrt_prob: $\psi_Y^2 \propto p_Y(x)^{\,}$",
}
_DOMAIN_NOTES = {
    "box": r"on the square; $\sigma_p$ is that inside of it: continued by 0 "
    r"the packet jumps, and $\int k^2 |\tilde\psi|^2$ diverges",
    "sine": r"times the sine window, which is 0 at the edges: $\sigma_p$ is "
    r"the deviation of $|\tilde\psi|^2$",
    "window:0.1": "times a Gaussian window of width 0.1 on the class's arc: "
    r"$\sigma_p$ is the deviation of $|\tilde\psi|^2$",
}


def plot_packets(panels: Sequence[DensityPanel], domain: str) -> Figure:
    """Draws Fig. 2: a row for each network; of each packet X, then P.

    Args:
      panels: The more accurate network first.
      domain: That they were made on.
    """
    kinds = list(panels[0].packet_pairs)
    size = (6.6 * len(kinds), 1.2 + 4.2 * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    reach = _compute_reach(panels)
    blocks = figure.subfigures(1, len(kinds), squeeze=False, wspace=0.04)[0]
    for block, kind in zip(blocks, kinds, strict=True):
        block.suptitle(f"Packet {_PACKET_TITLES[kind]}", fontsize=13, weight="bold")
        grid = block.subplots(
            2 * len(panels), 2, squeeze=False, height_ratios=(1, 2.4) * len(panels)
        )
        for row, panel in enumerate(panels):
            in_x, in_p = panel.packet_pairs[kind]
            cells = grid[2 * row : 2 * row + 2]
            _plot_position(*cells[:, 0], in_x, panel)
            _plot_momentum(*cells[:, 1], in_p, reach)
    figure.legend(
        handles=_build_packet_handles(),
        loc="outside lower center",
        ncols=4,
        fontsize=11,
        frameon=False,
        title=f"Packets {_DOMAIN_NOTES[domain]}.",
        title_fontsize=11,
    )
    return figure


def _plot_position(strip: Axes, field: Axes, pair: PacketPair, panel: DensityPanel) -> None:
    sigmas = ", ".join(f"{sigma:.3f}" for sigma in pair.sigmas)
    strip.set_title(
        f"{panel.name}: {panel.accuracies}\n"
        rf"in X: $\sigma_{{x_1}}$ = {sigmas}; overlap {pair.overlap:.3f}",
        fontsize=10.5,
    )
    _plot_densities(strip, field, pair, (0.0, 1.0))
    for label, colour in enumerate(COLOURS):
        class_points = panel.points[panel.labels == label]
        field.scatter(*class_points.T, s=3, color=colour, zorder=0)
    field.contour(
        panel.coordinates,
        panel.coordinates,
        panel.logit_gap.T,
        [0.0],
        colors=["black"],
        linewidths=1.3,
    )
    strip.set_ylabel(r"$\int |\psi|^2 dx_2$", fontsize=11)
    field.set_xlabel("$x_1$", fontsize=12)
    field.set_ylabel("$x_2$", fontsize=12)


def _plot_momentum(strip: Axes, field: Axes, pair: PacketPair, reach: float) -> None:
    sigmas = ", ".join(f"{sigma:.2f}" for sigma in pair.sigmas)
    strip.set_title(
        rf"in P: $\sigma_{{p_1}}$ = {sigmas}"
        "\n"
        f"overlap {pair.overlap:.3f}",
        fontsize=10.5,
    )
    _plot_densities(strip, field, pair, (-reach, reach))
    strip.set_ylabel(r"$\int |\tilde\psi|^2 dk_2$", fontsize=11)
    field.set_xlabel("$k_1$", fontsize=12)
    field.set_ylabel("$k_2$", fontsize=12, labelpad=-2)


def _plot_densities(strip: Axes, field: Axes, pair: PacketPair, limits) -> None:
    """Draws |psi|^2: its first coordinate above, both below."""
    height = max(amplitude.marginal(0).max() for amplitude in pair.amplitudes)
    for label, amplitude in enumerate(pair.amplitudes):
        colour, style = COLOURS[label], _LINE_STYLES[label]
        density = amplitude.marginal(0)
        strip.plot(amplitude.coordinates, density, color=colour, ls=style, lw=1.8)
        strip.fill_between(amplitude.coordinates, density, color=colour, alpha=0.15)
        mean, level = amplitude.mean()[0], height * (0.42 - 0.22 * label)
        strip.errorbar(
            mean, level, xerr=pair.sigmas[label], color=colour, capsize=4, lw=1.8, marker="o", ms=4
        )
        _plot_contours(field, amplitude, limits, colour, style)
    strip.set(xlim=limits, ylim=(0, 1.08 * height), yticks=[])
    strip.tick_params(labelbottom=False)
    field.set(xlim=limits, ylim=limits)


def _plot_contours(axis: Axes, field: GridAmplitude, limits, colour: str, style) -> None:
    """Draws the regions that hold 90 and 50 percent of a density."""
    density = field.density.T
    heights = np.sort(density, axis=None)[::-1]
    shares = np.cumsum(heights) * field.spacing**2
    levels = [heights[np.searchsorted(shares, share)] for share in _CONTOUR_SHARES]
    # One place beyond either limit, so that nothing ends before it.
    visible = slice(*np.searchsorted(field.coordinates, limits) + np.array([-1, 1]))
    visible = slice(max(visible.start, 0), visible.stop)
    places, density = field.coordinates[visible], density[visible, visible]
    axis.contourf(
        places, places, density, [*levels, 1.01 * heights[0]], colors=[colour] * 2, alpha=0.2
    )
    axis.contour(
        places, places, density, levels, colors=[colour], linestyles=[style], linewidths=(1.1, 1.8)
    )


def _compute_reach(panels: Sequence[DensityPanel]) -> float:
    """Returns the largest |k| to show: four sigma_p of the widest packet."""
    sigmas = [
        sigma
        for panel in panels
        for _, in_p in panel.packet_pairs.values()
        for sigma in in_p.sigmas
    ]
    return max(4.0 * max(sigmas), _MIN_REACH)


def _build_packet_handles() -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, ls=style, lw=1.8, label=f"Y = {label}")
        for label, (colour, style) in enumerate(zip(COLOURS, _LINE_STYLES, strict=True))
    ]
    handles.append(Line2D([], [], color="black", lw=1.3, label="decision; dots: data"))
    handles.append(
        Line2D(
            [],
            [],
            color="grey",
            marker="o",
            ms=4,
            lw=1.8,
            label=r"mean $\pm \sigma$; contours hold 50 and 90 %",
        )
    )
    return handles
