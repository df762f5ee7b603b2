"""The binary toy: networks of several seeds, their rows, three figures.

```python
print(run(pathlib.Path("runs/binary-toy"), seeds=5))
```
"""

import io
import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
from matplotlib.figure import Figure

from qup import binary_toy, errors, files, measurements
from qup.binary_toy import figures as toy_figures
from qup.binary_toy import movements as toy_movements
from qup.binary_toy import networks as toy_networks
from qup.binary_toy import portraits as toy_portraits
from qup.binary_toy import rows as toy_rows
from qup.binary_toy import text as toy_text
from qup.binary_toy.rows import Grids
from qup.measurements import Row
from qup.workdir import Workdir

_log = logging.getLogger("qup")
# Points that are shown, and opposite steps that they take.
SHOWN, STEPS = 300, 4


class Sizes(NamedTuple):
    """How much is computed.

    Attributes:
      epochs: When networks are looked at, growing.
      train: Training points.
      test: Points held out.
      grids: See `Grids`.
      drawn: Domains, names of `binary_toy.SPANS`.
    """

    epochs: tuple[int, ...] = (1, 50)
    train: int = 1000
    test: int = 2000
    grids: Grids = Grids()
    drawn: tuple[str, ...] = tuple(binary_toy.SPANS)


FULL = Sizes()
SMOKE = Sizes(
    (1, 2), 200, 200, Grids(panels=6, cells=81, padding=3), drawn=("sine",)
)


def run(folder: pathlib.Path, *, seeds: int = 5, sizes: Sizes = FULL) -> str:
    """Trains, measures, draws.

    Args:
      folder: For binary-toy.csv and figures; an empty or a new one, or that
        of an earlier run.
      seeds: How many networks; they are 0, 1, ...
      sizes: How much is computed.

    Returns:
      Tables and where everything lies, as text.

    Raises:
      InputError: No seeds, or a folder that cannot be used.
    """
    errors.check_number("seeds", seeds, least=1)
    workdir = Workdir(folder)
    with workdir.locked("to write its results"):
        rows: list[Row] = []
        for seed in reversed(range(seeds)):
            networks = binary_toy.train(seed, sizes.epochs, sizes.train)
            own = toy_networks.of_networks(
                networks, toy_rows.subject(0, seed), count=sizes.test,
                grids=sizes.grids,
            )  # fmt: skip
            rows = own + rows
            _log.info("seed %d: trained and measured", seed)
        workdir.commit({"program": "binary_toy", "seeds": seeds,
                        "sizes": sizes._asdict()})  # fmt: skip
        table = workdir.path / "binary-toy.csv"
        measurements.write(table, rows)
        # The networks and rows of seed 0, the last one.
        drawn = _figures(networks, own, sizes)
        for name, figure in drawn.items():
            _save(figure, workdir.path / "figures" / name)
    places = [str(workdir.path / "figures" / name) for name in drawn]
    return "\n".join(
        [toy_text.text(rows), "", f"Measurements  {table}",
         *(f"Figure        {place}" for place in places)]
    )  # fmt: skip


def _figures(
    networks: dict[int, keras.Model], rows: Sequence[Row], sizes: Sizes
) -> dict[str, Figure]:
    """Returns the figures of seed 0 by name."""
    drawn = {}
    few, *_, many = sizes.epochs
    points, labels = binary_toy.held_out(0, SHOWN)
    for domain in sizes.drawn:
        portraits = [
            toy_portraits.portrait(
                toy_portraits.arrays(networks[each], domain), each, rows,
                domain, points, labels,
            )
            for each in (many, few)
        ]  # fmt: skip
        name = f"packets-{domain.partition(':')[0]}.png"
        drawn[name] = toy_figures.packets(portraits, domain)
    held = toy_movements.moved(
        networks[many], points, labels, epsilon=toy_networks.EPSILONS[0],
        num_steps=STEPS,
    )  # fmt: skip
    title = f"The network after {many} epochs"
    drawn["fgsm.png"] = toy_movements.draw(held, title)
    return drawn


def _save(figure: Figure, path: pathlib.Path) -> None:
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=110)
    files.write_bytes(path, held.getvalue())
