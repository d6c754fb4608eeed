"""The code of runs in the store and on this machine: whole, as it was packed, and nothing outside its folder."""

import gzip
import hashlib
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from repro.stages.errors import StageError
from repro.stages.source.packing import Packed
from repro.worker.store import code_archives
from repro.worker.store.code_archives import CodeFolders
from repro.worker.store.store import Store


@pytest.fixture(params=["folder", "S3"])
def store(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    server = request.getfixturevalue("seaweedfs")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return Store.open(f"s3://{server.bucket()}/runs", tmp_path / "home")


def archive(*entries):
    """Of (name, bytes), or of entries that stand for themselves."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(entry)
                continue
            name, data = entry
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    return Packed(data, hashlib.sha256(data).hexdigest(), ("0",))


def special(name, kind, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def run_with(store, packed):
    location = code_archives.keep(store, packed)
    return {"code": {"archive": packed.sha256, "location": location, "folders": list(packed.folders)}}


def test_it_is_put_there_once_and_unpacked_read_only(store, tmp_path):
    packed = archive(("0/a.py", b"A = 1\n"), ("0/deep/b.py", b""), special("0/link.py", tarfile.SYMTYPE, "deep/b.py"))
    run = run_with(store, packed)
    written = store.objects.listing("code")
    assert run_with(store, packed) == run
    assert store.objects.listing("code") == written
    folders = CodeFolders(tmp_path / "code", store)
    (folder,) = folders.of(run)
    assert (tmp_path / "code" / packed.sha256 / "0").samefile(folder)
    texts = {name: Path(folder, name).read_text() for name in ("a.py", "deep/b.py", "link.py")}
    assert texts == {"a.py": "A = 1\n", "deep/b.py": "", "link.py": ""}
    assert [oct(Path(folder, name).stat().st_mode & 0o777) for name in ("", "a.py")] == ["0o555", "0o444"]
    store.objects.remove(f"code/{packed.sha256}.tar.gz")
    assert folders.of(run) == (folder,)  # it is here
    assert CodeFolders(tmp_path / "other", store).of({"code": {"digest": "d"}}) == ()
    with pytest.raises(StageError, match="gone from the store"):
        CodeFolders(tmp_path / "other", store).of(run)


def test_what_was_changed_in_the_store_is_not_unpacked(store, tmp_path):
    run = run_with(store, archive(("0/a.py", b"A = 1\n")))
    for data in (gzip.compress(archive(("0/a.py", b"A = 2\n")).tar), b"", b"no archive"):
        store.objects.remove(f"code/{run['code']['archive']}.tar.gz")
        store.objects.create(f"code/{run['code']['archive']}.tar.gz", data)
        with pytest.raises(StageError, match="has changed in the store"):
            CodeFolders(tmp_path / "code", store).of(run)
        assert list((tmp_path / "code").glob("*")) == []
    with pytest.raises(StageError, match="lies in file:///elsewhere"):
        CodeFolders(tmp_path / "code", store).of(
            {"code": run["code"] | {"location": "file:///elsewhere/code/a.tar.gz"}}
        )


@pytest.mark.parametrize(
    "entry",
    [
        ("/etc/cron.d/x", b""),
        ("../x", b""),
        ("0/../../x", b""),
        special("0/l", tarfile.SYMTYPE, "/etc/passwd"),
        special("0/l", tarfile.SYMTYPE, "../../x"),
        special("l", tarfile.SYMTYPE, ".."),
        special("0/l", tarfile.LNKTYPE, "../../x"),
        special("0/pipe", tarfile.FIFOTYPE),
        special("0/disk", tarfile.BLKTYPE),
        special("0/tty", tarfile.CHRTYPE),
    ],
    ids=lambda entry: f"{entry.type} {entry.name}" if isinstance(entry, tarfile.TarInfo) else entry[0],
)
def test_nothing_is_written_outside_the_folder(entry, tmp_path):
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    run = run_with(store, archive(("0/a.py", b""), entry))
    with pytest.raises(StageError, match="no file or leads out"):
        CodeFolders(tmp_path / "code", store).of(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code", "store"]
    assert list((tmp_path / "code").iterdir()) == []


def test_a_link_is_not_written_through(tmp_path):
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    (tmp_path / "outside").mkdir()
    linked = special("0/l", tarfile.SYMTYPE, "deep")
    run = run_with(store, archive(linked, ("0/l/x.py", b"X")))
    with pytest.raises(OSError, match="exists"):
        CodeFolders(tmp_path / "code", store).of(run)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(code_archives, "LONGEST", 100_000)
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    run = run_with(store, archive(("0/zeros", bytes(10_000_000))))
    with pytest.raises(StageError, match="has changed"):
        CodeFolders(tmp_path / "code", store).of(run)


def test_what_no_run_holds_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(code_archives, "KEPT_BYTES", 2500)
    store = Store.open(f"file://{tmp_path}/store", tmp_path / "home")
    runs = [run_with(store, archive(("0/a.py", f"{number:1000}".encode()))) for number in range(4)]
    folders = CodeFolders(tmp_path / "code", store)

    def here():
        return [(tmp_path / "code" / run["code"]["archive"]).exists() for run in runs]

    with folders.held(runs[0]):
        for age, run in enumerate(runs[1:3]):
            folders.of(run)
            os.utime(tmp_path / "code" / run["code"]["archive"], (1000 + age, 1000 + age))
        os.utime(tmp_path / "code" / runs[0]["code"]["archive"], (10, 10))  # the oldest
        forgotten = tmp_path / "code/.forgotten"
        forgotten.mkdir()
        os.utime(forgotten, (10, 10))
        folders.of(runs[3])
        assert here()[0]
        assert here()[3]
        assert not here()[1]
        assert not forgotten.exists()
    with folders.held(runs[1]) as places:
        assert Path(places[0], "a.py").exists()
    assert sum(here()) <= 2


def test_several_that_need_the_same_code_at_once_all_get_it(store, tmp_path):
    run = run_with(store, archive(*((f"0/{number}.py", b"x" * 1000) for number in range(50))))
    folders, got = CodeFolders(tmp_path / "code", store), []
    threads = [threading.Thread(target=lambda: got.append(folders.of(run))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 8
    assert len({*got}) == 1
    assert len(list(Path(got[0][0]).iterdir())) == 50
    assert [path.name for path in (tmp_path / "code").iterdir()] == [run["code"]["archive"]]
