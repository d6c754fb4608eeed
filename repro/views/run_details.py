"""All about a run, as lines: its config with the defaults that were used, its result, and the line it comes from.

A run is a document of the queue, or what the `repro-run.json` of a folder says (`repro.readers.run_folders`): both
read the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from repro.readers.raw_files import RAW_FILES
from repro.scheduler.runs import demands
from repro.stages.own_files import DIFF
from repro.views.tables import load, place, speed

SHOWN = 10  # of the raw files

Run = Mapping[str, Any]
RawFiles = Callable[[Run], Mapping[str, Any]]  # what `repro.readers.raw_files` reads


def lines(run: Run, line: Mapping[str, Run], raw_files: RawFiles) -> list[str]:
    """Everything; `line` has the runs that it comes from, by name, as far as they are known."""
    texts = [click.style(run["_id"], bold=True) + f"  {run['stage']}  {run['state']}", *_facts(run)]
    texts += ["config", *(f"  {text}" for text in _config(run))]
    if run.get("metrics"):
        texts += ["metrics"] + [f"  {name} = {value}" for name, value in run["metrics"].items()]
    if run.get("outputs"):
        texts += ["outputs"] + [f"  {_output(output)}" for output in run["outputs"]]
    if run.get("environment"):
        texts += ["environment", *_environment(run["environment"])]
    texts += ["verdicts", *map(_verdict, run["verdicts"])] if run.get("verdicts") else []
    texts += _error(run["error"]) if run.get("error") else []
    above = ["comes from", *_line(run, line, 1, set(), raw_files)] if run["sources"] else _raw_files(run, 0, raw_files)
    return texts + above


def _facts(run: Run) -> list[str]:
    asked = (
        f"{run['submitted_at']:%Y-%m-%d %H:%M:%S} UTC by {run.get('submitted_by', '?')}"
        if "submitted_at" in run
        else ""
    )
    used = run.get("telemetry") or run.get("usage") or {}
    kept, code = ((run.get(key) or {}).get("location", "") for key in ("checkpoint", "code"))
    facts: dict[str, Any] = {
        "location": place(run.get("location") or ""),
        "equal to": run.get("same_as", ""),
        "search": f"{run['search']}, trial {run['trial']}" if "search" in run else "",
        "sources": ", ".join(run["sources"]),
        "waits for": ", ".join(name for name in run.get("waiting_for", []) if name != run["_id"]),
        "script": "as it is: killed, it begins from the beginning" if run["stage"].startswith("script:") else "",
        "needs": demands.shown(run.get("needs", "")),
        "held": "yes, see repro unhold" if run.get("held") is True else "",
        "tags": ", ".join(run.get("tags", [])),
        "attempts": f"{run['attempts']} of {run['max_attempts']}" if run.get("attempts") else "",
        "checkpoint": f"step {run['checkpoint']['step']}, {place(kept)}" if kept else "",
        "worker": (run.get("lease") or {}).get("worker", ""),
        "submitted": asked,
        "finished": f"{run['finished_at']:%Y-%m-%d %H:%M:%S} UTC" if run.get("finished_at") else "",
        "commit": _commit(run.get("environment") or {}, kept_in=f"repro code {run['_id']}" if code else DIFF),
        "code": place(code) if code else "",
        "fingerprint": run["fingerprint"],
        "used": ", ".join(filter(None, (speed(used), load(used)))),
        "never read": ", ".join(run.get("unread", [])),
    }
    return [f"  {name}: {value}" for name, value in facts.items() if value]


def _commit(environment: Run, kept_in: str) -> str:
    changed = f" (with changes that were not committed: {kept_in})" if environment.get("dirty") else ""
    return str(environment.get("commit", "")) + changed


def _config(run: Run) -> list[str]:
    """What the config says, then, dimmed, the defaults that its run used."""
    given = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in run["config"].items()]
    defaults = {k: p["value"] for k, p in (run.get("params") or {}).items() if p["default"]}
    return given + [
        click.style(f"{k} = {json.dumps(v, ensure_ascii=False)}  (default)", dim=True) for k, v in defaults.items()
    ]


def _output(output: Run) -> str:
    where = f"  passed on from {place(output['location'])}" if "location" in output else ""
    return f"{output['path']}  {output['size']} bytes  sha256 {output['sha256'][:12]}{where}"


def _environment(environment: Run) -> list[str]:
    facts = {key: value for key, value in environment.items() if key not in ("undeclared", "commit", "dirty")}
    texts = [f"  {key}: {_fact(value)}" for key, value in facts.items()]
    return texts + [
        click.style(f"  not declared: {kind}: {', '.join(seen)}", fg="yellow")
        for kind, seen in environment.get("undeclared", {}).items()
    ]


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def _verdict(verdict: Run) -> str:
    commit = str(verdict["environment"].get("commit", ""))[:12]
    worst = "; ".join(f"{one['path']} {one['level']}" for one in verdict["worst"][:3])
    parts = (f"on commit {commit}" if commit else "", verdict.get("error", ""), worst)
    return f"  {verdict['at']:%Y-%m-%d %H:%M} {verdict['level']}" + "".join(f", {part}" for part in parts if part)


def _error(error: Run) -> list[str]:
    texts = ["error", f"  {error['type']}: {error['message']}"]
    texts += [f"  | {text}" for text in error.get("log_tail", [])]
    return texts + ([f"  log: {place(error['log'])}, and beside it what the attempt left"] if "log" in error else [])


def _line(run: Run, line: Mapping[str, Run], depth: int, shown: set[str], raw_files: RawFiles) -> Iterator[str]:
    """The sources of a run, each followed by its own, down to the raw files; what was told is named only."""
    for name in run["sources"]:
        source, indent = line.get(name, {"_id": name}), "  " * depth
        commit = str((source.get("environment") or {}).get("commit", ""))[:12]
        facts = (source.get("stage"), source.get("state"), commit and f"commit {commit}")
        yield indent + "  ".join([click.style(name, bold=True), *(fact for fact in facts if fact)])
        yield f"{indent}  {place(source.get('location') or '') or 'not here'}"
        if "config" in source and name not in shown:
            shown.add(name)
            yield from (f"{indent}  {text}" for text in _config(source))
            yield from _line(source, line, depth + 1, shown, raw_files)
            yield from _raw_files(source, depth + 1, raw_files)


def _raw_files(run: Run, depth: int, raw_files: RawFiles) -> list[str]:
    """The files that a run without sources was made of, where it lists them."""
    listed = [output for output in run.get("outputs") or [] if output["path"] == RAW_FILES]
    if run["sources"] or not listed:
        return []
    indent, found = "  " * depth, raw_files(run)
    texts = [f"{indent}raw files, in {RAW_FILES} (sha256 {listed[0]['sha256']})"]
    if found["missing"]:
        return [*texts, f"{indent}  not here: {found['missing']}"]
    rows = found["rows"]
    texts += [f"{indent}  {'  '.join(row)}" for row in rows[:SHOWN]]
    left = len(rows) - SHOWN
    return texts + ([f"{indent}  and {left}{' or more' if found['cut'] else ''} more"] if left > 0 else [])
