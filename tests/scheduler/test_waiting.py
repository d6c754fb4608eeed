"""Why a run waits, from the facts alone."""

from datetime import UTC, datetime, timedelta

import pytest

from repro.scheduler.lists.waiting import Facts, reason

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PENDING = {"_id": "a", "state": "pending", "held": False, "not_before": None, "gpus": 0, "waiting_for": []}
CPU, CARDS = {"cards": [], "cpus": 1}, {"cards": ["x", "y"], "cpus": 0}


@pytest.mark.parametrize(
    ("run", "workers", "first", "said"),
    [
        ({"state": "waiting", "waiting_for": ["s", "t", "u"]}, [], {}, "s is running, t is failed, u is gone"),
        ({"held": True}, [CPU], {}, "held"),
        ({"not_before": NOW + timedelta(minutes=3)}, [CPU], {}, "not before 12:03:00 UTC"),
        ({"not_before": NOW - timedelta(minutes=3)}, [CPU], {(0, ""): "a"}, "next in line"),
        ({}, [], {}, "no worker is alive"),
        ({"gpus": 4}, [], {}, "needs 4 GPUs and no worker is alive"),
        ({"gpus": 4}, [CARDS, CPU], {}, "needs 4 GPUs and no live worker has them"),
        ({}, [CARDS], {}, "needs a place without a GPU and no live worker has one"),
        ({"gpus": 1}, [CARDS | {"drain": True}, CPU], {}, "needs 1 GPU and the workers that have one are leaving"),
        ({"gpus": 2}, [CARDS], {(2, ""): "b"}, "behind b for 2 GPUs"),
        ({"gpus": 1}, [CARDS], {(1, ""): "a"}, "next in line for 1 GPU"),
        ({"needs": "a=b"}, [CPU | {"meets": ["a=b"]}], {(0, "a=b"): "c"}, "behind c"),
        ({"needs": "a=b"}, [CPU], {}, "needs a=b, and no live worker has that; see repro workers"),
        ({"needs": "a=b", "held": True}, [CPU], {}, "held"),
    ],
)
def test_the_reason(run, workers, first, said):
    assert reason(PENDING | run, Facts(NOW, {"s": "running", "t": "failed"}, workers, first)) == said
