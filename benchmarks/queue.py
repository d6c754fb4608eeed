"""Submitting and claiming, beside the bare MongoDB operations on the same server in the same run.

python -m benchmarks.queue [--finished 1000000]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument

from repro.scheduler import runs
from repro.scheduler.queue import claims
from repro.scheduler.queue.submission import submit
from repro.scheduler.runs import demands
from repro.scheduler.server import embedded
from repro.scheduler.server.connection import connect
from repro.scheduler.settings import Settings
from repro.worker.polling import PollingRates

CLAIMS = 400
ROUNDS = 5
LISTS = ("newest", "stage", "made", "figures", "keys", "tags", "verdicts")  # indexes that no claim needs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finished", type=int, default=1_000_000, help="finished runs for the last part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        settings = Settings.read({"REPRO_HOME": f"{text}/home"})
        db = connect(settings)
        try:
            for count in (1_000, 10_000):
                compare_submit(db, Path(text) / str(count), count)
            for processes in (1, 8, 32):
                compare_claims(db, settings, processes)
            compare_full_queue(db, options.finished)
            compare_classes(db, options.finished // 10)
            compare_indexes(db)
        finally:
            db.client.close()
            embedded.stop(settings.home)


def compare_submit(db: Any, folder: Path, count: int) -> None:
    """Chains of two, a dataset and a model on it, alternating with a raw insert of the same documents."""
    paths = write_configs(folder, count)
    ours, raw = [], []
    for _ in range(ROUNDS):
        empty(db)
        ours.append(timed(partial(submit, db, paths)))
        documents = list(db.runs.find())
        assert len(documents) == count
        empty(db)
        raw.append(timed(partial(db.runs.insert_many, documents)))
    first, best, bare = ours[0], min(ours), min(raw)
    print(
        f"submit of {count:6} configs: best {best:.3f} s, raw insert_many {bare:.3f} s, ratio {best / bare:.2f}, "
        f"of medians {statistics.median(ours) / statistics.median(raw):.2f}; the first {first:.3f} s"
    )


def empty(db: Any) -> None:
    db.runs.drop()
    runs.create_indexes(db)


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def write_configs(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for number in range(count // 2):
        data = {"stage": "make_dataset", "images": "digits/**/*.png", "seed": number}
        model = {"stage": "train", "source": f"d{number}", "epochs": 5, "lr": 1e-3, "seed": number}
        (folder / f"d{number}.json").write_text(json.dumps(data))
        (folder / f"m{number}.json").write_text(json.dumps(model))
    return sorted(folder.glob("*.json"))


def compare_claims(db: Any, settings: Settings, processes: int) -> None:
    """Claim and done, ours and a bare loop with the same write concern, alternating."""
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    slowest: dict[str, list[float]] = {"ours": [], "bare": []}
    conflicts: dict[str, list[float]] = {"ours": [], "bare": []}
    for kind in ("bare", "ours") * ROUNDS:
        refill(db, CLAIMS * min(processes, 8))
        before = write_conflicts(db)
        seconds, waits = in_processes(settings, kind, processes)
        conflicts[kind].append((write_conflicts(db) - before) / len(waits))
        rates[kind].append(len(waits) / seconds)
        slowest[kind].append(statistics.quantiles(waits, n=100)[98] * 1e3)
    print(
        f"claim and done, {processes:2} claimers: {compared(rates, 'claims a second', max)}; "
        f"{compared(slowest, 'ms p99 of a claim', min)}; "
        f"{statistics.median(conflicts['ours']):.2f} write conflicts a claim, "
        f"bare {statistics.median(conflicts['bare']):.2f}"
    )


def compared(found: dict[str, list[float]], unit: str, choose: Callable[[list[float]], float]) -> str:
    ours, bare = choose(found["ours"]), choose(found["bare"])
    medians = statistics.median(found["ours"]) / statistics.median(found["bare"])
    return f"best {ours:.0f} {unit}, bare {bare:.0f}, ratio {ours / bare:.2f}, of medians {medians:.2f}"


def write_conflicts(db: Any) -> int:
    return int(db.client.admin.command("serverStatus")["metrics"]["operation"]["writeConflicts"])


def refill(db: Any, count: int) -> None:
    db.runs.drop()
    runs.create_indexes(db)
    runs.submit(db, [runs.document(f"r{i}", {"stage": "train"}, str(i), [], []) for i in range(count)])


def in_processes(settings: Settings, kind: str, processes: int) -> tuple[float, list[float]]:
    context = get_context("spawn")
    barrier, results = context.Barrier(processes + 1), context.SimpleQueue()
    words = (settings, kind, processes, barrier, results)
    workers = [context.Process(target=drain, args=words) for _ in range(processes)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    waits = [wait for _ in workers for wait in results.get()]
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    return seconds, waits


def drain(settings: Settings, kind: str, processes: int, barrier: Any, results: Any) -> None:
    db = connect(settings)
    rates = PollingRates()
    rates.workers = processes
    take = {"ours": partial(claim_and_complete, rates=rates), "bare": bare_claim_and_done}[kind]
    barrier.wait()
    waits = []
    while (seconds := take(db)) is not None:
        waits.append(seconds)
    results.put(waits)
    db.client.close()


def claim_and_complete(db: Any, rates: PollingRates, met: Sequence[str] = ()) -> float | None:
    """As a worker does that has heard of so many others, and meets these classes of demands."""
    began = time.perf_counter()
    run = runs.claim(db, "worker", (0,), 30, spread=rates.claim_spread(), met=met)
    seconds = time.perf_counter() - began
    if run is None:
        return None
    rates.record_claim(run)
    runs.complete(db, run["_id"], run["lease"]["token"], "file:///nowhere", {"outputs": []})
    return seconds


def bare_claim_and_done(db: Any) -> float | None:
    began = time.perf_counter()
    run = db.runs.find_one_and_update(
        {"state": "pending", "held": False, "gpus": {"$in": [0]}},
        {"$set": {"state": "running"}},
        sort=[("priority", -1), ("submitted_at", 1)],
        return_document=ReturnDocument.AFTER,
    )
    seconds = time.perf_counter() - began
    if run is None:
        return None
    db.runs.update_one({"_id": run["_id"]}, {"$set": {"state": "done"}})
    return seconds


def compare_full_queue(db: Any, finished: int) -> None:
    """The claim's median in an empty collection, and behind finished runs and pending ones that do not fit."""
    refill(db, CLAIMS)
    empty = median_claim(db)
    db.runs.drop()
    runs.create_indexes(db)
    fill(db, finished, lambda i: runs.document(f"f{i}", {"stage": "train"}, str(i), [], [], state="done"))
    fill(
        db,
        finished // 10,
        lambda i: runs.document(f"g{i}", {"stage": "train", "gpus": 8}, str(i), [], [], priority=9),
    )
    runs.submit(db, [runs.document(f"r{i}", {"stage": "train"}, str(i), [], []) for i in range(CLAIMS)])
    plan(db)
    full = median_claim(db)
    print(
        f"claim p50: empty {empty * 1e3:.2f} ms; with {finished} finished and {finished // 10} pending that do not fit "
        f"{full * 1e3:.2f} ms, ratio {full / empty:.2f}"
    )


def compare_classes(db: Any, others: int) -> None:
    """The median claim of a worker that meets three classes of demands, alone and beside runs of ten other classes."""
    met = ("card=*A100*", "memory>=40GB", "site=berlin")
    refill(db, CLAIMS)
    empty = median_claim(db, met)
    db.runs.drop()
    runs.create_indexes(db)
    fill(db, others, lambda i: runs.document(f"o{i}", {"stage": "train"}, str(i), [], [], priority=9,
                                             **demands.fields(f"site=other{i % 10}", held=False)))  # fmt: skip
    mine = [demands.fields(met[i % 3], held=False) if i % 2 else {} for i in range(CLAIMS)]
    runs.submit(db, [runs.document(f"r{i}", {"stage": "train"}, str(i), [], [], **mine[i]) for i in range(CLAIMS)])
    full = median_claim(db, met)
    asked = statistics.median(timed(partial(claims.classes_waiting, db)) for _ in range(20))
    print(
        f"claim p50 of three classes: alone {empty * 1e3:.2f} ms; beside {others} pending of ten others "
        f"{full * 1e3:.2f} ms, ratio {full / empty:.2f} (bound 1.2); which classes wait is told in {asked * 1e3:.2f} ms"
    )


def compare_indexes(db: Any) -> None:
    """A submit, a claim and a complete, with the indexes that only lists need and without, alternating; runs of 20 keys
    and five figures behind 20,000 done ones of the same kind."""
    waits: dict[str, dict[str, list[float]]] = {kind: {} for kind in ("with", "without")}
    for kind in ("without", "with") * ROUNDS:
        db.runs.drop()
        runs.create_indexes(db)
        for name in LISTS if kind == "without" else ():
            db.runs.drop_index(name)
        fill(db, 20_000, lambda i: full_run(f"f{i}", i) | {"metrics": figures(i), "state": "done"})
        made = [full_run(f"r{i}", i) for i in range(CLAIMS)]
        waits[kind].setdefault("submit", []).append(timed(partial(runs.submit, db, made)) / CLAIMS)
        for i in range(CLAIMS):
            began = time.perf_counter()
            run = runs.claim(db, "worker", (0,), 30)
            claimed = time.perf_counter()
            assert run is not None
            result = {"outputs": [], "metrics": figures(i)}
            runs.complete(db, run["_id"], run["lease"]["token"], "file:///nowhere", result)
            waits[kind].setdefault("claim", []).append(claimed - began)
            waits[kind].setdefault("complete", []).append(time.perf_counter() - claimed)
    for what, found in waits["with"].items():
        ours, bare = statistics.median(found) * 1e3, statistics.median(waits["without"][what]) * 1e3
        print(
            f"{what} with the indexes of lists: {ours:.2f} ms, without {bare:.2f} ms (medians), ratio {ours / bare:.2f}"
        )


def full_run(name: str, number: int) -> Any:
    config = {"stage": "train", **{f"key{k}": number % (k + 2) / 7 for k in range(20)}}
    return runs.document(name, config, name, ["source"], [])


def figures(number: int) -> dict[str, float]:
    return {f"figure{k}": number * (k + 1) / 1000 for k in range(5)}


def plan(db: Any) -> None:
    """What the server says that it does for a claim."""
    query = {"findAndModify": "runs", "query": runs.claimable((0, 1)), "sort": dict(runs.CLAIM_ORDER), "new": True}
    found = db.command("explain", query | {"update": {"$set": {"state": "running"}}}, verbosity="executionStats")
    stats, stages, stage = found["executionStats"], [], found["queryPlanner"]["winningPlan"]
    while stage:
        stages.append(stage["stage"] + (f" of index {stage['indexName']}" if "indexName" in stage else ""))
        stage = stage.get("inputStage") or next(iter(stage.get("inputStages", [])), None)
    examined = f"{stats['totalKeysExamined']} index keys and {stats['totalDocsExamined']} documents examined"
    print(f"plan of a claim: {' <- '.join(stages)}; {examined}")


def fill(db: Any, count: int, make: Callable[[int], Any]) -> None:
    now = db.client.admin.command("hello")["localTime"]
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, count, 20_000):
            batch = [make(i) | {"submitted_at": now} for i in range(start, min(count, start + 20_000))]
            threads.submit(db.runs.insert_many, batch, ordered=False)


def median_claim(db: Any, met: Sequence[str] = ()) -> float:
    waits = []
    while (seconds := claim_and_complete(db, PollingRates(), met)) is not None:
        waits.append(seconds)
    assert len(waits) == CLAIMS
    return statistics.median(waits)


if __name__ == "__main__":
    main()
