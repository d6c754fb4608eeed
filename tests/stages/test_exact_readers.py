"""What can't be read exactly is refused, with file and line."""

import io
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image, features

from repro.stages.errors import StageError
from repro.stages.images import depth, labels
from repro.stages.images.decoding import decode
from repro.stages.params import Params


def saved(form, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).convert(mode).save(file, form, **options)
    return file.getvalue()


def patched(data, marker, offset, value):
    place = data.index(marker) + offset
    return data[:place] + bytes([value]) + data[place + 1 :]


def deep_pictures():
    yield "ppm", b"P6\n2 1\n65535\n" + bytes(12)
    yield "ppm of 10 bits", b"P6\n2 1\n1023\n" + bytes(12)
    yield "pgm", b"P5\n2 1\n65535\n" + bytes(4)
    grey = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(grey, "PNG")
    yield "png of grey", grey.getvalue()
    yield "tiff of floats", _tiff()
    if features.check("jpg_2000"):
        yield "jpeg 2000", patched(saved("JPEG2000"), b"\xff\x4f\xff\x51", 42, 15)


def _tiff():
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(("name", "data"), [pytest.param(*pair, id=pair[0]) for pair in deep_pictures()])
def test_a_picture_of_more_than_8_bits_is_refused(name, data):
    with pytest.raises(StageError, match=f"{name}: over 8 bits a channel"):
        decode(data, name, 3)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_the_bits_of_an_avif_are_those_that_its_box_says():
    data = saved("AVIF")
    assert depth._bits_of_avif(data) == [8, 8, 8]
    assert depth._bits_of_avif(patched(data, b"pixi", 9, 10)) == [10, 8, 8]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "PPM", "TIFF", "GIF", "WEBP"])
def test_one_of_8_bits_is_read(form):
    assert decode(saved(form), "a", 3).shape == (8, 8, 3)


@pytest.mark.parametrize("form", ["jpg_2000", "avif"])
def test_one_of_8_bits_of_a_modern_kind_too(form):
    if features.check(form):
        assert decode(saved({"jpg_2000": "JPEG2000", "avif": "AVIF"}[form]), "a", 3).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,label\na.png,cat, black\n", "labels.csv:2: 3 fields, but the head has 2"),
        ("path,label,more\na.png,cat\n", "labels.csv:2: 2 fields, but the head has 3"),
        ("path,label,label\na.png,cat,dog\n", "labels.csv:1: two columns are called 'label'"),
        ('path,label\na.png,"cat\n', "labels.csv: no CSV file"),
        ("path,label\na.png,\n", "labels.csv:2: a row without"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_line(tmp_path, text, says):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(StageError, match=says):
        labels.labels_of(["a.png"], Params({"labels": "csv", "labels_csv": "labels.csv"}), str(tmp_path))


def test_labels_are_texts_and_no_two_are_one_to_the_eye(tmp_path):
    with pytest.raises(StageError, match="is not UTF-8"):
        labels.labels_of([os.fsdecode(b"caf\xe9/a.png")], Params({}), str(tmp_path))
    both = [f"{unicodedata.normalize(form, 'café')}/a.png" for form in ("NFC", "NFD")]
    with pytest.raises(StageError, match="are one word composed in two ways"):
        labels.labels_of(both, Params({}), str(tmp_path))
    assert labels.labels_of(both[:1], Params({}), str(tmp_path))[0] == ["café"]
