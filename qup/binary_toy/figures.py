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

from qup.binary_toy.conjugates import Field
from qup.binary_toy.portraits import Portrait, Side

# Colour-blind safe (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00")
_STYLES = ("-", (0, (4, 1.5)))
_SHARES = (0.9, 0.5)
# Of a P axis: on the box the densities have long tails.
_LEAST_REACH = 24.0
_KINDS = {
    "loss": r"loss (the paper's): $\psi_Y^2 \propto l_Y(x)^2$",
    "sqrt_prob": r"sqrt_prob: $\psi_Y^2 \propto p_Y(x)^{\,}$",
}
_NOTES = {
    "box": r"on the square; $\sigma_p$ is that inside of it: continued by 0 "
    r"the packet jumps, and $\int k^2 |\tilde\psi|^2$ diverges",
    "sine": r"times the sine window, which is 0 at the edges: $\sigma_p$ is "
    r"the deviation of $|\tilde\psi|^2$",
    "window:0.1": "times a Gaussian window of width 0.1 on the class's arc: "
    r"$\sigma_p$ is the deviation of $|\tilde\psi|^2$",
}


def packets(portraits: Sequence[Portrait], domain: str) -> Figure:
    """Draws Fig. 2: a row for each network; of each packet X, then P.

    Args:
      portraits: The more accurate network first.
      domain: That they were made on.
    """
    kinds = list(portraits[0].sides)
    size = (6.6 * len(kinds), 1.2 + 4.2 * len(portraits))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    reach = _reach(portraits)
    blocks = figure.subfigures(1, len(kinds), squeeze=False, wspace=0.04)[0]
    for block, kind in zip(blocks, kinds, strict=True):
        block.suptitle(f"Packet {_KINDS[kind]}", fontsize=13, weight="bold")
        grid = block.subplots(
            2 * len(portraits), 2, squeeze=False,
            height_ratios=(1, 2.4) * len(portraits),
        )  # fmt: skip
        for row, portrait in enumerate(portraits):
            in_x, in_p = portrait.sides[kind]
            cells = grid[2 * row : 2 * row + 2]
            _draw_x(*cells[:, 0], in_x, portrait)
            _draw_p(*cells[:, 1], in_p, reach)
    figure.legend(
        handles=_handles(), loc="outside lower center", ncols=4, fontsize=11,
        frameon=False, title=f"Packets {_NOTES[domain]}.", title_fontsize=11,
    )  # fmt: skip
    return figure


def _draw_x(strip: Axes, field: Axes, side: Side, portrait: Portrait) -> None:
    sigmas = ", ".join(f"{sigma:.3f}" for sigma in side.sigmas)
    strip.set_title(
        f"{portrait.name}: {portrait.accuracies}\n"
        rf"in X: $\sigma_{{x_1}}$ = {sigmas}; overlap {side.overlap:.3f}",
        fontsize=10.5,
    )  # fmt: skip
    _draw(strip, field, side, (0.0, 1.0))
    for label, colour in enumerate(COLOURS):
        own = portrait.points[portrait.labels == label]
        field.scatter(*own.T, s=3, color=colour, zorder=0)
    field.contour(
        portrait.places, portrait.places, portrait.lead.T, [0.0],
        colors=["black"], linewidths=1.3,
    )  # fmt: skip
    strip.set_ylabel(r"$\int |\psi|^2 dx_2$", fontsize=11)
    field.set_xlabel("$x_1$", fontsize=12)
    field.set_ylabel("$x_2$", fontsize=12)


def _draw_p(strip: Axes, field: Axes, side: Side, reach: float) -> None:
    sigmas = ", ".join(f"{sigma:.2f}" for sigma in side.sigmas)
    strip.set_title(
        rf"in P: $\sigma_{{p_1}}$ = {sigmas}" "\n"
        f"overlap {side.overlap:.3f}", fontsize=10.5,
    )  # fmt: skip
    _draw(strip, field, side, (-reach, reach))
    strip.set_ylabel(r"$\int |\tilde\psi|^2 dk_2$", fontsize=11)
    field.set_xlabel("$k_1$", fontsize=12)
    field.set_ylabel("$k_2$", fontsize=12, labelpad=-2)


def _draw(strip: Axes, field: Axes, side: Side, limits) -> None:
    """Draws |psi|^2: its first coordinate above, both below."""
    height = max(own.marginal(0).max() for own in side.fields)
    for label, own in enumerate(side.fields):
        colour, style = COLOURS[label], _STYLES[label]
        density = own.marginal(0)
        strip.plot(own.places, density, color=colour, ls=style, lw=1.8)
        strip.fill_between(own.places, density, color=colour, alpha=0.15)
        middle, level = own.mean()[0], height * (0.42 - 0.22 * label)
        strip.errorbar(
            middle, level, xerr=side.sigmas[label], color=colour, capsize=4,
            lw=1.8, marker="o", ms=4,
        )  # fmt: skip
        _contours(field, own, limits, colour, style)
    strip.set(xlim=limits, ylim=(0, 1.08 * height), yticks=[])
    strip.tick_params(labelbottom=False)
    field.set(xlim=limits, ylim=limits)


def _contours(axis: Axes, field: Field, limits, colour: str, style) -> None:
    """Draws the regions that hold 90 and 50 percent of a density."""
    density = field.density.T
    heights = np.sort(density, axis=None)[::-1]
    shares = np.cumsum(heights) * field.spacing**2
    levels = [heights[np.searchsorted(shares, share)] for share in _SHARES]
    # One place beyond either limit, so that nothing ends before it.
    seen = slice(*np.searchsorted(field.places, limits) + np.array([-1, 1]))
    seen = slice(max(seen.start, 0), seen.stop)
    places, density = field.places[seen], density[seen, seen]
    axis.contourf(
        places, places, density, [*levels, 1.01 * heights[0]],
        colors=[colour] * 2, alpha=0.2,
    )  # fmt: skip
    axis.contour(
        places, places, density, levels, colors=[colour],
        linestyles=[style], linewidths=(1.1, 1.8),
    )  # fmt: skip


def _reach(portraits: Sequence[Portrait]) -> float:
    """Returns the largest |k| to show: four sigma_p of the widest packet."""
    sigmas = [
        sigma
        for portrait in portraits
        for _, in_p in portrait.sides.values()
        for sigma in in_p.sigmas
    ]
    return max(4.0 * max(sigmas), _LEAST_REACH)


def _handles() -> list[Line2D]:
    lines = [
        Line2D([], [], color=colour, ls=style, lw=1.8, label=f"Y = {label}")
        for label, (colour, style) in enumerate(
            zip(COLOURS, _STYLES, strict=True)
        )
    ]
    lines.append(
        Line2D([], [], color="black", lw=1.3, label="decision; dots: data")
    )
    lines.append(
        Line2D([], [], color="grey", marker="o", ms=4, lw=1.8,
               label=r"mean $\pm \sigma$; contours hold 50 and 90 %")
    )  # fmt: skip
    return lines
