"""TensorBoard of a reproduction: a sweep over networks, and a page of curves.

The HPARAMS tab has a row per network, number of epochs and seed, with TA and RA of the classifier
(CL) and of the augmented classifier (ACL). CUSTOM SCALARS shows them next to the training curves.

```python
write_sweep(ReportData.read(folder), folder / "tensorboard")
```
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from qup.core.measurements import Row
from qup.core.tensorboard import SummaryWriter
from qup.reproduction.presets import ROBUST_METHODS, NetworkPreset, Scale
from qup.reproduction.report import data
from qup.reproduction.report.data import AccuracyKind, ReportData

_CLASSIFIERS = ("CL", "ACL")
# Folders of TensorBoard runs: one per row of HPARAMS, and one per curve over epochs.
SWEEP, OVER_EPOCHS, PAGE = "sweep", "over_epochs", "overview"
_NETWORK_FIELDS = ("dataset", "model", "training", "epochs", "seed")


class SweepRun(NamedTuple):
    """A network at one number of epochs, of one seed: results are percentages by tag."""

    hyperparameters: dict[str, str | int | float | bool]
    results: dict[str, float]

    @property
    def name(self) -> str:
        """Network and seed, "mnist.convnet.seed-0"."""
        name_parts = [self.hyperparameters["dataset"], self.hyperparameters["model"]]
        if self.hyperparameters["training"] != "standard":
            name_parts.append(self.hyperparameters["training"])
        return ".".join([*map(str, name_parts), f"seed-{self.hyperparameters['seed']}"])


def get_scalar_tags(scale: Scale) -> dict[AccuracyKind, str]:
    """Returns the tags of scalars."""
    return {
        AccuracyKind.CLEAN: "TA",
        AccuracyKind.PGD4_CLIPPED: "RA_PGD-4",
        AccuracyKind.PGD4_UNCLIPPED: "RA_PGD-4_unclipped",
        AccuracyKind.PGD_STRONG: f"RA_PGD-{scale.strong_steps}_strong",
        AccuracyKind.WORST_CASE: f"RA_{scale.worst_case_title}",
    }


def write_sweep(report_data: ReportData, folder: pathlib.Path) -> None:
    """Writes the sweep and its page; replaces those of an earlier run."""
    scalar_tags = get_scalar_tags(report_data.scale)
    metrics = [f"{classifier}/{tag}" for classifier in _CLASSIFIERS for tag in scalar_tags.values()]
    sweep_runs = list(iterate_sweep_runs(report_data))
    for name in sorted({sweep_run.name for sweep_run in sweep_runs}):
        board = SummaryWriter(folder)
        network_runs = [sweep_run for sweep_run in sweep_runs if sweep_run.name == name]
        board.clear(f"{OVER_EPOCHS}/{name}")
        for sweep_run in sorted(
            network_runs, key=lambda sweep_run: sweep_run.hyperparameters["epochs"]
        ):
            epochs = sweep_run.hyperparameters["epochs"]
            run = f"{SWEEP}/{name}.epoch-{epochs}"
            board.clear(run)
            board.write_hparams(run, epochs, sweep_run.hyperparameters, sweep_run.results)
            board.write_scalars(f"{OVER_EPOCHS}/{name}", epochs, sweep_run.results)
    board = SummaryWriter(folder)
    board.clear(PAGE)
    hyperparameter_names = dict.fromkeys(
        [*_NETWORK_FIELDS, *(k for sweep_run in sweep_runs for k in sweep_run.hyperparameters)]
    )
    board.write_hparams_config(PAGE, hyperparameter_names, metrics)
    board.write_layout(PAGE, _build_layout(list(scalar_tags.values())))
    board.write_text(PAGE, "reproduction", _format_summary(report_data, len(sweep_runs)))


def iterate_sweep_runs(report_data: ReportData) -> Iterator[SweepRun]:
    """Yields a run per network, number of epochs and seed."""
    for table in report_data.scale.tables.values():
        for network in table.networks:
            for method in (None, *ROBUST_METHODS):
                epochs = report_data.scale.robust_epochs if method else table.epochs
                for number in epochs:
                    yield from _iterate_network_runs(report_data, network, number, method)


def _iterate_network_runs(
    report_data: ReportData, network: NetworkPreset, epochs: int, method: str | None
) -> Iterator[SweepRun]:
    scalar_tags, results = get_scalar_tags(report_data.scale), {}
    for classifier in _CLASSIFIERS:
        for accuracy_kind, tag in scalar_tags.items():
            selected_rows = data.find_accuracy_rows(
                report_data, network, classifier, epochs, accuracy_kind, method=method
            )
            for row in selected_rows:
                results.setdefault(row.seed, {})[f"{classifier}/{tag}"] = row.value
    for seed in sorted(results):
        hyperparameters = {
            "dataset": network.dataset,
            "model": network.model,
            "training": method or "standard",
            "epochs": epochs,
            "seed": seed,
            **{f"model_{key}": value for key, value in network.options.items()},
        }
        yield SweepRun(hyperparameters, results[seed])


def _build_layout(scalar_tags: list[str]) -> dict[str, dict[str, list[str]]]:
    """Returns categories with charts, each with expressions of its tags."""
    return {
        "Over epochs": {
            f"{classifier}: {tag}": [f"^{classifier}/{tag}$"]
            for tag in scalar_tags
            for classifier in _CLASSIFIERS
        },
        "Training": {
            "Loss of classifiers": ["^loss$"],
            "Accuracy of classifiers": ["^accuracy$"],
            "L1 of translators": ["^generator_l1$", "^validation_l1_in_pixels$"],
        },
    }


def _format_summary(report_data: ReportData, count: int) -> str:
    rows: tuple[Row, ...] = report_data.rows
    seeds = ", ".join(map(str, sorted({row.seed for row in rows}))) or "none"
    return (
        f"Reproduction at scale {report_data.scale.name}: {len(rows)} "
        f"measurements, seeds {seeds}, {count} networks in HPARAMS. The report is "
        "report/report.html in the same folder."
    )
