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
