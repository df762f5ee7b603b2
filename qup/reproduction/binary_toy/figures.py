"""Figures of the binary toy: the paper's Fig. 2 and the supplement's Fig. 1 for trained networks.

```python
arrays = packets.compute_panel_arrays(networks[50], "sine")
panels = [build_panel(arrays, 50, rows, "sine", points, labels)]
plot_packets(panels, "sine").savefig("packets.png")
trajectories = compute_trajectories(network, points, labels, epsilon=0.05, num_steps=4)
plot_trajectories(trajectories, title="The network after 50 epochs")
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qup import attacks
from qup.augmentation import opposite_fgsm
from qup.core import compilation, plotting
from qup.core.measurements import Row
from qup.reproduction.binary_toy import packets
from qup.reproduction.binary_toy.packets import (
    DRAWN_KINDS,
    PADDING,
    GridAmplitude,
    compute_conjugate,
    compute_logit_gap,
    compute_overlap,
    select_by_seed,
)

COLOURS = plotting.PALETTE[:2]
_LINE_STYLES = ("-", (0, (4, 1.5)))
_CONTOUR_SHARES = (0.9, 0.5)
# Smallest range of a P axis: densities on the box have long tails.
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
# Names of arrays: points as sampled, after FGSM, and after opposite FGSM.
STAGES = ("points", "attacked", "walked")
_MARKERS = "os"
_GRID = np.linspace(0, 1, 201)


class PacketPair(NamedTuple):
    """Both packets of a network in one representation, X or P.

    Attributes:
      amplitudes: Of labels 0 and 1.
      sigmas: Of x_1 or p_1, by quadrature.
      overlap: int |psi_0| |psi_1|.
    """

    amplitudes: Sequence[GridAmplitude]
    sigmas: Sequence[float]
    overlap: float


@dataclasses.dataclass(frozen=True, eq=False)
class DensityPanel:
    """Data of one network in the figure.

    Attributes:
      name: Such as "50 epochs".
      accuracies: TA, then RA for each budget, in percent, as text.
      packet_pairs: Kind of packet to (X, P).
      logit_gap: [n, n], logit of class 1 minus logit of class 0 at `coordinates`.
      coordinates: float64 [n].
      points: Test points, float32 [m, 2].
      labels: int32 [m].
    """

    name: str
    accuracies: str
    packet_pairs: Mapping[str, tuple[PacketPair, PacketPair]]
    logit_gap: np.ndarray
    coordinates: np.ndarray
    points: np.ndarray
    labels: np.ndarray


def build_panel(
    panel_arrays: Mapping[str, np.ndarray],
    epochs: int,
    rows: Sequence[Row],
    domain: str,
    points: np.ndarray,
    labels: np.ndarray,
) -> DensityPanel:
    """Returns the data of one network on one domain.

    Args:
      panel_arrays: See `packets.compute_panel_arrays`.
      epochs: Epochs of the network.
      rows: Of networks of one seed.
      domain: A name of `binary_toy.SPANS`.
      points: Test points, float32 [m, 2].
      labels: int32 [m].
    """
    packet_pairs = {
        kind: _build_packet_pairs(
            panel_arrays["psi"][index],
            panel_arrays["places"],
            _select_sigmas(rows, epochs, kind, domain),
        )
        for index, kind in enumerate(DRAWN_KINDS)
    }
    return DensityPanel(
        packets.format_network_name(epochs),
        _format_accuracies(rows, epochs),
        packet_pairs,
        panel_arrays["lead"],
        panel_arrays["places"],
        points,
        labels,
    )


def _build_packet_pairs(
    psi: np.ndarray, coordinates: np.ndarray, sigmas: dict[str, list]
) -> tuple[PacketPair, PacketPair]:
    """Returns both packets in X and, by a Fourier transform, in P."""
    amplitudes = [GridAmplitude(values.astype(np.float64), coordinates) for values in psi]
    momenta = [compute_conjugate(amplitude, PADDING) for amplitude in amplitudes]
    return (
        PacketPair(amplitudes, sigmas["sigma_x"], compute_overlap(*amplitudes)),
        PacketPair(momenta, sigmas["sigma_p"], compute_overlap(*momenta)),
    )


def _select_sigmas(rows: Sequence[Row], epochs: int, kind: str, domain: str) -> dict[str, list]:
    """Returns sigma_x and sigma_p of both labels along x_1."""
    parameters = {"packet": kind, "domain": domain, "temperature": 1.0}
    sigmas: dict[str, list] = {}
    for measure in ("sigma_x", "sigma_p"):
        for label in (0, 1):
            values = select_by_seed(
                rows, measure, epochs, **parameters, label=label, axis="pixel:0"
            )
            sigmas.setdefault(measure, []).extend(*values.values())
    return sigmas


def _format_accuracies(rows: Sequence[Row], epochs: int) -> str:
    network_rows = [row for row in rows if row.epochs == epochs]
    texts = [f"TA {r.value:.1f}" for r in network_rows if r.measure == "test_accuracy"]
    texts += [
        f"RA({row.epsilon:g}) {row.value:.1f}"
        for row in network_rows
        if row.measure == "robust_accuracy"
    ]
    return ", ".join(texts) + " %"


def plot_packets(panels: Sequence[DensityPanel], domain: str) -> Figure:
    """Plots Fig. 2: a row per network, and columns X and P for each packet.

    Args:
      panels: The most accurate network first.
      domain: Domain of the panels.
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
    grid = (panel.coordinates, panel.coordinates, panel.logit_gap.T)
    field.contour(*grid, [0.0], colors=["black"], linewidths=1.3)
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
    """Plots |psi|^2: the marginal of the first coordinate above, both coordinates below."""
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
    """Plots the regions that contain 90 and 50 percent of a density."""
    density = field.density.T
    heights = np.sort(density, axis=None)[::-1]
    shares = np.cumsum(heights) * field.spacing**2
    levels = [heights[np.searchsorted(shares, share)] for share in _CONTOUR_SHARES]
    # One grid point beyond either limit, so that contours reach the edge.
    visible = slice(*np.searchsorted(field.coordinates, limits) + np.array([-1, 1]))
    visible = slice(max(visible.start, 0), visible.stop)
    coordinates, density = field.coordinates[visible], density[visible, visible]
    axis.contourf(
        coordinates,
        coordinates,
        density,
        [*levels, 1.01 * heights[0]],
        colors=[colour] * 2,
        alpha=0.2,
    )
    axis.contour(
        coordinates,
        coordinates,
        density,
        levels,
        colors=[colour],
        linestyles=[style],
        linewidths=(1.1, 1.8),
    )


def _compute_reach(panels: Sequence[DensityPanel]) -> float:
    """Returns the largest |k| of the axes: four sigma_p of the widest packet."""
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
    style = {"color": "grey", "marker": "o", "ms": 4, "lw": 1.8}
    label = r"mean $\pm \sigma$; contours contain 50 and 90 %"
    handles.append(Line2D([], [], label=label, **style))
    return handles


def compute_trajectories(
    network: keras.Model, points: np.ndarray, labels: np.ndarray, *, epsilon: float, num_steps: int
) -> dict[str, np.ndarray]:
    """Applies FGSM, and iterated opposite FGSM, to points.

    Args:
      network: The classifier.
      points: float32 [n, 2] in [0, 1].
      labels: int32 [n].
      epsilon: Length of each step.
      num_steps: Number of opposite steps.

    Returns:
      "points", "attacked" and "walked", float32 [n, 2]; "right", bool [3, n], which of these points
      are classified correctly; "lead", float32 [201, 201], logit of class 1 minus logit of class 0
      over the square; and the arguments.
    """
    perturbed = attacks.get("fgsm")(network, points, labels, epsilon=epsilon)
    iterates = opposite_fgsm.iterate(
        network, points, labels, num_steps=num_steps, step_size=epsilon
    )
    stage_points = [points, perturbed.numpy(), iterates.numpy()]
    correct = [
        compilation.predict(network, x.astype(np.float32)).numpy().argmax(1) == labels
        for x in stage_points
    ]
    return {
        **dict(zip(STAGES, stage_points, strict=True)),
        "labels": labels,
        "right": np.array(correct),
        "lead": compute_logit_gap(network, _GRID),
        "epsilon": np.array(epsilon),
        "num_steps": np.array(num_steps),
    }


def plot_trajectories(trajectories: Mapping[str, np.ndarray], title: str) -> Figure:
    """Plots the supplement's Fig. 1 from the arrays of `compute_trajectories`."""
    epsilon = float(trajectories["epsilon"])
    titles = {
        "points": "as sampled",
        "attacked": rf"after FGSM, $\epsilon$ = {epsilon:g}",
        "walked": f"after {int(trajectories['num_steps'])} opposite steps of {epsilon:g}",
    }
    figure = Figure(figsize=(12.6, 5.2), layout="constrained")
    figure.suptitle(title, fontsize=13, weight="bold")
    grid = figure.subplots(1, len(STAGES), sharey=True)
    for index, (axis, stage) in enumerate(zip(grid, STAGES, strict=True)):
        correct = trajectories["right"][index]
        axis.set_title(f"{titles[stage]}: {100 * correct.mean():.1f} % correct")
        _plot_regions(axis, trajectories["lead"])
        _plot_points(axis, trajectories[stage], trajectories["labels"], correct)
    grid[0].set_ylabel("$x_2$", fontsize=12)
    legend_style = {"loc": "outside lower center", "fontsize": 11, "frameon": False}
    figure.legend(handles=_build_class_handles(), ncols=3, **legend_style)
    return figure


def _build_class_handles() -> list[Line2D]:
    style = {"color": "none", "ms": 7}
    handles = [
        Line2D([], [], marker=marker, mfc=colour, mec="white", label=f"class {label}", **style)
        for label, (marker, colour) in enumerate(zip(_MARKERS, COLOURS, strict=True))
    ]
    style |= {"marker": "o", "mfc": "none", "mec": "black", "mew": 1.2}
    return [*handles, Line2D([], [], label="black edge: misclassified", **style)]


def _plot_regions(axis: Axes, logit_gap: np.ndarray) -> None:
    coordinates, gap = _GRID, logit_gap.T
    axis.contourf(coordinates, coordinates, gap, [-np.inf, 0, np.inf], colors=COLOURS, alpha=0.18)
    axis.contour(coordinates, coordinates, gap, [0.0], colors="black", linewidths=1.3)
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("$x_1$", fontsize=12)


def _plot_points(axis: Axes, points, labels, correct) -> None:
    for label, marker in enumerate(_MARKERS):
        for is_correct, edge in ((True, "white"), (False, "black")):
            selected = (labels == label) & (correct == is_correct)
            axis.scatter(
                *points[selected].T,
                s=26,
                color=COLOURS[label],
                marker=marker,
                edgecolor=edge,
                linewidth=0.5 if is_correct else 1.2,
            )
