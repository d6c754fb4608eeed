"""Files are created once, whole, or not at all."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repro.stages import files

BODIES = [bytes([number]) * 300_000 for number in range(8)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_create_writes_the_bytes_read_only_and_leaves_nothing_else(tmp_path):
    files.create(tmp_path / "a.json", b"\0body")
    assert (tmp_path / "a.json").read_bytes() == b"\0body"
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o444
    assert names(tmp_path) == ["a.json"]


def test_the_longest_name_a_file_system_allows(tmp_path):
    files.create(tmp_path / ("x" * 255), b"body")
    assert names(tmp_path) == ["x" * 255]


@pytest.fixture(params=[True, False], ids=["hard_links", "no_hard_links"])
def hard_links(request, monkeypatch):
    """With them, and as on a file system that has none."""

    def refuse(*names, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not request.param:
        monkeypatch.setattr(os, "link", refuse)


def test_without_hard_links_a_file_is_published_and_shared_all_the_same(tmp_path, hard_links):
    (tmp_path / "written").write_bytes(b"body")
    files.publish(tmp_path / "written", tmp_path / "a")
    files.link_or_copy(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    assert [(tmp_path / name).read_bytes() for name in ("written", "b")] == [b"body"] * 2
    assert names(tmp_path) == ["b", "written"]


@pytest.mark.parametrize("there", ["file", "link", "dangling", "folder"])
def test_create_never_replaces_anything(tmp_path, there, hard_links):
    path = tmp_path / "a"
    {
        "file": lambda: path.write_bytes(b"old"),
        "link": lambda: ((tmp_path / "b").write_bytes(b"old"), path.symlink_to("b")),
        "dangling": lambda: path.symlink_to("nowhere"),
        "folder": path.mkdir,
    }[there]()
    before = [(p.name, os.lstat(p)) for p in tmp_path.iterdir()]
    with pytest.raises(FileExistsError):
        files.create(path, b"new")
    assert [(p.name, os.lstat(p)) for p in tmp_path.iterdir()] == before


def test_one_of_many_threads_wins_with_its_whole_content(tmp_path, hard_links):
    def attempt(body):
        try:
            files.create(tmp_path / "a", body)
        except FileExistsError:
            return None
        return body

    with ThreadPoolExecutor(len(BODIES)) as pool:
        won = [body for body in pool.map(attempt, BODIES) if body is not None]
    assert len(won) == 1
    assert (tmp_path / "a").read_bytes() == won[0]
    assert names(tmp_path) == ["a"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_one_of_many_processes_wins_every_time(tmp_path):
    for turn in range(10):
        path = tmp_path / str(turn)
        read, write = os.pipe()
        children = []
        for body in BODIES:
            pid = os.fork()
            if pid == 0:
                code = 2
                try:
                    os.close(write)
                    os.read(read, 1)  # until the parent has closed its end
                    files.create(path, body)
                    code = 0
                except FileExistsError:
                    code = 1
                finally:
                    os._exit(code)
            children.append(pid)
        os.close(write)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        os.close(read)
        assert sorted(codes) == [0] + [1] * (len(BODIES) - 1)
        assert path.read_bytes() == BODIES[codes.index(0)]
    assert names(tmp_path) == sorted(map(str, range(10)))


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        files.create(tmp_path / "a", b"body")
    assert names(tmp_path) == []


def test_no_folder_is_made_on_the_way(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.create(tmp_path / "b" / "a", b"body")
    assert names(tmp_path) == []


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no other file system than the temporary folder")
    folder = shm / f"test-files-{os.getpid()}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_publish_across_file_systems(tmp_path, elsewhere):
    written = elsewhere / "written"
    written.write_bytes(b"body" * files.CHUNK)
    files.publish(written, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"body" * files.CHUNK
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444
    written.chmod(0o644)
    written.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        files.publish(written, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"body" * files.CHUNK
    assert names(tmp_path) == ["a"]


def test_publish_on_one_file_system_copies_nothing(tmp_path):
    (tmp_path / "written").write_bytes(b"body")
    files.publish(tmp_path / "written", tmp_path / "a")
    assert (tmp_path / "written").stat().st_ino == (tmp_path / "a").stat().st_ino
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        files.publish(tmp_path / "other", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"body"


def test_pass_on_links_and_never_replaces(tmp_path, elsewhere):
    files.create(tmp_path / "a", b"body")
    files.create(elsewhere / "b", b"other")
    files.pass_on(tmp_path / "a", tmp_path / "hard")
    assert (tmp_path / "hard").stat().st_ino == (tmp_path / "a").stat().st_ino
    files.pass_on(elsewhere / "b", tmp_path / "soft")
    assert (tmp_path / "soft").read_bytes() == b"other"
    for existing in (tmp_path / "a", elsewhere / "b"):
        with pytest.raises(FileExistsError):
            files.pass_on(existing, tmp_path / "hard")
    assert (tmp_path / "hard").read_bytes() == b"body"


def test_checksum_and_listing(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a").write_bytes(b"abc")
    (tmp_path / "z").write_bytes(b"")
    assert files.below(tmp_path) == ["b/a", "z"]
    assert files.sha256(tmp_path / "b" / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_home_is_kept_out_of_git_and_another_folder_is_left_alone(tmp_path):
    files.make_home(tmp_path / "new/home")
    assert (tmp_path / "new/home/.gitignore").read_text() == "*\n"
    files.make_home(tmp_path / "new/home")
    (tmp_path / "old/mongo").mkdir(parents=True)
    files.make_home(tmp_path / "old")
    assert (tmp_path / "old/.gitignore").exists()
    (tmp_path / "project/mongo").mkdir(parents=True)
    (tmp_path / "project/train.py").touch()
    files.make_home(tmp_path / "project")
    assert not (tmp_path / "project/.gitignore").exists()
