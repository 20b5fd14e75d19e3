#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the documentation against the tree: every exported function, public type and constant has
a comment, links in the Markdown files lead somewhere, and code blocks that name a file equal it.

A block that follows the line  <!-- file: PATH -->  must be the text of PATH, without its leading
comment lines and #include lines where the block leaves them out.
"""
import os
import re

import srctext

DECLARATION = re.compile(r"^VMB_API\b", re.M)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```[a-z]*\n(.*?)```", re.S)


def check_headers(problems):
    """A declaration has a /** comment just above it, or a /**< one on its line."""
    count = 0
    for path in srctext.files("include", ".h"):
        text = srctext.read(path)
        for match in DECLARATION.finditer(text):
            count += 1
            before = text[:match.start()].rstrip()
            end = text.index(";", match.start())
            rest = text[end:text.index("\n", end)]
            if not (before.endswith("*/") and
                    "/**" in before[before.rfind("/*"):]) and "/**<" not in rest:
                line = text.count("\n", 0, match.start()) + 1
                name = re.search(r"(vmb_\w+)\s*\(", text[match.start():end + 1])
                problems.append(f"{path}:{line}: {name.group(1) if name else '?'} has no comment")
    return count


def anchors(text):
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(slug)
    return found


def check_links(path, text, problems):
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(os.path.join(srctext.ROOT, full)):
            problems.append(f"{path}: the link to {target} leads nowhere")
        elif anchor and full.endswith(".md") and anchor not in anchors(srctext.read(full)):
            problems.append(f"{path}: {target}: there is no such heading")


def check_blocks(path, text, problems):
    for name, block in BLOCK.findall(text):
        if not os.path.exists(os.path.join(srctext.ROOT, name)):
            problems.append(f"{path}: the code block names {name}, which does not exist")
        elif block.strip() not in srctext.read(name):
            problems.append(f"{path}: the code block is not the text of {name}")


def check_paths(path, text, problems):
    """Paths in back quotes that start with a folder of the tree exist."""
    for name in re.findall(r"`((?:src|include|examples|tests|tools|docs|abi)/[\w./-]+)`", text):
        if not os.path.exists(os.path.join(srctext.ROOT, name)):
            problems.append(f"{path}: `{name}` does not exist")


def main():
    problems = []
    count = check_headers(problems)
    pages = ["README.md", "CHANGELOG.md"] + srctext.files("docs", ".md")
    for path in pages:
        if not os.path.exists(os.path.join(srctext.ROOT, path)):
            problems.append(f"{path} is missing")
            continue
        text = srctext.read(path)
        check_links(path, text, problems)
        check_blocks(path, text, problems)
        check_paths(path, text, problems)
    srctext.finish("check-docs", problems, f"{count} declarations, {len(pages)} pages")


if __name__ == "__main__":
    main()
