"""Networks trained on attacked images: the counter-examples of a trade-off.

```python
robust = trained(lab, network, epochs=10, seed=0, method="trades")
```
"""

from qup.components.robust_trainer import RobustTrainer
from qup.pipelines.lab import ExperimentBuilder, NetworkHandle
from qup.scales import NetworkPreset


def add_robust_classifier(
    builder: ExperimentBuilder, network: NetworkPreset, epochs: int, seed: int, method: str
) -> NetworkHandle:
    """Returns a network trained on attacked images."""
    arguments, examples = builder.build_arguments(network, seed), builder.add_examples(network)
    epsilon = float(arguments.config.attack.epsilon)
    label = f"{network.dataset}.{network.model}.{method}.seed-{seed}"
    name = f"{label}.epoch-{epochs}"
    training_arguments = arguments.build_trainer_kwargs(epochs)
    training_arguments["log_dir"] = f"{training_arguments['log_dir']}.{method}"
    node = builder.add_node(
        RobustTrainer,
        f"RobustTrainer.{name}",
        examples=examples,
        adversary={"method": method, "epsilon": epsilon},
        **training_arguments,
    )
    return NetworkHandle(name, network, epochs, seed, arguments, examples, node.outputs["model"])
