"""What a file came from: every step before it, back to the data.

    python -m bin.show_lineage runs/mnist
    python -m bin.show_lineage runs/mnist/pipeline/Reporter/report/9
    python -m bin.show_lineage --pipeline_root=runs/mnist/pipeline --artifact=7
    python -m bin.show_lineage runs/mnist --html=lineage.html

PATH is something a pipeline has made (a folder NODE/OUTPUT/NUMBER of a
pipeline root, or a file in one), or else a working directory or a pipeline
root, of which the latest run is shown.
"""

import os
import pathlib
import secrets
import shutil

from absl import flags

from bin import reading
from qup.orchestration.lineage import graph, page
from qup.orchestration.lineage import text as lineage_text

_ROOT = flags.DEFINE_string("pipeline_root", None, "The same as PATH.")
_ARTIFACT = flags.DEFINE_string(
    "artifact", None, "Id or path of an artifact; default: a whole run."
)
_RUN = flags.DEFINE_string(
    "run", None, "Id of a run; bin.list_runs tells them. Default: the latest."
)
_HTML = flags.DEFINE_string("html", None, "File of a web page to write, instead of a text.")


def main(path: str) -> str:
    """Returns the lineage of what `path` names, or where its page is."""
    if _ROOT.value is not None and path != _ROOT.value:
        raise flags.Error(f"--pipeline_root={_ROOT.value} and {path!r}: give one of them.")
    metadata = graph.ReadOnlyMetadata(graph.find_database(path))
    lineage = _load_lineage(path, metadata)
    if _HTML.value is None:
        width = shutil.get_terminal_size((100, 0)).columns
        return lineage_text.format_tree(lineage, width)
    target = _check_target(_HTML.value, metadata)
    _write_file(target, page.format_page(lineage))
    return f"Wrote {_HTML.value}; any browser opens it."


def _get_default_path() -> str | None:
    """Returns what stands for PATH where none is given."""
    return _ARTIFACT.value if _ROOT.value is None else _ROOT.value


def _load_lineage(path: str, metadata: graph.ReadOnlyMetadata) -> graph.Lineage:
    root, artifact = metadata.path.parent, _ARTIFACT.value
    if artifact is not None:
        if _RUN.value is not None:
            raise flags.Error("--artifact and --run: give one of them.")
        is_id = artifact.isascii() and artifact.isdecimal()
        return graph.trace_artifact(metadata, int(artifact) if is_id else artifact)
    if graph.resolve_path(path) not in (metadata.path, root, root.parent):
        if _RUN.value is None:
            return graph.trace_artifact(metadata, path)
        raise flags.Error(
            f"--run needs a working directory; received {path!r}, which is "
            f"within one. Name {str(root)!r}."
        )
    if _RUN.value is not None:
        return graph.trace_run(metadata, _RUN.value)
    runs = metadata.list_runs()
    if not runs:
        raise flags.Error(f"No pipeline has run in {path!r} yet. Run one.")
    return graph.trace_run(metadata, runs[-1].id)


def _check_target(name: str, metadata: graph.ReadOnlyMetadata) -> pathlib.Path:
    """Returns where to write, if that replaces nothing but a page."""
    path = graph.resolve_path(name)
    if path.suffix not in (".html", ".htm"):
        raise flags.Error(f"--html must name a file that ends in .html; received {name!r}.")
    if metadata.find_artifact(path):
        raise flags.Error(
            f"--html={name} is within a published artifact, which must not "
            "change. Choose another folder."
        )
    if path.exists() and not path.is_file():
        raise flags.Error(f"--html={name} is no file. Choose another name.")
    return path


def _write_file(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        try:
            with open(partial, "x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise flags.Error(
            f"Cannot write {str(path)!r}: {error.strerror}. Choose a folder "
            "that exists, has room, and that you may write to."
        ) from error


if __name__ == "__main__":
    reading.run(main, _get_default_path)
