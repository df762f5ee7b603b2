"""Step 9: what was found of the uncertainty relation, drawn and in words."""

from qup import measurements, uncertainty_figures, uncertainty_text
from qup.components.artifacts import ModelEvaluation, UncertaintyMap, UncertaintyReport
from qup.measures.uncertainty import records
from qup.orchestration import In, Out, component


@component
def UncertaintyReporter(
    relations: In[list[UncertaintyMap]],
    evaluations: In[list[ModelEvaluation]],
    report: Out[UncertaintyReport],
) -> None:
    """Puts together what a run measured.

    Args:
      relations: Of every network, label and domain.
      evaluations: Their rows, and those of the networks' accuracies.
      report: findings.md, and a PNG of each figure.
    """
    records_and_metadata = [
        records.load(path) for relation in relations for path in sorted(relation.path.glob("*.npz"))
    ]
    rows = [
        row
        for evaluation in evaluations
        for row in measurements.read_rows(evaluation.path / "measurements.csv")
    ]
    summary = uncertainty_text.format_summary(records_and_metadata, rows)
    (report.path / "findings.md").write_text(f"{summary}\n", encoding="utf-8")
    for name, figure in uncertainty_figures.plot_relations(records_and_metadata, rows).items():
        figure.savefig(report.path / f"{name}.png", dpi=120)
