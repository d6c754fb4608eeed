"""Which GPUs a worker takes, and that no run gets more or fewer than its config says."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from repro.scheduler.lists import listing
from repro.scheduler.queue import workers
from repro.stages.errors import ConfigError
from repro.worker.gpus import MEMORY_OF_OTHERS, Load, used_by_others, visible_gpus
from repro.worker.slots import Slot, Slots, choose_gpus
from tests.worker.fixed_gpus import FixedGpus
from tests.worker.test_worker import wait_for


@pytest.mark.parametrize(
    ("wanted", "chosen"), [("none", []), ("all", ["A", "B", "C"]), ("0", ["A"]), ("2,0", ["C", "A"]), ("1,1", ["B"])]
)
def test_choose(wanted, chosen):
    assert choose_gpus(wanted, ["A", "B", "C"]) == chosen


@pytest.mark.parametrize("wanted", ["3", "-1", "0,5", "a", "", "0;1"])
def test_a_wrong_index_where_there_are_gpus_is_an_error(wanted):
    with pytest.raises(ConfigError, match="--gpus"):
        choose_gpus(wanted, ["A", "B", "C"])


def test_without_any_gpu_indices_warn(capsys):
    assert choose_gpus("0,1", []) == []
    assert "no CUDA device" in capsys.readouterr().err


def test_slots_hand_out_exactly_what_is_asked_and_take_it_back():
    slots = Slots(["A", "B", "C"], cpus=1)
    assert slots.fitting() == [0, 1, 2, 3]
    two, none = slots.take(2), slots.take(0)
    assert (two.gpus, none.gpus) == (("A", "B"), ())
    assert two.environment == {"CUDA_VISIBLE_DEVICES": "A,B"}
    assert none.environment == {"CUDA_VISIBLE_DEVICES": ""}
    assert slots.fitting() == [1]
    assert slots.possible() == [0, 1, 2, 3]
    slots.give_back(two)
    slots.give_back(none)
    assert slots.fitting() == [0, 1, 2, 3]
    assert slots.take(3).gpus == ("A", "B", "C")


def test_shares_of_gpus_are_spread_and_a_shared_gpu_is_no_whole_one():
    slots = Slots(["A", "B"], cpus=0, per_gpu=2)
    assert slots.size == 4
    one, other = slots.take(1), slots.take(1)
    assert {one.gpus, other.gpus} == {("A",), ("B",)}
    assert slots.fitting() == [1]
    slots.give_back(one)
    assert slots.fitting() == [1]
    slots.give_back(other)
    assert slots.take(2) == Slot(("A", "B"))
    assert slots.fitting() == []


class Accounting(RuleBasedStateMachine):
    """Runs come and go in any order, and so do other people's processes."""

    @initialize(gpus=st.integers(1, 4), cpus=st.integers(0, 3), per_gpu=st.integers(1, 3))
    def begin(self, gpus, cpus, per_gpu):
        self.inventory = FixedGpus(tuple(f"GPU-{number}" for number in range(gpus)))
        self.slots = Slots(self.inventory.uuids, cpus, per_gpu)
        self.taken = []

    @precondition(lambda self: self.slots.fitting())
    @rule(data=st.data())
    def take(self, data):
        gpus = data.draw(st.sampled_from(self.slots.fitting()))
        avoided, busy = set(self.slots.avoided), {gpu for slot in self.taken for gpu in slot.gpus}
        slot = self.slots.take(gpus)
        assert len(set(slot.gpus)) == len(slot.gpus) == gpus
        assert not avoided & set(slot.gpus)
        assert gpus < 2 or not busy & set(slot.gpus), "a shared gpu as a whole one"
        self.taken.append(slot)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data):
        self.slots.give_back(self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))))

    @rule(data=st.data())
    def somebody_else_computes(self, data):
        theirs = data.draw(st.sets(st.sampled_from(self.inventory.uuids)))
        self.inventory.loads = {gpu: Load(99, 5 << 30, {1: 5 << 30}) for gpu in theirs}
        self.slots.avoid(used_by_others(self.inventory, self.slots.all_gpus, [], self.slots.used))
        assert set(self.slots.avoided) == theirs

    @invariant()
    def nothing_is_over_committed(self):
        for gpu in self.inventory.uuids:
            holders = [slot for slot in self.taken if gpu in slot.gpus]
            whole = [slot for slot in holders if len(slot.gpus) > 1]
            assert len(holders) <= (1 if whole else self.slots.per_gpu)
        assert sum(not slot.gpus for slot in self.taken) <= self.slots.all_cpus
        assert len(self.taken) <= self.slots.size

    @invariant()
    def what_fits_is_what_is_free(self):
        """Reckoned again from what was handed out."""
        held = [gpu for slot in self.taken for gpu in slot.gpus]
        wholly = {gpu for slot in self.taken if len(slot.gpus) > 1 for gpu in slot.gpus}
        usable = [gpu for gpu in self.inventory.uuids if gpu not in self.slots.avoided]
        free = [gpu for gpu in usable if gpu not in held]
        room = [gpu for gpu in usable if gpu not in wholly and held.count(gpu) < self.slots.per_gpu]
        cpus = self.slots.all_cpus - sum(not slot.gpus for slot in self.taken)
        assert self.slots.fitting() == [*([0] if cpus else []), *range(1, max(len(free), bool(room)) + 1)]
        assert set(self.slots.fitting()) <= set(self.slots.possible())
        assert self.slots.used == [gpu for gpu in self.inventory.uuids if gpu in held]

    def teardown(self):
        if hasattr(self, "slots"):
            for slot in self.taken:
                self.slots.give_back(slot)
            self.slots.avoid([])
            assert self.slots.fitting() == self.slots.possible()


Accounting.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAccounting = Accounting.TestCase


@pytest.mark.parametrize(
    ("allowed", "visible"), [(None, ["A", "B"]), ("", []), ("1", ["B"]), ("B,A", ["B", "A"]), ("7", []), ("-1", [])]
)
def test_what_a_scheduler_left_visible(allowed, visible):
    assert visible_gpus(["A", "B"], allowed) == visible


@pytest.mark.parametrize(
    ("load", "ours", "is_foreign"),
    [
        (Load(0), False, False),
        (Load(0, MEMORY_OF_OTHERS - 1), False, False),
        (Load(97, 40 << 30), False, True),  # a container does not show whose it is
        (Load(97, 40 << 30), True, False),
        (Load(3, 600 << 20, others=2), False, False),  # a desktop
        (Load(97, 40 << 30, {1: 40 << 30}), False, True),  # init is not in our group
        (Load(97, 40 << 30, {1: 40 << 30}), True, True),
        (Load(97, 1, {os.getpid(): 1}), True, False),
        (Load(97, 1, {os.getpid(): 1, 1: 1}), True, True),
        (Load(97, 1, {2**22 + 1: 1}), True, False),  # no such process here, beside runs of ours
        (Load(97, 1, {2**22 + 1: 1}), False, True),
        (None, False, False),
    ],
)
def test_whose_gpu_it_is(load, ours, is_foreign):
    avoided = used_by_others(FixedGpus(("A",), {"A": load}), ["A"], [os.getpgid(0)], ["A"] if ours else [])
    assert avoided == (["A"] if is_foreign else [])


def seen_by(bench, name):
    return json.loads((bench.folder_of(name) / "environment.json").read_text())["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize("per_gpu", [1, 3])
def test_each_run_sees_as_many_gpus_as_its_config_says(bench, per_gpu):
    asked = {"none": 0, "one": 1, "another": 1, "two": 2, "three": 3}
    for name, gpus in asked.items():
        bench.submit(name, "environment", **({"gpus": gpus} if gpus else {}))
    present = ("GPU-a", "GPU-b", "GPU-c")
    bench.work(cpus=2, gpus=present, per_gpu=per_gpu)
    for name, gpus in asked.items():
        visible = [gpu for gpu in seen_by(bench, name).split(",") if gpu]
        assert len(set(visible)) == len(visible) == gpus, name
        assert set(visible) <= set(present)


def test_runs_of_one_gpu_share_it_and_one_of_two_waits_for_whole_ones(bench, tmp_path):
    for number in range(3):
        bench.submit(f"small{number}", "sleeps", started=str(tmp_path / f"s{number}"), seconds=1, gpus=1)
    bench.submit("big", "environment", gpus=2)
    states = []

    def look():
        for number in range(3):
            wait_for(Path(f"{tmp_path}/s{number}.ready").exists)
        states.extend(run["state"] for run in listing.newest(bench.db))

    thread = threading.Thread(target=look)
    thread.start()
    bench.work(cpus=0, gpus=("GPU-a", "GPU-b"), per_gpu=2)
    thread.join()
    assert states == ["running"] * 3 + ["pending"]
    assert seen_by(bench, "big") == "GPU-a,GPU-b"
    assert bench.get("big")["started_at"] >= max(bench.get(f"small{n}")["finished_at"] for n in range(3))


def test_a_gpu_that_somebody_uses_is_left_alone_until_it_is_free(bench):
    """And no big run waits for it, with a GPU kept free."""
    inventory = FixedGpus(("GPU-a", "GPU-b"), {"GPU-b": Load(99, 9 << 30, {1: 9 << 30})})
    bench.submit("big", "environment", gpus=2, options={"priority": 1})
    for number in range(3):
        bench.submit(f"small{number}", "environment", gpus=1)

    def free_it():
        wait_for(lambda: all(bench.get(f"small{number}")["state"] == "done" for number in range(3)))
        assert bench.get("big")["state"] == "pending"
        (worker,) = wait_for(lambda: list(bench.db.workers.find({"avoided": ["GPU-b"]})))
        why = listing.why_waiting(bench.db, [bench.get("big")])["big"]
        assert why == f"needs 2 GPUs and somebody else computes on those of {worker['_id']}"
        inventory.loads = {}

    thread = threading.Thread(target=free_it)
    thread.start()
    bench.work(cpus=0, gpus=inventory.uuids, inventory=inventory, only_idle=True, lease=1)
    thread.join()
    assert {seen_by(bench, f"small{number}") for number in range(3)} == {"GPU-a"}
    assert seen_by(bench, "big") == "GPU-a,GPU-b"
    assert "aside" not in bench.get("big")


def test_without_only_idle_a_used_gpu_is_used(bench):
    inventory = FixedGpus(("GPU-a",), {"GPU-a": Load(99, 9 << 30, {1: 9 << 30})})
    bench.submit("run", "environment", gpus=1)
    bench.work(cpus=0, gpus=inventory.uuids, inventory=inventory)
    assert seen_by(bench, "run") == "GPU-a"


def test_the_processes_of_own_runs_keep_no_gpu_from_others(bench, tmp_path):
    """A run on a GPU is seen by the driver; the next may still share the GPU with it."""
    inventory = FixedGpus(("GPU-a",))
    bench.submit("first", "sleeps", started=str(tmp_path / "first"), seconds=600, gpus=1)
    worker = bench.worker(cpus=0, gpus=inventory.uuids, inventory=inventory, per_gpu=2, only_idle=True)

    def second():
        wait_for(Path(f"{tmp_path}/first.ready").exists)
        processes = json.loads(Path(f"{tmp_path}/first.ready").read_text())
        inventory.loads = {"GPU-a": Load(50, 2 << 30, {processes["pid"]: 1 << 30, processes["helper"]: 1 << 30})}
        bench.submit("second", "environment", gpus=1)
        wait_for(lambda: bench.get("second")["state"] == "done")
        worker._interrupts.handle(15)

    thread = threading.Thread(target=second)
    thread.start()
    worker.run()
    thread.join()
    assert seen_by(bench, "second") == "GPU-a"


def test_two_workers_with_one_gpu_are_both_told(bench):
    """The one that is there already hears it with a heartbeat."""
    here = bench.worker(gpus=("GPU-a", "GPU-b"), lease=1)
    workers.announce(bench.db, "gone-box:1", ["GPU-b"], 1, lease=0)
    gone = subprocess.Popen(["true"])
    gone.wait()
    workers.announce(bench.db, here.name.replace(str(os.getpid()), str(gone.pid)), ["GPU-a"], 1, lease=600)
    before = []

    def warnings():
        return [text for text in here.console.said if "two workers" in text]

    def another_comes():
        wait_for(lambda: bench.db.workers.count_documents({"_id": here.name}))
        before.extend(warnings())
        workers.announce(bench.db, "box:2", ["GPU-c", "GPU-b"], 1, lease=600)
        wait_for(warnings)
        here._interrupts.handle(15)

    thread = threading.Thread(target=another_comes)
    thread.start()
    here.run()
    thread.join()
    assert before == []
    (line,) = warnings()
    assert f"GPU-b by {' and '.join(sorted(['box:2', here.name]))};" in line
    assert "GPU-a" not in line
    assert "GPU-c" not in line
    assert workers.sharing(bench.db) == {}  # one of them has left


def test_the_process_of_a_worker_imports_no_torch(bench, settings_environment, toy_path):
    """Though it has looked for GPUs, executed a run and told of it."""
    bench.submit("run", "write")
    code = (
        "import atexit, os, sys; from repro import cli;"
        "code = cli.run(['worker', '--burst', '--per-gpu', '2', '--only-idle']);"
        "print(code, 'pynvml' in sys.modules, [name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    environment = settings_environment | {"PYTHONPATH": str(toy_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "0 True []\n", done.stderr
    assert bench.get("run")["state"] == "done"


def test_a_gpu_by_number_where_there_is_none_takes_runs_without(bench, cli, toy_path):
    bench.submit("without", "write")
    bench.submit("with", "write", gpus=1)
    done = cli(
        *(sys.executable, "-m", "repro", "worker", "--gpus", "0", "--burst"),
        PYTHONPATH=str(toy_path),
        CUDA_VISIBLE_DEVICES="",
    )
    assert done.returncode == 0, done.stderr
    assert "no CUDA device here; --gpus 0 takes only runs that need none" in done.stderr
    assert (bench.get("without")["state"], bench.get("with")["state"]) == ("done", "pending")
