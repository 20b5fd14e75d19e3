"""A small S3 client: Signature V4 with the standard library, path-style addresses.

Just enough to make buckets and to look at (or spoil) what a product stored; not a product.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import ssl
import urllib.parse
import xml.etree.ElementTree


class S3Error(Exception):
    def __init__(self, status, body):
        super().__init__("S3 answered %d: %s" % (status, body[:300]))
        self.status = status
        self.body = body


def _quote(text):
    return urllib.parse.quote(text, safe="-_.~")


class S3:
    def __init__(self, endpoint, access_key, secret_key, region="us-east-1", bucket=None,
                 ca_file=None):
        url = urllib.parse.urlsplit(endpoint)
        self.endpoint = endpoint
        self.host = url.netloc
        self.access_key, self.secret_key, self.region = access_key, secret_key, region
        self.bucket = bucket
        self.tls = None
        if url.scheme == "https":
            self.tls = ssl.create_default_context(cafile=ca_file)

    def request(self, method, path, query=None, body=b"", headers=None, timeout=30,
                service="s3"):
        """A signed request; returns (status, headers, body) and raises on 3xx to 5xx."""
        if isinstance(body, str):
            body = body.encode()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = "%s/%s/%s/aws4_request" % (now[:8], self.region, service)
        path = urllib.parse.quote(path, safe="/-_.~")
        text = "&".join("%s=%s" % (_quote(k), _quote(v))
                        for k, v in sorted((query or {}).items()))
        payload = hashlib.sha256(body).hexdigest()
        signed = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": now}
        signed.update({k.lower(): v for k, v in (headers or {}).items()})
        names = ";".join(sorted(signed))
        canonical = "\n".join([method, path, text,
                               "".join("%s:%s\n" % (k, signed[k].strip())
                                       for k in sorted(signed)), names, payload])
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                             hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for step in scope.split("/"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = ("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, "
                                   "Signature=%s" % (self.access_key, scope, names, signature))
        if self.tls:
            conn = http.client.HTTPSConnection(self.host, timeout=timeout, context=self.tls)
        else:
            conn = http.client.HTTPConnection(self.host, timeout=timeout)
        try:
            conn.request(method, path + ("?" + text if text else ""), body=body, headers=signed)
            answer = conn.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise S3Error(answer.status, data.decode(errors="replace"))
            return answer.status, answer.headers, data
        finally:
            conn.close()

    def _path(self, key, bucket=None):
        return "/%s/%s" % (bucket or self.bucket, key)

    def make_bucket(self, bucket):
        try:
            self.request("PUT", "/" + bucket)
        except S3Error as e:
            if e.status != 409:  # there already
                raise

    def limited(self, policy, seconds=3600):
        """Credentials (access key, secret key, session token) that may only do what a policy says."""
        body = urllib.parse.urlencode({"Action": "AssumeRole", "Version": "2011-06-15",
                                       "DurationSeconds": str(seconds),
                                       "Policy": json.dumps(policy)})
        text = self.request("POST", "/", body=body, service="sts", headers={
            "content-type": "application/x-www-form-urlencoded"})[2]
        found = {e.tag.rpartition("}")[2]: e.text
                 for e in xml.etree.ElementTree.fromstring(text).iter()}
        return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]

    def put(self, key, data, bucket=None, headers=None):
        self.request("PUT", self._path(key, bucket), body=data, headers=headers)

    def get(self, key, bucket=None):
        return self.request("GET", self._path(key, bucket))[2]

    def exists(self, key, bucket=None):
        try:
            self.request("HEAD", self._path(key, bucket))
            return True
        except S3Error as e:
            if e.status == 404:
                return False
            raise

    def delete(self, key, bucket=None):
        self.request("DELETE", self._path(key, bucket))

    def list(self, prefix="", bucket=None):
        """{key: size} of everything below the prefix."""
        out, query = {}, {"list-type": "2", "prefix": prefix}
        while True:
            body = self.request("GET", "/" + (bucket or self.bucket), query)[2]
            root = xml.etree.ElementTree.fromstring(body)
            space = root.tag.partition("}")[0] + "}" if root.tag[0] == "{" else ""
            for item in root.findall(space + "Contents"):
                out[item.findtext(space + "Key")] = int(item.findtext(space + "Size"))
            if root.findtext(space + "IsTruncated") != "true":
                return out
            query["continuation-token"] = root.findtext(space + "NextContinuationToken")
