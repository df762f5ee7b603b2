"""Whether the report in a folder is up to date.

A JSON file next to the folder has digests of the inputs of the report and of its pages. After any
change of rows, arrays, code, templates or pages the report is out of date.

```python
if not digest.is_up_to_date(data, folder):
    render.write_report(data, folder)
    digest.write_digest(data, folder)
```
"""

import json
import pathlib
from collections.abc import Iterable
from importlib import metadata

import qup
from qup.core import files, hashing
from qup.reproduction.report.data import MEASUREMENTS_FILE, RUN_INFO_FILE, SOURCES_FILE, ReportData

_HASHED_PACKAGES = ("jinja2", "matplotlib", "numpy", "pandas", "pillow", "scipy")


def _hash_files(root: pathlib.Path, names: Iterable[str]) -> str:
    """Returns a digest of files by name; a missing file counts as missing."""
    parts = []
    for name in names:
        path = root / name
        content = path.read_bytes() if path.is_file() else b"missing"
        parts.append(f"{name} {hashing.hash_bytes(content)}\n")
    return hashing.hash_parts(parts)


def _hash_code() -> str:
    root = pathlib.Path(qup.__file__).parent
    paths = (path for pattern in ("*.py", "*.j2") for path in root.rglob(pattern))
    return _hash_files(root, sorted(str(path.relative_to(root)) for path in paths))


# Computed at import, when the files are those of the running program. The report may be written
# hours later.
_CODE_DIGEST = _hash_code()


def is_up_to_date(data: ReportData, folder: pathlib.Path) -> bool:
    """Returns whether a new report would be the one in `folder`."""
    try:
        stored = json.loads(_get_digest_path(folder).read_text(encoding="utf-8"))
        return stored == _compute_digests(data, folder)
    except (OSError, ValueError):
        return False


def write_digest(data: ReportData, folder: pathlib.Path) -> None:
    """Writes the digests of the report that was just written to `folder`.

    Raises:
      InputError: The report cannot be read, or the digests cannot be written.
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
