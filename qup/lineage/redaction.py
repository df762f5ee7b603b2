"""Texts without what tells of a machine: absolute paths, host names.

```python
Redaction("/home/anna/runs/pipeline", hosts={"anna-pc"}).text(
    "no /home/anna/data.csv on anna-pc"
)  # "no …/data.csv on …"
```
"""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

_HIDDEN = "…"
# A path that begins at a root, a drive, a server or somebody's home: to the
# end of its quotes, or else to a space. An address keeps its scheme.
_START = r"(?:(?<![\w.…])~\w*/|(?<![\w.…/])/+|\b[A-Za-z]:[\\/]|(?<!\\)\\\\)"
_QUOTED = re.compile(rf"""(["'])({_START}[^"'\n]*)\1""")
_BARE = re.compile(rf"""{_START}[^\s"'<>()\[\]{{}},;]+""")


class Redaction:
    """Hides paths outside a pipeline root, and hosts."""

    def __init__(self, root: str | os.PathLike, hosts: Iterable[str] = ()):
        """Sets it up.

        Args:
          root: Paths within this folder are told relative to it.
          hosts: Names to hide wherever they stand as a word.
        """
        self._root = re.compile(rf"{re.escape(str(root))}/+(?=[^/\s])")
        names = "|".join(re.escape(h) for h in sorted(set(hosts)) if h)
        self._hosts = re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")
        self._has_hosts = bool(names)

    def text(self, text: str) -> str:
        """Returns a text without them."""
        text = self._root.sub("", text)
        if re.match(_START, text) and "\n" not in text:
            text = _last(text)
        text = _QUOTED.sub(lambda m: f"{m[1]}{_last(m[2])}{m[1]}", text)
        text = _BARE.sub(lambda m: _last(m[0]), text)
        return self._hosts.sub(_HIDDEN, text) if self._has_hosts else text

    def value(self, value: Any) -> Any:
        """Returns a JSON value without them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(k): self.value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value


def _last(path: str) -> str:
    """Returns the name of a file deep enough to be nobody's home, or "…"."""
    found = pathlib.PureWindowsPath(path)
    named = len(found.parts) > 3 and found.suffix
    return f"{_HIDDEN}/{found.name}" if named else _HIDDEN
