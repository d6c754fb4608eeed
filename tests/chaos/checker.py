"""What must hold whatever was injected: one function a point, each telling its violations in words.

They know the documents, the store and the history of both (history.py), and nothing of the code that made them.
"""

from collections import Counter

from repro.worker.store.identity import IDENTITY, QUEUES
from tests.chaos.history import Final, History, holder, token

STATES = {"waiting", "pending", "running", "done", "failed", "cancelled"}
SETTLED = STATES - {"running", "waiting"}
RETRIABLE = {"failed", "cancelled"}
LACKS = " lacks key "  # why a worker whose code is older leaves a run
GRACE = 12.0  # seconds beyond lease + 2 s that a machine busy with other work may take
OWN = ("repro-config.json", "repro-log.txt", "repro-run.json")  # in every complete folder, besides the outputs


def check_runs(history: History, final: Final) -> list[str]:
    """Every acknowledged submit ends done, failed, cancelled or still pending, and nothing else exists."""
    found = [f"{name}: its submit was acknowledged, it is gone" for name in history.acknowledged - final.runs.keys()]
    found += [f"{name}: nobody submitted it" for name in final.runs.keys() - history.attempted]
    for name, run in final.runs.items():
        if run["state"] in SETTLED:
            continue
        if run["state"] != "waiting" or not _blocked(run, final):
            found.append(f"{name}: is stuck, {run['state']}")
    return found + [f"{event.name}: was deleted" for event in history.events if event.run is None]


def _blocked(run, final):
    """Whether it waits, rightly, for a source that will not be done by itself."""
    sources = [final.runs.get(name, {"state": "gone"}) for name in run["waiting_for"]]
    return any(s["state"] in SETTLED - {"done"} or (s["state"] == "waiting" and _blocked(s, final)) for s in sources)


def check_claims(history: History) -> list[str]:
    """Tokens are unique; attempts strictly increase, but for those handed back, and never exceed the maximum."""
    claims = history.claims()
    given = Counter(token(event.run) for event, _ in claims)
    found = [f"the token {again} was given {times} times" for again, times in given.items() if times > 1]
    for event, before in claims:
        run, name = event.run, event.name
        if before.get("state") != "pending":
            found.append(f"{name}: was claimed while it was {before.get('state', 'not there')}")
        if run["attempts"] != before.get("attempts", 0) + 1:
            found.append(f"{name}: attempt {run['attempts']} came after attempt {before.get('attempts', 0)}")
        if run["attempts"] > run["max_attempts"]:
            found.append(f"{name}: attempt {run['attempts']} of at most {run['max_attempts']}")
    for event, before in history.steps():
        run = event.run or before
        why = run.get("history", [{}])[-1].get("why") or ""
        handed_back = why == "handed back" or LACKS in why or before.get("state") in RETRIABLE
        if not handed_back and run.get("attempts", 0) < before.get("attempts", 0):
            found.append(f"{event.name}: lost count of its attempts, {before['attempts']} -> {run.get('attempts')}")
    return found


def check_completions(history: History) -> list[str]:
    """At most one accepted completion a run, by the token that held it; and done is final."""
    found, done = [], {}
    for event, before in history.steps():
        run, name = event.run or {}, event.name
        if before.get("state") == "done" and run != before:
            found.append(f"{name}: changed after it was done")
        if run.get("state") != "done" or before.get("state") == "done":
            continue
        done.setdefault(name, []).append(event)
        by = run["history"][-1].get("token")
        if by is None or by != token(before) or not run["location"].endswith(f"/{name}-{by[:8]}"):
            found.append(f"{name}: completed by {by} into {run['location']} while {token(before)} held it")
    return found + [f"{name}: completed {len(events)} times" for name, events in done.items() if len(events) > 1]


def check_folders(final: Final) -> list[str]:
    """Done means that repro-run.json and every output exist, with the size and SHA-256 that were recorded."""
    found = []
    for name, run in final.runs.items():
        if run["state"] != "done":
            continue
        folder = final.path_of(run["location"])
        found += [f"{name}: no {folder}/{own}" for own in OWN if f"{folder}/{own}" not in final.objects]
        manifest = final.manifests.get(folder, {})
        if manifest and (manifest["name"], manifest["outputs"]) != (name, run["outputs"]):
            found.append(f"{name}: its repro-run.json tells of {manifest['name']}, {manifest['outputs']}")
        for output in run["outputs"]:
            path = final.path_of(output.get("location") or f"{run['location']}/{output['path']}")
            there = final.sizes.get(path), final.objects.get(path)
            if there != (output["size"], output["sha256"]):
                found.append(f"{name}: {path} is {there}, recorded as {output['size'], output['sha256']}")
    return found


def check_write_once(history: History, final: Final) -> list[str]:
    """No object changed, or went, after its first successful write; but for probes, which who made them removes."""
    first, found = {}, []
    seen = [(w.path, w.sha256) for w in history.written if not w.path.startswith(".")]
    for path, digest in [*seen, *((path, final.objects.get(path)) for path, _ in seen)]:
        if first.setdefault(path, digest) != digest:
            found.append(f"{path}: was {first[path]}, is {digest or 'gone'}")
    return list(dict.fromkeys(found))


def check_takeovers(history: History) -> list[str]:
    """A dead or stopped worker's run was taken over in time, a live worker's never was."""
    found = [
        f"{event.name}: {token(before)} was taken before its lease ran out"
        for event, before in history.steps()
        if _taken(event.run, before) and event.run["history"][-1]["at"] < before["lease"]["expires_at"]
    ]
    for start, end, taken, worker, name, of in _tenures(history):
        if taken and not _may_be_late(history, worker, end):
            found.append(f"{name}: {of} was taken from {worker}, which was alive" + _told(history, worker, of, end))
        for since, until in _silences(history, worker):
            lost = max(start, since)
            late = lost + history.lease + 2 + GRACE
            # No server, no takeover; and a clock that went back makes the leases longer that were given before.
            troubles = [trouble for trouble in history.troubles if lost - history.lease < trouble.end < late]
            late += sum(trouble.end - trouble.start + max(0, -trouble.jump) for trouble in troubles)
            gone = history.ended if end is None else end
            if late < min(gone, until):
                found.append(f"{name}: {of} of {worker} outlived it by {gone - lost:.1f} s")
    return found


def _taken(run, before):
    """Whether a run was taken from its holder, by neither the holder itself nor a user."""
    if not token(before) or token(run) == token(before):
        return False
    last = run["history"][-1] if run else {}
    return last.get("token") != token(before) and last.get("to") != "cancelled"


def _tenures(history):
    """Each time that a worker held a run: its start and end, whether it was taken, the worker, the run, the token."""
    began, found = {}, []
    for event, before in history.steps():
        held, now = token(before), token(event.run)
        if held and now != held:
            taken = _taken(event.run, before)
            found.append((began.pop(held), event.at, taken, holder(before), event.name, held))
        if now and now != held:
            began[now] = event.at
    last = {event.name: event.run for event in history.events}
    return found + [(began[token(r)], None, False, holder(r), name, token(r)) for name, r in last.items() if token(r)]


def _silences(history, worker):
    """The times in which a worker's process could not renew: it was stopped, or dead, or never was one."""
    life = next((life for life in history.lives if life.worker == worker), None)
    if life is None:
        return [(history.began, float("inf"))]
    return [*life.stops, *([(life.ended, float("inf"))] if life.ended is not None else [])]


def _may_be_late(history, worker, at):
    """Whether a worker had no two thirds of a lease in peace before this, so that it could have renewed."""
    since = at - history.lease
    if any(trouble.jump > 0 and since <= trouble.end and trouble.start <= at for trouble in history.troubles):
        return True
    quiet = [(t.start, t.end) for t in history.troubles] + _silences(history, worker)
    free = since
    for start, end in sorted(quiet):
        if min(start, at) - free >= history.lease * 2 / 3:
            return False
        free = max(free, min(end, at))
    return at - free < history.lease * 2 / 3


def _told(history, worker, of, at):
    """What led to a takeover: the seconds before it at which the run was heard of, and at which something was amiss."""
    heard = [round(at - event.at, 1) for event, _ in history.steps() if token(event.run) == of]
    near = [trouble for trouble in history.troubles if trouble.end > at - 30]
    amiss = [(round(at - trouble.start, 1), round(at - trouble.end, 1), trouble.what, trouble.jump) for trouble in near]
    return f"; heard of {heard[-5:]} s before; amiss: {amiss}; silent: {_silences(history, worker)}"


def check_leftovers(after: Final, neighbour: Final | None = None) -> list[str]:
    """After gc nothing unreferenced is left: each folder is named by a document, of the queue or of its neighbour, or
    by another folder's manifest.

    Nor is an upload that nobody will end: no worker runs any more.
    """
    named = set()
    for run in (*after.runs.values(), *(neighbour.runs.values() if neighbour else ())):
        outputs = [output["location"] for output in run.get("outputs", ()) if "location" in output]
        named |= {run.get("location"), (run.get("error") or {}).get("log"), *outputs}
        if token(run):
            named.add(f"{after.root}/{run['_id']}-{token(run)[:8]}")
    for manifest in after.manifests.values():
        named |= {source["location"] for source in manifest["sources"].values()}
        named |= {output["location"] for output in manifest["outputs"] if "location" in output}
    folders = {after.path_of(url).partition("/")[0] for url in named if url}
    folders |= {IDENTITY, QUEUES}  # the store's own
    found = [f"{folder}: nothing refers to it" for folder in sorted(after.folders - folders)]
    return found + [f"{path}: its upload was not ended" for path in sorted(after.uploads)]


RESULT = ("config", "fingerprint", "params", "metrics")  # of a document: what describes the result, and the outputs


def check_bytes(final: Final, calm: Final) -> list[str]:
    """The bytes, and all that documents say of the result, are those of a fault-free run of the same configs."""
    found = []
    for name, run in final.runs.items():
        if run["state"] != "done":
            continue
        other = calm.runs.get(name, {})
        found += [f"{name}: {key} is not as in the fault-free run" for key in RESULT if run.get(key) != other.get(key)]
        if other:
            mine, others = _bytes(final, run), _bytes(calm, other)
            found += [f"{name}: {path} has other bytes" for path in mine | others if mine.get(path) != others.get(path)]
    return found


def _bytes(final, run):
    """Path -> SHA-256 of the config and the outputs; the mark and the log tell when and where it ran, too."""
    urls = {output["path"]: output.get("location") for output in run["outputs"]} | {"repro-config.json": None}
    return {path: final.objects.get(final.path_of(url or f"{run['location']}/{path}")) for path, url in urls.items()}


def check_written(history: History, final: Final) -> list[str]:
    """What the stage wrote is what the store has, byte for byte and name for name: by the word of the stage itself."""
    found = []
    for name, run in final.runs.items():
        if run["state"] != "done":
            continue
        told = history.witnessed.get(final.path_of(run["location"]))
        if told is None:
            found.append(f"{name}: its stage has told nobody what it wrote")
            continue
        stored = {path: digest for path, digest in _bytes(final, run).items() if path != "repro-config.json"}
        found += [f"{name}: {path} is {stored.get(path, 'not there')}, the stage wrote {told.get(path, 'no such file')}"
                  for path in sorted(told.keys() | stored.keys()) if told.get(path) != stored.get(path)]  # fmt: skip
    return found


def check_neighbour(before: Final, after: Final, calm: Final) -> list[str]:
    """Another queue in the same store has all that it had, and rightly; `after`: when both have collected."""
    undone = [f"{name}: is {run['state']}" for name, run in before.runs.items() if run["state"] != "done"]
    return undone + check_folders(before) + check_folders(after) + check_bytes(after, calm)


def check(
    history: History, final: Final, after: Final, calm: Final, neighbour: Final | None = None
) -> dict[str, list[str]]:
    """Point -> its violations; `after` is the state after gc, `neighbour` how another queue of the store stands."""
    return {
        "runs": check_runs(history, final),
        "claims": check_claims(history),
        "completions": check_completions(history),
        "folders": check_folders(final) + check_folders(after),
        "write-once": check_write_once(history, final),
        "takeovers": check_takeovers(history),
        "leftovers": check_leftovers(after, neighbour),
        "bytes": check_bytes(final, calm),
        "written": check_written(history, final),
    }
