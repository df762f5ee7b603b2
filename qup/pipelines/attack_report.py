"""The robustness page of `qup attack`, from the artifacts of its nodes.

```python
reports = write_pages(run, request, executions)  # {path of the page: report}
```
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np

from qup.core import extras, hashing
from qup.orchestration import Execution
from qup.orchestration.executions import State
from qup.pipelines.attack_request import AttackRequest
from qup.pipelines.components import artifacts
from qup.pipelines.run import RunContext, collect_versions
from qup.robustness.masking.case import CheckResult
from qup.robustness.report.attack_runs import AttackRun, read_attack_runs
from qup.robustness.report.report import Report
from qup.robustness.report.run import write_report

_RESULT_FILE = "result.json"
_NUM_DIGEST_CHARACTERS = 8


@dataclasses.dataclass
class _Evaluation:
    """The artifacts of one classifier.

    Attributes:
      label: The end of the ids of its nodes: "own", or "epoch-30".
      runs: Its attacks.
      checks: The search for masked gradients.
      seconds: Wall time of the nodes that ran now, by attack.
      model: Folder of the classifier.
      classifier: Digest of the classifier.
    """

    label: str
    runs: list[AttackRun] = dataclasses.field(default_factory=list)
    checks: list[CheckResult] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    model: pathlib.Path = pathlib.Path()
    classifier: str = ""


def write_pages(
    run: RunContext, request: AttackRequest, executions: Mapping[str, Execution]
) -> dict[pathlib.Path, Report]:
    """Writes one page per classifier with its files; returns the reports by the page's path.

    The page of a single classifier is in the workdir itself, unless the page of another evaluation
    is there already: of another classifier, other images or other attacks. Then, and for several
    classifiers, each has a folder.

    Args:
      run: The run.
      request: What was requested.
      executions: The executions by node.

    Raises:
      InputError: The disk is full, or the workdir cannot be written.
    """
    extras.check_installed("The page robustness.html", "jinja2", "matplotlib", "PIL")
    evaluations = _collect_evaluations(executions)
    reports = {}
    for evaluation in evaluations:
        report = _build_report(run, request, evaluation)
        if report is not None:
            reports[evaluation.label] = report
    pages = {}
    for label, report in reports.items():
        folder = _choose_folder(run, label, report, len(reports))
        pages[write_report(report, folder)[0]] = report
    return pages


def _collect_evaluations(executions: Mapping[str, Execution]) -> list[_Evaluation]:
    evaluations: dict[str, _Evaluation] = {}
    for node, execution in executions.items():
        records = execution.outputs.get("records", ())
        diagnoses = execution.outputs.get("diagnosis", ())
        if not (records or diagnoses):
            continue
        label = node.rpartition(".")[2]
        evaluation = evaluations.setdefault(label, _Evaluation(label))
        for artifact in records:
            evaluation.runs += read_attack_runs(artifact.path)
            (model,) = execution.inputs["model"]
            evaluation.model = model.path
            evaluation.classifier = hashing.hash_text(repr(model.get_identity()))
        for artifact in diagnoses:
            evaluation.checks += _read_checks(artifact.path)
        if execution.state is State.COMPLETE and execution.updated > execution.created:
            part = "search for masked gradients" if diagnoses else node.split(".")[1]
            evaluation.seconds[part] = (execution.updated - execution.created) / 1000
    return [evaluation for evaluation in evaluations.values() if evaluation.runs]


def _read_checks(folder: pathlib.Path) -> list[CheckResult]:
    record = json.loads((folder / "findings.json").read_text("utf-8"))
    return [
        CheckResult(check["name"], check["values"], check["status"], check["words"], check["n"])
        for check in record["findings"]
    ]


def _describe_left_out(attack_run: AttackRun, norm: str) -> str:
    """Returns the name of an attack that the page leaves out, and why."""
    if attack_run.norm != norm:
        return f"{attack_run.name} ({attack_run.norm})"
    return f"{attack_run.name} (targets={attack_run.options['targets']})"


def _build_report(
    run: RunContext, request: AttackRequest, evaluation: _Evaluation
) -> Report | None:
    """Returns the report; None if the attacks have no image or no budget."""
    untargeted = [attack_run for attack_run in evaluation.runs if not attack_run.is_targeted]
    norm = request.norm or (untargeted or evaluation.runs)[0].norm
    runs = [attack_run for attack_run in untargeted if attack_run.norm == norm]
    epsilon = _choose_epsilon(runs)
    if epsilon is None or not len(evaluation.runs[0].labels):
        return None
    shown = set(map(id, runs))
    left_out = [attack_run for attack_run in evaluation.runs if id(attack_run) not in shown]
    info = artifacts.load_model_info(evaluation.model)
    name = info.model if not info.epochs else f"{info.model} after {info.epochs} epochs"
    evaluation_digest = hashing.hash_json(
        {
            "classifier": evaluation.classifier,
            "data": [run.source, run.config.dataset.evaluation_split, len(runs[0].labels)],
            "runs": [[r.name, r.norm, r.epsilon, dict(r.options)] for r in runs],
            "checks": len(evaluation.checks),
            "seed": run.config.seed,
        }
    )
    return Report(
        classifier=name,
        dataset=get_dataset_name(run),
        class_names=run.class_names or tuple(run.data.info.class_names),
        norm=norm,
        epsilon=epsilon,
        runs=tuple(runs),
        checks=tuple(evaluation.checks),
        protocol={
            "architecture": info.model,
            "attack": list(request.attacks),
            "batch_size": request.batch_size,
            "checked_images": evaluation.checks[0].n if evaluation.checks else 0,
            "classifier_digest": evaluation.classifier,
            "data_digest": run.source,
            "evaluation_digest": evaluation_digest,
            "left_out": sorted({_describe_left_out(r, norm) for r in left_out}),
            "pixel_range": request.pixel_range or "0,1",
            "precision": request.precision,
            "seed": run.config.seed,
            "split": run.config.dataset.evaluation_split,
        },
        versions=collect_versions(),
        seconds=evaluation.seconds,
        command=request.command,
    )


def get_dataset_name(run: RunContext) -> str:
    """Returns the name of the data set; of the user's own images that of their file or folder."""
    options = run.config.dataset
    path = {"arrays": options.images, "image_folder": options.data_dir}.get(options.name)
    return options.name if not path else pathlib.Path(path).name or options.name


def _choose_epsilon(runs: list[AttackRun]) -> float | None:
    """Returns the headline budget: the largest of the strongest attack.

    Attacks without a budget are judged at the median distance of the images that they broke.
    """
    budgets = [run.epsilon for run in runs if run.epsilon]
    strongest = [run.epsilon for run in runs if run.epsilon and run.name == "autoattack"]
    if budgets:
        return max(strongest or budgets)
    distances = [
        run.result.distances[run.norm][run.result.success & run.result.correct] for run in runs
    ]
    broken = np.concatenate(distances) if distances else np.zeros(0)
    return float(f"{np.median(broken):.3g}") if broken.size and np.median(broken) > 0 else None


def _choose_folder(run: RunContext, label: str, report: Report, count: int) -> pathlib.Path:
    digest = report.protocol["evaluation_digest"]
    if count == 1 and _is_same_evaluation(run.get_path(_RESULT_FILE), digest):
        return run.get_path()
    name = label if run.imported is None else run.imported[0]
    return run.get_path("robustness", f"{name}-{digest[:_NUM_DIGEST_CHARACTERS]}")


def _is_same_evaluation(path: pathlib.Path, digest: str) -> bool:
    """Returns whether a result is of the evaluation with this digest, or does not exist."""
    try:
        return json.loads(path.read_text("utf-8"))["protocol"]["evaluation_digest"] == digest
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
