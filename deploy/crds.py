#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes crds.yaml: the custom resources of Velero's API as the operator serves them.

Names, types and required fields are those of Velero 1.18, so that its clients work unchanged;
durations are checked, and Backups and Restores have columns. `crds.py --check` only compares.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def obj(required=(), **properties):
    out = {"type": "object"}
    if properties:  # the server drops an empty map, and every apply would find it missing
        out["properties"] = {k.rstrip("_"): v for k, v in properties.items()}
    if required:
        out["required"] = list(required)
    return out


def plus(schema, **more):
    return {**schema, **more}


def null(schema):
    return plus(schema, nullable=True)


def arr(items, **more):
    return plus({"type": "array", "items": items}, **more)


def enum(*values):
    return {"type": "string", "enum": list(values)}


def mapping(value):
    return {"type": "object", "additionalProperties": value}


S = {"type": "string"}
B = {"type": "boolean"}
I = {"type": "integer"}
I64 = {"type": "integer", "format": "int64"}
TIME = {"type": "string", "format": "date-time", "nullable": True}
DURATION = {"type": "string", "pattern": r"^([-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)"
                                         r"(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*|0)$"}
LIST = arr(S, nullable=True)
STRINGS = mapping(S)
SELECTOR = plus(obj(matchExpressions=arr(obj(("key", "operator"), key=S, operator=S,
                                             values=arr(S))),
                    matchLabels=STRINGS), **{"x-kubernetes-map-type": "atomic"})
REFERENCE = plus(obj(("kind", "name"), apiGroup=S, kind=S, name=S),
                 **{"x-kubernetes-map-type": "atomic"})
KEY = plus(obj(("key",), key=S, name=plus(S, default=""), optional=B),
           **{"x-kubernetes-map-type": "atomic"})
POD = plus(obj(apiVersion=S, fieldPath=S, kind=S, name=S, namespace=S, resourceVersion=S, uid=S),
           **{"x-kubernetes-map-type": "atomic"})
ON_ERROR = enum("Continue", "Fail")
COMMAND = arr(S, minItems=1)
WHICH = dict(includedNamespaces=LIST, excludedNamespaces=LIST, includedResources=LIST,
             excludedResources=LIST, labelSelector=null(SELECTOR))
HOOK = arr(obj(("exec",), exec=obj(("command",), command=COMMAND, container=S, onError=ON_ERROR,
                                   timeout=DURATION)))
PROGRESS = obj(bytesDone=I64, totalBytes=I64)
HOOK_STATUS = null(obj(hooksAttempted=I, hooksFailed=I))
UPLOADER = enum("kopia", "restic", "")
DATA_PHASE = enum("New", "Accepted", "Prepared", "InProgress", "Canceling", "Canceled",
                  "Completed", "Failed")
NODE_OS = enum("auto", "linux", "windows")

BACKUP_SPEC = obj(
    **{k: v for k, v in WHICH.items()},
    includedClusterScopedResources=LIST, excludedClusterScopedResources=LIST,
    includedNamespaceScopedResources=LIST, excludedNamespaceScopedResources=LIST,
    includeClusterResources=null(B), orLabelSelectors=arr(SELECTOR, nullable=True),
    orderedResources=null(STRINGS), metadata=obj(labels=STRINGS),
    snapshotVolumes=null(B), snapshotMoveData=null(B), datamover=S,
    defaultVolumesToFsBackup=null(B), defaultVolumesToRestic=null(B),
    storageLocation=S, volumeSnapshotLocations=arr(S), volumeGroupSnapshotLabelKey=S,
    ttl=DURATION, csiSnapshotTimeout=DURATION, itemOperationTimeout=DURATION,
    resourcePolicy=REFERENCE, uploaderConfig=null(obj(parallelFilesUpload=I)),
    hooks=obj(resources=arr(obj(("name",), name=S, pre=HOOK, post=HOOK, **WHICH),
                            nullable=True)))

BACKUP_STATUS = obj(
    phase=enum("New", "Queued", "ReadyToStart", "FailedValidation", "InProgress",
               "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed",
               "Finalizing", "FinalizingPartiallyFailed", "Completed", "PartiallyFailed",
               "Failed", "Deleting"),
    version=I, formatVersion=S, queuePosition=I, startTimestamp=TIME, completionTimestamp=TIME,
    expiration=TIME, validationErrors=LIST, failureReason=S, warnings=I, errors=I,
    progress=null(obj(totalItems=I, itemsBackedUp=I)),
    volumeSnapshotsAttempted=I, volumeSnapshotsCompleted=I, csiVolumeSnapshotsAttempted=I,
    csiVolumeSnapshotsCompleted=I, backupItemOperationsAttempted=I,
    backupItemOperationsCompleted=I, backupItemOperationsFailed=I, hookStatus=HOOK_STATUS)

RESTORE_SPEC = obj(
    **{k: v for k, v in WHICH.items()},
    backupName=S, scheduleName=S, orLabelSelectors=arr(SELECTOR, nullable=True),
    namespaceMapping=STRINGS, restorePVs=null(B), preserveNodePorts=null(B),
    includeClusterResources=null(B), existingResourcePolicy=null(S),
    restoreStatus=null(obj(includedResources=LIST, excludedResources=LIST)),
    itemOperationTimeout=DURATION, resourceModifier=null(REFERENCE),
    resourcePolicy=null(REFERENCE),
    uploaderConfig=null(obj(writeSparseFiles=null(B), parallelFilesDownload=I)),
    hooks=obj(resources=arr(obj(("name",), name=S, postHooks=arr(obj(
        exec=obj(("command",), command=COMMAND, container=S, onError=ON_ERROR,
                 execTimeout=DURATION, waitTimeout=DURATION, waitForReady=null(B)),
        init=obj(timeout=DURATION, initContainers=arr(
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            **{"x-kubernetes-preserve-unknown-fields": True})))), **WHICH))))

RESTORE_STATUS = obj(
    phase=enum("New", "FailedValidation", "InProgress", "WaitingForPluginOperations",
               "WaitingForPluginOperationsPartiallyFailed", "Finalizing",
               "FinalizingPartiallyFailed", "Completed", "PartiallyFailed", "Failed"),
    startTimestamp=TIME, completionTimestamp=TIME, validationErrors=LIST, failureReason=S,
    warnings=I, errors=I, progress=null(obj(totalItems=I, itemsRestored=I)),
    restoreItemOperationsAttempted=I, restoreItemOperationsCompleted=I,
    restoreItemOperationsFailed=I, hookStatus=HOOK_STATUS)

DOWNLOADS = enum("BackupLog", "BackupContents", "BackupVolumeSnapshots", "BackupItemOperations",
                 "BackupResourceList", "BackupResults", "BackupVolumeInfos",
                 "CSIBackupVolumeSnapshots", "CSIBackupVolumeSnapshotContents", "RestoreLog",
                 "RestoreResults", "RestoreResourceList", "RestoreItemOperations",
                 "RestoreVolumeInfo")

AGE = ("Age", "date", ".metadata.creationTimestamp")
DATA_COLUMNS = [("Status", "string", ".status.phase"), ("Started", "date", ".status.startTimestamp"),
                ("Bytes Done", "integer", ".status.progress.bytesDone"),
                ("Total Bytes", "integer", ".status.progress.totalBytes"),
                ("Storage Location", "string", ".spec.backupStorageLocation"), AGE,
                ("Node", "string", ".status.node")]
RUN_COLUMNS = [("Status", "string", ".status.phase"), ("Errors", "integer", ".status.errors"),
               ("Warnings", "integer", ".status.warnings"),
               ("Started", "date", ".status.startTimestamp"), AGE]
TIMES = dict(startTimestamp=TIME, completionTimestamp=TIME, acceptedTimestamp=TIME)

# kind, plural, short names, version, spec, status, columns
KINDS = [
    ("Backup", "backups", [], "v1", BACKUP_SPEC, BACKUP_STATUS,
     RUN_COLUMNS + [("Expires", "string", ".status.expiration"),
                    ("Location", "string", ".spec.storageLocation")]),
    ("Restore", "restores", [], "v1", RESTORE_SPEC, RESTORE_STATUS,
     [("Backup", "string", ".spec.backupName")] + RUN_COLUMNS),
    ("Schedule", "schedules", [], "v1",
     obj(("schedule", "template"), schedule=S, template=BACKUP_SPEC, paused=B, skipImmediately=B,
         useOwnerReferencesInBackup=null(B)),
     obj(phase=enum("New", "Enabled", "FailedValidation"), lastBackup=TIME, lastSkipped=TIME,
         validationErrors=arr(S)),
     [("Status", "string", ".status.phase"), ("Schedule", "string", ".spec.schedule"),
      ("LastBackup", "date", ".status.lastBackup"), AGE, ("Paused", "boolean", ".spec.paused")]),
    ("BackupStorageLocation", "backupstoragelocations", ["bsl"], "v1",
     obj(("provider", "objectStorage"), provider=S, default=B,
         accessMode=enum("ReadOnly", "ReadWrite"), config=STRINGS, credential=KEY,
         backupSyncPeriod=null(DURATION), validationFrequency=null(DURATION),
         objectStorage=obj(("bucket",), bucket=S, prefix=S, caCert=plus(S, format="byte"),
                           caCertRef=KEY)),
     obj(phase=enum("Available", "Unavailable"), message=S, lastSyncedTime=TIME,
         lastValidationTime=TIME, lastSyncedRevision=S, accessMode=enum("ReadOnly", "ReadWrite")),
     [("Phase", "string", ".status.phase"),
      ("Last Validated", "date", ".status.lastValidationTime"), AGE,
      ("Default", "boolean", ".spec.default")]),
    ("VolumeSnapshotLocation", "volumesnapshotlocations", ["vsl"], "v1",
     obj(("provider",), provider=S, config=STRINGS, credential=KEY),
     obj(phase=enum("Available", "Unavailable")), [AGE]),
    ("DeleteBackupRequest", "deletebackuprequests", [], "v1", obj(("backupName",), backupName=S),
     obj(phase=enum("New", "InProgress", "Processed"), errors=LIST),
     [("BackupName", "string", ".spec.backupName"), ("Status", "string", ".status.phase")]),
    ("DownloadRequest", "downloadrequests", [], "v1",
     obj(("target",), target=obj(("kind", "name"), kind=DOWNLOADS, name=S)),
     obj(phase=enum("New", "Processed"), downloadURL=S, expiration=TIME), [AGE]),
    ("ServerStatusRequest", "serverstatusrequests", ["ssr"], "v1", obj(),
     obj(phase=enum("New", "Processed"), processedTimestamp=TIME, serverVersion=S,
         plugins=arr(obj(("kind", "name"), kind=S, name=S), nullable=True)), [AGE]),
    ("BackupRepository", "backuprepositories", [], "v1",
     obj(("volumeNamespace", "backupStorageLocation", "maintenanceFrequency"), volumeNamespace=S,
         backupStorageLocation=S, maintenanceFrequency=S, repositoryType=UPLOADER,
         resticIdentifier=S, repositoryConfig=null(STRINGS)),
     obj(phase=enum("New", "Ready", "NotReady"), message=S, lastMaintenanceTime=TIME,
         recentMaintenance=arr(obj(result=enum("Succeeded", "Failed"), startTimestamp=TIME,
                                   completeTimestamp=TIME, message=S))),
     [AGE, ("Repository Type", "string", ".spec.repositoryType")]),
    ("PodVolumeBackup", "podvolumebackups", [], "v1",
     obj(("backupStorageLocation", "node", "pod", "repoIdentifier", "volume"),
         backupStorageLocation=S, node=S, pod=POD, repoIdentifier=S, volume=S, tags=STRINGS,
         uploaderType=UPLOADER, uploaderSettings=null(STRINGS), cancel=B),
     obj(phase=DATA_PHASE, path=S, snapshotID=S, message=S, progress=PROGRESS,
         incrementalBytes=I64, **TIMES),
     DATA_COLUMNS + [("Uploader", "string", ".spec.uploaderType")]),
    ("PodVolumeRestore", "podvolumerestores", [], "v1",
     obj(("backupStorageLocation", "pod", "repoIdentifier", "snapshotID", "sourceNamespace",
          "volume"),
         backupStorageLocation=S, pod=POD, repoIdentifier=S, snapshotID=S, snapshotSize=I64,
         sourceNamespace=S, volume=S, uploaderType=UPLOADER, uploaderSettings=null(STRINGS),
         cancel=B),
     obj(phase=DATA_PHASE, message=S, node=S, progress=PROGRESS, **TIMES),
     DATA_COLUMNS + [("Uploader Type", "string", ".spec.uploaderType")]),
    ("DataUpload", "datauploads", [], "v2alpha1",
     obj(("backupStorageLocation", "operationTimeout", "snapshotType", "sourceNamespace",
          "sourcePVC"),
         backupStorageLocation=S, operationTimeout=S, snapshotType=S, sourceNamespace=S,
         sourcePVC=S, cancel=B, datamover=S, dataMoverConfig=null(STRINGS),
         csiSnapshot=null(obj(("storageClass", "volumeSnapshot"), volumeSnapshot=S,
                              storageClass=S, snapshotClass=S, driver=S))),
     obj(phase=DATA_PHASE, path=S, snapshotID=S, dataMoverResult=null(STRINGS), message=S, node=S,
         nodeOS=NODE_OS, acceptedByNode=S, incrementalBytes=I64, progress=PROGRESS, **TIMES),
     DATA_COLUMNS),
    ("DataDownload", "datadownloads", [], "v2alpha1",
     obj(("backupStorageLocation", "operationTimeout", "snapshotID", "sourceNamespace",
          "targetVolume"),
         backupStorageLocation=S, operationTimeout=S, snapshotID=S, snapshotSize=I64,
         sourceNamespace=S, cancel=B, datamover=S, dataMoverConfig=STRINGS, nodeOS=NODE_OS,
         targetVolume=obj(("namespace", "pv", "pvc"), namespace=S, pv=S, pvc=S)),
     obj(phase=DATA_PHASE, message=S, node=S, acceptedByNode=S, progress=PROGRESS, **TIMES),
     DATA_COLUMNS),
]


def crd(kind, plural, short, version, spec, status, columns):
    names = {"kind": kind, "listKind": kind + "List", "plural": plural, "singular": kind.lower()}
    if short:
        names["shortNames"] = short
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": plural + ".velero.io", "labels": {"component": "velero"}},
        "spec": {"group": "velero.io", "scope": "Namespaced", "names": names, "versions": [{
            "name": version, "served": True, "storage": True,
            "additionalPrinterColumns": [dict(zip(("name", "type", "jsonPath"), c))
                                         for c in columns],
            "schema": {"openAPIV3Schema": obj(apiVersion=S, kind=S, metadata={"type": "object"},
                                              spec=spec, status=status)}}]}}


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = value.replace("-", "").replace("/", "").replace(".", "").isalnum()
        return value if plain and not value[0].isdigit() and value[0] not in ".-" else \
            "'" + value.replace("'", "''") + "'"
    return str(value)


def flow(value):
    if isinstance(value, dict):
        return "{" + ", ".join(k + ": " + flow(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def lines(value, indent):
    """Block style, and flow style for what fits into a line."""
    pad = "  " * indent
    for key, v in value.items():
        text = flow(v)
        if not isinstance(v, (dict, list)) or len(pad) + len(key) + len(text) < 98 and \
                (not isinstance(v, dict) or "properties" not in v):
            yield pad + key + ": " + text
        elif isinstance(v, list):
            yield pad + key + ":"
            for item in v:
                if isinstance(item, dict) and len(flow(item)) > 90:
                    first = True
                    for line in lines(item, indent + 2):
                        yield pad + "  - " + line[len(pad) + 4:] if first else line
                        first = False
                else:
                    yield pad + "  - " + flow(item)
        else:
            yield pad + key + ":"
            yield from lines(v, indent + 1)


def text():
    out = ["# SPDX-License-Identifier: Apache-2.0", "# Made by crds.py: change that."]
    for kind in KINDS:
        out.append("---")
        out += lines(crd(*kind), 0)
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    path = os.path.join(HERE, "crds.yaml")
    if "--check" in sys.argv:
        with open(path, encoding="utf-8") as f:
            same = f.read() == text()
        print("crds.yaml is " + ("current" if same else "not what crds.py writes: run it"))
        sys.exit(0 if same else 1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text())
