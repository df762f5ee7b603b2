"""Symbolic links: nothing outside of a pipeline root is written, renamed or removed."""

import random

import pytest

from qup.orchestration import Artifact, LocalRunner, Metadata, Out, StorageError, component
from qup.orchestration.storage import PipelineRoot

_TEXT = "a letter of the user\n"


class Number(Artifact):
    pass


@component
def Counter(number: Out[Number], *, count: int = 1, fails: bool = False) -> None:
    (number.path / "number").write_text(str(count))
    if fails:
        raise RuntimeError("as asked")


def _run(root, **parameters):
    return LocalRunner(root, Metadata(root / "metadata.sqlite")).run([Counter(**parameters)])


@pytest.mark.parametrize("suffix", ["", "-journal"])
@pytest.mark.parametrize("rename", [True, False])
def test_a_database_that_is_a_link_is_refused(tmp_path, suffix, rename):
    (tmp_path / "letter.txt").write_text(_TEXT)
    root = tmp_path / "root"
    root.mkdir()
    (root / f"metadata.sqlite{suffix}").symlink_to(tmp_path / "letter.txt")
    with pytest.raises(StorageError, match=r"is a symbolic link to .*letter\.txt"):
        Metadata(root / "metadata.sqlite", rename_if_damaged=rename)
    assert {p.name for p in tmp_path.iterdir()} == {"letter.txt", "root"}
    assert (tmp_path / "letter.txt").read_text() == _TEXT


@pytest.mark.parametrize(
    "place",
    [
        *("Counter", "Counter/number", "Counter/.system", "Counter/.system/executor_execution"),
        *(".system", ".system/locks"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_that_leads_out_is_refused(tmp_path, place, fails):
    root, outside = tmp_path / "root", tmp_path / "user"
    # Folders with the numbers of executions, one level down and two.
    for name in ("1", "2", "number/1", "number/2", "1/number"):
        (outside / name).mkdir(parents=True, exist_ok=True)
        (outside / name / "letter.txt").write_text(_TEXT)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).symlink_to(outside)
    before = {path: path.is_file() and path.read_text() for path in outside.rglob("*")}
    for _ in range(2):
        with pytest.raises((StorageError, RuntimeError)):
            _run(root, fails=fails)
    after = {path: path.is_file() and path.read_text() for path in outside.rglob("*")}
    assert after == before


@pytest.mark.parametrize("seed", range(20))
def test_removal_never_follows_a_link(tmp_path, seed):
    """Random trees of folders and links to a folder outside."""
    generator = random.Random(seed)
    outside = tmp_path / "user"
    (outside / "7" / "deep").mkdir(parents=True)
    (outside / "7" / "deep" / "letter.txt").write_text(_TEXT)
    root = PipelineRoot(tmp_path / "root")
    folders = [root.path]
    for number in range(12):
        path = generator.choice(folders) / generator.choice(["7", f"x{number}"])
        if path.exists() or path.is_symlink():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if generator.random() < 0.4:
            path.symlink_to(generator.choice([outside, outside / "7"]))
        else:
            path.mkdir()
            folders.append(path)
    for path in [*root.path.rglob("*"), *root.path.glob("*/*"), *root.path.glob("*/*/*")]:
        root.remove(path)
    for node in [path.name for path in root.path.iterdir()] + [""]:
        root.discard(node, 7)
    assert (outside / "7" / "deep" / "letter.txt").read_text() == _TEXT


def test_a_root_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    execution = _run(tmp_path / "root")["Counter"]
    assert execution.outputs["number"][0].path.is_relative_to(tmp_path / "disk")
