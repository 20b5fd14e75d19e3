"""MinIO, one server over one folder."""

import urllib.request

from s3 import S3Error

from . import Part, register


@register
class Minio(Part):
    """Option env: more environment for the server."""

    name = "minio"
    builds = ("minio",)

    def setup(self):
        self.port, self.console = self.rig.free_port(), self.rig.free_port()
        self.rig.s3["minio"] = {
            "endpoint": "http://127.0.0.1:%d" % self.port, "access_key": "rigminio",
            "secret_key": "rigminiosecret", "region": "us-east-1", "bucket": "backups"}

    def start(self):
        at = self.rig.s3["minio"]
        env = {"MINIO_ROOT_USER": at["access_key"], "MINIO_ROOT_PASSWORD": at["secret_key"],
               "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "MINIO_REGION": at["region"],
               "HOME": self.dir}
        env.update(self.rig.option("minio", "env", {}))
        self.spawn("minio", [
            self.binary("minio"), "server", "--quiet", "--address", "127.0.0.1:%d" % self.port,
            "--console-address", "127.0.0.1:%d" % self.console, self.path("data")], env=env)
        self.wait(self.ready, 60, "ready MinIO")
        self.wait(self.make_bucket, 60, "MinIO's bucket")

    def make_bucket(self):
        """Where the machine is busy the server says that it is ready before it is."""
        try:
            self.rig.s3client("minio").make_bucket(self.rig.s3["minio"]["bucket"])
        except S3Error as e:
            if e.status != 503:
                raise
            return False
        return True

    def ready(self):
        url = self.rig.s3["minio"]["endpoint"] + "/minio/health/ready"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
