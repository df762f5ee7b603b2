"""The sections of the report, registered in the files of this package.

A section function yields the blocks of its numbers. The prose before them is in
templates/sections/NAME.txt.j2. A section without blocks says that it was not run.
"""

from collections.abc import Callable, Iterator

from qup.core.registry import Registry
from qup.reproduction.report.data import ReportData
from qup.reproduction.report.document import NOT_RUN, Block, Paragraph, Section, render_prose

_registry = Registry("qup.reproduction.report.sections", "section")
get = _registry.get
traits = _registry.traits


def register(*, order: int, title: str) -> Callable:
    """Returns a decorator that registers a section under the name of its function.

    Args:
      order: Position in the report.
      title: Its heading.
    """

    def decorate(iterate_blocks: Callable[[ReportData], Iterator[Block]]) -> Callable:
        name = iterate_blocks.__name__

        def build_section(data: ReportData) -> Section:
            blocks = tuple(iterate_blocks(data)) or (Paragraph(f"It was {NOT_RUN}."),)
            return Section(name, title, (*render_prose(name, data=data), *blocks))

        build_section.__name__ = name
        _registry.register(build_section, order=order)
        return build_section

    return decorate


def names() -> tuple[str, ...]:
    """Returns all sections in the order of the report."""
    return tuple(sorted(_registry.names(), key=lambda name: traits(name)["order"]))
