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
_PATH_START = r"(?:(?<![\w.…])~\w*/|(?<![\w.…/])/+|\b[A-Za-z]:[\\/]|(?<!\\)\\\\)"
_QUOTED_PATH = re.compile(rf"""(["'])({_PATH_START}[^"'\n]*)\1""")
_BARE_PATH = re.compile(rf"""{_PATH_START}[^\s"'<>()\[\]{{}},;]+""")


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

    def redact_text(self, text: str) -> str:
        """Returns a text without them."""
        text = self._root.sub("", text)
        if re.match(_PATH_START, text) and "\n" not in text:
            text = _shorten_path(text)
        text = _QUOTED_PATH.sub(lambda m: f"{m[1]}{_shorten_path(m[2])}{m[1]}", text)
        text = _BARE_PATH.sub(lambda m: _shorten_path(m[0]), text)
        return self._hosts.sub(_HIDDEN, text) if self._has_hosts else text

    def redact_value(self, value: Any) -> Any:
        """Returns a JSON value without them."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return {self.redact_text(k): self.redact_value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.redact_value(item) for item in value]
        return value


def _shorten_path(path: str) -> str:
    """Returns the name of a file deep enough to be nobody's home, or "…"."""
    pure_path = pathlib.PureWindowsPath(path)
    is_deep_file = len(pure_path.parts) > 3 and pure_path.suffix
    return f"{_HIDDEN}/{pure_path.name}" if is_deep_file else _HIDDEN
