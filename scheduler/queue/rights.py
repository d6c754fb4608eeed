"""What the user of MongoDB may do, as the server says: so that nobody is offered what would be refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from repro.scheduler.server.connection import Queue

EVERY = {"find", "insert", "update", "remove", "changeStream"}  # that the product asks for


def may_change_runs(db: Queue) -> bool:
    """Whether runs may be changed, as far as users have rights at all here."""
    info = db.client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    if not info["authenticatedUsers"]:
        return True
    return "update" in allowed(info["authenticatedUserPrivileges"], db.name, "runs")


def allowed(privileges: Sequence[Mapping[str, Any]], database: str, collection: str) -> set[str]:
    """The actions on a collection that privileges add up to; an empty name in one stands for every name."""
    allowed: set[str] = set()
    for privilege in privileges:
        on = privilege["resource"]
        named = on.get("db") in ("", database) and on.get("collection") in ("", collection)
        if named or on.get("anyResource"):
            allowed.update(privilege["actions"])
    return allowed | EVERY if "anyAction" in allowed else allowed
