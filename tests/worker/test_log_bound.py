"""A log has a bound, on the disk and in the store."""

from repro.worker.live import log_bound


def test_the_middle_is_the_disks_again_while_the_stage_prints_on(tmp_path, monkeypatch):
    for name in ("HEAD", "TAIL", "SLACK"):
        monkeypatch.setattr(log_bound, name, 1 << 16)
    log = tmp_path / "log"
    with log.open("ab") as file:
        file.write(b"first\n" + b"x" * (1 << 22))
        file.flush()
        before = log.stat().st_blocks
        log_bound.punch(log)
        assert log.stat().st_blocks < before / 4
        file.write(b"\nlast\n")
    log_bound.close_hole(log)
    kept = log.read_bytes()
    assert kept.startswith(b"first\nx")
    assert kept.endswith(b"x\nlast\n")
    left_out = (1 << 22) + 12 - 2 * (1 << 16)
    assert f"\n--- {left_out} bytes left out ---\n".encode() in kept
    assert b"\0" not in kept


def test_a_short_one_is_left_as_it_is(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"all\n")
    log_bound.punch(log)
    log_bound.close_hole(log)
    assert log.read_bytes() == b"all\n"
