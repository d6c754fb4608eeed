"""`repro show`: the whole picture of a run, from the queue and from a folder alone."""

import hashlib
import json
import shutil
import sys

import pytest

from tests import toy
from tests.stages.pictures import png

CONFIGS = {
    "data": {"stage": "make_dataset", "images": "images/*.png", "paranoia": "sha256", "validation": 0.0},
    "a": {"stage": "toy_write", "text": "abc"},
    "model": {"stage": "toy_write", "source": "a"},
    "last": {"stage": "toy_environment", "source": ["model", "a", "data"]},
}


@pytest.fixture
def repro(cli, tmp_path, settings_environment):
    toy.install(tmp_path / "toy")
    settings_environment["PYTHONPATH"] = str(tmp_path / "toy")
    (tmp_path / "data" / "images").mkdir(parents=True)
    for seed in range(2):
        (tmp_path / "data/images" / f"{seed}.png").write_bytes(png(seed))
    for name, config in CONFIGS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))

    def call(*words, **more):
        return cli(sys.executable, "-m", "repro", *words, **more)

    assert call("submit", str(tmp_path / "last.json")).returncode == 0
    assert call("worker", "--burst", "--gpus", "none").returncode == 0
    return call


def after(text, *lines):
    """The lines stand in this order, whatever is between them."""
    position = -1
    for line in lines:
        position = text.index(line, position + 1)
    return True


def the_picture(text):
    checksums = [f"      images/{n}.png  {len(png(n))}  {hashlib.sha256(png(n)).hexdigest()}\n" for n in range(2)]
    assert after(text, "config\n", '  source = ["model", "a", "data"]\n', "  seed = 0  (default)\n", "outputs\n")
    assert after(text, "environment\n", "torch: ", "not declared: environment: *, ")
    assert after(
        text, "comes from\n", "  model  toy_write  done", '    text = "hello"  (default)\n', "    a  toy_write"
    )
    assert after(text, "  data  make_dataset", '    images = "images/*.png"\n', "raw files, in files.csv", *checksums)
    assert text.count('text = "abc"') == 1  # `a` is reached twice, and told once
    return True


def test_a_run_of_the_queue_shows_its_line_up_to_the_raw_files(repro):
    made = repro("show", "last")
    assert made.returncode == 0, made.stderr
    assert the_picture(made.stdout)
    assert "verdicts" not in made.stdout
    repro("verify", "model", "--no-wait")
    repro("worker", "--burst", "--gpus", "none")
    repro("verify", "--collect")
    assert after(repro("show", "model").stdout, "verdicts\n", " identical")


def test_a_downloaded_folder_explains_itself_without_a_queue(repro, database, tmp_path):
    shutil.copytree(tmp_path / "store", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "store")
    (folder,) = (tmp_path / "elsewhere").glob("last-*")
    nowhere = {"REPRO_MONGO_URL": "mongodb://127.0.0.1:1/"}
    made = repro("show", str(folder), **nowhere)
    assert made.returncode == 0, made.stderr
    assert the_picture(made.stdout)
    assert f"location: {folder}\n" in made.stdout
    (found,) = json.loads(repro("show", str(folder / "repro-run.json"), "--json", **nowhere).stdout)
    assert (found["_id"], found["state"]) == ("last", "done")
    for other in (tmp_path / "elsewhere").iterdir():
        if other != folder and other.is_dir():
            shutil.rmtree(other)
    alone = repro("show", str(folder), **nowhere).stdout
    assert after(alone, "comes from\n", "  model\n", f"    {tmp_path}/store/model-")  # where it was, at least


def test_a_folder_without_a_result_is_told(repro, tmp_path):
    for name, why in ((f"{tmp_path}/nowhere", "No such file"), (str(tmp_path), "not a complete result")):
        made = repro("show", name)
        assert (made.returncode, made.stdout) == (2, "")
        assert why in made.stderr
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/repro-run.json").write_text("[]")
    assert "repro-run.json is broken" in repro("show", f"{tmp_path}/broken").stderr
