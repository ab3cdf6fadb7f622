# SPDX-License-Identifier: Apache-2.0
"""Words that may not stand in the tree, and one that must: the licence line of every source file."""
import os
import re

import tree

SOURCES = (".c", ".h", ".py", ".sh", ".js", ".jsx", ".css", ".S", "meson.build")
PROSE = (".md", ".json", ".yaml", ".yml", ".toml", ".txt", ".html", ".service", ".conf")
SPDX = "SPDX-License-Identifier: Apache-2.0"

# rule, suffixes ("" for all), what must not match, why
RULES = [
    ("todo", SOURCES + PROSE, re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\): \w)"),
     "say TODO(#number): what is missing"),
    ("path", SOURCES + PROSE, re.compile(r"(?<![\w.])/(home|Users|root|work|mnt)/\w"), "a path of one machine"),
    ("host", SOURCES + PROSE + ("package-lock.json",),
     re.compile(r"\b(registry\.(npmjs|yarnpkg)\.\w+|registry-1\.docker\.io|(files\.)?python(hosted)?\.org/packages"
                r"|pypi\.org|artifactory|nexus\.\w+\.\w+|index\.crates\.io|proxy\.golang\.org)\b"),
     "the host of a package registry; tools find theirs in their own settings"),
    ("dead", (".c", ".h"), re.compile(r"^\s*#\s*if\s+0\b"), "code that is never compiled"),
    ("unbounded", (".c", ".h"), re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atoll|strtok|alloca)\s*\("),
     "has no bound or reports no error; see base/text.h and base/buf.h"),
    ("space", SOURCES, re.compile(r"[ \t\r]+$"), "blanks at the end of the line"),
    ("tab", (".c", ".h", ".py", "meson.build"), re.compile(r"\t"), "a tab"),
]
# Tests may be careless with their own constants.
NOT_IN_TESTS = {"unbounded"}
# This file names the words.
EXEMPT = {"tools/lint/words.py"}


def check_line(findings, path, n, line):
    for rule, suffixes, pattern, why in RULES:
        if rule in NOT_IN_TESTS and path.startswith("tests/"):
            continue
        if path.endswith(suffixes) and pattern.search(line):
            findings.add(path, n, rule, why)


def main():
    root = tree.root_from_arguments()
    findings = tree.Findings()
    paths = [p for p in tree.files(root, SOURCES + PROSE) if p not in EXEMPT]
    for path in paths:
        text = tree.lines(root, path)
        is_empty = os.path.getsize(os.path.join(root, path)) == 0
        if path.endswith(SOURCES) and not is_empty and not any(SPDX in line for line in text[:3]):
            findings.add(path, 1, "licence", f'"{SPDX}" is not in the first three lines')
        for n, line in enumerate(text, 1):
            check_line(findings, path, n, line)
    findings.end(f"words, {len(paths)} files")


main()
