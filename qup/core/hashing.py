"""SHA-256 of texts, JSON values, arrays, files and folders, in hexadecimal.

```python
json_digest({"epochs": 3})  # whatever the order of the keys
file_digest("model.keras")
tree_digest("saved_model")  # names, sizes and bytes of all in it
```

Only the standard library is needed: arrays are whatever has `dtype`, `shape`
and `tobytes`.
"""

import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator
from typing import Any


def canonical(value: Any) -> str:
    """Returns the one JSON text of a JSON value: sorted keys, no spaces.

    Raises:
      TypeError: JSON cannot express it.
      ValueError: It holds a number that is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def json_digest(value: Any) -> str:
    """Returns the digest of a JSON value, see `canonical`."""
    return text_digest(canonical(value))


def text_digest(text: str) -> str:
    """Returns the digest of a text in UTF-8."""
    return bytes_digest(text.encode(errors="surrogatepass"))


def bytes_digest(content: Any) -> str:
    """Returns the digest of bytes, or of an array that is C-contiguous."""
    return hashlib.sha256(content).hexdigest()


def joined_digest(parts: Iterable[Any]) -> str:
    """Returns the digest of parts one behind the other.

    Args:
      parts: Texts, bytes, or C-contiguous arrays; nothing separates them.
    """
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode() if isinstance(part, str) else part)
    return whole.hexdigest()


def array_digest(array: Any) -> str:
    """Returns the digest of an array's type, shape and content.

    Args:
      array: Of any shape; it need not be contiguous.
    """
    described = f"{array.dtype} {tuple(array.shape)} "
    return joined_digest([described, array.tobytes()])


def file_digest(path: str | os.PathLike) -> str:
    """Returns the digest of a file's bytes.

    Raises:
      OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(path: str | os.PathLike) -> str:
    """Returns the digest of a file, or of every file of a folder.

    Args:
      path: The file or folder; links are followed. Where it lies, and when
        it was written, does not count.

    Raises:
      OSError: Something cannot be read, or is neither file nor folder.
    """
    return rows_digest(
        (name, 0, "")
        if status is None
        else (name, status.st_size, file_digest(pathlib.Path(path, name)))
        for name, status in walk(str(path))
    )


def rows_digest(rows: Iterable[tuple[str, int, str]]) -> str:
    """Returns the digest of (name, size, digest) of each file of a folder."""
    return text_digest(json.dumps(sorted(rows)))


def walk(path: str, name: str = "") -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields (relative name, status); a folder's is "x/" and None.

    Args:
      path: A file, whose name is "", or a folder, which is left out itself.
      name: What stands before the names.

    Raises:
      OSError: Something cannot be read, or is neither file nor folder.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        if name:
            yield f"{name}/", None
        for child in sorted(os.listdir(path)):
            below = f"{name}/{child}" if name else child
            yield from walk(os.path.join(path, child), below)
    elif stat.S_ISREG(status.st_mode):
        yield name, status
    else:
        raise OSError(None, "neither a file nor a folder", path)
