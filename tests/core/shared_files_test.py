"""Files that several folders share."""

import os
import subprocess
import sys

import pytest

from qup.core import files, shared_files

_SIZE = 5 * 2**20


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QUP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "files"


def _write(folder, byte=b"x", size=_SIZE):
    folder.mkdir(exist_ok=True)
    (folder / "images.npy").write_bytes(byte * size)
    return folder / "images.npy"


def test_equal_files_are_one_file_and_read_only(tmp_path, cache):
    paths = [_write(tmp_path / name) for name in "abc"]
    other = _write(tmp_path / "other", b"y")
    # Twice: the second call finds the link.
    for path in [*paths, other, *paths]:
        assert shared_files.share_file(path)
    assert len({path.stat().st_ino for path in paths}) == 1
    assert paths[0].stat().st_nlink == 4 and other.stat().st_nlink == 2
    assert all(path.stat().st_mode & 0o222 == 0 for path in paths)
    assert [path.read_bytes() for path in paths] == [b"x" * _SIZE] * 3
    assert other.read_bytes() == b"y" * _SIZE
    assert len(list(cache.iterdir())) == 2 and not list(shared_files.find_unused())
    assert {p.name for p in tmp_path.glob("a/*")} == {"images.npy"}


def test_small_files_and_files_without_a_cache_stay(tmp_path, cache, monkeypatch):
    small = _write(tmp_path / "small", size=1000)
    assert not shared_files.share_file(small) and small.stat().st_nlink == 1
    monkeypatch.setenv("QUP_CACHE_DIR", "")
    path = _write(tmp_path / "a")
    assert not shared_files.share_file(path) and path.stat().st_nlink == 1
    assert not cache.exists() and not list(shared_files.find_unused())


def test_the_default_is_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("QUP_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shared_files.get_cache_dir() == tmp_path / ".cache/qup"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert shared_files.get_cache_dir() == tmp_path / "xdg/qup"


@pytest.mark.parametrize("damage", ["bytes", "empty", "folder", "link"])
def test_a_damaged_copy_is_replaced_or_not_used(tmp_path, cache, damage):
    first, second = _write(tmp_path / "a"), _write(tmp_path / "b")
    assert shared_files.share_file(first)
    (entry,) = cache.iterdir()
    entry.unlink()
    letter = _write(tmp_path / "user", b"z")
    if damage == "folder":
        entry.mkdir()
    elif damage == "link":
        entry.symlink_to(letter)
    else:
        entry.write_bytes(b"y" * (_SIZE if damage == "bytes" else 0))
    is_shared = shared_files.share_file(second)
    assert is_shared is (damage != "folder")
    assert second.read_bytes() == b"x" * _SIZE
    assert letter.read_bytes() == b"z" * _SIZE and letter.stat().st_nlink == 1
    if is_shared:
        assert entry.samefile(second) and not entry.is_symlink()


def test_a_file_stays_where_links_are_not_possible(tmp_path, cache, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    path = _write(tmp_path / "a")
    mode = path.stat().st_mode
    assert not shared_files.share_file(path)
    assert path.read_bytes() == b"x" * _SIZE and path.stat().st_mode == mode
    assert [p.name for p in path.parent.iterdir()] == ["images.npy"] and not list(cache.iterdir())


def test_a_cache_that_cannot_be_created_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUP_CACHE_DIR", str(tmp_path / "file"))
    assert not shared_files.share_file(_write(tmp_path / "a"))


def test_remains_of_a_killed_process_are_removed(tmp_path, cache):
    path = _write(tmp_path / "a")
    host = files.get_temporary_prefix().rpartition(f"-{os.getpid()}-")[0]
    cache.mkdir(parents=True)
    for folder in (cache, path.parent):
        (folder / f"{host}-{2**22 + 1}-images.npy").write_bytes(b"half")
    assert shared_files.share_file(path)
    assert len(list(cache.iterdir())) == 1
    assert shared_files.share_file(_write(tmp_path / "a"))
    assert [p.name for p in path.parent.iterdir()] == ["images.npy"]


def test_several_processes_share_at_once(tmp_path, cache):
    paths = [_write(tmp_path / str(number)) for number in range(4)]
    code = (
        "import pathlib, sys; from qup.core import shared_files; "
        "print(shared_files.share_file(pathlib.Path(sys.argv[1])))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
        for path in paths
    ]
    assert [process.communicate()[0] for process in processes] == ["True\n"] * 4
    for path in paths:
        # Those that were too early for the copy of another process are linked now.
        shared_files.share_file(path)
    assert len({path.stat().st_ino for path in paths}) == 1
    assert paths[0].read_bytes() == b"x" * _SIZE


def test_unused_files_are_those_of_no_other_folder(tmp_path, cache):
    path = _write(tmp_path / "a")
    shared_files.share_file(path)
    (cache / "notes.txt").write_text("of the user")
    assert not list(shared_files.find_unused())
    path.unlink()
    (entry,) = shared_files.find_unused()
    assert entry.parent == cache and len(entry.name) == 64
