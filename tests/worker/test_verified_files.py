"""Which files need not be read again, and that what is known of them does not grow for ever."""

import hashlib
import os
import time

from repro.worker.store import verified_files
from repro.worker.store.verified_files import UNUSED, VerifiedFiles


def test_what_was_read_is_known_until_it_is_written_to(tmp_path):
    (tmp_path / "a").write_text("a")
    sha256 = hashlib.sha256(b"a").hexdigest()
    known = VerifiedFiles(tmp_path / "seen")
    assert known.is_as_recorded(tmp_path / "a", sha256)
    assert [path.relative_to(tmp_path / "seen").parts[0] for path in (tmp_path / "seen").rglob("*-*")] == [sha256[:2]]
    (tmp_path / "a").write_text("b")
    assert not known.is_as_recorded(tmp_path / "a", sha256)
    assert not known.is_as_recorded(tmp_path / "gone", sha256)


def test_what_nobody_has_used_for_long_is_forgotten(tmp_path, monkeypatch):
    """Of one of the folders at a time, and of those notes that once lay in one flat folder."""
    monkeypatch.setattr(verified_files, "TIDY_EVERY", 1)
    known, old = VerifiedFiles(tmp_path / "seen"), time.time() - UNUSED - 1
    (tmp_path / "a").write_text("a")
    notes = [tmp_path / "seen" / name for name in ("00/" + "0" * 64 + "-1", "01/" + "1" * 64 + "-2", "2" * 64 + "-3")]
    for note in notes:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("")
        os.utime(note, (old, old))
    known.note(tmp_path / "a", "00" + "1" * 62)
    assert [note.exists() for note in notes] == [False, True, False]
    assert len(list((tmp_path / "seen/00").iterdir())) == 1
