"""`repro ui`: the queue as a web page."""

from pathlib import Path

import click

from repro.commands.shared.optional_packages import needs_page


@click.command(epilog="Example: repro ui --port 8080 --no-browser")
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address of the machine. On any "
              "but the machine's own 127.0.0.1 a token is needed.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Listen on this port; 0 "
              "takes a free one.")  # fmt: skip
@click.option("--token", envvar="REPRO_UI_TOKEN", help="Let in only who brings this token; else, where one is needed, "
              "one is made up.")  # fmt: skip
@click.option("--read-only", is_flag=True, help="Let nobody change anything.")
@click.option("--allow-host", "allow_hosts", metavar="NAME", multiple=True, help="Answer under this name, too, such as "
              "that of a proxy; may be given again.")  # fmt: skip
@click.option("--user-header", metavar="HEADER", help="The header in which a proxy says who asks; it is kept in the "
              "history of what they change.")  # fmt: skip
@click.option("--write", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
              help="Let viewers submit variations of runs; their config files are created in this folder.")  # fmt: skip
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser.")
def ui(
    host: str,
    port: int,
    token: str | None,
    read_only: bool,
    allow_hosts: tuple[str, ...],
    user_header: str | None,
    write: Path | None,
    browser: bool,
) -> None:
    """Open the queue as a web page: what runs, what waits and why, what differs, where each result comes from.

    It prints its address and serves until Ctrl-C.
    """
    from repro.readers.queue_access import connect
    from repro.scheduler.queue import rights

    with needs_page():
        from repro.web.server import Options, PageServer

    db = connect()
    options = Options(host, port, token or None, read_only, allow_hosts, user_header, write)
    server = PageServer(db, options, rights.may_change_runs(db))
    click.echo(server.address)
    server.serve(open_browser=browser)
