"""Removes artifacts that no kept run needs, to free disk space.

    qup prune runs/mnist
    qup prune runs --keep=3
    qup prune runs/mnist --older_than=30d --dry_run

PATH is a working directory, a pipeline root, or a folder of them. Without --keep, --older_than and
--keep_runs all runs are kept; removed are artifacts of no run, remains of failed and abandoned
executions, temporary folders, checkpoints older than a day, and cached images that no root uses.
A run is kept if any of the three keeps it.

The command lists everything first, and asks. Nothing is removed while a run is active, and links
are not followed. Runs stay in the metadata; `qup lineage` shows what was removed.
"""

import os
import pathlib
import re
import sys
from collections.abc import Collection, Mapping, Sequence

from absl import flags

from qup.cli import program
from qup.core import formatting, shared_files
from qup.orchestration import OrchestrationError, pruning
from qup.orchestration.lineage import graph
from qup.orchestration.lineage import text as lineage_text

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

Plans = Mapping[pathlib.Path, tuple[pruning.Pruner, list[pruning.Removal]]]


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_integer(
        "keep",
        None,
        "Keep this many complete runs of each pipeline, the newest, and all that began later.",
        lower_bound=0,
    )
    flags.DEFINE_string("older_than", None, "Keep all runs but those older than this: 30d, 12h.")
    flags.DEFINE_list("keep_runs", [], "Keep these runs, by their ids.")
    flags.DEFINE_bool("dry_run", False, "List what would be removed, and remove nothing.")
    flags.DEFINE_bool("yes", False, "Do not ask.")


def main(path: str) -> str:
    """Removes, after a confirmation, and returns the last line to print."""
    plans, problems = {}, []
    databases = _find_databases(path)
    retention = _parse_retention(len(databases))
    for database in databases:
        try:
            pruner = pruning.Pruner(database, retention)
            plans[database.parent] = (pruner, pruner.plan())
        except OrchestrationError as error:
            problems.append(str(error))
    unused = [] if problems else sorted(shared_files.find_unused())
    if plans:
        program.print_text(_format_plans(plans, unused))
    outcome = _remove(plans, unused)
    if problems:
        # The other roots are pruned despite one that cannot be.
        program.print_text(outcome)
        raise flags.Error(" ".join(problems))
    return outcome


def _find_databases(path: str) -> list[pathlib.Path]:
    """Returns the databases of the roots in a folder, without those that a link leads to."""
    folder = graph.resolve_path(path)
    databases = graph.find_databases_below(path)
    inside = [d for d in databases if d.parent.resolve().is_relative_to(folder)]
    if not inside:
        raise flags.Error(
            f"A symbolic link leads from {path!r} to {str(databases[0].parent.resolve())!r}, and "
            "links are not followed. Name the pipeline root itself."
        )
    return inside


def _parse_retention(num_roots: int) -> pruning.Retention:
    runs = [run for run in flags.FLAGS.keep_runs if run]
    if runs and num_roots > 1:
        raise flags.Error(
            f"--keep_runs names runs of one pipeline root, and PATH has {num_roots}. Name one "
            "working directory."
        )
    return pruning.Retention(
        newest=flags.FLAGS.keep, max_age_s=_parse_age(flags.FLAGS.older_than), runs=runs
    )


def _parse_age(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([mhdw])", text.strip())
    if not match:
        raise flags.Error(
            "--older_than must be a number of minutes, hours, days or weeks, such as 12h, 30d or "
            f"4w; received {text!r}."
        )
    return float(match[1]) * _SECONDS[match[2]]


def _format_plans(plans: Plans, unused: Sequence[pathlib.Path]) -> str:
    blocks = []
    for root, (pruner, removals) in plans.items():
        total = formatting.format_bytes(pruning.measure_disk([root]))
        lines = [lineage_text.to_printable(f"{root}: {total}")]
        lines += [
            _format_line(removal.path, removal.path.relative_to(pruner.path), removal.reason)
            for removal in removals
        ]
        blocks.append("\n".join(lines if removals else [*lines, "  nothing to remove"]))
    if unused:
        lines = [_format_line(path, path.name, "no pipeline root uses it") for path in unused]
        blocks.append("\n".join([f"{unused[0].parent}:", *lines]))
    return "\n\n".join(blocks)


def _format_line(path: pathlib.Path, name: str | os.PathLike, reason: str) -> str:
    size = formatting.format_bytes(pruning.measure_disk([path]))
    return f"  {size:>8}  {lineage_text.to_printable(os.fspath(name))}  ({reason})"


def _remove(plans: Plans, unused: Sequence[pathlib.Path]) -> str:
    removals = [removal for _, planned in plans.values() for removal in planned]
    if not removals and not unused:
        return "Nothing to remove."
    paths = [*(removal.path for removal in removals), *unused]
    cached = shared_files.count_cache_links()
    size = pruning.measure_freed(paths, cached)
    summary = _format_summary(removals, len(unused), size)
    if flags.FLAGS.dry_run:
        return f"Would remove {summary}."
    if not flags.FLAGS.yes and not _confirm(f"Remove {summary}? [y/N] "):
        return "Nothing was removed."
    removed = [r for pruner, planned in plans.values() for r in pruner.remove(planned)]
    # With those that were used by what is removed now.
    for path in shared_files.find_unused():
        path.unlink(missing_ok=True)
    left = pruning.measure_freed(paths, cached)
    return f"Removed {_format_summary(removed, len(unused), size - left)}."


def _format_summary(removals: Collection[pruning.Removal], num_cached: int, size: int) -> str:
    """Returns "12 artifacts, 1.2 GB", or "12 artifacts and 1 unfinished folder, 1.2 GB"."""
    num_artifacts = sum(bool(removal.artifact) for removal in removals)
    counts = (
        (num_artifacts, "artifact"),
        (len(removals) - num_artifacts, "unfinished folder"),
        (num_cached, "cached file"),
    )
    parts = [formatting.format_count(count, noun) for count, noun in counts if count]
    return f"{' and '.join(parts) or 'nothing'}, {formatting.format_bytes(size)}"


def _confirm(question: str) -> bool:
    """Asks on the terminal.

    Raises:
      flags.Error: There is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise flags.Error(
            "Nothing was removed: the command asks first, and standard input is not a terminal. "
            "Add --yes to remove what is listed, or --dry_run to list it."
        )
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def run() -> None:
    """Runs the command."""
    program.run_query(main)
