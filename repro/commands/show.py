"""`repro show`: all about a run."""

from typing import Any

import click

from repro import completion


@click.command(epilog="Example: repro show model")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print the documents as JSON.")
def show(names: tuple[str, ...], as_json: bool) -> None:
    """Show runs: config with the defaults that were used, result or error, where everything lies."""
    from repro.display import dump
    from repro.session import connect
    from scheduler import queries

    found = queries.runs(connect(), names)
    if as_json:
        dump(found)
        return
    for run in found:
        for line in _lines(run):
            click.echo(line)


def _lines(run: dict[str, Any]) -> list[str]:
    from repro.display import place

    lines = [click.style(run["_id"], bold=True) + f"  {run['stage']}  {run['state']}"]
    lines += _facts(run)
    lines += ["config"] + [f"  {line}" for line in _config(run)]
    if run.get("metrics"):
        lines += ["metrics"] + [f"  {name} = {value}" for name, value in run["metrics"].items()]
    if run.get("outputs"):
        lines += ["outputs"] + [f"  {o['path']}  {o['size']} bytes  sha256 {o['sha256'][:12]}" for o in run["outputs"]]
    if error := run.get("error"):
        lines += ["error", f"  {error['type']}: {error['message']}"]
        lines += [f"  | {line}" for line in error.get("log_tail", [])]
        lines += [f"  log: {place(error['log'])}, and beside it what the attempt left"] if "log" in error else []
    return lines


def _facts(run: dict[str, Any]) -> list[str]:
    from repro.display import place

    facts: dict[str, Any] = {
        "location": place(run.get("location") or ""),
        "sources": ", ".join(run["sources"]),
        "waits for": ", ".join(run["waiting_for"]),
        "held": "yes, see repro unhold" if run["held"] else "",
        "tags": ", ".join(run["tags"]),
        "attempts": f"{run['attempts']} of {run['max_attempts']}" if run["attempts"] else "",
        "worker": (run.get("lease") or {}).get("worker", ""),
        "submitted": f"{run['submitted_at']:%Y-%m-%d %H:%M:%S} UTC by {run.get('submitted_by', '?')}",
        "finished": f"{run['finished_at']:%Y-%m-%d %H:%M:%S} UTC" if run.get("finished_at") else "",
        "commit": _commit(run.get("environment") or {}),
        "fingerprint": run["fingerprint"],
        "never read": ", ".join(run.get("unread", [])),
    }
    return [f"  {name}: {value}" for name, value in facts.items() if value]


def _commit(environment: dict[str, Any]) -> str:
    return str(environment.get("commit", "")) + (
        " (with changes that were not committed)" if environment.get("dirty") else ""
    )


def _config(run: dict[str, Any]) -> list[str]:
    """What the config says, then, dimmed, the defaults that its run used."""
    import json

    said = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in run["config"].items()]
    defaults = {k: p["value"] for k, p in (run.get("params") or {}).items() if p["default"]}
    return said + [
        click.style(f"{k} = {json.dumps(v, ensure_ascii=False)}  (default)", dim=True) for k, v in defaults.items()
    ]
