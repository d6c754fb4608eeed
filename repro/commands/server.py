"""`repro server`: the embedded MongoDB, which every command starts when it needs it."""

from typing import Any

import click


@click.group(epilog='Example: mongosh "$(repro server url)"')
def server() -> None:
    """See or end the embedded MongoDB of REPRO_HOME."""


@server.command(epilog="Example: repro server status --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Say whether it runs, where, and since when; starts nothing."""
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings
    from repro.views.tables import dump

    settings = Settings.read()
    found = embedded.status(settings.home)
    if as_json:
        dump({"running": found is not None, "home": str(settings.home)} | (found or {}))
        return
    click.echo(_told(found) if found else f"no server runs for {settings.home}; a command that needs it starts it")
    if settings.mongo_url:
        click.echo("REPRO_MONGO_URL is set: commands use that server instead", err=True)


@server.command(epilog='Example: mongosh "$(repro server url)"')
def url() -> None:
    """Print the URL that commands use.

    The embedded server is started where REPRO_MONGO_URL is not set.
    """
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings

    settings = Settings.read()
    click.echo(settings.mongo_url or embedded.ensure(settings.home))


@server.command(epilog="Example: repro server stop")
def stop() -> None:
    """Shut it down and wait until it is gone.

    Its data stay, and the next command that needs it starts it again.
    """
    from repro.scheduler.server import embedded
    from repro.scheduler.settings import Settings

    home = Settings.read().home
    click.echo("stopped" if embedded.stop(home) else f"no server runs for {home}")


def _told(found: dict[str, Any]) -> str:
    return "\n".join(f"{key:<12}{value}" for key, value in found.items())
