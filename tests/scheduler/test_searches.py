"""Searches in the queue: the same runs and the same winner whoever works, and what becomes of failures."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo import MongoClient, monitoring

from repro.scheduler import runs
from repro.scheduler.lists import changes, listing
from repro.scheduler.queue import lineage, lookup, search_standing, searches
from repro.scheduler.queue.submission import Change, Options, submit
from repro.stages.errors import ConfigError, ReproError
from repro.worker.audit import reruns
from tests.scheduler.test_submission import write

CHAIN = {
    "data": {"stage": "make_dataset", "images": "digits/**/*.png"},
    "model": {"stage": "train", "source": "data", "epochs": 12},
}
DIGITS = {
    **{"stage": "search", "source": "model", "metric": "accuracy", "trials": 12, "lag": 3},
    **{"space_lr": "log:1e-4..1e-1", "space_batch_size": [16, 32, 64], "space_warmup": "0..50"},
}
RUNGS = DIGITS | {"rungs": [2, 6], "trials": 9}


@pytest.fixture
def folder(tmp_path):
    for name, config in CHAIN.items():
        write(tmp_path, name, config)
    return tmp_path


def start(db, folder, config=None, name="digits", **options):
    """Submit a search on a model that is done already."""
    submit(db, [folder / "model.json"])
    finish(db, "data", "model")
    submit(db, [write(folder, name, config or DIGITS)], None, Options(**options))


def accuracy(config):
    """What a run of a config comes to; of longer runs a little more."""
    wanted = {"lr": 3e-3, "batch_size": 32, "warmup": 20}
    off = sum(abs(config.get(key, value) - value) / value for key, value in wanted.items())
    return 1 / (1 + off) - 0.1 / config.get("until", 12)


def claim(db, worker="w"):
    return runs.claim(db, worker, (0,), 30)


def end(db, run, metrics=None):
    """As a worker settles a run that went well."""
    name, token = run["_id"], run["lease"]["token"]
    told = {"metrics": metrics if metrics is not None else {"accuracy": accuracy(run["config"])}}
    assert runs.complete(db, name, token, f"file:///s/{name}-{token[:8]}", told | {"params": {}, "outputs": []})
    if runs.release_children(db, [name]):
        for search in searches.begun_by(db, name):
            searches.advance(db, search)
    if "search" in run:
        searches.advance(db, run["search"])


def finish(db, *names):
    for name in names:
        run = claim(db)
        assert run["_id"] == name
        end(db, run)


def work(db, stop=lambda db: False):
    """One worker, until nothing is to be done or `stop` says so."""
    while not stop(db) and (run := claim(db)):
        end(db, run)


def get(db, name="digits"):
    return db.runs.find_one({"_id": name})


def digest(db):
    """What the same search has in common, whoever computed it."""
    keys = {"config": 1, "metrics": 1, "state": 1, "same_as": 1, "trial": 1, "rung": 1, "fingerprint": 1}
    return {run["_id"]: {k: v for k, v in run.items() if k != "_id"} for run in db.runs.find({}, keys)}


@pytest.fixture(scope="module")
def expected():
    return {}


def calm(database, folder, config, expected):
    """The digest of a search that one worker has computed; made once."""
    key = json.dumps(config)
    if key not in expected:
        start(database, folder, config)
        work(database)
        expected[key] = digest(database)
        database.runs.delete_many({})
    return expected[key]


def test_a_search_ends_as_its_best_run(database, folder):
    start(database, folder, tags=["try"], priority=3)
    assert [run["_id"] for run in database.runs.find({"search": "digits"}).sort("_id")] == [
        "digitsa",
        "digitsb",
        "digitsc",
    ]
    first = get(database, "digitsa")
    assert (first["state"], first["priority"], first["tags"], first["sources"]) == ("pending", 3, ["try"], ["data"])
    assert first["config"].keys() == {"stage", "source", "epochs", "lr", "batch_size", "warmup"}
    assert get(database)["waiting_for"] == ["digits"]
    submit(database, [write(folder, "evaluated", {"stage": "evaluate", "source": "digits"})])
    work(database, lambda db: get(db, "evaluated")["state"] == "pending")
    search = get(database)
    trials = list(database.runs.find({"search": "digits"}))
    assert len(trials) == 12
    best = max([*trials, get(database, "model")], key=lambda run: run["metrics"]["accuracy"])
    told = ("state", "same_as", "location", "metrics")
    assert [search[key] for key in told] == ["done", best["_id"], best["location"], best["metrics"]]
    assert "params" not in search
    assert search["history"][-1]["why"].startswith(f"the best of 13 runs is {best['_id']} with accuracy 0.")
    assert search["trials"] == {
        **{"done": 12, "failed": 0, "cancelled": 0, "begun": 12, "trials": 12, "missing": []},
        **{"best": best["_id"], "figure": best["metrics"]["accuracy"]},
    }


def test_the_trials_wait_for_their_base(database, folder):
    submit(database, [write(folder, "digits", DIGITS)])
    assert get(database)["waiting_for"] == ["model", "digits"]
    finish(database, "data")
    assert database.runs.count_documents({"search": "digits"}) == 0
    finish(database, "model")
    assert database.runs.count_documents({"search": "digits"}) == 3


@pytest.mark.parametrize("config", [DIGITS, RUNGS], ids=["whole", "rungs"])
@pytest.mark.parametrize("seed", range(4))
def test_any_fleet_gives_the_same_search(database, folder, expected, config, seed):
    """Workers that come, die, end in any order and take the search further at the same moment."""
    wanted = calm(database, folder, config, expected)
    start(database, folder, config)
    draw, under_way, size = random.Random(seed), [], random.Random(seed).randint(1, 8)
    while get(database)["state"] == "waiting":
        while len(under_way) < size and (run := claim(database, f"w{draw.random()}")):
            under_way.append(run)
        draw.shuffle(under_way)
        run = under_way.pop()
        if draw.random() < 0.2:  # its worker dies, and another finds out
            database.runs.update_one({"_id": run["_id"]}, {"$set": {"lease.expires_at": run["submitted_at"]}})
            assert runs.expire(database) == 1
            database.runs.update_many({}, {"$set": {"not_before": None, "attempts": 0}})
        elif draw.random() < 0.2:  # it dies after its run is done, before the search goes on
            assert runs.complete(
                *(database, run["_id"], run["lease"]["token"], "file:///s/x"),
                {"metrics": {"accuracy": accuracy(run["config"])}, "params": {}, "outputs": []},
            )
            assert searches.due(database) == ["digits"]
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(lambda _: searches.advance(database, "digits"), range(2)))
        else:
            end(database, run)
        assert searches.due(database) == []
    work(database)
    assert digest(database) == wanted


def test_many_who_take_it_further_at_once_insert_each_run_once(database, folder, expected):
    wanted = calm(database, folder, DIGITS, expected)
    start(database, folder)
    while run := claim(database):
        others = [one for one in (claim(database), claim(database)) if one]
        barrier = threading.Barrier(len(others) + 1)

        def race(one, barrier=barrier):
            barrier.wait()
            end(database, one)

        with ThreadPoolExecutor(3) as threads:
            list(threads.map(race, [run, *others]))
    assert digest(database) == wanted


def test_a_longer_search_begins_with_the_trials_of_a_shorter_one_and_computes_none_again(database, folder):
    start(database, folder)
    work(database)
    submit(database, [write(folder, "longer", DIGITS | {"trials": 14})])
    state = {run["_id"]: run["state"] for run in database.runs.find({"search": "longer"})}
    assert sorted(state.values()) == ["done"] * 12 + ["pending"] * 2
    for number in range(1, 13):
        letter = chr(ord("a") + number - 1)
        assert get(database, f"longer{letter}")["same_as"] == f"digits{letter}"
        assert get(database, f"longer{letter}")["config"] == get(database, f"digits{letter}")["config"]


def fail(db, name, error, again=False):
    """Claim until it is this run's turn, and let it fail."""
    run = claim(db)
    assert run["_id"] == name
    assert runs.fail(db, name, run["lease"]["token"], error, again)
    searches.advance(db, "digits")


def test_a_config_that_is_at_fault_is_the_worst_and_the_search_goes_on(database, folder):
    start(database, folder)
    fail(database, "digitsa", {"type": "StageError", "message": "the loss is nan"})
    assert get(database, "digitsd")["state"] == "pending"
    work(database)
    search = get(database)
    assert (search["state"], search["trials"]["failed"], search["trials"]["missing"]) == ("done", 1, [])
    assert search["same_as"] != "digitsa"


@pytest.mark.parametrize(
    "error",
    [
        {"type": "LostWorker", "message": "gone", "machine": True},
        {"type": "TimeLimit", "message": "stopped after its time limit of 1 s"},
        {"type": "OutOfMemoryError", "message": "CUDA out of memory"},
        {"type": "ValueError", "message": "boom"},
    ],
    ids=lambda error: error["type"],
)
def test_what_tells_nothing_of_the_config_is_waited_for(database, folder, expected, error):
    wanted = calm(database, folder, DIGITS, expected)
    start(database, folder)
    fail(database, "digitsa", error)
    work(database)
    search = get(database)
    assert (search["state"], search["trials"]["missing"]) == ("waiting", ["digitsa"])
    assert "waits for digitsa" in listing.why_waiting(database, [search])["digits"]
    assert "repro retry digitsa" in listing.why_waiting(database, [search])["digits"]
    runs.retry(database, "digitsa")
    work(database)
    assert digest(database) == wanted


def test_a_cancelled_run_is_waited_for_and_others_go_on(database, folder):
    start(database, folder)
    runs.cancel(database, "digitsc")
    searches.advance(database, "digits")
    assert get(database)["trials"]["missing"] == ["digitsc"]
    work(database)
    assert get(database)["state"] == "waiting"
    assert database.runs.count_documents({"search": "digits", "state": "done"}) >= 2


def test_a_search_may_count_every_failure(database, folder):
    start(database, folder, DIGITS | {"failures": "all"})
    fail(database, "digitsa", {"type": "ValueError", "message": "boom"})
    runs.cancel(database, "digitsb")
    searches.advance(database, "digits")
    work(database)
    assert (get(database)["state"], get(database)["trials"]["missing"]) == ("done", [])


def test_a_figure_that_is_missing_fails_the_search_at_once_with_the_nearest_name(database, folder):
    submit(database, [write(folder, "digits", DIGITS | {"metric": "acuracy"})])
    finish(database, "data", "model")
    search = get(database)
    assert search["state"] == "failed"
    assert search["error"]["message"] == '"metric": model has no figure acuracy; did you mean accuracy?'
    assert database.runs.count_documents({"search": "digits"}) == 0


def test_a_figure_that_only_a_trial_lacks_fails_it_too(database, folder):
    start(database, folder)
    end(database, claim(database), {"loss": 1.0})
    assert get(database)["error"]["message"] == '"metric": digitsa has no figure accuracy; there are: loss'


def test_no_finite_figure_at_all_fails_it(database, folder):
    submit(database, [write(folder, "digits", DIGITS)])
    finish(database, "data")
    while run := claim(database):
        end(database, run, {"accuracy": float("nan")})
    assert get(database)["error"]["message"] == "no run has a accuracy that is a finite number"


def test_a_done_base_without_the_figure_is_refused_before_anything_is_inserted(database, folder):
    submit(database, [folder / "model.json"])
    finish(database, "data", "model")
    with pytest.raises(
        ConfigError, match=r"digits.json: \"metric\": model has no figure acuracy; did you mean accuracy"
    ):
        submit(database, [write(folder, "digits", DIGITS | {"metric": "acuracy"})])
    assert get(database) is None


def test_a_run_that_is_just_a_trial_becomes_one(database, folder):
    start(database, folder)
    run = get(database, "digitsa")
    database.runs.delete_many({"search": "digits"})
    write(folder, "digitsa", run["config"])
    submit(database, [folder / "digitsa.json"])
    assert "search" not in get(database, "digitsa")
    searches.advance(database, "digits")
    joined = get(database, "digitsa")
    assert (joined["search"], joined["trial"], joined["rung"]) == ("digits", 1, None)
    assert get(database, "digitsc")["state"] == "pending"


def test_another_run_of_a_trials_name_fails_the_search(database, folder):
    submit(database, [folder / "model.json"])
    finish(database, "data", "model")
    submit(database, [write(folder, "digitsb", CHAIN["model"] | {"epochs": 5})])
    submit(database, [write(folder, "digits", DIGITS)])
    assert get(database)["error"]["message"] == (
        "the name digitsb is taken by another run; submit the search under another name"
    )


def test_proposals_of_another_version_stand_and_the_search_is_held(database, folder):
    start(database, folder)
    other = get(database, "digitsa")
    config = other["config"] | {"lr": 0.05}
    database.runs.delete_many({"search": "digits"})
    database.runs.insert_one(other | {"config": config, "fingerprint": "f" * 64, "proposed_by": "repro-queue 9.9"})
    searches.advance(database, "digits")
    search = get(database)
    assert search["held"] is True
    assert search["trials"]["paused"].startswith("digitsa was proposed by repro-queue 9.9 and would be another")
    assert get(database, "digitsa")["config"] == config
    assert "held: digitsa was proposed by" in listing.why_waiting(database, [search])["digits"]


def test_another_version_that_proposes_the_same_goes_on(database, folder, expected):
    wanted = calm(database, folder, DIGITS, expected)
    start(database, folder)
    database.runs.update_many({"search": "digits"}, {"$set": {"proposed_by": "repro-queue 9.9"}})
    work(database)
    assert digest(database) == wanted


def test_a_held_search_asks_for_nothing_more(database, folder):
    start(database, folder)
    runs.hold(database, "digits")
    work(database)
    assert database.runs.count_documents({"search": "digits"}) == 3
    assert searches.due(database) == []
    runs.unhold(database, "digits")
    assert searches.due(database) == ["digits"]
    searches.advance(database, "digits")
    work(database)
    assert get(database)["state"] == "done"


def test_cancelling_a_search_cancels_its_runs_and_a_retry_brings_them_back(database, folder, expected):
    wanted = calm(database, folder, DIGITS, expected)
    start(database, folder)
    end(database, claim(database))
    running = claim(database)
    told = list(changes.change(database, changes.CANCEL, ["digits"], "me"))
    assert [one.name for one in told] == ["digits", "digitsb", "digitsc", "digitsd"]
    assert {one.state for one in told} == {"cancelled"}
    assert not runs.renew(database, running["_id"], running["lease"]["token"], 30)
    assert claim(database) is None
    told = list(changes.change(database, changes.RETRY, ["digits"], "me"))
    assert {one.name: one.state for one in told} == {
        **{"digits": "waiting", "digitsb": "pending", "digitsc": "pending", "digitsd": "pending"}
    }
    assert claim(database)["_id"] != "digits"  # no worker ever gets a search itself
    database.runs.update_many({"state": "running"}, {"$set": {"lease.expires_at": running["submitted_at"]}})
    runs.expire(database)
    work(database)
    assert digest(database) == wanted


def test_cancelling_all_that_a_filter_lets_through_takes_the_runs_of_searches_along(database, folder):
    start(database, folder)
    run = claim(database)
    only = listing.Only(stages=["search"])
    assert changes.cost(database, only)["running"] == 1
    assert changes.change_all(database, changes.CANCEL, only, "me") == 4
    assert get(database, run["_id"])["state"] == "cancelled"


def test_a_longer_run_of_a_trial_finds_the_shorter_ones(database, folder):
    start(database, folder, RUNGS)
    work(database)
    whole = database.runs.find_one({"search": "digits", "rung": None})
    shorter = [get(database, f"{whole['_id']}-{rung}") for rung in (6, 2)]
    assert lineage.shorter(database, whole) == [run["location"] for run in shorter]
    assert lineage.shorter(database, shorter[0]) == [shorter[1]["location"]]
    assert lineage.shorter(database, shorter[1]) == []
    assert lineage.shorter(database, get(database, "model")) == []
    assert [run["config"].get("until") for run in (whole, *shorter)] == [None, 6, 2]
    assert {**whole["config"], "until": 6} == shorter[0]["config"]


def test_an_audit_proposes_the_same_and_tells_what_it_would_not(database, folder):
    start(database, folder)
    work(database)
    stands = search_standing.standing(database, get(database))
    assert search_standing.differences(stands) == []
    database.runs.update_one({"_id": "digitsk"}, {"$set": {"config.lr": 0.05}})
    stands = search_standing.standing(database, get(database))
    assert "digitsk" in search_standing.differences(stands)


def test_the_ranking_is_by_the_figure_with_the_base_among_them(database, folder):
    start(database, folder)
    work(database)
    ranked = search_standing.ranking(search_standing.standing(database, get(database)))
    figures = [run["metrics"]["accuracy"] for run in ranked]
    assert len(ranked) == 13
    assert figures == sorted(figures, reverse=True)
    assert "model" in [run["_id"] for run in ranked]


MISTAKES = [
    ({"space_learning_rat": "0..1"}, r'"space_learning_rat": no code of stage "train" reads "learning_rat"'),
    ({"space_lr": "log:0..1"}, r'"space_lr".*above 0'),
    ({"space_batch_size": [16, 16]}, r'"space_batch_size".*twice'),
    ({"space_batch_size": [16, 32.5]}, r'"space_batch_size": expected integers, as its value is 32; got: 32.5'),
    ({"space_schedule": ["cosine", 3]}, r'"space_schedule": expected strings, as its value is "cosine"; got: 3'),
    ({"space_gpus": [1, 2]}, r'"space_gpus": can\'t be searched'),
    ({"lag": 0}, r'"lag": expected an integer, 1 or more, got: 0'),
    ({"trails": 5}, r'a search has no "trails"; did you mean "trials"'),
    ({"rungs": [6, 2]}, r'"rungs": expected a list of epochs that rise'),
    ({"rungs": [2, 12]}, r'"rungs": 12 is not below the 12 epochs of "model"'),
    ({"rungs": [2], "rung": "seed"}, r'"rungs": stage "train" does not say that "seed" only ends it earlier'),
    ({"source": "nobody"}, r'source "nobody" is neither in the queue nor a file'),
    ({"metric": 3}, r'"metric": expected a name, got: 3'),
    ({"sampler": "tpee"}, r'"sampler": expected one of'),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_is_one_clear_line_and_nothing_is_inserted(database, folder, change, message):
    with pytest.raises(ConfigError, match=message) as told:
        submit(database, [write(folder, "digits", DIGITS | change)])
    assert "\n" not in str(told.value)
    assert "digits.json" in str(told.value)
    assert database.runs.count_documents({}) == 0


def test_a_search_is_no_source_of_another_and_has_no_letters(database, folder):
    write(folder, "digits", DIGITS)
    with pytest.raises(ConfigError, match=r'"source": digits is a search itself'):
        submit(database, [write(folder, "again", DIGITS | {"source": "digits"})])
    with pytest.raises(ConfigError, match=r"a search that is changed on the fly needs a name of its own"):
        submit(database, [folder / "digits.json"], Change(settings=["trials=3"]))
    submit(database, [folder / "digits.json"], Change(settings=["trials=3"], name="other"))
    assert get(database, "other")["config"]["trials"] == 3


def test_what_a_search_costs_those_who_heal(database, folder):
    """A look at all of them is two commands, however many there are."""
    submit(database, [folder / "model.json"])
    finish(database, "data", "model")
    for number in range(20):
        submit(database, [write(folder, f"search{number}x", DIGITS | {"seed": number})])
    seen = []

    class Listener(monitoring.CommandListener):
        def started(self, event):
            seen.append(event.command_name)

        def succeeded(self, event):
            """Of no interest."""

        def failed(self, event):
            """Of no interest."""

    address = database.client.address
    with MongoClient(*address, event_listeners=[Listener()], directConnection=True) as client:
        spied = client.get_database(database.name)
        seen.clear()
        assert searches.due(spied) == []
        assert seen == ["find", "aggregate"]


def test_a_search_verified_says_what_to_do(database, folder):
    start(database, folder)
    work(database)
    with pytest.raises(ReproError, match="digits is a search: repro search digits --check"):
        reruns.choose(database, ["digits"])
    assert "digits" not in [run["_id"] for run in reruns.choose(database, [])]
    assert lookup.run(database, "digits")["state"] == "done"
