"""`python -m repro.tools.provision`: what servers that have just been started need before the first run.

It is told by the environment, for it stands in `docker-compose.yml`: REPRO_MONGO_URL names MongoDB's administrator,
on the server's own host; REPRO_MONGO_MEMBER the HOST:PORT by which all others find it; REPRO_MONGO_ROLES the file of
roles; REPRO_STORE the bucket. To be run at every start: what is there stays, or is brought up to date.
"""

import json
import os
import sys
from pathlib import Path

from repro.stages.errors import ReproError

PATIENCE = 90.0  # seconds for an S3 server that starts
PASSWORDS = {
    "worker": ("REPRO_WORKER_PASSWORD", "reproWorker"),
    "operator": ("REPRO_OPERATOR_PASSWORD", "reproMaintainer"),  # who holds .env also rebuilds the queue
}


def main() -> int:
    try:
        _provision()
    except ReproError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _provision() -> None:
    from repro.scheduler.queue.bootstrap import Account, provision
    from repro.scheduler.server.connection import reachable
    from repro.scheduler.settings import Settings
    from repro.worker.store.objects.s3_connection import create_bucket

    wanted = ["REPRO_MONGO_URL", "REPRO_MONGO_MEMBER", "REPRO_MONGO_ROLES", "REPRO_STORE"]
    wanted += [variable for variable, _ in PASSWORDS.values()]
    if missing := [name for name in wanted if not os.environ.get(name)]:
        raise ReproError(f"not set: {', '.join(missing)}; docker-compose.yml sets them from .env")
    settings = Settings.read()
    roles = json.loads(Path(os.environ["REPRO_MONGO_ROLES"]).read_text())
    accounts = [Account(name, os.environ[variable], role) for name, (variable, role) in PASSWORDS.items()]
    with reachable(settings.mongo_url or ""):
        provision(settings, os.environ["REPRO_MONGO_MEMBER"], roles, accounts)
    print(f"MongoDB: ready; users {', '.join(account.name for account in accounts)}", flush=True)
    made = create_bucket(settings.store, PATIENCE)
    print(f"{settings.store}: {'made' if made else 'is there'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
