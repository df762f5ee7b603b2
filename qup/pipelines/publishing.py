"""A reproduction's results in a folder to commit or to hand on.

Rows, arrays, the report and the lineage, without artifacts and without what
tells of the machine.

```python
publish(pathlib.Path("runs/reproduce-cpu"), pathlib.Path("docs/results/cpu"))
```
"""

import json
import pathlib
import shutil
import sqlite3

from qup import errors, files, measurements
from qup.lineage import publishing, roots
from qup.lineage.redaction import Redaction
from qup.report import writing
from qup.report.material import ABOUT, ROWS, SOURCES, Material

_LINEAGE = pathlib.Path("pipeline", "metadata.sqlite")
_ARRAYS = "arrays"


def publish(folder: pathlib.Path, target: pathlib.Path) -> list[pathlib.Path]:
    """Copies what was measured, and writes its report.

    Args:
      folder: Of a reproduction.
      target: A new folder, or one that was published before.

    Returns:
      The report's pages in `target`.

    Raises:
      InputError: `folder` holds no reproduction, or `target` something else
        or what `folder` does not hold.
      MetadataError: The lineage is missing.
    """
    material = Material.read(folder)
    lineage = roots.find(folder)
    _check(folder, target)
    _check_kept(material, target)
    about = Redaction(folder.resolve()).value(dict(material.about))
    # First, so that a folder that was left half done is known again.
    files.write_text(
        target / ABOUT, json.dumps(about, indent=1, sort_keys=True) + "\n"
    )
    # Before the rows, so that after an interruption each array has its row.
    _copy_arrays(material, target)
    for name in (ROWS, SOURCES, "config.json", "versions.json"):
        with files.explained(folder / name):
            files.write_bytes(target / name, (folder / name).read_bytes())
    try:
        publishing.copy(lineage, target / _LINEAGE)
    except sqlite3.Error as error:
        raise errors.InputError(
            f"Cannot copy {lineage}: {error}. Let other processes end, and "
            "try again."
        ) from error
    return writing.write(Material.read(target), target / "report")


def _check(folder: pathlib.Path, target: pathlib.Path) -> None:
    with files.explained(target):
        held = sorted(target.iterdir()) if target.exists() else []
    if held and not (target / ABOUT).is_file():
        raise errors.InputError(
            f"{target} holds files that are no published reproduction "
            f"({held[0].name}, ...). Name an empty or a new folder."
        )
    if target.resolve() == folder.resolve():
        raise errors.InputError(
            f"{target} is the reproduction itself. Name another folder."
        )
    made = target / _LINEAGE.parent
    if made.is_dir() and any(path.is_dir() for path in made.iterdir()):
        raise errors.InputError(
            f"{target} is a reproduction with its networks, and no published "
            "one. Name an empty or a new folder."
        )


def _check_kept(material: Material, target: pathlib.Path) -> None:
    """Raises an InputError where what was published would be lost."""
    published = target / ROWS
    rows = measurements.read(published) if published.is_file() else []
    known = {row.key() for row in material.rows}
    lost = [row for row in rows if row.key() not in known]
    if lost:
        raise errors.InputError(
            f"{target} holds {len(lost)} measurements that "
            f"{material.folder} does not, such as {lost[0].measure} of "
            f"{lost[0].model}, {lost[0].dataset}, {lost[0].epochs} epochs, "
            f"seed {lost[0].seed}: they would be lost. Go on from a copy of "
            "it (bin.reproduce --workdir=COPY), or name a new folder."
        )
    named = {target / row.artifact for row in (*rows, *material.rows)}
    for path in sorted((target / _ARRAYS).rglob("*")):
        if path.is_file() and path not in named:
            raise errors.InputError(
                f"{path} is named by no measurement and would be lost. Move "
                f"it out of {target / _ARRAYS}, or name a new folder."
            )


def _copy_arrays(material: Material, target: pathlib.Path) -> None:
    """Copies the arrays that rows name, and nothing else."""
    with files.replacing(target / _ARRAYS) as partial:
        partial.mkdir()
        held = (material.folder / _ARRAYS).resolve()
        for name in sorted({row.artifact for row in material.rows}):
            source = (material.folder / name).resolve()
            if source.is_file() and source.is_relative_to(held):
                place = partial / source.relative_to(held)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)
