# SPDX-License-Identifier: Apache-2.0
"""Reading a Velero backup's archive, and comparing Kubernetes objects."""
import gzip
import io
import json
import tarfile


def members(data):
    """{path: bytes} of a .tar.gz; a path that stands there twice is an error."""
    out = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        for entry in tar:
            if entry.name in out:
                raise AssertionError("twice in the archive: " + entry.name)
            out[entry.name] = tar.extractfile(entry).read()
    return out


def objects(data):
    """{path: object} of the classic paths."""
    return {path: json.loads(text) for path, text in members(data).items()
            if path.startswith("resources/") and "-preferredversion/" not in path}


def differences(a, b, path=""):
    """Paths at which two values differ, with both values."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(set(a) | set(b)):
            at = path + "/" + key
            if key not in a:
                yield at, None, b[key]
            elif key not in b:
                yield at, a[key], None
            else:
                yield from differences(a[key], b[key], at)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, "%s/%d" % (path, i))
    elif a != b:
        yield path, a, b
