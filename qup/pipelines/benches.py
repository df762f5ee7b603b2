"""The settings and the data of every network of a reproduction.

```python
benches = Benches(workdir, load=settings_of, change=overrides)
this = benches(network)
```
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from qup.pipelines import checking, opening
from qup.pipelines.opening import RunContext
from qup.pipelines.settings import Config
from qup.scales import NetworkPreset

# Registered name of a dataset -> its settings.
ConfigLoader = Callable[[str], Config]


class DatasetContexts:
    """Opens each dataset once."""

    def __init__(self, load_config: ConfigLoader, overrides: Mapping[str, Any]):
        """Sets up benches.

        Args:
          load_config: Returns the settings of a dataset.
          overrides: Settings by their names, the same for all: folders, and
            what is believed of files.
        """
        self._load_config, self._overrides = load_config, dict(overrides)
        self._runs: dict[str, RunContext] = {}

    def build_config(self, network: NetworkPreset) -> Config:
        """Returns the settings of a network."""
        config = copy.deepcopy(self._load_config(network.dataset))
        config.update_from_flattened_dict(self._overrides)
        config.model.name = network.model
        config.model.update(network.options)
        return config

    def get_class_names(self) -> dict[str, list[str]]:
        """Returns the names of the classes of each dataset opened."""
        return {dataset: list(run.data.info.class_names) for dataset, run in self._runs.items()}

    def get_any_run(self) -> RunContext:
        """Returns one of the runs opened; all have the same folders."""
        if not self._runs:
            # Some experiments need no images: these lie with a library.
            return self(NetworkPreset("digits", "convnet", ""))
        return next(iter(self._runs.values()))

    def __call__(self, network: NetworkPreset) -> RunContext:
        """Returns the settings and the data of a network.

        Raises:
          InputError: The data, or a folder, cannot be used.
        """
        config = self.build_config(network)
        checking.check_config(config)
        if network.dataset not in self._runs:
            self._runs[network.dataset] = opening.open_run(config)
        return dataclasses.replace(self._runs[network.dataset], config=config)
