"""`repro worker`: claim runs and execute them."""

import sys
from collections.abc import Callable

import click

from repro.commands.shared.option_types import LONGEST, Number, Size
from repro.commands.shared.optional_packages import needs_metrics


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
@click.option("--max-idle", type=Number(0, LONGEST), metavar="SECONDS", help="Leave after this time without a run.")
@click.option("--lease", type=Number(1, LONGEST), default=30, show_default=True, metavar="SECONDS",
              help="A worker that sends no heartbeat for this time loses its runs.")  # fmt: skip
@click.option(
    "--cache-size",
    type=Size(),
    metavar="SIZE",
    help="How many bytes of inputs to keep on this machine, such as 200GB. The default is 50GB or a tenth of the disk.",
)
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
    metrics_port: int | None,
) -> None:
    """Claim pending runs, execute them and deliver their results.

    At the first Ctrl-C the worker finishes what it runs and leaves; at the second one it hands the runs back."""
    from repro.scheduler import runs
    from repro.scheduler.live import log_pieces, points
    from repro.scheduler.queue import workers
    from repro.scheduler.server.connection import connect
    from repro.scheduler.settings import Settings
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
    db = connect(settings)
    store = Store.open(settings.store, settings.home, cache_size)
    store.objects.check()
    runs.create_indexes(db)
    log_pieces.create_indexes(db)
    workers.create_indexes(db)
    points.create_indexes(db)
    console: Console = LastingConsole(BarConsole() if sys.stderr.isatty() else LineConsole())
    beat: Callable[[], None] | None = None
    if metrics_port is not None:
        with needs_metrics():
            from repro.worker.live import prometheus
        console, store, beat = prometheus.observe(metrics_port, slots, console, store)
    known = workers.check_store(db, settings.store) or {}
    creates_once = known["creates_once"] if "creates_once" in known else store.probe()
    whose = identity.of(store, workers.queue_id(db), known.get("id"))
    workers.fix_store(db, settings.store, creates_once, whose.id)
    if not creates_once:
        console.say(f"warning: {settings.store} {OVERWRITES}")
    try:
        with ForkServer() as fork_server:
            executor = Executor(store, settings.home, settings.data, fork_server)
            options = Options(burst, max_runs, max_idle, lease, only_idle)
            Worker(db, executor, slots, options, console, inventory, beat).run()
    finally:
        console.close()
