"""The syntax tree that a function was compiled from.

```python
tree = tree_of(lambda x: x + 1)  # an ast.Lambda, or None
```
"""

import ast
import functools
import linecache
import types
from collections.abc import Iterator

from qup.core import syntax

# Of `from __future__ import annotations` and the like.
_FUTURE = 0x1FE0000
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def tree_of(function: types.FunctionType) -> ast.AST | None:
    """Returns the tree of a function or a lambda.

    Returns:
      None where there is no source, as for `exec` and lambdas of a Python
      prompt, or where it was edited since: it compiles to other code.
    """
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        compiled = _compiled("".join(lines), code.co_flags & _FUTURE)
        tree = syntax.parsed("".join(lines).encode())
    except (SyntaxError, ValueError):
        return None
    if not any(_same(code, other) for other in compiled):
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS) and _holds(node, code)]
    # Of lambdas within lambdas the innermost.
    return found[-1] if found else None


@functools.lru_cache(maxsize=64)
def _compiled(source: str, flags: int) -> list[types.CodeType]:
    whole = compile(source, "<source>", "exec", flags, dont_inherit=True)
    return list(_inner(whole))


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _inner(constant)


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    return (
        one.co_firstlineno == other.co_firstlineno
        and one.co_qualname == other.co_qualname
        and one.co_code == other.co_code
        and one.co_names == other.co_names
        and _plain(one) == _plain(other)
        and list(one.co_positions()) == list(other.co_positions())
    )


def _plain(code: types.CodeType) -> list[str]:
    constants = code.co_consts
    return [repr(c) for c in constants if not isinstance(c, types.CodeType)]


def _holds(node: ast.AST, code: types.CodeType) -> bool:
    """Returns whether a tree is where the code was compiled from."""
    if not isinstance(node, ast.Lambda):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return (node.name, first) == (code.co_name, code.co_firstlineno)
    if (code.co_name, code.co_firstlineno) != ("<lambda>", node.lineno):
        return False
    body = node.body
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno, body.end_col_offset)
    places = [
        place
        for place in code.co_positions()
        # The first instructions stand for no expression.
        if None not in place and place[2:] != (0, 0)
    ]
    return bool(places) and all(
        start <= (line, column) and (end_line, end_column) <= end
        for line, end_line, column, end_column in places
    )
