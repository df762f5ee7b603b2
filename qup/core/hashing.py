"""SHA-256, in hexadecimal, of texts, JSON values, arrays, files and folders.

```python
hash_json({"epochs": 3})  # the same for every order of the keys
hash_file("model.keras")
hash_tree("saved_model")  # names, sizes and bytes of every file
```

This module needs the standard library only: an array is any object with `dtype`, `shape` and
`tobytes`.
"""

import hashlib
import json
import os
import pathlib
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any


def dump_canonical_json(value: Any) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces.

    Raises:
      TypeError: JSON has no form for the value.
      ValueError: A number is not finite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_json(value: Any) -> str:
    """Hashes a JSON value, see `dump_canonical_json`."""
    return hash_text(dump_canonical_json(value))


def hash_text(text: str) -> str:
    """Hashes a text in UTF-8."""
    return hash_bytes(text.encode(errors="surrogatepass"))


def hash_bytes(content: Any) -> str:
    """Hashes bytes, or a C-contiguous array."""
    return hashlib.sha256(content).hexdigest()


def hash_parts(parts: Iterable[Any]) -> str:
    """Hashes the concatenation of texts, bytes and C-contiguous arrays, without separators."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def hash_array(array: Any) -> str:
    """Hashes an array's type, shape and content; it need not be contiguous."""
    return hash_parts([f"{array.dtype} {tuple(array.shape)} ", array.tobytes()])


def hash_weights(logits_fn: Any) -> str | None:
    """Hashes the weights of a Keras model, in their order; None for any other classifier."""
    # A Keras model exists only after Keras was imported; this module does not import it.
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(logits_fn, keras.Model):
        return None
    return hash_parts(weight.numpy().tobytes() for weight in logits_fn.weights)


def hash_file(path: str | os.PathLike) -> str:
    """Hashes a file's bytes; raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tree(path: str | os.PathLike) -> str:
    """Hashes a file, or the names, sizes and bytes of every file of a folder.

    Args:
      path: The file or folder. Links are followed. The path itself and the times of writing do
        not count.

    Raises:
      OSError: An entry cannot be read, or is neither a file nor a folder.
    """
    return hash_file_table(
        (name, 0, "")
        if status is None
        else (name, status.st_size, hash_file(pathlib.Path(path, name)))
        for name, status in list_tree(str(path))
    )


def hash_file_table(rows: Iterable[tuple[str, int, str]]) -> str:
    """Hashes (name, size, hash) of each file of a folder, in any order."""
    return hash_text(json.dumps(sorted(rows)))


def list_tree(path: str, name: str = "") -> Iterator[tuple[str, os.stat_result | None]]:
    """Yields (relative name, status) of each file, and ("x/", None) of each folder.

    Args:
      path: A file, whose relative name is "", or a folder, which is not yielded itself.
      name: Prefix of the relative names.

    Raises:
      OSError: An entry cannot be read, or is neither a file nor a folder.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        if name:
            yield f"{name}/", None
        for child in sorted(os.listdir(path)):
            child_name = f"{name}/{child}" if name else child
            yield from list_tree(os.path.join(path, child), child_name)
    elif stat.S_ISREG(status.st_mode):
        yield name, status
    else:
        raise OSError(None, "neither a file nor a folder", path)
