"""Networks trained on attacked images: the counter-examples of a trade-off.

```python
robust = trained(lab, network, epochs=10, seed=0, method="trades")
```
"""

from qup.components.robust_trainer import RobustTrainer
from qup.pipelines.lab import Lab, Trained
from qup.scales import Network


def trained(
    lab: Lab, network: Network, epochs: int, seed: int, method: str
) -> Trained:
    """Returns a network trained on attacked images."""
    given, examples = lab.arguments(network, seed), lab.examples(network)
    epsilon = float(given.config.attack.epsilon)
    label = f"{network.dataset}.{network.model}.{method}.seed-{seed}"
    name = f"{label}.epoch-{epochs}"
    training = given.training(epochs)
    training["log_dir"] = f"{training['log_dir']}.{method}"
    node = lab.node(
        RobustTrainer, f"RobustTrainer.{name}", examples=examples,
        adversary={"method": method, "epsilon": epsilon}, **training,
    )  # fmt: skip
    return Trained(
        name, network, epochs, seed, given, examples, node.outputs["model"]
    )
