"""The uncertainty relation of classifiers, and of their controls.

| step | what | component |
| --- | --- | --- |
| 1 | load images | ExampleGen |
| 2 | train a classifier, take the user's own | Trainer, ModelImporter |
| 3 | measure sigma_x, sigma_p and the bound | UncertaintyAnalyzer |
| 4 | measure TA and RA beside | AccuracyMeter |
| 5 | the same of controls | ControlBuilder, LabelShuffler, Trainer |
| 6 | draw it, put it into words | UncertaintyReporter |

A control is a network that is there to be compared with: the trained one at
other temperatures and in other windows, one that is not trained, one that is
constant, one trained on labels that mean nothing.

```python
print(run(config, Request(domain="window:0.1", labels=("0", "3"))))
```
"""

from qup import versions
from qup.pipelines import (
    checking,
    opening,
    settings,
    spine,
    uncertainty_findings,
    uncertainty_nodes,
    uncertainty_showing,
    uncertainty_table,
)
from qup.pipelines.uncertainty_request import UncertaintyRequest as UncertaintyRequest


def run(config: settings.Config, request: UncertaintyRequest) -> str:
    """Measures whatever is not known yet.

    Args:
      config: The settings of configs/defaults.py.
      request: What is measured, and how.

    Returns:
      The table, the findings in words and where everything lies, as text.

    Raises:
      InputError: A setting, a folder, a model or the data cannot be used,
        an estimate is refused, or the disk is full; a second start goes on.
      OrchestrationError: The pipeline root cannot be used.
    """
    request.check()
    checking.check_config(config)
    run = opening.open_run(config)
    nodes = uncertainty_nodes.build_nodes(run, request)
    identity = {**settings.get_config_identity(config), "versions": versions.collect_versions()}
    executions = spine.run_nodes(run, nodes, "uncertainty", identity)
    results = uncertainty_findings.load_results(run, executions)
    with run.workdir.lock("to write its results"):
        run.append_measurements(results.rows)
        summary = uncertainty_showing.write_outputs(run, request, results, executions)
    return uncertainty_table.format_report(run, request, results, summary)
