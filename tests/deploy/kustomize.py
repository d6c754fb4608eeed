"""As much of kustomize as `deploy/kubernetes` uses; whatever else a kustomization says is an error here."""

import copy

import yaml

KNOWN = {"apiVersion", "kind", "resources", "nameSuffix", "images", "patches"}
REFERENCES = {"ConfigMap", "TriggerAuthentication"}  # whose names stand in other resources, too


def build(folder):
    """The resources that `kubectl kustomize FOLDER` prints."""
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(told) <= KNOWN, set(told) - KNOWN
    found = []
    for name in told["resources"]:
        path = (folder / name).resolve()
        found += build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for patch in told.get("patches", []):
        hit = [r for r in found if (r["kind"], r["metadata"]["name"]) == tuple(patch["target"].values())]
        assert len(hit) == 1, patch["target"]
        for operation in yaml.safe_load(patch["patch"]):
            _apply(hit[0], operation)
    for image in told.get("images", []):
        assert _rename_image(found, image["name"], f"{image['newName']}:{image['newTag']}")
    return _with_suffix(found, told.get("nameSuffix", ""))


def _apply(resource, operation):
    """One operation of JSON Patch (RFC 6902)."""
    *way, last = operation["path"].strip("/").split("/")
    at = resource
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    assert operation["op"] == "add" or last in at, operation["path"]
    assert operation["op"] in ("add", "replace")
    at[last] = operation["value"]


def _rename_image(at, name, image):
    """Whether there was one."""
    found = False
    for value in at.values() if isinstance(at, dict) else at:
        if isinstance(value, dict | list):
            found |= _rename_image(value, name, image)
    if isinstance(at, dict) and str(at.get("image", "")).partition(":")[0] == name:
        at["image"] = image
        found = True
    return found


def _with_suffix(resources, suffix):
    found = copy.deepcopy(resources)
    renamed = {r["metadata"]["name"]: r["metadata"]["name"] + suffix for r in found if r["kind"] in REFERENCES}
    for resource in found:
        resource["metadata"]["name"] += suffix
        _rename_references(resource.get("spec", {}), renamed)
    return found


def _rename_references(at, renamed):
    for key, value in at.items() if isinstance(at, dict) else enumerate(at):
        if key in ("configMapRef", "authenticationRef"):
            value["name"] = renamed.get(value["name"], value["name"])
        elif isinstance(value, dict | list):
            _rename_references(value, renamed)
