"""What a shell's Tab offers: names of runs, keys of configs. Says nothing where the queue does not answer."""

import contextlib
from pathlib import Path

import click
from click.shell_completion import CompletionItem

MOST = 100  # names


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs of the queue; starts no server for it."""
    with contextlib.suppress(Exception):  # a Tab must not fill the line with an error
        from repro.readers.queue_access import connect, has_queue
        from repro.scheduler.queue import lookup

        if has_queue():
            return [CompletionItem(name) for name in lookup.beginning(connect(), incomplete, MOST)]
    return []


def runs_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs and, where none begins so, files."""
    return [CompletionItem(incomplete, type="file"), *([] if "/" in incomplete else runs(ctx, param, incomplete))]


def keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys that some stage reads."""
    return [CompletionItem(key) for key in sorted(_known(ctx)) if key.startswith(incomplete)]


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`key=`, of the stage of the config that stands on the line already."""
    return [CompletionItem(f"{key}=") for key in sorted(_known(ctx)) if key.startswith(incomplete)]


def states(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    names = ("waiting", "pending", "running", "done", "failed", "cancelled")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _known(ctx: click.Context) -> set[str]:
    """The keys of the stages of the named configs, of all stages where none is named."""
    with contextlib.suppress(Exception):
        from repro.stages.source import registry

        return {key for stage in _stages(ctx) or registry.available() for key in registry.keys(stage)}
    return set()


def _stages(ctx: click.Context) -> set[str]:
    from repro.stages import config as configs

    # Where the line ends in an option without its value, click leaves the words before it unread in `args`.
    words = [ctx.params.get("files"), ctx.params.get("names"), ctx.params.get("model"), *ctx.args]
    named = [str(w) for word in words if word for w in (word if isinstance(word, tuple) else [word])]
    paths = [p for word in named for p in (Path(word), Path("configs") / f"{word}.json") if p.is_file()]
    return {str(configs.load(path).get("stage")) for path in paths}
