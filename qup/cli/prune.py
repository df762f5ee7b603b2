"""Removes artifacts that no kept run needs, to free disk space.

    qup prune runs/mnist
    qup prune runs --keep=3
    qup prune runs/mnist --older_than=30d --dry_run

PATH is a working directory, a pipeline root, or a folder of them. Without --keep, --older_than and
--keep_runs all runs are kept; removed are artifacts of no run, remains of failed and abandoned
executions, temporary folders, and checkpoints older than a day. A run is kept if any of the three
keeps it. The command lists everything first, and asks. Nothing is removed while a run is active,
and links are not followed. Runs stay in the metadata: `qup lineage` shows what was removed.
"""

import pathlib
import re
import sys
from collections.abc import Iterable, Mapping

from absl import flags

from qup.cli import program
from qup.core import formatting
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
    flags.DEFINE_list("keep_runs", [], "Keep these runs: ids from `qup runs`.")
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
    if plans:
        program.print_text(_format_plans(plans))
    outcome = _remove(plans)
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


def _format_plans(plans: Plans) -> str:
    blocks = []
    for root, (pruner, removals) in plans.items():
        total = formatting.format_bytes(pruning.measure_disk([root]))
        lines = [lineage_text.to_printable(f"{root}: {total}")]
        for removal in removals:
            size = formatting.format_bytes(pruning.measure_disk([removal.path]))
            name = lineage_text.to_printable(str(removal.path.relative_to(pruner.path)))
            lines.append(f"  {size:>8}  {name}  ({removal.reason})")
        if not removals:
            lines.append("  nothing to remove")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _remove(plans: Plans) -> str:
    removals = [removal for _, planned in plans.values() for removal in planned]
    if not removals:
        return "Nothing to remove."
    size = pruning.measure_freed(removal.path for removal in removals)
    summary = _format_summary(removals, size)
    if flags.FLAGS.dry_run:
        return f"Would remove {summary}."
    if not flags.FLAGS.yes and not _confirm(f"Remove {summary}? [y/N] "):
        return "Nothing was removed."
    removed = [r for pruner, planned in plans.values() for r in pruner.remove(planned)]
    left = pruning.measure_freed(removal.path for removal in removals)
    return f"Removed {_format_summary(removed, size - left)}."


def _format_summary(removals: Iterable[pruning.Removal], size: int) -> str:
    """Returns "12 artifacts, 1.2 GB", or "12 artifacts and 1 unfinished folder, 1.2 GB"."""
    removals = list(removals)
    num_artifacts = sum(bool(removal.artifact) for removal in removals)
    num_others = len(removals) - num_artifacts
    parts = [
        formatting.format_count(count, noun)
        for count, noun in ((num_artifacts, "artifact"), (num_others, "unfinished folder"))
        if count
    ]
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
