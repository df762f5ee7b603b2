"""A network of the laboratory, and what further nodes need of it.

```python
Evaluator(**trained.images, **trained.given.evaluation())
```
"""

import dataclasses

from qup.orchestration import Channel
from qup.pipelines.arguments import Arguments
from qup.scales import Network


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network of the laboratory.

    Attributes:
      name: In the ids of nodes, "mnist.convnet.seed-0.epoch-1".
      network: What it is.
      epochs: Epochs of the classifier.
      seed: Of its training.
      given: Arguments of further nodes.
      examples: The images.
      model: The network.
      run: Its training; None of one that has none of its own.
    """

    name: str
    network: Network
    epochs: int
    seed: int
    given: Arguments
    examples: Channel
    model: Channel
    run: Channel | None = None

    @property
    def images(self) -> dict[str, Channel]:
        """What most components read."""
        return {"examples": self.examples, "model": self.model}

    @property
    def epsilon(self) -> float:
        """The budget of attacks on this dataset."""
        return float(self.given.config.attack.epsilon)

    def become(self, suffix: str, model: Channel) -> "Trained":
        """Returns another network that was made of this one."""
        return dataclasses.replace(
            self, name=f"{self.name}.{suffix}", model=model, run=None
        )
