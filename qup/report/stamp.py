"""Whether a report still tells what was measured, or must be written anew.

A stamp beside its folder names, by digests, what the report was made of and
what was written. Any change of rows, arrays, code or of the report itself,
and it is no longer current.

```python
if not stamp.current(material, folder):
    write(material, folder)
    stamp.leave(material, folder)
```
"""

import json
import pathlib
from collections.abc import Iterable
from importlib import metadata

import qup
from qup import files
from qup.core import hashing
from qup.report.material import ABOUT, ROWS, SOURCES, Material

_DRAWN_BY = ("matplotlib", "numpy", "pillow")


def _together(root: pathlib.Path, names: Iterable[str]) -> str:
    """Returns a digest of files by name; of one that is missing, too."""
    parts = []
    for name in names:
        path = root / name
        content = path.read_bytes() if path.is_file() else b"missing"
        parts.append(f"{name} {hashing.bytes_digest(content)}\n")
    return hashing.joined_digest(parts)


def _code() -> str:
    root = pathlib.Path(qup.__file__).parent
    names = (path.relative_to(root) for path in root.rglob("*.py"))
    return _together(root, sorted(map(str, names)))


# Now, while the files are still those that are imported: a report may be
# written hours later.
_CODE = _code()


def current(material: Material, folder: pathlib.Path) -> bool:
    """Says whether the report in `folder` is the one that would be written."""
    try:
        held = json.loads(_place(folder).read_text(encoding="utf-8"))
        return held == _digests(material, folder)
    except (OSError, ValueError):
        return False


def leave(material: Material, folder: pathlib.Path) -> None:
    """Stamps the report that was just written to `folder`.

    Raises:
      InputError: The report cannot be read, or the stamp not be written.
    """
    with files.explained(folder):
        digests = _digests(material, folder)
    files.write_text(_place(folder), json.dumps(digests, indent=1) + "\n")


def _place(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.json")


def _digests(material: Material, folder: pathlib.Path) -> dict[str, str]:
    named = {row.artifact for row in material.rows if row.artifact}
    made_of = [ROWS, SOURCES, ABOUT, *sorted(named)]
    return {
        "material": _together(material.folder, made_of),
        "code": _CODE,
        **{name: metadata.version(name) for name in _DRAWN_BY},
        "written": hashing.tree_digest(folder),
    }
