"""A bar with an estimate of the time left; silent where nobody watches."""

import sys
from collections.abc import Iterable, Iterator

import tqdm


def bar(
    items: Iterable, *, title: str, total: int, done: int = 0, unit: str = "it"
) -> Iterator:
    """Yields `items` under a bar on a terminal, plainly in a pipe.

    Args:
      items: What remains to be done.
      title: Stands before the bar.
      total: Number of items when all is done.
      done: How many were done in an earlier run.
      unit: What one item is called.
    """
    return tqdm.tqdm(
        items,
        desc=title,
        total=total,
        initial=done,
        unit=unit,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
    )
