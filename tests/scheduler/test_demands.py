"""What runs need of machines: who meets it, and that a claim stays a read of one index."""

import pytest

from repro.scheduler import runs
from repro.scheduler.queue import claims, submission
from repro.scheduler.runs import demands
from repro.stages.errors import ConfigError

HAS = {"card": "NVIDIA A100-SXM4-80GB", "memory": 80 * 10**9, "torch": "2.13.0+cpu", "site": "Berlin", "cuda": "12.4"}


@pytest.mark.parametrize(
    ("needs", "is_met"),
    [
        ("card=*A100*", True),
        ("card=*a100*", True),
        ("card=A100", False),
        ("memory>=40GB", True),
        ("memory >= 80 GB", True),
        ("memory>80GB", False),
        ("memory<81gb", True),
        ("memory>=75GiB", False),
        ("memory>=74GiB", True),
        ("memory<=80000000000", True),
        ("torch=2.13.*", True),
        ("torch==2.13.0+cpu", True),
        ("torch>=2.6", True),
        ("torch>=2.13", True),
        ("torch>2.13.0", False),
        ("torch<2.9", False),
        ("cuda>=12.4.0", True),
        ("site=berlin", True),
        ("site=paris", False),
        ("colour=red", False),
        ("site>=3", False),
    ],
)
def test_who_meets_a_demand(needs, is_met):
    assert demands.is_met(demands.class_of([needs]), HAS.get) is is_met
    assert demands.is_met(demands.class_of([needs, "site=berlin"]), HAS.get) is is_met
    assert not demands.is_met(demands.class_of([needs, "site=paris"]), HAS.get)


@pytest.mark.parametrize(
    "needs", ["", "card", "=a", "card=", "card>=A100", "a b=c", "card=a & b", "ä=b", 5, None, "x" * 3000 + "=1"]
)
def test_what_is_no_demand_is_refused(needs):
    with pytest.raises(ConfigError, match=r"^needs: "):
        submission.Options(needs=[needs])
    with pytest.raises(ConfigError, match=r"^needs: expected a list"):
        submission.Options(needs="card=a")


def test_a_class_hangs_on_no_order_and_no_blanks():
    one = demands.class_of(["site=berlin", "card = A100", "site==berlin"])
    assert one == demands.class_of(["card=A100", "site=berlin"]) == "card=A100 & site=berlin"
    assert demands.class_of([]) == ""
    assert not demands.is_met("something newer ~ than this", HAS.get)


def submit(db, name, needs=(), **options):
    made = submission.Options(needs=list(needs), **options).fields()
    assert runs.submit(db, [runs.document(name, {"stage": "train"}, name, [], [], **made)]) == []


def claimed(db, *met):
    run = runs.claim(db, "w", [0], 30, met=met)
    return run and run["_id"]


def test_only_who_meets_it_claims_it(database):
    runs.create_indexes(database)
    submit(database, "a", ["site=berlin"])
    submit(database, "b", ["site=paris"], priority=5)
    submit(database, "c")
    assert sorted(claims.classes_waiting(database)) == ["site=berlin", "site=paris"]
    assert claimed(database) == "c"
    assert claimed(database) is None
    assert claims.claimable_later(database, [0]) is False
    assert claims.first_in_line(database, [0], met=["site=paris", "site=berlin"])["_id"] == "b"
    assert claimed(database, "site=berlin") == "a"
    assert claimed(database, "site=berlin") is None
    assert claimed(database, "site=paris", "site=berlin") == "b"


def test_what_is_held_keeps_its_demands(database):
    submit(database, "a", ["site=berlin"], held=True)
    assert claimed(database, "site=berlin") is None
    assert claims.classes_waiting(database) == []
    runs.unhold(database, "a")
    assert claimed(database) is None
    runs.hold(database, "a")
    assert claimed(database, "site=berlin") is None
    runs.unhold(database, "a")
    run = runs.claim(database, "w", [0], 30, met=["site=berlin"])
    assert (run["needs"], run["held"]) == ("site=berlin", "site=berlin")
    runs.hand_back(database, "a", run["lease"]["token"])
    assert claimed(database) is None
    assert claimed(database, "site=berlin") == "a"


def test_a_rerun_needs_what_its_original_needed(database):
    submit(database, "a", ["site=berlin"])
    run = runs.claim(database, "w", [0], 30, met=["site=berlin"])
    assert runs.complete(database, "a", run["lease"]["token"], "file:///s/a-0", {"outputs": [], "metrics": {}})
    runs.rerun(database, database.runs.find_one({"_id": "a"}), {})
    assert claimed(database) is None
    assert claimed(database, "site=berlin") == "a.verify"


def test_a_claim_reads_one_key_whatever_else_waits(database):
    runs.create_indexes(database)
    for number in range(300):
        submit(database, f"other{number}", ["site=paris"], priority=9)
    submit(database, "mine", ["site=berlin"])
    submit(database, "plain")
    guard = runs.claimable([0], met=["site=berlin", "site=rome"])
    asked = database.runs.find(guard).sort(list(dict(runs.CLAIM_ORDER).items())).limit(1)
    stats = asked.explain()["executionStats"]
    assert stats["nReturned"] == 1
    assert stats["totalKeysExamined"] <= 4
    assert stats["totalDocsExamined"] <= 2
