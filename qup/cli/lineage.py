"""Shows how a file was computed: all steps, back to the data.

    qup lineage runs/mnist
    qup lineage runs/mnist/pipeline/Reporter/report/9
    qup lineage --pipeline_root=runs/mnist/pipeline --artifact=7
    qup lineage runs/mnist --html=lineage.html

PATH is an artifact (a folder NODE/OUTPUT/NUMBER of a pipeline root, or a file
in it), or a working directory, a pipeline root or a database of ML Metadata,
such as TFX writes, whose latest run is shown.
"""

import pathlib
import shutil

from absl import flags

from qup.cli import program
from qup.core import files
from qup.orchestration.lineage import graph, page
from qup.orchestration.lineage import text as lineage_text

# Of a number of 64 bits.
_MAX_ID_DIGITS = 19


def define_flags() -> None:
    """Defines all flags."""
    flags.DEFINE_string("pipeline_root", None, "The same as PATH.")
    flags.DEFINE_string("artifact", None, "Id or path of an artifact; default: a whole run.")
    flags.DEFINE_string("run", None, "Id of a run, from `qup runs`. Default: the latest.")
    flags.DEFINE_string("html", None, "Write a web page to this file instead of text.")


def main(path: str) -> str:
    """Returns the lineage of `path` as text, or the path of its page."""
    root = flags.FLAGS.pipeline_root
    if root is not None and path != root:
        raise flags.Error(f"--pipeline_root={root} and {path!r}: give one of them.")
    metadata = graph.ReadOnlyMetadata(graph.find_database(path))
    lineage = _load_lineage(path, metadata)
    if flags.FLAGS.html is None:
        width = shutil.get_terminal_size((100, 0)).columns
        return lineage_text.format_tree(lineage, width)
    target = _check_target(flags.FLAGS.html, metadata)
    files.write_text(target, page.format_page(lineage))
    return f"Wrote {flags.FLAGS.html}; any browser opens it."


def _get_default_path() -> str | None:
    """Returns the path for a command line without PATH."""
    return flags.FLAGS.artifact if flags.FLAGS.pipeline_root is None else flags.FLAGS.pipeline_root


def _load_lineage(path: str, metadata: graph.ReadOnlyMetadata) -> graph.Lineage:
    root, artifact = metadata.path.parent, flags.FLAGS.artifact
    if artifact is not None:
        if flags.FLAGS.run is not None:
            raise flags.Error("--artifact and --run: give one of them.")
        is_id = artifact.isascii() and artifact.isdecimal()
        if is_id and len(artifact) > _MAX_ID_DIGITS:
            raise flags.Error(
                f"--artifact={artifact[:_MAX_ID_DIGITS]}...: an id has at most {_MAX_ID_DIGITS} "
                f"digits; received {len(artifact)}. `qup lineage PATH` lists the artifacts."
            )
        return graph.trace_artifact(metadata, int(artifact) if is_id else artifact)
    # A root of TFX is in the pipeline root.
    if graph.resolve_path(path) not in (metadata.path, root, *root.parents[:2]):
        if flags.FLAGS.run is None:
            return graph.trace_artifact(metadata, path)
        raise flags.Error(
            f"--run needs a working directory; received {path!r}, which is "
            f"within one. Name {str(root)!r}."
        )
    if flags.FLAGS.run is not None:
        return graph.trace_run(metadata, flags.FLAGS.run)
    runs = metadata.list_runs()
    if not runs:
        raise flags.Error(f"No pipeline has run in {path!r} yet. Run one.")
    return graph.trace_run(metadata, runs[-1].id)


def _check_target(name: str, metadata: graph.ReadOnlyMetadata) -> pathlib.Path:
    """Returns the path to write; only an existing page may be replaced."""
    path = graph.resolve_path(name)
    if path.suffix not in (".html", ".htm"):
        raise flags.Error(f"--html must name a file that ends in .html; received {name!r}.")
    if metadata.find_artifact(path):
        raise flags.Error(
            f"--html={name} is within a published artifact, which must not "
            "change. Choose another folder."
        )
    if not path.parent.is_dir():
        raise flags.Error(f"--html={name} is in a folder that does not exist. Choose another one.")
    if path.exists() and not path.is_file():
        raise flags.Error(f"--html={name} is not a file. Choose another name.")
    return path


def run() -> None:
    """Runs the command."""
    program.run_query(main, _get_default_path)
