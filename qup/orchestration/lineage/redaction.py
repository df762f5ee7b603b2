"""Texts without absolute paths and host names.

```python
redaction = Redaction("/home/anna/runs/pipeline", hosts={"anna-pc"})
redaction.redact_text("no /home/anna/data.csv on anna-pc")  # "no …/data.csv on …"
```
"""

import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any

_HIDDEN = "…"
# A path that begins at a root, a drive, a server or a home folder. It ends at its closing quote, or
# else at a space. A URL keeps its scheme.
_PATH_START = r"(?:(?<![\w.…])~\w*/|(?<![\w.…/])/+|\b[A-Za-z]:[\\/]|(?<!\\)\\\\)"
_QUOTED_PATH = re.compile(rf"""(["'])({_PATH_START}[^"'\n]*)\1""")
_BARE_PATH = re.compile(rf"""{_PATH_START}[^\s"'<>()\[\]{{}},;]+""")


class Redaction:
    """Hides hosts, and paths outside of a pipeline root."""

    def __init__(self, root: str | os.PathLike, hosts: Iterable[str] = ()):
        """Prepares the patterns.

        Args:
          root: Paths in this folder become relative to it.
          hosts: Names to hide wherever they are a word.
        """
        self._root = re.compile(rf"{re.escape(str(root))}/+(?=[^/\s])")
        names = "|".join(re.escape(host) for host in sorted(set(hosts)) if host)
        # Without hosts a pattern that never matches.
        self._hosts = re.compile(rf"(?<![\w-])(?:{names})(?![\w-])" if names else r"(?!)")

    def redact_text(self, text: str) -> str:
        """Returns a text without hosts and paths."""
        text = self._root.sub("", text)
        if re.match(_PATH_START, text) and "\n" not in text:
            text = _shorten_path(text)
        text = _QUOTED_PATH.sub(lambda m: f"{m[1]}{_shorten_path(m[2])}{m[1]}", text)
        text = _BARE_PATH.sub(lambda m: _shorten_path(m[0]), text)
        return self._hosts.sub(_HIDDEN, text)

    def redact_value(self, value: Any) -> Any:
        """Returns a JSON value without hosts and paths."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return {self.redact_text(k): self.redact_value(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.redact_value(item) for item in value]
        return value


def _shorten_path(path: str) -> str:
    """Returns "…", with the file's name if the file is deep enough not to be a home folder."""
    pure_path = pathlib.PureWindowsPath(path)
    is_deep_file = len(pure_path.parts) > 3 and pure_path.suffix
    return f"{_HIDDEN}/{pure_path.name}" if is_deep_file else _HIDDEN
