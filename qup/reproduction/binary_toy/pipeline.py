"""The program of the binary toy: networks of several seeds, their rows and figures.

```python
print(run(pathlib.Path("runs/binary-toy"), seeds=5))
```
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
from matplotlib.figure import Figure

from qup.core import errors, files, measurements, plotting
from qup.core.measurements import Row
from qup.pipelines.run import Workdir
from qup.reproduction import binary_toy
from qup.reproduction.binary_toy import figures, packets, text
from qup.reproduction.binary_toy.packets import Grids

_log = logging.getLogger("qup")
# Points in figures, and their steps of opposite FGSM.
NUM_SHOWN_POINTS, NUM_OPPOSITE_STEPS = 300, 4


class ToySizes(NamedTuple):
    """Sizes of the computation.

    Attributes:
      epochs: Numbers of epochs at which networks are measured, ascending.
      train: Number of training points.
      test: Number of test points.
      grids: See `Grids`.
      drawn: Domains of the figures, names of `binary_toy.SPANS`.
    """

    epochs: tuple[int, ...] = (1, 50)
    train: int = 1000
    test: int = 2000
    grids: Grids = Grids()
    drawn: tuple[str, ...] = tuple(binary_toy.SPANS)


FULL_SIZES = ToySizes()
SMOKE_SIZES = ToySizes((1, 2), 200, 200, Grids(panels=6, cells=81, padding=3), drawn=("sine",))


def run(folder: pathlib.Path, *, seeds: int = 5, sizes: ToySizes = FULL_SIZES) -> str:
    """Trains and measures networks, and plots those of seed 0.

    Args:
      folder: For binary-toy.csv and figures; empty, new, or of an earlier run.
      seeds: Number of networks, with seeds 0, 1, ...
      sizes: Sizes of the computation.

    Returns:
      Tables and the written files, as text.

    Raises:
      InputError: There are no seeds, or the folder cannot be used.
    """
    errors.check_number("seeds", seeds, at_least=1)
    workdir = Workdir(folder)
    with workdir.lock("to write its results"):
        rows: list[Row] = []
        for seed in reversed(range(seeds)):
            networks = binary_toy.train_networks(seed, sizes.epochs, sizes.train)
            seed_rows = packets.measure_networks(
                networks, packets.build_model_info(0, seed), count=sizes.test, grids=sizes.grids
            )
            rows = seed_rows + rows
            _log.info("seed %d: trained and measured", seed)
        workdir.write_config({"program": "binary_toy", "seeds": seeds, "sizes": sizes._asdict()})
        csv_path = workdir.path / "binary-toy.csv"
        measurements.write_rows(csv_path, rows)
        # Seed 0 is the last one: `networks` and `seed_rows` are its results.
        figures_by_name = _draw_figures(networks, seed_rows, sizes)
        for name, figure in figures_by_name.items():
            path = workdir.path / "figures" / name
            files.write_bytes(path, plotting.render_figure(figure, "png", dpi=110))
    figure_paths = [str(workdir.path / "figures" / name) for name in figures_by_name]
    return "\n".join(
        [
            text.format_report(rows),
            "",
            f"Measurements  {csv_path}",
            *(f"Figure        {figure_path}" for figure_path in figure_paths),
        ]
    )


def _draw_figures(
    networks: dict[int, keras.Model], rows: Sequence[Row], sizes: ToySizes
) -> dict[str, Figure]:
    """Returns the figures of seed 0 by name."""
    figures_by_name = {}
    least_epochs, *_, most_epochs = sizes.epochs
    points, labels = binary_toy.sample_held_out(0, NUM_SHOWN_POINTS)
    for domain in sizes.drawn:
        panels = [
            figures.build_panel(
                packets.compute_panel_arrays(networks[epochs], domain),
                epochs,
                rows,
                domain,
                points,
                labels,
            )
            for epochs in (most_epochs, least_epochs)
        ]
        name = f"packets-{domain.partition(':')[0]}.png"
        figures_by_name[name] = figures.plot_packets(panels, domain)
    trajectories = figures.compute_trajectories(
        networks[most_epochs],
        points,
        labels,
        epsilon=packets.EPSILONS[0],
        num_steps=NUM_OPPOSITE_STEPS,
    )
    title = f"The network after {most_epochs} epochs"
    figures_by_name["fgsm.png"] = figures.plot_trajectories(trajectories, title)
    return figures_by_name
