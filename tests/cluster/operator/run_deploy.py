#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a new user does with deploy/: the commands of README.md and docs/operator.md as they stand
there, with an operator that has the manifests' own account; then, that the board and the alerts name
metrics that there are, and that the command prints what the velero client prints."""
import json
import os
import re
import shutil
import subprocess
import sys

from operatorlib import DEPLOY, ROOT, main
from rig import Skip
from trouble import Trouble


def commands(page, heading):
    """The indented block below a heading, with its here-documents whole."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        section = f.read().split("\n" + heading + "\n", 1)[1].split("\n## ", 1)[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    found = []
    end = None
    for line in lines:
        if end or (found and found[-1].endswith("\\")):
            found[-1] += "\n" + line
        else:
            found.append(line)
        if end and line == end:
            end = None
        elif not end and "<<" in line:
            end = line.split("<<", 1)[1].split()[0]
    return found


def metric_names(text):
    """Names of metrics in expressions, with what a histogram adds taken off."""
    names = re.findall(r"\b((?:velero|vmbackup|podVolume)_[a-zA-Z0-9_]+)", text)
    return {re.sub(r"_(bucket|sum|count)$", "", n) for n in names}


def squeeze(text):
    """Lines without what differs by intent: blanks at their ends, words of advice, colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r" \(run ['`\"](velero|vmbackup) .*?information\)", "", text)
    text = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return re.sub(r"\n\n+", "\n\n", text).split("\n")


NOWHERE = """
apiVersion: velero.io/v1
kind: Backup
metadata: {name: nowhere, namespace: velero}
spec: {includedNamespaces: [shop], volumeSnapshotLocations: [nowhere]}
"""


class Suite(Trouble):
    PARTS = ("apiserver", "controller-manager", "minio")

    def shell(self, command, code=0):
        """A command of the documents, in a folder that looks like the sources."""
        env = dict(os.environ, **self.rig.environment(), HOME=self.rig.dir)
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=env,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == code, "%s\n%s%s" % (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def to_the_rig(self, command):
        """The documents' store is Amazon's; the rig has another one."""
        at = self.rig.s3["minio"]
        ours = "region=%s,s3ForcePathStyle=true,s3Url=%s" % (at["region"], at["endpoint"])
        yaml = "region: %s, s3ForcePathStyle: 'true', s3Url: '%s'" % (at["region"], at["endpoint"])
        return command.replace("region=us-east-1", ours).replace("region: us-east-1", yaml)

    # installing

    def readme_installs(self):
        self.folder = os.path.join(self.rig.dir, "sources")
        os.makedirs(self.folder)
        os.symlink(DEPLOY, os.path.join(self.folder, "deploy"))
        at = self.rig.s3["minio"]
        with open(os.path.join(self.folder, "credentials"), "w", encoding="utf-8") as f:
            f.write("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n" %
                    (at["access_key"], at["secret_key"]))
        self.rig.kubectl("create", "namespace", "shop")
        self.rig.kubectl("create", "configmap", "c", "-n", "shop", "--from-literal=k=v")
        steps = commands("README.md", "## The operator")
        assert len(steps) == 5 and steps[0].startswith("kubectl apply -k deploy"), steps
        out = self.shell(steps[0])
        assert "deployment.apps/vmbackup-operator created" in out and "Warning" not in out, out
        self.rig.wait(self.rig._established, 60, "established custom resources")
        self.shell(steps[1])
        self.kubeconfig = self.account_kubeconfig()
        self.start("--leader-elect")
        self.ready()
        self.shell(self.to_the_rig(steps[2]))
        self.wait_location("default", "Available")
        out = self.shell(steps[3])
        assert "Completed" in out, out
        out = self.shell(steps[4])
        assert re.search(r"^first +Completed ", out, re.M), out

    def manual_installs(self):
        """The same by docs/operator.md, over what is there."""
        steps = commands("docs/operator.md", "## Install")
        assert [s.split("\n")[0].split(" -n")[0] for s in steps] == [
            "kubectl apply -k deploy", "kubectl create secret generic cloud-credentials",
            "kubectl apply -f - <<END", "kubectl get bsl"], steps
        out = self.shell(steps[0])
        changed = [line for line in out.splitlines() if not line.endswith(" unchanged")]
        assert not changed, changed
        self.rig.kubectl("delete", "secret", "cloud-credentials", "-n", "velero")
        self.rig.kubectl("delete", "bsl", "default", "-n", "velero")
        self.shell(steps[1])
        self.shell(self.to_the_rig(steps[2]))
        self.wait_location("default", "Available")
        assert re.search(r"^default +Available ", self.shell(steps[3]), re.M)

    def server_accepts_the_manifests_strictly(self):
        out = self.shell("kubectl apply --dry-run=server --validate=strict -k deploy")
        assert "(server dry run)" in out and "Warning" not in out, out
        done = subprocess.run([sys.executable, os.path.join(DEPLOY, "crds.py"), "--check"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def template(self):
        text = open(os.path.join(DEPLOY, "deployment.yaml"), encoding="utf-8").read()
        pod = self.rig.load(text)[0]["spec"]["template"]
        pod.update(apiVersion="v1", kind="Pod")
        pod["metadata"]["name"] = "probe"
        return pod

    def pod_lives_in_a_restricted_namespace(self):
        """Really created: the namespace enforces, which a pod that asks for more shows."""
        label = self.rig.kubectl("get", "namespace", "velero", "-o", "jsonpath={.metadata.labels."
                                 "pod-security\\.kubernetes\\.io/enforce}")
        assert label == "restricted", label
        bad = self.template()
        bad["spec"]["containers"][0]["securityContext"]["capabilities"] = {"add": ["SYS_ADMIN"]}
        done = self.rig.kubectl("create", "-n", "velero", "-f", "-", input=json.dumps(bad),
                                check=False)
        assert done.returncode != 0 and "PodSecurity" in done.stderr, done.stderr
        done = self.rig.kubectl("create", "-n", "velero", "-f", "-",
                                input=json.dumps(self.template()), check=False)
        assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
        pod = self.rig.api("GET", "/api/v1/namespaces/velero/pods/probe")
        assert pod["spec"]["serviceAccountName"] == "vmbackup-operator", pod["spec"]
        self.rig.kubectl("delete", "pod", "probe", "-n", "velero", "--wait=false")

    # what the client shows

    def same(self, theirs, ours, but=()):
        """The velero client and the command print the same, but for some lines."""
        a = squeeze(self.rig.velero(*theirs))
        b = squeeze(self.vmbackup(*ours, "--kubeconfig", self.rig.kubeconfig))
        a, b = ([line for line in lines if not re.match(r"\s*(%s)" % "|".join(but or ["\\0"]), line)]
                for lines in (a, b))
        assert a == b, "velero:\n%s\n\nvmbackup:\n%s" % ("\n".join(a), "\n".join(b))

    def command_prints_as_the_client(self):
        self.rig.velero("restore", "create", "back", "--from-backup", "first",
                        "--namespace-mappings", "shop:copy", "--wait")
        self.rig.velero("schedule", "create", "nightly", "--schedule", "0 22 * * *",
                        "--include-namespaces", "shop", "-l", "app=web")
        self.rig.wait(lambda: self.phase("schedules", "nightly") == "Enabled", 30, "schedule")
        self.rig.velero("snapshot-location", "create", "ebs", "--provider", "aws", "--config",
                        "region=x")
        self.same(["restore", "get"], ["restore", "get"])
        self.same(["schedule", "get"], ["get", "schedules"])
        self.same(["snapshot-location", "get"], ["get", "snapshot-locations"])
        self.same(["restore", "describe", "back"], ["restore", "describe", "back"])
        self.same(["restore", "describe", "back", "--details"],
                  ["describe", "restore", "back", "--details"])
        self.same(["schedule", "describe", "nightly"], ["describe", "schedule", "nightly"],
                  ["Storage Location:", "CSISnapshotTimeout:", "ItemOperationTimeout:"])
        self.same(["restore", "logs", "back"], ["logs", "restore", "back"])

    def results_are_described_as_by_the_client(self):
        """A restore that has something to tell: the object is there, and differs."""
        self.rig.kubectl("patch", "configmap", "c", "-n", "copy", "-p", '{"data": {"k": "x"}}')
        self.rig.velero("restore", "create", "again", "--from-backup", "first",
                        "--namespace-mappings", "shop:copy", "--wait")
        found = self.object("restores", "again")["status"]
        assert found.get("warnings"), found
        self.same(["restore", "describe", "again"], ["restore", "describe", "again"])
        self.same(["restore", "get"], ["get", "restores"])

    def command_chooses_snapshot_locations_of_the_cluster(self):
        self.rig.velero("snapshot-location", "create", "other", "--provider", "aws", "--config",
                        "region=y")
        self.backup("several", "shop")
        status = self.wait_phase("backups", "several", "FailedValidation")["status"]
        assert "provider aws has several" in status["validationErrors"][0], status
        self.rig.velero("backup", "create", "named", "--include-namespaces", "shop",
                        "--volume-snapshot-locations", "other", "--wait")
        spec = self.wait_phase("backups", "named", "Completed")["spec"]
        assert spec["volumeSnapshotLocations"] == ["other"], spec
        self.rig.apply(NOWHERE)
        status = self.wait_phase("backups", "nowhere", "FailedValidation")["status"]
        assert "nowhere" in status["validationErrors"][0], status

    # monitoring

    def board_and_alerts_name_metrics_that_there_are(self):
        out = self.http("/metrics")
        # of the last word of "# TYPE name kind"; a metric without a series yet is declared, too
        known = set(re.findall(r"^# TYPE (\S+) ", out, re.M))
        for name in ("alerts.yaml", "grafana.json"):
            with open(os.path.join(DEPLOY, "monitoring", name), encoding="utf-8") as f:
                wanted = metric_names(f.read())
            assert len(wanted) > 5, wanted
            assert wanted <= known, "%s: not in /metrics: %r" % (name, sorted(wanted - known))
        with open(os.path.join(ROOT, "docs", "operator.md"), encoding="utf-8") as f:
            section = f.read().split("\n## Metrics\n", 1)[1].split("\n## ", 1)[0]
        wanted = metric_names(section)
        assert wanted <= known, "docs/operator.md: %r" % sorted(wanted - known)

    def promtool_agrees(self):
        promtool = os.environ.get("PROMTOOL") or shutil.which("promtool")
        if not promtool:
            raise Skip("needs promtool (Debian's package prometheus)")
        done = subprocess.run([promtool, "check", "metrics"], input=self.http("/metrics"),
                              capture_output=True, text=True)
        # Velero's names are as they are
        bad = [line for line in done.stdout.splitlines() + done.stderr.splitlines()
               if not re.match(r"velero_", line)]
        assert not bad, "\n".join(bad)
        with open(os.path.join(DEPLOY, "monitoring", "alerts.yaml"), encoding="utf-8") as f:
            spec = f.read().split("\nspec:\n", 1)[1]
        path = os.path.join(self.rig.dir, "rules.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(re.sub(r"^  ", "", spec, flags=re.M))
        done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True)
        assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr

    def image_has_the_libraries(self):
        """Every library of the operator is of a package that the Containerfile installs."""
        with open(os.path.join(DEPLOY, "Containerfile"), encoding="utf-8") as f:
            image = f.read().rsplit("\nFROM ", 1)[1]
        if not shutil.which("dpkg-query"):
            raise Skip("needs dpkg")
        program = os.path.realpath(os.environ.get("VMBACKUP", ""))
        build = os.path.dirname(os.path.dirname(os.path.dirname(program)))
        library = os.path.join(build, "src", "libvmbackup.so")
        if not os.path.exists(library):
            raise Skip("needs the library beside the command")
        text = subprocess.run(["readelf", "-d", library], capture_output=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*?)\]", text)
        paths = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(
            ["ldd", library], capture_output=True, text=True).stdout))
        assert "libcurl.so.4" in needed, needed
        for name in needed:
            done = subprocess.run(["dpkg-query", "-S", os.path.realpath(paths[name])],
                                  capture_output=True, text=True)
            package = done.stdout.split(":", 1)[0]
            sanitizer = re.match(r"lib[atu]b?san", package)
            assert package in ("libc6",) or sanitizer or re.search(
                r"\s%s\s" % re.escape(package), image), "%s (%s) is not installed" % (package, name)

    def operator_ends(self):
        assert self.stop() == 0, self.tail()

    STEPS = [readme_installs, manual_installs, server_accepts_the_manifests_strictly,
             pod_lives_in_a_restricted_namespace, command_prints_as_the_client,
             results_are_described_as_by_the_client,
             command_chooses_snapshot_locations_of_the_cluster,
             board_and_alerts_name_metrics_that_there_are, promtool_agrees,
             image_has_the_libraries, operator_ends]


if __name__ == "__main__":
    sys.exit(main(Suite))
