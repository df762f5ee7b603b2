"""The answer to "how robust is this classifier?", from attacks on the same images.

```python
report = qup.evaluate(model, images, labels, epsilon=8 / 255)
print(report)
report.save_html("robustness.html")
```
"""

import dataclasses
import datetime
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qup.attacks.results import compute_finite_mean
from qup.core import extras, files
from qup.core.measurements import Proportion, compute_proportion
from qup.core.numbers import format_epsilon
from qup.robustness.masking.case import FLAGGED, NOT_CHECKED, CheckResult
from qup.robustness.report.attack_runs import AttackRun
from qup.robustness.report.curve import RobustnessCurve
from qup.robustness.report.protocol import NORM_NAMES, STRONG_ATTACKS, WORST_CASE, get_attack_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Changes when a key of result.json changes its meaning.
SCHEMA_VERSION = 1
CHECKED = "checked"
# Budgets of the curve of an attack without a budget.
_NUM_CURVE_POINTS = 11
# The check that needs a second classifier, which most users do not have.
_OPTIONAL_CHECK = "transfer"
# The check that cannot decide for a robust classifier, whose accuracy noise and attacks lower
# little alike. Planted points and Square tell it from one with masked gradients.
_INCONCLUSIVE_CHECK = "noise"
# The stages of the published AutoAttack; with two or three classes the attack has others.
_PUBLISHED_STAGES = {"apgd_ce", "apgd_t", "fab_t", "square"}
# Flags that say that an attack is weak, which does not matter where a strong one was run too.
_WEAKNESS_FLAGS = ("few_steps",)


@dataclasses.dataclass(frozen=True)
class AttackSummary:
    """What one attack did at one budget.

    Attributes:
      name: Registered name of the attack.
      epsilon: The budget; None for an attack without one.
      robust_accuracy: Share of all images that it did not break.
      num_broken: Correctly classified images that it broke.
      num_broken_alone: Those that no other attack of the report broke at this budget.
      stages: Robust accuracy in percent after each stage of an attack with several.
      median_distance: Of the broken images, in the report's norm; NaN for none.
      forward_calls: Mean number of forward passes per image.
      gradient_calls: Mean number of forward and backward passes per image.
      flags: (name, message) of each reason to doubt the result.
    """

    name: str
    epsilon: float | None
    robust_accuracy: Proportion
    num_broken: int
    num_broken_alone: int
    stages: Mapping[str, float]
    median_distance: float
    forward_calls: float
    gradient_calls: float
    flags: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class ClassAccuracies:
    """The accuracies of one class.

    Attributes:
      name: Name of the class.
      clean: Share of its images that are classified correctly.
      robust: Share that still is under every attack.
    """

    name: str
    clean: Proportion
    robust: Proportion


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """One image before and after an attack.

    Attributes:
      id: Its identity in the data set.
      label: Name of its class.
      clean_class: Predicted class of the clean image.
      attacked_class: Predicted class of the attacked image.
      attack: Name of the attack.
      epsilon: Its budget; None for an attack without one.
      broken: Whether the attack succeeded.
      clean: float32 [height, width, channels] in [0, 1].
      attacked: float32 [height, width, channels].
    """

    id: int
    label: str
    clean_class: str
    attacked_class: str
    attack: str
    epsilon: float | None
    broken: bool
    clean: np.ndarray
    attacked: np.ndarray


@dataclasses.dataclass(frozen=True)
class Report:
    """Attacks on one classifier and the same images, at a headline budget and others.

    Robust accuracy is the share of all images that are classified correctly and that no attack
    breaks within the budget. Intervals are Wilson's at 95 %, of the test images alone: another
    training of the same network may differ by more.

    Attributes:
      classifier: Name of the classifier.
      dataset: Name of the data set.
      class_names: One per class.
      norm: Norm of the budgets.
      epsilon: The headline budget.
      runs: The attacks and budgets, at least one.
      checks: The results of the search for masked gradients; empty if it was not made.
      protocol: What was done, JSON values: seed, number of images, bounds, batch size, ...
      versions: Versions and settings that can change a result.
      seconds: Wall time of each part, by its name.
      command: The command that repeats the evaluation; "" for a call in Python.
    """

    classifier: str
    dataset: str
    class_names: tuple[str, ...]
    norm: str
    epsilon: float
    runs: tuple[AttackRun, ...]
    checks: tuple[CheckResult, ...] = ()
    protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    command: str = ""
    _pages: list[pathlib.Path] = dataclasses.field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def labels(self) -> np.ndarray:
        """The true classes, int32 [n]."""
        return self.runs[0].labels

    @property
    def correct(self) -> np.ndarray:
        """Whether the clean image is classified correctly, bool [n]."""
        return self.runs[0].result.correct

    @property
    def clean_accuracy(self) -> Proportion:
        """Share of images that are classified correctly before any attack."""
        return compute_proportion(self.correct)

    @property
    def robust_accuracy(self) -> Proportion:
        """Share of images that no attack breaks within the headline budget."""
        return self.get_robust_accuracy(self.epsilon)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The budgets of all attacks and the headline budget, increasing."""
        budgets = {run.epsilon for run in self.runs if run.norm == self.norm and run.epsilon}
        if not any(self.is_headline(budget) for budget in budgets):
            budgets.add(self.epsilon)
        return tuple(sorted(budgets))

    def find_broken(self, epsilon: float) -> np.ndarray:
        """Returns which images are misclassified within a budget by any attack, bool [n]."""
        return np.any([run.find_broken(epsilon, self.norm) for run in self.runs], 0)

    def get_robust_accuracy(self, epsilon: float) -> Proportion:
        """Returns the share of images that no attack breaks within a budget."""
        return compute_proportion(~self.find_broken(epsilon))

    @property
    def smallest_epsilon(self) -> np.ndarray:
        """The smallest of `epsilons` at which each image is broken, float64 [n].

        0 for images that are misclassified as they are, NaN for images that withstood.
        """
        smallest = np.where(self.correct, np.nan, 0.0)
        for epsilon in reversed(self.epsilons):
            smallest = np.where(self.find_broken(epsilon) & self.correct, epsilon, smallest)
        return smallest

    @property
    def reasons(self) -> list[str]:
        """Why the robust accuracy may be too high; empty if nothing was found."""
        reasons = []
        for run in self.headline_runs:
            for flag in run.result.flags:
                if flag.name in _WEAKNESS_FLAGS and self._has_strong_attack():
                    continue
                reasons.append(f"{get_attack_name(run.name)}: {flag.message}")
        for check in self.checks:
            if check.status == FLAGGED:
                reasons.append(f"{check.name}: {check.message}")
        return list(dict.fromkeys(reasons))

    @property
    def gaps(self) -> list[str]:
        """What was not checked; empty after a complete evaluation."""
        gaps = []
        if not self._has_strong_attack():
            gaps.append(
                "AutoAttack was not run: a stronger attack may find a lower robust accuracy."
            )
        if not self.checks:
            gaps.append("The search for masked gradients was not made.")
        for check in self.checks:
            optional = check.name == _OPTIONAL_CHECK
            undecided = check.name == _INCONCLUSIVE_CHECK and check.values
            if check.status == NOT_CHECKED and not optional and not undecided:
                gaps.append(f"{check.name}: {check.message}")
        return gaps

    def _has_strong_attack(self) -> bool:
        return any(run.name in STRONG_ATTACKS for run in self.headline_runs)

    @property
    def status(self) -> str:
        """One of "flagged", "checked" or "not checked"; the first two need reasons or no gaps."""
        if self.reasons:
            return FLAGGED
        return NOT_CHECKED if self.gaps else CHECKED

    @property
    def headline_runs(self) -> list[AttackRun]:
        """The runs whose budget is the headline budget, or that have none."""
        return [run for run in self.runs if self.is_headline(run.epsilon)]

    def is_headline(self, epsilon: float | None) -> bool:
        """Whether a budget is the headline budget; None, of an attack without one, always is."""
        return epsilon is None or math.isclose(epsilon, self.epsilon, rel_tol=1e-6)

    def summarise_attacks(self) -> list[AttackSummary]:
        """Returns one summary per attack and budget: by budget, then in the order of the runs."""
        runs = sorted(self.runs, key=lambda run: math.inf if run.epsilon is None else run.epsilon)
        return [self._summarise(run) for run in runs]

    def _summarise(self, run: AttackRun) -> AttackSummary:
        epsilon = self.epsilon if run.epsilon is None else run.epsilon
        broken = run.result.success & run.result.correct
        if run.epsilon is None:
            broken &= run.find_broken(epsilon, self.norm)
        others = [
            other.find_broken(epsilon, self.norm) for other in self.runs if other.name != run.name
        ]
        alone = broken & ~np.any(others, 0) if others else broken
        distances = run.result.distances[run.norm][broken]
        return AttackSummary(
            name=run.name,
            epsilon=run.epsilon,
            robust_accuracy=compute_proportion(run.result.correct & ~broken),
            num_broken=int(broken.sum()),
            num_broken_alone=int(alone.sum()),
            stages=run.result.after_stages() if len(set(run.result.stages)) > 1 else {},
            median_distance=float(np.median(distances)) if distances.size else math.nan,
            forward_calls=compute_finite_mean(run.result.forward_calls),
            gradient_calls=compute_finite_mean(run.result.gradient_calls),
            flags=tuple((flag.name, flag.message) for flag in run.result.flags),
        )

    def build_curves(self) -> list[RobustnessCurve]:
        """Returns the curve of each attack with several budgets, and that of the worst case."""
        curves = []
        for name in dict.fromkeys(run.name for run in self.runs if run.norm == self.norm):
            runs = [run for run in self.runs if run.name == name and run.norm == self.norm]
            if runs[0].epsilon is None:
                epsilons = sorted({*self.epsilons, *_choose_distances(runs[0])})
            else:
                epsilons = sorted({run.epsilon for run in runs if run.epsilon is not None})
            broken = [
                np.any([run.find_broken(epsilon, self.norm) for run in runs], 0)
                for epsilon in epsilons
            ]
            curves.append(self._build_curve(name, epsilons, broken))
        if len(curves) > 1:
            broken = [self.find_broken(epsilon) for epsilon in self.epsilons]
            curves.append(self._build_curve(WORST_CASE, self.epsilons, broken))
        return curves

    def _build_curve(
        self, name: str, epsilons: Sequence[float], broken: Sequence[np.ndarray]
    ) -> RobustnessCurve:
        accuracies = [self.clean_accuracy, *(compute_proportion(~rows) for rows in broken)]
        return RobustnessCurve(name, self.norm, (0.0, *epsilons), tuple(accuracies))

    def summarise_classes(self) -> list[ClassAccuracies]:
        """Returns the accuracies of each class that occurs, in the order of the classes."""
        broken = self.find_broken(self.epsilon)
        rows_by_class = {int(label): self.labels == label for label in np.unique(self.labels)}
        return [
            ClassAccuracies(
                self.get_class_name(label),
                compute_proportion(self.correct[rows]),
                compute_proportion(~broken[rows]),
            )
            for label, rows in rows_by_class.items()
        ]

    def get_class_name(self, label: int) -> str:
        """Returns the name of a class, or its number."""
        return self.class_names[label] if label < len(self.class_names) else str(label)

    def select_worst_images(self, count: int = 6) -> list[ShownImage]:
        """Returns the images that are broken at the smallest budget, then distance."""
        chosen: dict[int, ShownImage] = {}
        runs = sorted(self.runs, key=lambda run: math.inf if run.epsilon is None else run.epsilon)
        for run in runs:
            for k in range(run.examples.num_random, len(run.examples.rows)):
                row = int(run.examples.rows[k])
                if len(chosen) < count and row not in chosen:
                    chosen[row] = self._show(run, k)
        return list(chosen.values())

    def select_random_images(self, count: int = 6) -> list[ShownImage]:
        """Returns images that were drawn at random, attacked within the headline budget.

        An image is shown as the attack left it that broke it, else as it is.
        """
        runs = [
            run
            for run in self.headline_runs
            if run.norm == self.norm and run.examples.num_random >= 1
        ]
        images = []
        for k in range(min([count, *(run.examples.num_random for run in runs)]) if runs else 0):
            broken_by = [
                run
                for run in runs
                if run.find_broken(self.epsilon, self.norm)[run.examples.rows[k]]
            ]
            images.append(self._show((broken_by or runs)[-1], k))
        return images

    def _show(self, run: AttackRun, k: int) -> ShownImage:
        row = int(run.examples.rows[k])
        return ShownImage(
            id=int(run.ids[row]),
            label=self.get_class_name(int(self.labels[row])),
            clean_class=self.get_class_name(int(run.result.classes[row])),
            attacked_class=self.get_class_name(int(run.examples.classes[k])),
            attack=run.name,
            epsilon=run.epsilon,
            broken=bool(run.result.success[row]),
            clean=run.examples.clean[k],
            attacked=run.examples.attacked[k],
        )

    def __str__(self) -> str:
        """Returns the answer, and where the page was written."""
        pages = [f"  page             {page}" for page in dict.fromkeys(self._pages)]
        return "\n".join([self.format_answer(), *pages])

    def format_answer(self) -> str:
        """Returns the accuracies, the attacks, the status and its reasons, in a few lines."""
        attacks = dict.fromkeys(get_attack_name(run.name) for run in self.headline_runs)
        lines = [
            f"{self.classifier} on {self.dataset}, {len(self):,} images",
            f"  clean accuracy   {self.clean_accuracy} %",
            f"  robust accuracy  {self.robust_accuracy} % within {self.format_budget()}",
            f"  attacks          {', '.join(attacks)}",
            f"  status           {self.status}",
        ]
        lines += [f"    {reason}" for reason in [*self.reasons, *self.gaps]]
        return "\n".join(lines)

    def format_budget(self, epsilon: float | None = None) -> str:
        """Returns a budget with its norm, such as "L-inf 8/255"."""
        epsilon = self.epsilon if epsilon is None else epsilon
        return f"{NORM_NAMES[self.norm]} {format_epsilon(epsilon)}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of result.json; docs/evaluate.md describes its keys."""
        autoattack = [
            run.result.robust_accuracy
            for run in self.headline_runs
            if run.name == "autoattack" and set(run.result.stages) >= _PUBLISHED_STAGES
        ]
        return {
            # The keys of RobustBench's model_info; what nobody stated is null.
            "link": None,
            "name": self.classifier,
            "authors": None,
            "additional_data": None,
            "number_forward_passes": None,
            "dataset": self.dataset,
            "venue": None,
            "architecture": self.protocol.get("architecture"),
            "eps": format_epsilon(self.epsilon),
            "clean_acc": f"{self.clean_accuracy.percent:.2f}",
            "reported": None,
            "autoattack_acc": f"{min(autoattack):.2f}" if autoattack else None,
            "schema": SCHEMA_VERSION,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "num_images": len(self),
            "clean_accuracy": dataclasses.asdict(self.clean_accuracy),
            "robust_accuracy": dataclasses.asdict(self.robust_accuracy),
            "status": self.status,
            "reasons": self.reasons,
            "not_checked": self.gaps,
            "attacks": [_to_json(summary) for summary in self.summarise_attacks()],
            "curves": [record for curve in self.build_curves() for record in curve.to_records()],
            "classes": [_to_json(accuracies) for accuracies in self.summarise_classes()],
            "checks": [
                {"name": check.name, "status": check.status, "message": check.message}
                for check in self.checks
            ],
            "protocol": dict(self.protocol),
            "versions": dict(self.versions),
            "seconds": dict(self.seconds),
            "command": self.command,
        }

    def to_json(self) -> str:
        """Returns `to_dict` as JSON; numbers that do not exist are null."""
        return json.dumps(_replace_nan(self.to_dict()), indent=1, allow_nan=False) + "\n"

    def to_records(self) -> list[dict[str, Any]]:
        """Returns one dictionary per image.

        Keys: id, label, predicted, correct, smallest_epsilon (see there); label_name and
        predicted_name if the classes have names; and for every attack with its budget
        "broken_by_...".
        """
        columns: dict[str, np.ndarray] = {
            "id": self.runs[0].ids,
            "label": self.labels,
            "predicted": self.runs[0].result.classes,
            "correct": self.correct,
            "smallest_epsilon": self.smallest_epsilon,
        }
        if any(name != str(number) for number, name in enumerate(self.class_names)):
            for key in ("label", "predicted"):
                names = [self.get_class_name(number) for number in columns[key].tolist()]
                columns[f"{key}_name"] = np.array(names)
        for run in self.runs:
            budget = "" if run.epsilon is None else f"_{format_epsilon(run.epsilon)}"
            columns[f"broken_by_{run.name}{budget}"] = run.result.success & self.correct
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def to_dataframe(self) -> "pd.DataFrame":
        """Returns one row per image, see `to_records`."""
        with extras.explain_missing("to_dataframe()"):
            import pandas as pd
        return pd.DataFrame.from_records(self.to_records())

    def plot(self, path: str | pathlib.Path | None = None) -> "Figure":
        """Returns the figure of accuracy over epsilon; writes it if a path is given."""
        from qup.robustness.report import figures

        figure = figures.plot_curves(self.build_curves(), headline=self.epsilon)
        if path is not None:
            figures.save_figure(figure, pathlib.Path(path))
        return figure

    def save_html(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the report as one page without scripts; returns its path, which str() shows too.

        Raises:
          InputError: The path cannot be written, or an optional package is missing.
        """
        from qup.robustness.report import page

        written = self._save(path, page.render_html(self))
        self._pages.append(written)
        return written

    def save_markdown(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the report as Markdown; returns its path."""
        from qup.robustness.report import page

        return self._save(path, page.render_markdown(self))

    def save_json(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes `to_json`; returns the path."""
        return self._save(path, self.to_json())

    @staticmethod
    def _save(path: str | pathlib.Path, text: str) -> pathlib.Path:
        path = pathlib.Path(path).expanduser()
        files.write_text(path, text)
        return path


def _choose_distances(run: AttackRun) -> list[float]:
    """Returns budgets that show how the accuracy of a minimum-norm attack falls."""
    distances = run.result.distances[run.norm][run.result.success & run.result.correct]
    if not distances.size:
        return []
    quantiles = np.quantile(distances, np.linspace(0, 1, _NUM_CURVE_POINTS))
    # Rounded up, so that the last budget contains every image.
    return [float(f"{1.001 * quantile:.4g}") for quantile in quantiles if quantile > 0]


def _to_json(summary: Any) -> dict[str, Any]:
    """Returns a dataclass as JSON values, its proportions by name."""
    values = {field.name: getattr(summary, field.name) for field in dataclasses.fields(summary)}
    return {
        key: dataclasses.asdict(value) if isinstance(value, Proportion) else value
        for key, value in values.items()
    }


def _replace_nan(tree: Any) -> Any:
    """Returns JSON values with None in place of NaN and infinity."""
    if isinstance(tree, Mapping):
        return {key: _replace_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_replace_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
