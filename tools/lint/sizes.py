# SPDX-License-Identifier: Apache-2.0
"""Refuse what is too large to read: functions, files, parameter lists. Prints the five longest functions.

Leans on the format that tools/lint/style.py checks: a function's braces stand alone in the first column.
"""
import os
import re

import tree

FUNCTION_LINES_MAX = 100
PARAMETERS_MAX = 6
FILE_LINES_MAX = {".c": 900, ".h": 250}
NAME = re.compile(r"(\w+)\s*\($")


def signature_of(text, brace):
    """The lines above an opening brace up to the end of whatever stands before, as one string."""
    at = brace
    while at > 0:
        before = text[at - 1].strip()
        if before == "" or before.startswith(("#", "/*", "*", "//")) or before.endswith((";", "}", "*/")):
            break
        at -= 1
    return " ".join(line.strip() for line in text[at:brace])


def name_and_parameters(signature):
    """('kv_put', 3) of `int kv_put(a, b, int (*c)(d, e))`; None when it is no function."""
    # The parameter list is the last group of parentheses that is not an attribute.
    signature = re.sub(r"__attribute__\s*\(\(.*?\)\)\s*", "", signature).strip()
    if not signature.endswith(")"):
        return None
    depth = 0
    commas = 0
    for at in range(len(signature) - 1, -1, -1):
        c = signature[at]
        depth += (c == ")") - (c == "(")
        commas += c == "," and depth == 1
        if depth == 0:
            inside = signature[at + 1 : -1].strip()
            m = NAME.search(signature[: at + 1])
            count = 0 if inside in ("", "void") else commas + 1
            return (m.group(1), count) if m else None
    return None


def functions(text):
    start = None
    for n, line in enumerate(text):
        if line == "{":
            start = n
        elif line == "}" and start is not None:
            found = name_and_parameters(signature_of(text, start))
            if found is not None:
                yield start, n - start + 1, found[0], found[1]
            start = None


def main():
    root = tree.root_from_arguments()
    waived = {(r[0], r[1]) for r in tree.table(os.path.join(root, "tools/lint/sizes.txt"))}
    findings = tree.Findings()
    measured = []
    for path in tree.files(root, (".c", ".h")):
        text = tree.lines(root, path)
        limit = FILE_LINES_MAX[os.path.splitext(path)[1]]
        if len(text) - 1 > limit and (path, "file") not in waived:
            findings.add(path, 1, "file", f"{len(text) - 1} lines, at most {limit}")
        for start, length, name, n_parameters in functions(text):
            if (path, name) in waived:
                continue
            measured.append((length, path, start + 1, name))
            if length > FUNCTION_LINES_MAX:
                findings.add(path, start + 1, "function", f"{name} has {length} lines, at most {FUNCTION_LINES_MAX}")
            if n_parameters > PARAMETERS_MAX:
                findings.add(path, start + 1, "parameters", f"{name} has {n_parameters}, at most {PARAMETERS_MAX}")
    measured.sort(reverse=True)
    print("longest functions:")
    for length, path, line, name in measured[:5]:
        print(f"  {length:4} {name} ({path}, line {line})")
    findings.end(f"sizes, {len(measured)} functions")


main()
