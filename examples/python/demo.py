#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Matches labels, then backs up the demo cluster into a dict: the store, the hooks' guest and an item
action are written in Python.

usage: demo.py CLUSTER-DIR      ($LIBVMBACKUP may name the library's file)
"""
import io
import sys
import tarfile
from typing import Any, Dict, Iterable, List, Tuple

import vmbackup
from vmbackup import constants


class DictStore(vmbackup.Store):
    """A store that is a dict."""

    def __init__(self) -> None:
        self.objects: Dict[str, bytes] = {}

    def put(self, job: vmbackup.Job, key: str, data: bytes, if_absent: bool) -> None:
        if if_absent and key in self.objects:
            raise vmbackup.Error(constants.E_EXISTS, f"{key} exists")
        self.objects[key] = data

    def get(self, job: vmbackup.Job, key: str) -> bytes:
        return self.objects[key]

    def keys(self, job: vmbackup.Job, prefix: str) -> Iterable[Tuple[str, int]]:
        return [(k, len(v)) for k, v in self.objects.items() if k.startswith(prefix)]

    def remove(self, job: vmbackup.Job, key: str) -> None:
        self.objects.pop(key, None)


class Guest(vmbackup.Exec):
    """Answers the hooks of the demo's pods."""

    def __init__(self) -> None:
        self.commands: List[List[str]] = []

    def run(self, job: vmbackup.Job, namespace: str, pod: str, container: str,
            command: List[str]) -> Tuple[int, bytes, bytes]:
        self.commands.append(command)
        return 0, f"{pod}: done\n".encode(), b""


class Stamp(vmbackup.Action):
    """Marks virtual machines with the backup's name."""

    applies_to = "virtualmachines.kubevirt.io"

    def backup(self, job: vmbackup.Job, group: str, resource: str, item: Dict[str, Any],
               result: vmbackup.ActionResult) -> None:
        annotations = item["metadata"].setdefault("annotations", {})
        annotations["example.org/backup"] = job.backup_name
        result.set_item(item)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    selector = vmbackup.Selector("app in (web,db),!old")
    print(selector, selector.matches({"app": "web"}), selector.matches({"app": "web", "old": ""}))

    store, guest = DictStore(), Guest()
    context = vmbackup.Context()
    context.use("cluster.dir", {"path": sys.argv[1]})
    context.use("actions.kubernetes")
    context.use("actions.kubevirt")
    context.add_action(Stamp())
    context.add_exec(guest)
    context.add_store("memory", store, default=True)

    spec = vmbackup.Spec("python")
    spec["spec.includedNamespaces"] = ["shop"]
    spec["spec.labelSelector"] = {"matchLabels": {"app": "web"}}
    spec["spec.snapshotVolumes"] = False
    stored: List[str] = []
    run = vmbackup.Run(context, spec, lambda e: stored.append(e.subject)
                       if e.kind == constants.EVENT_STORED else None)
    print(run.execute(), len(stored), "files")
    for command in guest.commands:
        print("hook:", " ".join(command))

    with vmbackup.Catalog(context) as catalog:
        print([b["metadata"]["name"] for b in catalog.list()])
        machine = catalog.read_item("python", "virtualmachines.kubevirt.io", "shop", "web")
        print(machine["metadata"]["annotations"]["example.org/backup"])
        data = catalog.read("python", constants.FILE_CONTENTS)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
    print(len(names), "members")
    run.close()
    context.close()
    print("providers left:", vmbackup.live_count())
    return 0 if any("virtualmachines" in n for n in names) and vmbackup.live_count() == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
