"""Ceph's RADOS gateway, from Debian's packages: one monitor, one OSD in memory, one gateway.

Data is lost at a restart of the OSD, by design; rig.restart("rgw") restarts the gateway alone.
"""

import os
import shutil
import uuid

from . import Part, register

PACKAGES = ["radosgw", "ceph-mon", "ceph-osd", "ceph-common"]

CONF = """[global]
fsid = {fsid}
mon_initial_members = a
mon_host = v2:127.0.0.1:{mon}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_bind_port_min = {osd}
ms_bind_port_max = {osd_max}
ms_bind_msgr1 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 10000
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
run_dir = {dir}
log_file = {dir}/$name.log
admin_socket = {dir}/$name.asok
debug_ms = 0

[mon.a]
host = localhost
mon_data = {dir}/mon

[osd.0]
osd_data = {dir}/osd
osd_objectstore = memstore
memstore_device_bytes = {memory}

[client.rgw.a]
rgw_frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} ssl_certificate={cert} ssl_private_key={key}
rgw_dns_name = s3.test.local
rgw_thread_pool_size = 64
"""


@register
class Rgw(Part):
    """Option memory: bytes of the in-memory store (1 GiB)."""

    name = "rgw"
    backend = ()

    def setup(self):
        import rig as rigs
        rigs.ensure_apt(PACKAGES)
        for program in ("radosgw", "ceph-mon", "ceph-osd", "ceph", "monmaptool"):
            if not shutil.which(program):
                raise rigs.Skip("skipped: no %s on this machine" % program)
        rig = self.rig
        http, https, mon, osd = (rig.free_port() for _ in range(4))
        cert, key = rig.pki.server("rgw", ("localhost", "s3.test.local", "*.s3.test.local"))
        rig.s3["rgw"] = {
            "endpoint": "http://127.0.0.1:%d" % http, "access_key": "rigrgwaccess",
            "secret_key": "rigrgwsecret", "region": "default", "bucket": "backups",
            "tls_endpoint": "https://127.0.0.1:%d" % https, "ca_file": rig.pki.ca_file,
            "dns_name": "s3.test.local"}
        fsid, self.conf = str(uuid.uuid4()), self.path("ceph.conf")
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(CONF.format(fsid=fsid, mon=mon, osd=osd, osd_max=osd + 40, dir=self.dir,
                                memory=rig.option("rgw", "memory", 1 << 30), http=http,
                                https=https, cert=cert, key=key))
        os.mkdir(self.path("mon"))
        os.mkdir(self.path("osd"))
        self.backend = []
        self.ceph("monmaptool", "--create", "--fsid", fsid, "--addv", "a",
                  "[v2:127.0.0.1:%d]" % mon, self.path("monmap"))
        self.ceph("ceph-mon", "-i", "a", "--mkfs", "--monmap", self.path("monmap"))
        self.backend.append(rig.spawn("ceph-mon", ["ceph-mon", "-c", self.conf, "-i", "a", "-f"]))
        osd_id = str(uuid.uuid4())
        self.ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self.ceph("ceph", "osd", "new", osd_id)
        self.backend.append(rig.spawn("ceph-osd", ["ceph-osd", "-c", self.conf, "-i", "0", "-f"]))
        at = rig.s3["rgw"]
        self.ceph("radosgw-admin", "-n", "client.rgw.a", "user", "create", "--uid=rig",
                  "--display-name=rig", "--access-key=" + at["access_key"],
                  "--secret-key=" + at["secret_key"])

    def ceph(self, program, *args):
        import rig as rigs
        for proc in self.backend:
            if not proc.alive():
                raise rigs.RigError("%s ended\n%s" % (proc.name, proc.tail()))
        return self.rig.run([program, "-c", self.conf] + list(args), timeout=90)

    def start(self):
        self.spawn("radosgw", ["radosgw", "-c", self.conf, "-n", "client.rgw.a", "-f"])
        self.wait(self.ready, 60, "answering RADOS gateway")

    def ready(self):
        self.rig.s3client("rgw").make_bucket(self.rig.s3["rgw"]["bucket"])
        return True

    def close(self):
        # The OSD hangs once the monitor is gone, and there is nothing to keep.
        for proc in reversed(self.backend):
            proc.kill()
        self.backend = ()
