"""Atomic writes, file locks and the check of processes."""

import os
import subprocess
import sys

import psutil
import pytest

from qup.core import files
from qup.core.errors import InputError


def _start_child(code: str, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_failed_write_leaves_the_former_file(tmp_path):
    path = tmp_path / "folder/file.txt"
    files.write_text(path, "first")
    with pytest.raises(ZeroDivisionError), files.atomic_write(path) as temporary:
        temporary.write_text("second")
        _ = 1 / 0
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]


def test_a_folder_replaces_a_folder_but_a_file_does_not(tmp_path):
    path = tmp_path / "model"
    for name in ("first", "second"):
        with files.atomic_write(path) as temporary:
            temporary.mkdir()
            (temporary / name).write_text(name)
    assert [p.name for p in path.iterdir()] == ["second"]
    with pytest.raises(InputError, match="a folder has this path"):
        files.write_text(path, "text")


def test_only_temporary_files_of_ended_processes_are_removed(tmp_path):
    child = _start_child("input()")
    prefix = files.get_temporary_prefix()
    running = tmp_path / prefix.replace(str(os.getpid()), str(child.pid))
    ended = tmp_path / prefix.replace(str(os.getpid()), str(2**22 + 1))
    running.write_text("")
    ended.write_text("")
    with files.atomic_write(tmp_path / "outer") as temporary:
        temporary.write_text("")
        files.write_text(tmp_path / "inner", "")
        assert temporary.exists() and running.exists() and not ended.exists()
    child.kill()
    child.wait()


def test_a_process_is_identified_by_number_and_start():
    start = psutil.Process().create_time()
    assert files.is_process_alive(os.getpid()) and files.is_process_alive(os.getpid(), start)
    assert not files.is_process_alive(os.getpid(), start - 60)
    assert not files.is_process_alive(2**40)
    child = _start_child("")
    start = psutil.Process(child.pid).create_time()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not files.is_process_alive(child.pid, start), "a zombie"
    child.wait()


_HOLD_LOCK = """
import sys
from qup.core import files

with files.lock_file(sys.argv[1]) as is_held:
    print(is_held, flush=True)
    input()
"""


def test_a_lock_excludes_other_processes_until_the_holder_dies(tmp_path):
    path = tmp_path / "lock"
    child = _start_child(_HOLD_LOCK, path)
    assert child.stdout.readline() == "True\n"
    with files.lock_file(path) as is_held:
        assert not is_held
    with files.lock_file(path, on_wait=child.kill) as is_held:
        assert is_held
    child.wait()


def test_a_lock_in_a_missing_folder_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"), files.lock_file(tmp_path / "file/lock"):
        pass


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_neither_replaced_nor_followed(tmp_path, exists):
    target, link, other = (tmp_path / name for name in ("letter.txt", "link", "other"))
    if exists:
        target.write_text("letter")
    other.write_text("other")
    link.symlink_to(target)
    for write in (
        lambda: files.write_text(link, "text"),
        lambda: files.link_or_copy(other, link),
        lambda: files.lock_file(link).__enter__(),
    ):
        with pytest.raises(InputError, match="is a symbolic link to"):
            write()
    assert link.is_symlink() and target.exists() == exists
    assert not exists or target.read_text() == "letter"


def test_removing_a_link_keeps_what_it_names(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files.remove_path(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("path", ["/tmp/x", "x", "./gs:", "a:b/c", "C:/x", "", "~/x", "a b://c"])
def test_local_paths_pass(path):
    files.check_local("workdir", path)


@pytest.mark.parametrize("path", ["gs://x", "s3://x/y", "file:///x", "HTTPS://x", "gs:/x"])
def test_addresses_are_refused(path):
    with pytest.raises(InputError, match="is an address") as caught:
        files.check_local("workdir", path)
    assert path in str(caught.value) and len(str(caught.value)) < 600


def test_created_folders_are_removed_up_to_the_first_that_is_not_empty(tmp_path):
    created = files.create_folder(tmp_path / "a" / "b" / "c")
    assert created == [tmp_path / "a/b/c", tmp_path / "a/b", tmp_path / "a"]
    assert files.create_folder(tmp_path / "a" / "b") == []
    (tmp_path / "a" / "note").touch()
    files.remove_empty_folders(created)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["note"]
