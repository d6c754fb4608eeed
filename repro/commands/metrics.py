"""`repro metrics`: the queue's figures for Prometheus."""

import click


@click.command(epilog="Example: repro metrics --port 9465")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Serve the figures at http://THIS-MACHINE:PORT/metrics until stopped."
)
def metrics(port: int | None) -> None:
    """Print the queue's figures in Prometheus' format, or serve them. One such server for each queue is enough. Each
    worker serves its own figures (`repro worker --metrics-port`)."""
    from repro.commands.shared.optional_packages import needs_metrics
    from repro.readers.queue_access import connect

    with needs_metrics():
        from prometheus_client import generate_latest

        from repro.views.queue_metrics import QueueCollector
        from repro.worker.live.prometheus import serve

    collector = QueueCollector(connect())
    if port is None:
        click.echo(generate_latest(collector).decode(), nl=False)
        return
    collector.collect()  # what is wrong is said now, not to the first who asks
    serve(port, collector)
    click.echo(f"the queue's figures: http://127.0.0.1:{port}/metrics", err=True)
    _until_stopped()


def _until_stopped() -> None:
    import signal
    import threading

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
