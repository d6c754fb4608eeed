"""Files -> runs: sources first, immutable names, letters, and nothing inserted when something is wrong."""

import gc
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo import MongoClient

from repro.scheduler import runs
from repro.scheduler.queue.submission import Change, submit
from repro.stages.errors import ConfigError

CHAIN = {
    "data": {"stage": "make_dataset", "images": "digits/**/*.png"},
    "augmentation": {"stage": "augment", "source": "data"},
    "model": {"stage": "train", "source": "augmentation", "epochs": 3},
}


@pytest.fixture
def folder(tmp_path):
    for name, config in CHAIN.items():
        write(tmp_path, name, config)
    return tmp_path


def write(folder, name, config):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return path


def names(db):
    return sorted(d["_id"] for d in db.runs.find())


def test_sources_come_first_from_the_files_beside(database, folder):
    done = submit(database, [folder / "model.json"])
    assert [(s.name, s.state, s.new) for s in done] == [
        ("data", "pending", True),
        ("augmentation", "waiting", True),
        ("model", "waiting", True),
    ]
    assert database.runs.find_one({"_id": "model"})["waiting_for"] == ["augmentation"]


def test_resubmission_is_idempotent(database, folder):
    submit(database, [folder / "model.json"])
    before = list(database.runs.find())
    again = submit(database, [folder / "model.json"])
    assert [s.new for s in again] == [False] * 3
    assert list(database.runs.find()) == before


def test_a_taken_name_is_refused_with_the_difference(database, folder):
    submit(database, [folder / "model.json"])
    write(folder, "model", CHAIN["model"] | {"epochs": 4})
    write(folder, "other", CHAIN["model"])
    with pytest.raises(ConfigError, match=r"model.*taken.*epochs: 3 -> 4"):
        submit(database, [folder / "other.json", folder / "model.json"])
    assert names(database) == ["augmentation", "data", "model"]


def test_one_and_one_point_zero_are_other_content(database, folder):
    write(folder, "model", CHAIN["model"] | {"lr": 1})
    submit(database, [folder / "model.json"])
    write(folder, "model", CHAIN["model"] | {"lr": 1.0})
    with pytest.raises(ConfigError, match=r"lr: 1 -> 1\.0"):
        submit(database, [folder / "model.json"])


def test_a_changed_source_file_is_refused(database, folder):
    submit(database, [folder / "model.json"])
    write(folder, "data", CHAIN["data"] | {"validation": 0.5})
    write(folder, "next", CHAIN["model"] | {"epochs": 9})
    with pytest.raises(ConfigError, match="the name data is taken"):
        submit(database, [folder / "next.json"])
    assert "next" not in names(database)


def test_conf_takes_the_next_letter_and_finds_it_again(database, folder):
    model = folder / "model.json"
    submit(database, [model])
    first = submit(database, [model], Change(conf='{"epochs": 4}'))[-1]
    second = submit(database, [model], Change(settings=["epochs=5"]))[-1]
    again = submit(database, [model], Change(settings=["epochs=4"]))[-1]
    same = submit(database, [model], Change(settings=["epochs=3"]))[-1]
    assert [(s.name, s.new) for s in (first, second, again, same)] == [
        ("modela", True),
        ("modelb", True),
        ("modela", False),
        ("model", False),
    ]
    assert database.runs.find_one({"_id": "modela"})["config"]["epochs"] == 4


def test_a_name_is_given_to_one_config_only(database, folder):
    model = folder / "model.json"
    assert submit(database, [model], Change(settings=["epochs=4"], name="mine"))[-1].name == "mine"
    with pytest.raises(ConfigError, match="--name"):
        submit(database, [model, folder / "data.json"], Change(name="mine"))


def test_simultaneous_submitters_of_changes_get_letters_of_their_own(database, folder):
    model = folder / "model.json"
    submit(database, [model])
    with ThreadPoolExecutor(8) as threads:
        done = list(
            threads.map(lambda n: submit(database, [model], Change(settings=[f"epochs={n}"]))[-1], range(10, 18))
        )
    assert sorted(s.name for s in done) == [f"model{letter}" for letter in "abcdefgh"]
    for number, s in zip(range(10, 18), done, strict=True):
        assert database.runs.find_one({"_id": s.name})["config"]["epochs"] == number


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("model", {"stage": "train", "source": "nowhere"}, 'source "nowhere" is neither in the queue nor a file'),
        ("data", {"stage": "make_dataset", "images": "x", "source": "model"}, "circle"),
        ("model", {"stage": "trian", "source": "augmentation"}, 'did you mean "train"'),
        ("model", {"stage": "train", "source": "augmentation", "epoch": 3}, 'reads "epoch"; did you mean "epochs"'),
        ("model", {"stage": "train", "source": "augmentation", "epochs": "ten"}, '"epochs": expected an integer'),
        ("data", {"stage": "make_dataset", "images": {"mask": "x"}}, '"images_mask": "x"'),
    ],
)
def test_whatever_is_wrong_nothing_is_inserted(database, folder, name, config, message):
    write(folder, name, config)
    with pytest.raises(ConfigError, match=message) as refused:
        submit(database, [folder / "augmentation.json", folder / "model.json"])
    assert "\n" not in str(refused.value)
    assert names(database) == []


def test_a_done_source_is_not_waited_for(database, folder):
    submit(database, [folder / "data.json"])
    token = runs.claim(database, "w", (0,), 30)["lease"]["token"]
    runs.complete(database, "data", token, "file:///x", {})
    assert submit(database, [folder / "augmentation.json"])[-1].state == "pending"


def test_fingerprints_do_not_depend_on_names(database, folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other, "d", CHAIN["data"])
    write(other, "m", CHAIN["augmentation"] | {"source": "d"})
    submit(database, [folder / "augmentation.json", other / "m.json"])
    first, second = (database.runs.find_one({"_id": n}) for n in ("augmentation", "m"))
    assert first["fingerprint"] == second["fingerprint"]


def test_the_documented_query_is_answered_by_a_plain_client(database, folder, settings_environment):
    submit(database, [folder / "data.json"])
    token = runs.claim(database, "w", (0,), 30)["lease"]["token"]
    runs.complete(database, "data", token, "file:///x/data-1", {})
    with MongoClient(settings_environment["REPRO_MONGO_URL"]) as client:
        found = list(client.get_default_database().runs.find({"state": "done"}, {"location": 1}))
    assert found == [{"_id": "data", "location": "file:///x/data-1"}]


def test_garbage_is_collected_again_after_a_submit_however_it_ends(database, folder):
    submit(database, [folder / "model.json"])
    assert gc.isenabled()
    with pytest.raises(ConfigError):
        submit(database, [write(folder, "broken", {"stage": "train", "source": "data", "epoch": 1})])
    assert gc.isenabled()
