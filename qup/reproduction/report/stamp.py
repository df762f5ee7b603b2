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
from qup.core import files, hashing
from qup.reproduction.report.data import MEASUREMENTS_FILE, RUN_INFO_FILE, SOURCES_FILE, ReportData

_HASHED_PACKAGES = ("matplotlib", "numpy", "pillow")


def _hash_files(root: pathlib.Path, names: Iterable[str]) -> str:
    """Returns a digest of files by name; of one that is missing, too."""
    parts = []
    for name in names:
        path = root / name
        content = path.read_bytes() if path.is_file() else b"missing"
        parts.append(f"{name} {hashing.hash_bytes(content)}\n")
    return hashing.hash_parts(parts)


def _hash_code() -> str:
    root = pathlib.Path(qup.__file__).parent
    names = (path.relative_to(root) for path in root.rglob("*.py"))
    return _hash_files(root, sorted(map(str, names)))


# Now, while the files are still those that are imported: a report may be
# written hours later.
_CODE_DIGEST = _hash_code()


def is_up_to_date(data: ReportData, folder: pathlib.Path) -> bool:
    """Says whether the report in `folder` is the one that would be written."""
    try:
        stored = json.loads(_get_digest_path(folder).read_text(encoding="utf-8"))
        return stored == _compute_digests(data, folder)
    except (OSError, ValueError):
        return False


def write_digest(data: ReportData, folder: pathlib.Path) -> None:
    """Stamps the report that was just written to `folder`.

    Raises:
      InputError: The report cannot be read, or the stamp not be written.
    """
    with files.wrap_os_errors(folder):
        digests = _compute_digests(data, folder)
    files.write_text(_get_digest_path(folder), json.dumps(digests, indent=1) + "\n")


def _get_digest_path(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f"{folder.name}.json")


def _compute_digests(data: ReportData, folder: pathlib.Path) -> dict[str, str]:
    artifacts = {row.artifact for row in data.rows if row.artifact}
    input_files = [MEASUREMENTS_FILE, SOURCES_FILE, RUN_INFO_FILE, *sorted(artifacts)]
    return {
        "material": _hash_files(data.folder, input_files),
        "code": _CODE_DIGEST,
        **{name: metadata.version(name) for name in _HASHED_PACKAGES},
        "written": hashing.hash_tree(folder),
    }
