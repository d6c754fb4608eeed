import hashlib
import io
import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from repro.stages.errors import StageError
from repro.stages.images import reader
from repro.stages.images.decoding import decode
from tests.stages.pictures import files_of, metadata_of, png, run_stage, two_classes, write


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "da[t]a"  # a folder's own brackets are no mask
    folder.mkdir()
    monkeypatch.setenv("REPRO_DATA", str(folder))
    return folder


def pack(work: Path, name: str = "data", **config) -> Path:
    config = {"images": "images/**/*.png", "validation": 0.0} | config
    return run_stage(work, name, stage="make_dataset", **config)


def pixels(folder: Path) -> np.ndarray:
    return np.fromfile(folder / "data.bin", np.uint8).reshape(metadata_of(folder)["shape"])


def refused(work: Path, **config) -> str:
    with pytest.raises(StageError) as caught:
        pack(work, "refused", **config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_packs_what_a_recursive_mask_finds(data, tmp_path):
    write(data, ["images/b/deep/er/1.png", "images/a/2.png", "images/a/no.txt"])
    out = pack(tmp_path)
    found = metadata_of(out)
    assert found["files"] == ["images/a/2.png", "images/b/deep/er/1.png"]
    assert (found["shape"], found["classes"], found["labels"]) == ([2, 6, 6, 1], ["a", "er"], [0, 1])
    for row, name in zip(pixels(out), found["files"], strict=True):
        np.testing.assert_array_equal(row[..., 0], np.asarray(Image.open(data / name)))


def test_several_masks_take_a_file_once_and_a_star_stays_in_its_folder(data, tmp_path):
    write(data, ["x/a/1.png", "x/b/2.png", "x/b/c/3.png", "y/d/4.png"])
    out = pack(tmp_path, images=["x/*/*.png", "./y/**/*.png", "x/a/1.png"])
    assert metadata_of(out)["files"] == ["x/a/1.png", "x/b/2.png", "y/d/4.png"]


def test_absolute_masks_keep_their_url(data, tmp_path):
    fs = fsspec.filesystem("memory")
    fs.pipe({f"/pack-test/{label}/1.png": png(1) for label in "ab"})
    write(data, ["images/c/1.png"])
    out = pack(tmp_path, images=["memory://pack-test/**/*.png", f"{tmp_path}/da*/images/*/1.png"])
    assert metadata_of(out)["files"][1:] == ["memory://pack-test/a/1.png", "memory://pack-test/b/1.png"]
    assert metadata_of(out)["classes"] == ["a", "b", "c"]


def test_data_may_be_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_DATA", "memory://pack-root")
    fsspec.filesystem("memory").pipe({f"/pack-root/images/{label}/1.png": png(1) for label in "ab"})
    assert metadata_of(pack(tmp_path))["files"] == ["images/a/1.png", "images/b/1.png"]


def test_a_mask_without_a_match_names_mask_and_place(data, tmp_path):
    write(data, ["images/a/1.png"])
    message = refused(tmp_path, images=["images/**/*.png", "image/**/*.png"])
    assert "'**/*.png'" in message
    assert str(data / "image") in message


@pytest.mark.parametrize("masks", ["", [], [1], 3])
def test_masks_that_are_none(data, tmp_path, masks):
    assert '"images"' in refused(tmp_path, images=masks)


def test_unknown_protocol(data, tmp_path):
    assert "nosuch" in refused(tmp_path, images="nosuch://x/*.png")


def test_names_with_brackets_are_read(data, tmp_path):
    write(data, ["images/a/x[1].png", "images/a/x1.png"])
    assert len(metadata_of(pack(tmp_path))["files"]) == 2


def test_labels_from_csv(data, tmp_path):
    write(data, ["images/1.png", "images/2.png"])
    (data / "labels.csv").write_text("file,kind\nimages/2.png,cat\nimages/1.png,dog\nother.png,cow\n")
    columns = {"labels_path_column": "file", "labels_label_column": "kind"}
    out = pack(tmp_path, labels="csv", labels_csv="labels.csv", **columns)
    assert (metadata_of(out)["classes"], metadata_of(out)["labels"]) == (["cat", "dog"], [1, 0])
    assert "columns are file, kind" in refused(tmp_path, labels="csv", labels_csv="labels.csv")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, "labels.csv can't be read"),
        ("path,label\nimages/1.png,a\n", "no row for 1 of 2 images"),
        ("path,label\nimages/1.png,a\nimages/1.png,b\n", "second label"),
        ("path,label\nimages/1.png\n", "labels.csv:2"),
        ("", "columns are none"),
    ],
)
def test_wrong_csv(data, tmp_path, text, part):
    write(data, ["images/1.png", "images/2.png"])
    if text is not None:
        (data / "labels.csv").write_text(text)
    assert part in refused(tmp_path, labels="csv", labels_csv="labels.csv")


def test_folder_labels_need_a_folder(data, tmp_path):
    write(data, ["1.png"])
    assert "1.png lies in no folder" in refused(tmp_path, images="*.png")


def test_color_and_size(data, tmp_path):
    write(data, ["images/a/1.png"], height=5, width=9, mode="RGB")
    write(data, ["images/a/2.png"], height=4, width=4)
    out = pack(tmp_path, color="rgb", height=4, width=8)
    assert metadata_of(out)["shape"] == [2, 4, 8, 3]
    wanted = Image.open(data / "images/a/1.png").resize((8, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels(out)[0], np.asarray(wanted))
    assert '"height" and "width"' in refused(tmp_path, height=4)


@pytest.mark.parametrize("broken", [b"", b"no image", png(1)[:-30]])
def test_broken_image_is_named(data, tmp_path, broken):
    write(data, ["images/a/1.png", "images/a/2.png", "images/a/3.png"])
    (data / "images/a/2.png").write_bytes(broken)
    assert "images/a/2.png" in refused(tmp_path)


def test_symbolic_links(data, tmp_path):
    write(data, ["real/b/1.png", "images/a/2.png"])
    (data / "images/a/1.png").symlink_to(data / "real/b/1.png")
    (data / "images/b").symlink_to(data / "real/b")
    (data / "linked").symlink_to(data / "real")
    out = pack(tmp_path, images=["images/**/*.png", "linked/**/*.png"])
    assert metadata_of(out)["files"] == ["images/a/1.png", "images/a/2.png", "linked/b/1.png"]
    assert "images/b: listed, but can't be read" in refused(tmp_path, images="images/*")


def test_more_than_8_bits_are_refused(data, tmp_path):
    write(data, ["images/a/1.png"])
    Image.fromarray(np.full((6, 6), 40000, np.uint16)).save(data / "images/a/1.png")
    assert "convert it to 8 bits" in refused(tmp_path)


def test_16_bit_rgb_is_refused_though_pillow_would_cut_it():
    # A PNG by hand: Pillow writes none of 16 bits and three channels.
    import struct
    import zlib

    def block(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = block(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + block(b"IDAT", zlib.compress(bytes(7))) + block(b"IEND", b"")
    assert Image.open(io.BytesIO(content)).mode == "RGB"
    with pytest.raises(StageError, match="over 8 bits"):
        decode(content, "deep.png", 3)


def test_an_image_of_another_size_is_named(data, tmp_path):
    write(data, ["images/a/1.png", "images/a/2.png"])
    write(data, ["images/a/3.png"], height=7)
    message = refused(tmp_path)
    assert "images/a/3.png is 7 x 6" in message
    assert "images/a/1.png is 6 x 6" in message


def test_no_image_changes_sides_when_the_dataset_grows(data, tmp_path):
    def sides(name: str) -> dict[str, bool]:
        found = metadata_of(pack(tmp_path, name, validation=0.3))
        return {file: i in found["validation"] for i, file in enumerate(found["files"])}

    write(data, two_classes(60)[10:])
    before = sides("small")
    write(data, two_classes(120))
    after = sides("grown")
    assert before.items() <= after.items()
    assert 20 < sum(after.values()) < 55


def test_empty_splits_are_refused(data, tmp_path):
    write(data, ["images/a/1.png"])
    assert "leaves none for validation" in refused(tmp_path, validation=1e-9)
    (tmp_path / "again").mkdir()
    assert "leaves none for training" in refused(tmp_path / "again", validation=0.999999999)


def test_a_run_keeps_which_data_it_read(data, tmp_path):
    write(data, ["images/a/1.png", "images/b/2.png"])
    (data / "labels.csv").write_text("path,label\nimages/a/1.png,x\nimages/b/2.png,y\n")
    pinned = pack(tmp_path, paranoia="list", labels="csv", labels_csv="labels.csv")
    for out in (pinned, pack(tmp_path, "unpinned", labels="csv", labels_csv="labels.csv")):
        read = json.loads((out / "repro-run.json").read_text())["environment"]["data"]
        assert (read["root"], read["files"]) == (str(data), 3)
        assert (
            read["listing"]
            == metadata_of(pinned)["digest"]
            == hashlib.sha256((pinned / "files.csv").read_bytes()).hexdigest()
        )


@pytest.mark.parametrize("level", ["list", "sha256"])
def test_pins_name_what_was_added_removed_and_changed(data, tmp_path, capfd, level):
    write(data, two_classes(4))
    kept = pack(tmp_path, "kept", paranoia=level)
    digest = metadata_of(kept)["digest"]
    assert digest in capfd.readouterr().out
    assert digest == hashlib.sha256((kept / "files.csv").read_bytes()).hexdigest()
    pins = {"paranoia": level, "expected": digest, "expected_files": str(kept / "files.csv")}
    pack(tmp_path, "same", **pins)
    (data / "images/a/000.png").unlink()
    (data / "images/a/new.png").write_bytes(png(9))
    changed = png(1, mode="RGB") if level == "list" else png(7)
    (data / "images/b/001.png").write_bytes(changed)
    message = refused(tmp_path, **pins)
    assert "added images/a/new.png; removed images/a/000.png; changed images/b/001.png" in message
    (tmp_path / "plain").mkdir()
    message = refused(tmp_path / "plain", paranoia=level, expected=digest)
    assert digest in message
    assert "4 files" in message


def test_changed_labels_are_noticed(data, tmp_path):
    write(data, ["images/1.png", "images/2.png"])
    labels = {"labels": "csv", "labels_csv": "labels.csv", "paranoia": "sha256"}
    (data / "labels.csv").write_text("path,label\nimages/1.png,a\nimages/2.png,b\n")
    kept = pack(tmp_path, "kept", **labels)
    (data / "labels.csv").write_text("path,label\nimages/1.png,b\nimages/2.png,a\n")
    assert "changed labels.csv" in refused(tmp_path, expected_files=str(kept / "files.csv"), **labels)


def test_a_pin_needs_a_level(data, tmp_path):
    write(data, ["images/a/1.png"])
    assert '"paranoia": "list"' in refused(tmp_path, expected="00")


def test_a_listing_of_another_level_is_refused(data, tmp_path):
    write(data, ["images/a/1.png"])
    kept = pack(tmp_path, "kept", paranoia="list")
    assert "needs path,size,sha256" in refused(tmp_path, paranoia="sha256", expected_files=str(kept / "files.csv"))


@pytest.mark.parametrize("names", [("x", "x"), ("files.csv", "m.json"), ("", "m.json")])
def test_output_names_must_differ(data, tmp_path, names):
    assert '"data" and "metadata"' in refused(tmp_path, data=names[0], metadata=names[1])


def test_same_bytes_from_another_folder(tmp_path, monkeypatch):
    results = []
    for place in ("one", "two"):
        write(tmp_path / place, two_classes(8))
        monkeypatch.setenv("REPRO_DATA", str(tmp_path / place))
        results.append(files_of(pack(tmp_path / place, paranoia="sha256", validation=0.4)))
    assert results[0] == results[1]
    assert set(results[0]) == {"data.bin", "metadata.json", "files.csv"}


def test_chunks_are_bounded(monkeypatch):
    class Fs:
        asked: list[int] = []  # noqa: RUF012

        def cat_ranges(self, paths, starts, ends, on_error):
            self.asked.append(len(paths))
            return [path.encode() for path in paths]

    monkeypatch.setattr(reader, "CHUNK_FILES", 3)
    monkeypatch.setattr(reader, "CHUNK_BYTES", 100)
    fs = Fs()
    entries = [reader.Entry(str(i), size, fs, str(i)) for i, size in enumerate([1, 1, 1, 1, 99, 1, 200, 1])]
    assert [content for _, content in reader.read(entries)] == [str(i).encode() for i in range(8)]
    assert fs.asked == [3, 2, 1, 1, 1]


def test_a_file_that_vanished_is_named(data, tmp_path):
    write(data, ["images/a/1.png"])
    entries = reader.find("images/a/*", str(data))
    (data / "images/a/1.png").unlink()
    with pytest.raises(StageError, match=r"images/a/1\.png: listed, but"):
        list(reader.read(entries))
