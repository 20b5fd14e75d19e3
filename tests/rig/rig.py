"""Starts the real peers of the library for a test suite, and ends them after it.

    from rig import Rig

    with Rig(parts=["apiserver", "minio", "kubelet"]) as rig:
        rig.load_shop()
        rig.kubectl("get", "pods", "-n", "shop")
        rig.restart("apiserver", kill=True)

Everything listens on 127.0.0.1 with ports picked at start; data and logs live under
rig.dir, a temporary directory. See README.md in this folder.
"""

import atexit
import concurrent.futures
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import buildlib  # noqa: E402
import keeper  # noqa: E402
import parts as registry  # noqa: E402
import s3  # noqa: E402

Skip = buildlib.Skip

MERGE = "application/merge-patch+json"
STOP_GRACE = 15.0
PATIENCE = 60.0


class RigError(Exception):
    """A part did not start, or something waited for did not come."""


class ApiError(RigError):
    def __init__(self, method, path, status, body):
        super().__init__("%s %s: %d %s" % (method, path, status, body[:500]))
        self.status = status


def ensure_apt(packages):
    """Installs Debian packages that are missing; raises Skip where that can't be."""
    def missing():
        out = []
        for name in packages:
            run = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", name],
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if run.stdout != "install ok installed":
                out.append(name)
        return out

    if not shutil.which("dpkg-query") or not shutil.which("apt-get"):
        raise Skip("skipped: needs the Debian packages %s" % " ".join(packages))
    todo = missing()
    if not todo:
        return
    if os.geteuid() != 0:
        raise Skip("skipped: needs root to install %s" % " ".join(todo))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq",
               "--no-install-recommends"] + todo
    run = None
    for argv in (install, ["apt-get", "-qq", "update"], install):
        run = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        if argv is install and run.returncode == 0:
            return
    raise Skip("skipped: apt-get can't install %s: %s" % (
        " ".join(todo), (run.stdout.strip().splitlines() or ["no output"])[-1]))


class Proc:
    """A server process: leader of a session of its own, output in a log file."""

    def __init__(self, rig, name, argv, env, cwd):
        self.rig, self.name, self.argv = rig, name, argv
        self.log = os.path.join(rig.dir, name + ".log")
        full = dict(os.environ)
        full.update(env or {})
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, env=full, cwd=cwd,
                                          start_new_session=True)
        self.pid = self.popen.pid
        stat = keeper.stat_of(self.pid)
        self.since = stat[3] if stat else 0
        rig._tell_keeper("add %d" % self.pid)

    def alive(self):
        return self.popen.poll() is None

    def tail(self, lines=25):
        with open(self.log, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - 16384))
            text = f.read().decode(errors="replace").splitlines()[-lines:]
        return "\n".join("  %s| %s" % (self.name, line[:400]) for line in text)

    def send(self, number):
        """A signal to all processes of the session; for SIGSTOP and SIGCONT tests."""
        keeper.signal_all(keeper.members(self.pid, self.since), number)

    def stop(self, grace=STOP_GRACE):
        if self.alive():
            self.send(signal.SIGCONT)
            self.popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(grace)
        self.kill()

    def kill(self):
        """SIGKILL, the children it may have left too."""
        self.send(signal.SIGKILL)
        self.popen.wait()
        self.send(signal.SIGKILL)
        self.rig._tell_keeper("del %d" % self.pid)


class Rig:
    """A context manager; parts that are needed by the named ones are started too.

    parts            names out of parts.PARTS
    crds             apply crds/*.yaml (and Velero's, with the part velero or velero_crds)
    velero_features  for the Velero server's --features, such as "EnableCSI"
    keep             leave rig.dir in place at the end
    verbose          one line on stderr per step (also by VMB_RIG_VERBOSE=1)
    options          {part: {...}}: whatever a part documents, such as more flags
    """

    def __init__(self, parts=("apiserver",), crds=True, velero_crds=None, velero_features="",
                 keep=False, verbose=None, options=None, dir=None):
        registry.load()
        self.wanted = list(parts)
        for name in self.wanted:
            if name not in registry.PARTS:
                raise RigError("no such part: %s (there are: %s)" % (
                    name, " ".join(sorted(registry.PARTS))))
        self.crds = crds
        self.velero_crds = "velero" in self.wanted if velero_crds is None else velero_crds
        self.velero_features = velero_features
        self.keep = keep or bool(os.environ.get("VMB_RIG_KEEP"))
        self.verbose = (bool(os.environ.get("VMB_RIG_VERBOSE")) if verbose is None else verbose)
        self.options = options or {}
        self.s3 = {}
        self.tokens = {}
        self.node = None
        self.kubeconfig = self.api_url = self.token = self.ca_file = None
        self.client_cert = self.client_key = None
        self.parts = {}
        self.skipped = {}
        self.times = {}
        self._dir = dir
        self._ports = set()
        self._lock = threading.RLock()
        self._keeper = None
        self._order = []
        self._pki = None
        self._up = False

    # life

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *exc):
        self.down()
        return False

    def up(self):
        self.dir = tempfile.mkdtemp(prefix="vmbackup-rig-", dir=self._dir)
        os.chmod(self.dir, 0o755)
        self._up = True
        self._keeper = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "keeper.py"), str(os.getpid())],
            stdin=subprocess.PIPE, start_new_session=True)
        self._tell_keeper("keep" if self.keep else "dir " + self.dir)
        atexit.register(self.down)
        try:
            self._start_all(self._closure(self.wanted))
        except BaseException:
            self.down()
            raise

    def down(self):
        """Ends the parts in reverse order and removes rig.dir; may be called twice."""
        if not self._up:
            return
        self._up = False
        atexit.unregister(self.down)
        for name in reversed(self._order):
            try:
                self.parts[name].stop()
                self.parts[name].close()
            except Exception as e:  # the others have to go down as well
                self.say("%s: %s" % (name, e), always=True)
        self._order.clear()
        self._keeper.stdin.close()  # it ends whatever was left
        self._keeper.wait()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _closure(self, names):
        out = []

        def add(name):
            for other in registry.PARTS[name].needs:
                add(other)
            if name not in out:
                out.append(name)

        for name in names:
            add(name)
        return out

    def _start_all(self, names):
        """Starts the parts at the same time, each as soon as what it needs is there."""
        failed = []
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(2, len(names))) as pool:
            running, todo = {}, list(names)
            while running or (todo and not failed):
                for name in list(todo):
                    needs = registry.PARTS[name].needs
                    gone = [n for n in needs if n in self.skipped]
                    if gone:
                        self.skipped[name] = self.skipped[gone[0]]
                        todo.remove(name)
                    elif not failed and all(n in self._order for n in needs):
                        todo.remove(name)
                        running[pool.submit(self._start_one, name)] = name
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    try:
                        future.result()
                        self._order.append(name)
                    except Skip as e:
                        self.skipped[name] = str(e)
                        self.say("%s: %s" % (name, e))
                    except BaseException as e:
                        failed.append(e)
        if failed:
            raise failed[0]

    def _start_one(self, name):
        start = time.monotonic()
        part = self.parts[name] = registry.PARTS[name](self)
        try:
            part.setup()
            part.start()
        except BaseException:
            part.kill()
            part.close()
            raise
        self.times[name] = time.monotonic() - start
        self.say("%s: up in %.1f s" % (name, self.times[name]))

    def has(self, name):
        """Whether a part runs (it may have been skipped on this machine)."""
        return name in self._order

    def need(self, *names):
        """Raises Skip when one of the parts could not be had here."""
        for name in names:
            if name in self.skipped:
                raise Skip("%s: %s" % (name, self.skipped[name]))

    def add(self, name):
        """Starts one more part (and what it needs) on a running rig."""
        self._start_all([n for n in self._closure([name]) if n not in self._order])

    def stop(self, name, kill=False):
        part = self.parts[name]
        part.kill() if kill else part.stop()

    def start(self, name):
        """Starts again a part that was stopped."""
        self.parts[name].start()

    def restart(self, name, kill=False):
        """Stops (or kills, as a crash would) one part and starts it again, same ports."""
        self.stop(name, kill)
        self.start(name)

    def pause(self, name):
        """SIGSTOP: the part's connections stay open and nothing answers."""
        for proc in self.parts[name].procs:
            proc.send(signal.SIGSTOP)

    def resume(self, name):
        for proc in self.parts[name].procs:
            proc.send(signal.SIGCONT)

    # helpers, for parts and for suites

    def say(self, text, always=False):
        if self.verbose or always:
            print("rig: " + text, file=sys.stderr, flush=True)

    def option(self, part, name, default=None):
        return self.options.get(part, {}).get(name, default)

    def _tell_keeper(self, line):
        with self._lock:
            with contextlib.suppress(OSError, ValueError):
                self._keeper.stdin.write(line.encode() + b"\n")
                self._keeper.stdin.flush()

    def spawn(self, name, argv, env=None, cwd=None):
        return Proc(self, name, [str(a) for a in argv], env, cwd or self.dir)

    def free_port(self):
        """A port of 127.0.0.1 below those the kernel gives to clients."""
        with self._lock:
            for _ in range(1000):
                port = random.randint(10000, 31999)
                if port in self._ports:
                    continue
                with socket.socket() as sock:
                    try:
                        sock.bind(("127.0.0.1", port))
                    except OSError:
                        continue
                self._ports.add(port)
                return port
        raise RigError("no free port")

    def wait(self, fn, seconds, what, procs=()):
        """Calls fn until it returns something true, and returns that.

        An exception of fn counts as "not yet", and stands in the error at the deadline. How long a
        thing takes on a busy machine nobody knows: less than PATIENCE is never waited.
        """
        seconds = max(seconds, PATIENCE)
        deadline, pause, last = time.monotonic() + seconds, 0.02, None
        while True:
            dead = [p for p in procs if not p.alive()]
            try:
                value = fn()
                if value:
                    return value
                last = None
            except Exception as e:
                last = e
            if dead:
                raise RigError("%s ended with %d while waiting for %s\n%s" % (
                    dead[0].name, dead[0].popen.returncode, what, dead[0].tail()))
            if time.monotonic() > deadline:
                raise RigError("no %s after %g s%s%s" % (
                    what, seconds, " (%s: %s)" % (type(last).__name__, last) if last else "",
                    "".join("\n" + p.tail() for p in procs)))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def run(self, argv, input=None, env=None, check=True, timeout=120):
        """Runs a command to its end; returns the CompletedProcess, with text."""
        full = dict(os.environ)
        full.update(env or {})
        done = subprocess.run([str(a) for a in argv], input=input, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", env=full,
                              timeout=timeout,
                              stdin=subprocess.DEVNULL if input is None else None)
        if check and done.returncode:
            raise RigError("%s: exit %d\n%s%s" % (" ".join(map(str, argv)), done.returncode,
                                                  done.stdout[-2000:], done.stderr[-2000:]))
        return done

    # certificates

    @property
    def pki(self):
        """The rig's certificate authority (pki.Pki), made at first use."""
        with self._lock:
            if self._pki is None:
                import pki
                self._pki = pki.Pki(os.path.join(self.dir, "pki"), self.run)
            return self._pki

    def environment(self):
        """Environment variables for people and for programs that a suite starts."""
        folders = [buildlib.part_dir(p) for p in buildlib.BUILDS if buildlib.is_built(p)]
        out = {"RIG_DIR": self.dir,
               "PATH": os.pathsep.join(folders + [os.environ.get("PATH", "/usr/bin:/bin")])}
        if self.has("apiserver"):
            out.update(KUBECONFIG=self.kubeconfig, RIG_API_URL=self.api_url,
                       RIG_TOKEN=self.token, RIG_CA_FILE=self.ca_file,
                       RIG_CLIENT_CERT=self.client_cert, RIG_CLIENT_KEY=self.client_key)
        for name in reversed(sorted(n for n in self.s3 if self.has(n))):
            at = self.s3[name]
            out.update({"AWS_ACCESS_KEY_ID": at["access_key"],
                        "AWS_SECRET_ACCESS_KEY": at["secret_key"], "AWS_REGION": at["region"],
                        "AWS_ENDPOINT_URL_S3": at["endpoint"]})
            out.update({"RIG_S3_%s_%s" % (name.upper(), k.upper()): v for k, v in at.items()})
        return out

    # Kubernetes

    def kubectl(self, *args, input=None, check=True, user=None, timeout=120):
        """Runs the real kubectl; returns its standard output, or with check=False the
        CompletedProcess, exit code and all."""
        config = self.kubeconfig if user is None else self.kubeconfig_of(user)
        done = self.run([buildlib.binary("kubectl", self.say), "--kubeconfig", config,
                         "--cache-dir", os.path.join(self.dir, "kubectl-cache")] + list(args),
                        input=input, check=check, timeout=timeout)
        return done.stdout if check else done

    def kubeconfig_of(self, user):
        """A kubeconfig for another user of rig.tokens, such as "viewer"."""
        return self.parts["apiserver"].kubeconfig_of(user)

    def api(self, method, path, body=None, content_type=None, token=None, timeout=30):
        """One request to the API server with JSON in and out; raises ApiError."""
        if content_type is None:
            content_type = MERGE if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self.api_url + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + (token or self.token),
                     "Content-Type": content_type, "Accept": "application/json"})
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise ApiError(method, path, e.code, e.read().decode(errors="replace")) from None
        try:
            return json.loads(text)
        except ValueError:
            return text.decode(errors="replace")

    def path_of(self, obj, namespace=None):
        """The API path of an object's collection, by discovery."""
        version, kind = obj["apiVersion"], obj["kind"]
        root = "/api/" + version if "/" not in version else "/apis/" + version
        found = next((r for r in self.api("GET", root)["resources"]
                      if r["kind"] == kind and "/" not in r["name"]), None)
        if not found:
            raise RigError("the API server has no %s %s" % (version, kind))
        if found["namespaced"]:
            root += "/namespaces/" + (namespace or obj["metadata"].get("namespace", "default"))
        return root + "/" + found["name"]

    def load(self, path_or_text):
        """The objects of a YAML or JSON file (or text), as Python values."""
        text = path_or_text
        if "\n" not in text and os.path.exists(text):
            with open(text, encoding="utf-8") as f:
                text = f.read()
        text = self.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f",
                            "-", input=text).strip()
        out, decoder = [], json.JSONDecoder()
        while text:  # one document after another
            one, end = decoder.raw_decode(text)
            out += one["items"] if one["kind"] == "List" else [one]
            text = text[end:].lstrip()
        return out

    def apply(self, path_or_text):
        """kubectl apply of a file, a folder or a text."""
        if "\n" not in path_or_text and os.path.exists(path_or_text):
            return self.kubectl("apply", "-f", path_or_text)
        return self.kubectl("apply", "-f", "-", input=path_or_text)

    def apply_crds(self, path_or_text):
        """Applies CustomResourceDefinitions and waits until they are served."""
        self.apply(path_or_text)
        self.wait(self._established, 60, "established custom resources")

    def _established(self):
        """Whether each custom resource is there and served.

        For a moment after its start the API server answers a list of them with 429, "storage
        is (re)initializing".
        """
        items = self.api("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
        if not all(any(c["type"] == "Established" and c["status"] == "True"
                       for c in item.get("status", {}).get("conditions", [])) for item in items):
            return False
        for item in items:
            for version in item["spec"]["versions"]:
                if version["served"]:
                    self.api("GET", "/apis/%s/%s/%s?limit=1" % (
                        item["spec"]["group"], version["name"], item["spec"]["names"]["plural"]))
        return True

    def load_shop(self, storage_class=None):
        """Makes the demo namespace `shop` (fixtures/shop.yaml), statuses included; returns
        {(kind, namespace, name): object}. See shop.load() for storage_class."""
        return self.load_fixture(os.path.join(HERE, "fixtures", "shop.yaml"), storage_class)

    def load_fixture(self, path_or_text, storage_class=None):
        """Makes another fixture in the manner of shop.yaml."""
        import shop
        return shop.load(self, path_or_text, storage_class)

    def wipe(self, namespace):
        """Deletes a namespace with all it holds, finalizers or not; no controller needed.

        Cluster-scoped volumes of the namespace's claims go too.
        """
        self.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
        roots = ["/api/v1"] + ["/apis/" + g["preferredVersion"]["groupVersion"]
                               for g in self.api("GET", "/apis")["groups"]]
        for root in roots:
            for r in self.api("GET", root)["resources"]:
                if not r["namespaced"] or "/" in r["name"] or not {"list", "delete", "patch"} <= \
                        set(r["verbs"]):
                    continue
                base = "%s/namespaces/%s/%s" % (root, namespace, r["name"])
                for item in self.api("GET", base)["items"]:
                    path = base + "/" + item["metadata"]["name"]
                    with contextlib.suppress(ApiError):  # it may be gone by now
                        if item["metadata"].get("finalizers"):
                            self.api("PATCH", path, {"metadata": {"finalizers": None}})
                        self.api("DELETE", path + "?gracePeriodSeconds=0")
        for item in self.api("GET", "/api/v1/persistentvolumes")["items"]:
            if item["spec"].get("claimRef", {}).get("namespace") == namespace:
                path = "/api/v1/persistentvolumes/" + item["metadata"]["name"]
                with contextlib.suppress(ApiError):
                    self.api("PATCH", path, {"metadata": {"finalizers": None}})
                    self.api("DELETE", path)
        with contextlib.suppress(ApiError):
            found = self.api("GET", "/api/v1/namespaces/" + namespace)
            found["spec"]["finalizers"] = []
            self.api("PUT", "/api/v1/namespaces/%s/finalize" % namespace, found)
        self.wait(lambda: self._gone("/api/v1/namespaces/" + namespace), 30,
                  "end of the namespace " + namespace)

    def _gone(self, path):
        try:
            self.api("GET", path)
            return False
        except ApiError as e:
            return e.status == 404

    # the node's exec endpoint

    def exec_journal(self):
        """What was run in pods: a list of {time, namespace, pod, container, argv, exit}."""
        return self.parts["kubelet"].journal()

    def exec_fault(self, **fault):
        """Makes the next commands fail; see parts/kubelet.py. Without arguments: no fault."""
        self.parts["kubelet"].fault(**fault)

    # stores and Velero

    def s3client(self, name, bucket=None):
        """An s3.S3 for rig.s3[name]."""
        at = self.s3[name]
        return s3.S3(at["endpoint"], at["access_key"], at["secret_key"], at["region"],
                     bucket or at["bucket"])

    def velero(self, *args, check=True, timeout=300):
        """Runs the real velero client; returns its output, or with check=False the
        CompletedProcess."""
        done = self.run([buildlib.binary("velero", self.say), "--kubeconfig", self.kubeconfig,
                         "--namespace", "velero"] + list(args), check=check, timeout=timeout,
                        env={"HOME": self.dir})
        return done.stdout if check else done

    def velero_location(self, name, store, prefix="", default=False, bucket=None):
        """Adds a BackupStorageLocation on one of rig.s3 and waits until it is Available."""
        self.parts["velero"].location(name, store, prefix, default, bucket)
