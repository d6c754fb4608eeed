"""`repro server`: the embedded MongoDB, which every command starts when it needs it."""

from typing import Any

import click


@click.group(epilog='Example: mongosh "$(repro server url)"')
def server() -> None:
    """Look at or stop the embedded MongoDB of REPRO_HOME."""


@server.command(epilog="Example: repro server status --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Print whether the server runs, where, and since when. This starts nothing."""
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump

    settings = Settings.read()
    facts = embedded.status(settings.home)
    if as_json:
        dump({"running": facts is not None, "home": str(settings.home)} | (facts or {}))
        return
    click.echo(_lines(facts) if facts else f"no server runs for {settings.home}; a command that needs it starts it")
    if settings.mongo_url:
        click.echo("REPRO_MONGO_URL is set: commands use that server instead", err=True)


@server.command(epilog='Example: mongosh "$(repro server url)"')
def url() -> None:
    """Print the URL that commands use.

    If REPRO_MONGO_URL is not set, the embedded server is started.
    """
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings

    settings = Settings.read()
    click.echo(settings.mongo_url or embedded.ensure(settings.home))


@server.command(epilog="Example: repro server stop")
def stop() -> None:
    """Stop the server and wait until it has ended.

    Its data stay. The next command that needs the server starts it again.
    """
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings

    home = Settings.read().home
    click.echo("stopped" if embedded.stop(home) else f"no server runs for {home}")


def _lines(facts: dict[str, Any]) -> str:
    return "\n".join(f"{key:<12}{value}" for key, value in facts.items())
