"""A bar with an estimate of the time left; silent where nobody watches."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

import tqdm


def track(items: Iterable, *, title: str, total: int, done: int = 0, unit: str = "it") -> Iterator:
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


@contextlib.contextmanager
def open_counter(title: str, total: int | None, unit: str) -> Iterator[Callable]:
    """Yields a function that moves a bar on by a number of items.

    Args:
      title: Stands before the bar.
      total: Number of items when all is done; more are counted all the same.
        None where nobody knows.
      unit: What one item is called.
    """
    with tqdm.tqdm(
        desc=title,
        total=total,
        unit=unit,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
    ) as bar:

        def on_progress(count: int) -> None:
            if bar.total is not None and bar.n + count > bar.total:
                bar.total = bar.n + count
            bar.update(count)

        yield on_progress
