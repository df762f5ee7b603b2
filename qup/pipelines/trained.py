"""A network of the laboratory, and what further nodes need of it.

```python
Evaluator(**trained.images, **trained.given.evaluation())
```
"""

import dataclasses

from qup.orchestration import Channel
from qup.pipelines.arguments import NodeArguments
from qup.scales import NetworkPreset


@dataclasses.dataclass(frozen=True)
class NetworkHandle:
    """A network of the laboratory.

    Attributes:
      name: In the ids of nodes, "mnist.convnet.seed-0.epoch-1".
      network: What it is.
      epochs: Epochs of the classifier.
      seed: Of its training.
      arguments: Arguments of further nodes.
      examples: The images.
      model: The network.
      run: Its training; None of one that has none of its own.
    """

    name: str
    network: NetworkPreset
    epochs: int
    seed: int
    arguments: NodeArguments
    examples: Channel
    model: Channel
    run: Channel | None = None

    @property
    def inputs(self) -> dict[str, Channel]:
        """What most components read."""
        return {"examples": self.examples, "model": self.model}

    @property
    def epsilon(self) -> float:
        """The budget of attacks on this dataset."""
        return float(self.arguments.config.attack.epsilon)

    def derive(self, suffix: str, model: Channel) -> "NetworkHandle":
        """Returns another network that was made of this one."""
        return dataclasses.replace(self, name=f"{self.name}.{suffix}", model=model, run=None)
