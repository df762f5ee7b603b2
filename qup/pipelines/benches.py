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
from qup.pipelines.opening import Run
from qup.pipelines.settings import Config
from qup.scales import Network

# Registered name of a dataset -> its settings.
Load = Callable[[str], Config]


class Benches:
    """Opens each dataset once."""

    def __init__(self, load: Load, places: Mapping[str, Any]):
        """Sets up benches.

        Args:
          load: Returns the settings of a dataset.
          places: Settings by their names, the same for all: folders, and
            what is believed of files.
        """
        self._load, self._places = load, dict(places)
        self._opened: dict[str, Run] = {}

    def config(self, network: Network) -> Config:
        """Returns the settings of a network."""
        config = copy.deepcopy(self._load(network.dataset))
        config.update_from_flattened_dict(self._places)
        config.model.name = network.model
        config.model.update(network.options)
        return config

    def class_names(self) -> dict[str, list[str]]:
        """Returns the names of the classes of each dataset opened."""
        return {
            dataset: list(this.data.info.class_names)
            for dataset, this in self._opened.items()
        }

    def any(self) -> Run:
        """Returns one of the runs opened; all have the same folders."""
        if not self._opened:
            # Some experiments need no images: these lie with a library.
            return self(Network("digits", "convnet", ""))
        return next(iter(self._opened.values()))

    def __call__(self, network: Network) -> Run:
        """Returns the settings and the data of a network.

        Raises:
          InputError: The data, or a folder, cannot be used.
        """
        config = self.config(network)
        checking.check(config)
        if network.dataset not in self._opened:
            self._opened[network.dataset] = opening.opened(config)
        return dataclasses.replace(self._opened[network.dataset], config=config)
