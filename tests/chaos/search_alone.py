"""A search computed by a loop without any queue, to hold the queue against.

`python -m tests.chaos.search_alone FOLDER` reads `climb.json` and `peak.json` there, computes all runs of the search
one after another, and prints a JSON object: name -> config, metrics, the SHA-256 of each output; and the winner's name.
"""

import json
import sys
from pathlib import Path

from repro.scheduler.search import base_check, engine, search_config, trials
from repro.stages.running.standalone import Options, run_alone


def main():
    folder = Path(sys.argv[1])
    search = search_config.parse(json.loads((folder / "peak.json").read_text()), "peak")
    config = json.loads((folder / "climb.json").read_text())
    told = {"climb": computed(folder, "climb", config)}
    results = {(0, None): told["climb"]["metrics"][search.metric]}
    used = {key: value["value"] for key, value in manifest(folder, "climb")["params"].items()}
    base = base_check.base_values(search, config, used)
    while not (replayed := engine.replay(search, base, results, {})).over:
        for job in replayed.waits:
            name = trials.name_of(job, search, "peak")
            told[name] = computed(folder, name, trials.config_of(job, search, config))
            results[job.key] = told[name]["metrics"][search.metric]
    print(json.dumps({"runs": told, "winner": trials.name_of(replayed.winner, search, "peak")}))


def computed(folder, name, config):
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    run_alone(path, Options(root=folder / "runs"))
    document = manifest(folder, name)
    return {
        "config": config,
        "metrics": document["metrics"],
        "outputs": {output["path"]: output["sha256"] for output in document["outputs"]},
    }


def manifest(folder, name):
    return json.loads((folder / "runs" / name / "repro-run.json").read_bytes())


if __name__ == "__main__":
    main()
