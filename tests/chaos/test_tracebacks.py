import pytest

from tests.chaos import tracebacks

HEAD = "worker a:1: 0 cards\nTraceback (most recent call last):\n"
END = "pymongo.errors.AutoReconnect: connection closed\nworker a:1: trying again\n"
PYMONGO = '  File "/v/lib/python3.11/site-packages/pymongo/pool.py", line 3, in run\n    self.target()\n    ~~~~^^\n'
THREADING = '  File "/usr/lib/python3.11/threading.py", line 1038, in _bootstrap_inner\n    self.run()\n'
REPRO = '  File "/home/x/repro/worker/loop.py", line 5, in run\n    self.db.find()\n'


@pytest.mark.parametrize("frames", [REPRO, REPRO + PYMONGO, THREADING, THREADING + REPRO + PYMONGO, ""])
def test_a_traceback_of_the_product_or_of_nobody_known_is_told(frames):
    frames = frames or '  File "<string>", line 1, in <module>\n'
    (told,) = tracebacks.ours(HEAD + frames + END)
    assert told.endswith("connection closed")


def test_one_of_the_drivers_own_thread_is_not():
    assert tracebacks.ours(HEAD + THREADING + PYMONGO + PYMONGO + END) == []
    assert len(tracebacks.ours((HEAD + THREADING + PYMONGO + END) * 2 + HEAD + PYMONGO + REPRO + END)) == 1
