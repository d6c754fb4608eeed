"""What a stage touches besides what it was handed, through the queue."""

import json

from repro.stages.own_files import MANIFEST


def test_an_undeclared_read_stands_in_the_document_and_beside_the_result(bench):
    run = bench.run("reads", "environment")
    assert run["state"] == "done"
    undeclared = run["environment"]["undeclared"]
    assert list(undeclared) == ["environment"]
    assert undeclared["environment"][0] == "*"
    mark = json.loads((bench.folder_of("reads") / MANIFEST).read_text())
    assert mark["environment"]["undeclared"] == undeclared
    assert "not declared: environment: *" in (bench.folder_of("reads") / "repro-log.txt").read_text()


def test_hermetic_makes_it_an_error(bench):
    run = bench.run("reads", "environment", options={"hermetic": True})
    assert run["state"] == "failed"
    assert run["error"]["type"] == "StageError"
    assert "not hermetic: environment: *" in run["error"]["message"]
    assert bench.run("tidy", "write", options={"hermetic": True})["state"] == "done"
    assert "undeclared" not in bench.get("tidy")["environment"]
