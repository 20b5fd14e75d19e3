"""Makes a fixture on the rig's API server: objects, uids in references, statuses.

There are no controllers, scheduler and kubelet behind the server, so the statuses that
they would write are written here.
"""

import copy
import re

PLACE = re.compile(r"\$\{(?:uid:([^/}]+)/([^/}]*)/([^}]+)|(node))\}")


def key(obj):
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def fill(value, uids, node):
    """A copy of the value with ${uid:...} and ${node} replaced."""
    def one(match):
        return node if match[4] else uids[match[1], match[2], match[3]]

    if isinstance(value, str):
        return PLACE.sub(one, value)
    if isinstance(value, list):
        return [fill(v, uids, node) for v in value]
    if isinstance(value, dict):
        return {fill(k, uids, node): fill(v, uids, node) for k, v in value.items()}
    return value


def load(rig, path_or_text, storage_class=None, seconds=60):
    """Returns {(kind, namespace, name): object} as the server has them at the end.

    With storage_class, the claims ask it for their volumes instead of being bound to the
    fixture's; that needs the parts csi and controller-manager.
    """
    node = rig.node or "rig-node"
    objects = rig.load(path_or_text)
    uids, paths, late = {}, {}, []
    collections = {}
    if storage_class:
        objects = [o for o in objects if o["kind"] not in ("PersistentVolume", "StorageClass")]

    def collection(obj):
        at = obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace")
        if at not in collections:
            collections[at] = rig.path_of(obj)
        return collections[at]

    for obj in objects:
        status = obj.get("status")
        # All but the status: that may speak of objects which are still to come.
        body = fill({k: v for k, v in obj.items() if k != "status"}, uids, node)
        if storage_class and body["kind"] == "PersistentVolumeClaim":
            body["spec"].pop("volumeName", None)
            body["spec"]["storageClassName"] = storage_class
            for name in [n for n in body["metadata"].get("annotations", {})
                         if n.startswith(("pv.kubernetes.io/", "volume.kubernetes.io/"))]:
                del body["metadata"]["annotations"][name]
            status = None
        path = paths[key(body)] = collection(body) + "/" + body["metadata"]["name"]
        try:
            made = rig.api("POST", collection(body), body)
        except Exception as e:
            shared = body["kind"] != "PersistentVolume" and not body["metadata"].get("namespace")
            if getattr(e, "status", 0) != 409 or not (shared or body["kind"] == "ServiceAccount"):
                raise
            made = rig.api("GET", path)  # from a fixture before, or of a controller
        uids[key(body)] = made["metadata"]["uid"]
        if status:
            late.append((key(body), status))
    for (kind, namespace, name), path in paths.items():
        if kind == "PersistentVolume":
            claim = rig.api("GET", path)["spec"].get("claimRef")
            if claim:
                uid = uids["PersistentVolumeClaim", claim["namespace"], claim["name"]]
                rig.api("PATCH", path, {"spec": {"claimRef": {"uid": uid}}})
    for at, status in late:
        status = fill(copy.deepcopy(status), uids, node)
        try:
            rig.api("PATCH", paths[at] + "/status", {"status": status})
        except Exception as e:
            if getattr(e, "status", 0) != 404:
                raise
            rig.api("PATCH", paths[at], {"status": status})  # no such subresource
    if storage_class:
        for at, path in paths.items():
            if at[0] == "PersistentVolumeClaim":
                rig.wait(lambda: rig.api("GET", path)["status"].get("phase") == "Bound", seconds,
                         "bound claim " + at[2])
    return {at: rig.api("GET", path) for at, path in paths.items()}
