"""The manifests: against Kubernetes' own schemas, KEDA's documented fields, and the queue that they ask."""

import json
from datetime import timedelta

import kubernetes_validate
import pytest
from bson import Regex, json_util

from repro.commands.worker import worker
from repro.scheduler import runs
from repro.scheduler.runs import demands
from repro.scheduler.server.connection import server_time
from tests.deploy.engine import ROOT
from tests.deploy.kustomize import build

MODULES_ALONE = r"^(module\.\w+=\*( & )?)+$"  # the classes of demands that need nothing else

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = sorted((KUBERNETES / "overlays").iterdir())
VERSIONS = ("1.30", "1.34")
# KEDA 2: the fields of each specification; a name that is none of them would be ignored in silence, or refused.
SCALED_JOB = {
    *(
        "jobTargetRef",
        "pollingInterval",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "envSourceContainerName",
    ),
    *("minReplicaCount", "maxReplicaCount", "rollout", "scalingStrategy", "triggers"),
}
STRATEGY = {
    *("strategy", "customScalingQueueLengthDeduction", "customScalingRunningJobPercentage"),
    *("pendingPodConditions", "multipleScalersCalculation"),
}
TRIGGER = {"type", "name", "useCachedMetrics", "metadata", "authenticationRef", "metricType"}
MONGODB = {
    *("connectionStringFromEnv", "host", "port", "username", "passwordFromEnv", "scheme"),
    *("dbName", "collection", "query", "queryValue", "activationQueryValue"),
}
MONGODB_SECRETS = {"connectionString", "host", "port", "username", "password", "dbName", "scheme"}


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def resources(request):
    return build(request.param)


def of_kind(resources, kind):
    return next(r for r in resources if r["kind"] == kind)


def pod_specs(resources):
    for resource in resources:
        if resource["kind"] == "ScaledJob":
            yield resource["spec"]["jobTargetRef"]["template"]["spec"]
        elif resource["kind"] == "Deployment":
            yield resource["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_own_kinds_fit_its_schemas(resources, version):
    for resource in resources:
        if resource["apiVersion"].startswith("keda.sh/"):
            continue
        kubernetes_validate.validate(resource, version, strict=True)
    job = of_kind(resources, "ScaledJob")
    spec = job["spec"]["jobTargetRef"]
    wrapped = {"apiVersion": "batch/v1", "kind": "Job", "metadata": job["metadata"], "spec": spec}
    kubernetes_validate.validate(wrapped, version, strict=True)


def test_a_wrong_field_is_caught():
    job = of_kind(build(OVERLAYS[0]), "ScaledJob")
    spec = job["spec"]["jobTargetRef"]
    spec["template"]["spec"]["containers"][0]["livenessProb"] = {}
    wrapped = {"apiVersion": "batch/v1", "kind": "Job", "metadata": job["metadata"], "spec": spec}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(wrapped, VERSIONS[0], strict=True)


def test_kedas_kinds_have_only_fields_that_it_knows(resources):
    spec = of_kind(resources, "ScaledJob")["spec"]
    assert set(spec) <= SCALED_JOB
    assert set(spec["scalingStrategy"]) <= STRATEGY
    assert spec["minReplicaCount"] == 0
    (trigger,) = spec["triggers"]
    assert set(trigger) <= TRIGGER
    assert trigger["type"] == "mongodb"
    assert set(trigger["metadata"]) <= MONGODB
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    authentication = of_kind(resources, "TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert {entry["parameter"] for entry in authentication["spec"]["secretTargetRef"]} <= MONGODB_SECRETS


def test_a_worker_can_do_what_it_is_scaled_for(resources):
    """The query's GPU counts, the cards that the pod has, and the options of its worker agree."""
    spec = of_kind(resources, "ScaledJob")["spec"]
    query = json_util.loads(spec["triggers"][0]["metadata"]["query"])
    (container,) = spec["jobTargetRef"]["template"]["spec"]["containers"]
    cards = int(container["resources"]["limits"].get("nvidia.com/gpu", 0))
    command, *words = container["args"]
    options = worker.make_context("worker", list(words)).params
    assert command == "worker"
    held = {"held": {"$in": [False, Regex(MODULES_ALONE)]}}
    assert query == runs.claimable(range(1, cards + 1) if cards else [0]) | held
    assert (options["gpus"], options["cpus"]) == (("all", 0) if cards else ("none", 1))
    assert options["max_idle"], "a job whose worker stays would never let the queue scale to zero"


def test_there_is_time_to_checkpoint_and_no_secret_stands_there(resources):
    spec = of_kind(resources, "ScaledJob")["spec"]["jobTargetRef"]
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 120
    assert spec["backoffLimit"] == 0
    for pod in pod_specs(resources):
        for entry in pod["containers"][0]["env"]:
            assert set(entry["valueFrom"]) == {"secretKeyRef"}
    assert "Secret" not in {resource["kind"] for resource in resources}


def test_the_overlays_do_not_stand_in_each_others_way():
    names = [(r["kind"], r["metadata"]["name"]) for overlay in OVERLAYS for r in build(overlay)]
    assert len(names) == len(set(names))


def test_the_query_counts_what_could_be_claimed(database):
    def submit(name, **options):
        config = {"stage": "noop"} | ({"gpus": options.pop("gpus")} if "gpus" in options else {})
        runs.submit(database, [runs.document(name, config, name, [], options.pop("waiting_for", []), **options)])

    later = server_time(database) + timedelta(hours=1)
    submit("now")
    submit("running")
    assert runs.claim(database, "w", [0], 30)["_id"] == "now"
    submit("held", held=True)
    imports = demands.class_of(demands.of_imports({"imports": ["click", "yaml"]}))
    submit("imports", **demands.fields(imports, held=False))
    submit("elsewhere", **demands.fields(f"{imports} & site=berlin", held=False))
    submit("later", not_before=later)
    submit("waiting", waiting_for=["now"])
    submit("big", gpus=2)
    submit("small", gpus=1)
    submit("huge", gpus=8)
    counted = {}
    for overlay in OVERLAYS:
        metadata = of_kind(build(overlay), "ScaledJob")["spec"]["triggers"][0]["metadata"]
        query = json_util.loads(metadata["query"])
        counted[overlay.name] = database[metadata["collection"]].count_documents(query)
    assert counted == {"cpu": 2, "nvidia-a100": 2, "nvidia-l4": 1}
    assert json.loads(metadata["query"])["state"] == "pending"
