"""`repro worker`: claim runs and execute them."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from repro.commands.shared.option_types import Number, Size
from repro.commands.shared.optional_packages import needs_metrics
from repro.stages.plain import LONGEST_TIME

if TYPE_CHECKING:
    from repro.scheduler.server.connection import Queue

LABEL = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


@click.command(epilog="Example: repro worker --gpus 0,1 --cpus 2")
@click.option("--gpus", default="all", show_default=True, metavar="0,1|all|none", help="The GPUs to use.")
@click.option(
    "--cpus",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="How many runs without a GPU are executed at the same time.",
)
@click.option("--per-gpu", type=click.IntRange(min=1), default=1, show_default=True, metavar="K",
              help="How many runs of one GPU may share it.")  # fmt: skip
@click.option("--only-idle", is_flag=True, help="Do not use a GPU while somebody else computes on it.")
@click.option("--burst", is_flag=True, help="Leave when no run is left to do.")
@click.option("--max-runs", type=click.IntRange(min=1), help="Leave after this many runs.")
@click.option(
    "--max-idle", type=Number(0, LONGEST_TIME), metavar="SECONDS", help="Leave after this time without a run."
)
@click.option("--lease", type=Number(1, LONGEST_TIME), default=30, show_default=True, metavar="SECONDS",
              help="A worker that sends no heartbeat for this time loses its runs.")  # fmt: skip
@click.option(
    "--cache-size",
    type=Size(),
    metavar="SIZE",
    help="How many bytes of inputs to keep on this machine, such as 200GB. The default is 50GB or a tenth of the disk.",
)
@click.option("--label", "labels", metavar="NAME=VALUE", multiple=True, callback=lambda *given: _labels(given[2]),
              help="What runs may need of this machine, such as site=berlin; may be given again.")  # fmt: skip
@click.option("--data-moved", is_flag=True, help="The data of all runs of this queue lie in REPRO_DATA from now on.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), metavar="PORT", envvar="REPRO_METRICS_PORT",
              help="Serve the worker's figures for Prometheus at /metrics and its health at /healthz.")  # fmt: skip
def worker(
    gpus: str,
    cpus: int,
    per_gpu: int,
    only_idle: bool,
    burst: bool,
    max_runs: int | None,
    max_idle: float | None,
    lease: float,
    cache_size: int | None,
    labels: dict[str, str],
    data_moved: bool,
    metrics_port: int | None,
) -> None:
    """Claim pending runs, execute them and deliver their results.

    At the first Ctrl-C the worker finishes what it runs and leaves; at the second one it hands the runs back."""
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
    from repro.stages.files import make_home
    from repro.worker.attempt.executor import Executor
    from repro.worker.gpus import Nvml
    from repro.worker.live.console import BarConsole, Console, LastingConsole, LineConsole
    from repro.worker.loop import Options, Worker
    from repro.worker.process.fork_client import ForkServer
    from repro.worker.slots import Slots, choose_gpus
    from repro.worker.store import identity
    from repro.worker.store.store import OVERWRITES, Store

    inventory = Nvml()
    slots = Slots(choose_gpus(gpus, [gpu.uuid for gpu in inventory.gpus()]), cpus, per_gpu)
    if not slots.size:
        raise click.UsageError("nothing to run on: no card is here and --cpus is 0")
    settings = Settings.read()
    if data_moved and not settings.said_data:
        raise click.UsageError("--data-moved: set REPRO_DATA to the place where the data are now")
    db = connect(settings)
    make_home(settings.home)
    store = Store.open(settings.store, settings.home, cache_size)
    store.objects.check()
    _make_indexes(db)
    console: Console = LastingConsole(BarConsole() if sys.stderr.isatty() else LineConsole())
    beat: Callable[[], None] | None = None
    if metrics_port is not None:
        with needs_metrics():
            from repro.worker.live import prometheus
        console, store, beat = prometheus.observe(metrics_port, slots, console, store)
    known = workers.check_store(db, settings.store) or {}
    creates_once = known["creates_once"] if "creates_once" in known else store.probe()
    whose = identity.of(store, workers.queue_id(db), known.get("id"))
    data = workers.data_root(db, settings.said_data, data_moved)
    workers.fix_store(db, settings.store, creates_once, whose.id)
    if not creates_once:
        console.say(f"warning: {settings.store} {OVERWRITES}")
    try:
        with ForkServer() as fork_server:
            executor = Executor(store, settings.home, data or settings.data, fork_server)
            options = Options(burst, max_runs, max_idle, lease, only_idle, labels)
            Worker(db, executor, slots, options, console, inventory, beat, workers.take_name(db, lease)).run()
    finally:
        console.close()


def _labels(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and value and LABEL.fullmatch(name)):
            raise click.BadParameter(f"expected NAME=VALUE, such as site=berlin, got: {text}")
        found[name] = value
    return found


def _make_indexes(db: "Queue") -> None:
    from repro.scheduler import runs
    from repro.scheduler.live import log_pieces, points
    from repro.scheduler.queue import workers

    for collection in (runs, log_pieces, workers, points):
        collection.create_indexes(db)
