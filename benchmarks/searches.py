"""What searches cost the queue: a proposal in a thread of a worker, and a hundred searches beside claims and healing.

python -m benchmarks.searches [--trials 500] [--searches 100]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.queue import fill
from repro.scheduler import runs
from repro.scheduler.queue import lineage, searches
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings

MARKS = (60, 200, 500, 1000)
PENDING, ROUNDS = 2000, 300
SEARCH = {
    **{"stage": "search", "source": "model", "metric": "accuracy"},
    **{"space_lr": "log:1e-4..1e-1", "space_width": "8..512", "space_dropout": "0..0.5", "space_kind": ["a", "b", "c"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--searches", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.read({"REPRO_HOME": folder})
        db = connect(settings)
        try:
            runs.create_indexes(db)
            one_long(db, options.trials)
            many(db, options.searches)
        finally:
            db.client.close()
            embedded.stop(settings.home)


def begin(db: Any, name: str, **more: Any) -> None:
    config = SEARCH | more
    db.runs.insert_one(runs.document(name, config, name, ["model"], [name]))
    searches.advance(db, name)


def model(db: Any) -> None:
    config = {"stage": "train", "lr": 0.01, "width": 64, "dropout": 0.1, "kind": "a"}
    done = {"state": "done", "metrics": {"accuracy": 0.5}, "params": {}, "location": "file:///s/model", "outputs": []}
    db.runs.insert_one(runs.document("model", config, "model", [], []) | done)


def end(db: Any) -> str | None:
    """One run, as quick as the queue can be; returns its search."""
    run = runs.claim(db, "w", (0,), 600)
    if run is None or "search" not in run:
        return None
    config = run["config"]
    metrics = {"accuracy": 1 - abs(config["lr"] - 0.01) - abs(config["width"] - 200) / 1000 - config["dropout"] / 10}
    runs.complete(
        db, run["_id"], run["lease"]["token"], "file:///s/x", {"metrics": metrics, "params": {}, "outputs": []}
    )
    return str(run["search"])


def one_long(db: Any, trials: int) -> None:
    """Each `advance` of a search, as a worker's thread has it: reads, replay, a proposal, an insert."""
    model(db)
    begin(db, "long", trials=trials, lag=16)
    waits: list[float] = []
    while search := end(db):
        waits.append(timed(lambda search=search: searches.advance(db, search)))
        if len(waits) in MARKS:
            print(f"advance with {len(waits)} results: {1e3 * statistics.median(waits[-20:]):.0f} ms")
    print(f"a search of {trials} trials: {sum(waits):.1f} s of a thread, {1e3 * sum(waits) / len(waits):.0f} ms a run")
    db.runs.delete_many({})


def many(db: Any, count: int) -> None:
    """Claims and healing with no search, then with so many that are half way."""
    model(db)
    alone = costs(db)
    db.runs.delete_many({"_id": {"$regex": "^p"}})
    for number in range(count):
        begin(db, f"search{number}x", trials=60, lag=8, seed=number, sampler="random")
    for _ in range(30 * count):
        if search := end(db):
            searches.advance(db, search)
    beside = costs(db)
    print(f"{count} searches half way, {db.runs.count_documents({'search': {'$exists': True}})} runs of theirs:")
    for name in alone:
        before, after = 1e3 * alone[name], 1e3 * beside[name]
        print(f"  {name}: {before:.2f} ms without, {after:.2f} ms with ({after / before:.2f})")


def costs(db: Any) -> dict[str, float]:
    fill(db, PENDING, lambda i: runs.document(f"p{i}", {"stage": "train", "seed": i}, f"p{i}", [], [], priority=5))

    def claim() -> None:
        assert runs.claim(db, "w", (0,), 600)

    def heal() -> None:
        runs.shorten_waits(db, 30)
        runs.expire(db)
        runs.release_children(db, lineage.ready_sources(db))
        searches.due(db)

    return {"a claim": middle(claim, ROUNDS), "a look at what is to be healed": middle(heal, 100)}


def middle(call: Callable[[], None], rounds: int) -> float:
    return statistics.median(timed(call) for _ in range(rounds))


def timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
