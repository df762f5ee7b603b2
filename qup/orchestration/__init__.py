r"""Pipelines of components with a cache, checkpoints and recorded lineage, on one machine.

Terms are those of TFX; the database has ML Metadata's schema. The import needs only the standard
library.

```python
from qup.orchestration import Artifact, In, LocalRunner, Metadata, Out, component

class Numbers(Artifact): ...

@component
def Writer(numbers: Out[Numbers], *, count: int = 3) -> None:
    text = "\n".join(map(str, range(count)))
    (numbers.path / "numbers.txt").write_text(text)

@component
def Adder(numbers: In[Numbers], total: Out[Numbers]) -> None:
    values = map(int, (numbers.path / "numbers.txt").read_text().split())
    total.properties["total"] = sum(values)

writer = Writer(count=5)
adder = Adder(numbers=writer.outputs["numbers"])
metadata = Metadata("root/metadata.sqlite")
executions = LocalRunner("root", metadata, on_event=print).run([writer, adder])
print(executions["Adder"].outputs["total"][0].properties)
```

Run it a second time, and both results are reused.
"""

from qup.orchestration.artifacts import Artifact, ArtifactState, Channel
from qup.orchestration.code import Code
from qup.orchestration.components import (
    Component,
    DoPart,
    In,
    Location,
    Node,
    Out,
    StatefulDir,
    component,
)
from qup.orchestration.errors import MetadataError, OrchestrationError, PipelineError, StorageError
from qup.orchestration.executions import Execution, NodeEvent, Run, State
from qup.orchestration.metadata import Metadata, MetadataReader
from qup.orchestration.runner import DividedWork, LocalRunner, PartEngine

__all__ = [
    "Artifact",
    "ArtifactState",
    "Channel",
    "Code",
    "Component",
    "DividedWork",
    "DoPart",
    "Execution",
    "In",
    "LocalRunner",
    "Location",
    "Metadata",
    "MetadataError",
    "MetadataReader",
    "Node",
    "NodeEvent",
    "OrchestrationError",
    "Out",
    "PartEngine",
    "PipelineError",
    "Run",
    "State",
    "StatefulDir",
    "StorageError",
    "component",
]
