# SPDX-License-Identifier: Apache-2.0
"""All C files look as clang-format 14 makes them. `style.py TREE --fix [FILE...]` rewrites them.

Skipped (exit status 77) where that version of clang-format is missing: others differ in details.
"""
import os
import re
import shutil
import subprocess
import sys

import tree

MAJOR = "14"
SKIP = 77
AT_A_TIME = 100


def find_tool():
    for name in (f"clang-format-{MAJOR}", "clang-format"):
        tool = shutil.which(name)
        if tool is None:
            continue
        says = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
        if re.search(rf"version {MAJOR}\.", says):
            return tool
    return None


def main():
    root = tree.root_from_arguments()
    tool = find_tool()
    if tool is None:
        print(f"no clang-format {MAJOR} here")
        sys.exit(SKIP)
    style = "--style=file"
    paths = tree.files(root, (".c", ".h"))
    if "--fix" in sys.argv:
        wanted = [os.path.relpath(p, root) for p in sys.argv[sys.argv.index("--fix") + 1 :]]
        subprocess.run([tool, style, "-i", *(wanted or paths)], cwd=root, check=True)
        return
    findings = tree.Findings()
    seen = set()
    for at in range(0, len(paths), AT_A_TIME):
        said = subprocess.run([tool, style, "--dry-run", *paths[at : at + AT_A_TIME]], cwd=root, capture_output=True, text=True)
        for path, line in re.findall(r"^(\S+?):(\d+):\d+: warning: code should be clang-formatted", said.stderr, re.M):
            if path not in seen:
                seen.add(path)
                findings.add(path, line, "style", "differs from here on (tools/lint/style.py TREE --fix FILE)")
        if said.returncode != 0:
            print(said.stderr)
            sys.exit(said.returncode)
    findings.end(f"style, {len(paths)} files")


main()
