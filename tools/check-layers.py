#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes go downward only, and that each outside library is seen by its one floor.

The rules are those of docs/architecture.md.
"""
import os
import re

import srctext

# floor -> the floors whose headers it may include, besides its own
MAY_INCLUDE = {
    "base": set(),
    "codec": {"base"},
    "model": {"codec", "base"},
    "net": {"codec", "base"},
    "kube": {"net", "codec", "base"},
    "repo": {"codec", "base"},
    "core": {"model", "codec", "base"},
    "providers": {"kube", "repo", "net", "codec", "base"},
    "api": {"core", "repo", "model", "codec", "base"},
}
# The one header through which api/ composes the built-in providers.
COMPOSITION = "providers/builtin.h"
# What several built-in providers share.
COMMON = "providers/common"
# Both S3 stores read the same settings.
SHARED = {"providers/store_libs3": ("providers/store_s3/config.h",
                                    "providers/store_s3/credentials.h")}
# start of a system include -> folders that may use it
LIBRARIES = {
    "jansson.h": ["src/codec"],
    "yaml.h": ["src/codec"],
    "archive.h": ["src/codec"],
    "archive_entry.h": ["src/codec"],
    "openssl/": ["src/codec"],
    "zlib.h": ["src/codec"],
    "zstd.h": ["src/codec"],
    "isa-l": ["src/codec"],
    "igzip_lib.h": ["src/codec"],
    "curl/": ["src/net"],
    "wslay/": ["src/kube"],
    "libs3.h": ["src/providers/store_libs3"],
    "libxml/": ["src/providers/store_s3"],
}
PUBLIC_MAY_INCLUDE = re.compile(r"^(vmbackup/[a-z_]+\.h|stddef\.h|stdint\.h)$")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def includes(path):
    text = srctext.blank(srctext.read(path), strings=False)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


# What the build makes; see the meson.build of its folder.
GENERATED = {"repo/tree/printable.inc", "repo/tree/lower.inc"}


def quoted_problem(path, floor, name):
    """Why src/<floor>/… may not include "name", or None."""
    if name in GENERATED:
        return None
    folder = os.path.dirname(path)
    target = name
    if "/" not in name or not os.path.exists(os.path.join(srctext.ROOT, "src", name)):
        target = os.path.relpath(os.path.normpath(os.path.join(folder, name)), "src")
        if not os.path.exists(os.path.join(srctext.ROOT, "src", target)):
            return "there is no such header"
    target_floor = target.split("/")[0]
    if target == COMPOSITION:
        return None if floor in ("providers", "api") else "only api/ and providers/ may include it"
    if target_floor == floor:
        own = os.path.relpath(folder, "src")
        if floor == "providers" and os.path.dirname(target) not in (own, COMMON) and \
                target not in SHARED.get(own, ()):
            return "a provider does not see another provider's headers"
        return None
    if target_floor not in MAY_INCLUDE[floor]:
        return f"{floor}/ may include only {', '.join(sorted(MAY_INCLUDE[floor])) or 'itself'}"
    return None


def library_problem(path, name):
    for start, folders in LIBRARIES.items():
        if name.startswith(start):
            if not any(path.startswith(folder + "/") for folder in folders):
                return f"only {', '.join(folders)} may see it"
    return None


def check_src(problems):
    paths = srctext.files("src", ".c", ".h")
    for path in paths:
        floor = path.split("/")[1]
        if floor not in MAY_INCLUDE:
            problems.append(f"{path}: {floor}/ is not a floor of docs/architecture.md")
            continue
        for line, bracket, name in includes(path):
            why = quoted_problem(path, floor, name) if bracket == '"' else \
                library_problem(path, name)
            if why:
                problems.append(f"{path}:{line}: includes {name}: {why}")
    return len(paths)


def check_public(problems):
    paths = srctext.files("include", ".h")
    for path in paths:
        for line, bracket, name in includes(path):
            if bracket != "<" or not PUBLIC_MAY_INCLUDE.match(name):
                problems.append(f"{path}:{line}: a public header includes {name}")
    return len(paths)


def check_examples(problems):
    paths = srctext.files("examples", ".c", ".h", ".cc", ".go")
    internal = [floor + "/" for floor in MAY_INCLUDE]
    for path in paths:
        for line, _, name in includes(path):
            if any(name.startswith(floor) for floor in internal) or "src/" in name:
                problems.append(f"{path}:{line}: an example includes the internal {name}")
    return len(paths)


def check_sizes(problems):
    for folder in ("src", "include", "examples", "tests", "tools"):
        for path in srctext.files(folder, ".c", ".h", ".py", ".go"):
            lines = srctext.read(path).count("\n")
            if lines > 1000:
                problems.append(f"{path}: {lines} lines; split files before they pass 1000")


def main():
    problems = []
    count = check_src(problems) + check_public(problems) + check_examples(problems)
    check_sizes(problems)
    srctext.finish("check-layers", problems, f"{count} files")


if __name__ == "__main__":
    main()
