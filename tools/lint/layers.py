# SPDX-License-Identifier: Apache-2.0
"""Check every #include against the table layers.txt.

Also: a private header (*_impl.h) is included from its own folder only (tests may), a library is never included
by a public header of a room, and a header that neither we nor the table nor POSIX knows is refused.
"""
import fnmatch
import os
import re

import tree

# Name in the table: the headers it stands for.
LIBRARIES = {
    "jansson": ["jansson.h"],
    "pcre2": ["pcre2.h"],
    "openssl": ["openssl/*"],
    "xxhash": ["xxhash.h"],
    "lmdb": ["lmdb.h"],
    "uv": ["uv.h"],
    "raft": ["raft.h", "raft/*"],
    "llhttp": ["llhttp.h"],
    "nghttp2": ["nghttp2/*"],
    "zlib": ["zlib.h"],
    "yaml": ["yaml.h"],
    "curl": ["curl/*"],
    "ares": ["ares.h"],
    "uthash": ["uthash.h", "utlist.h", "utarray.h"],
    "bsd": ["bsd/sys/queue.h", "bsd/sys/tree.h"],
    "cmocka": ["cmocka.h"],
    # Our own, as programs of others see it.
    "muster": ["muster.h"],
}
# Macros over plain structs: their names may stand in our headers.
HEADER_ONLY = {"uthash", "bsd"}
SYSTEM_DIRS = ("sys/", "netinet/", "net/", "arpa/", "linux/")
SYSTEM = set(
    """assert ctype dirent endian errno fcntl fenv float getopt glob grp inttypes libgen limits locale malloc math
    netdb nmmintrin immintrin x86intrin poll pthread pwd regex sched semaphore setjmp signal spawn stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings syslog termios time ucontext unistd wchar
    fnmatch ftw execinfo dlfcn""".split()
)
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def row_for(rows, path):
    best = None
    for pattern, ours, libraries in rows:
        inside = path.startswith(pattern + "/") or fnmatch.fnmatch(path, pattern)
        # `server/*.[ch]` speaks of that folder alone.
        if "*" in pattern and os.path.dirname(path) != os.path.dirname(pattern):
            inside = False
        if inside and (best is None or len(pattern) > len(best[0])):
            best = (pattern, ours.split(), libraries.split())
    return best


def library_of(header):
    for name, patterns in LIBRARIES.items():
        if any(fnmatch.fnmatch(header, p) for p in patterns):
            return name
    return None


def is_system(header):
    return header.startswith(SYSTEM_DIRS) or header.removesuffix(".h") in SYSTEM


def check_ours(findings, row, path, n, header):
    pattern, allowed, _ = row
    if "/" not in header:
        # Ours are named from the root; a test may name its neighbour.
        if not path.startswith("tests/"):
            findings.add(path, n, "name", f"{header} without its folder")
        return
    if not any(header == a or header.startswith(a + "/") for a in allowed):
        findings.add(path, n, "layer", f"{pattern} may not include {header}")
    private = header.endswith("_impl.h") and not path.startswith(os.path.dirname(header) + "/")
    if private and not path.startswith("tests/"):
        findings.add(path, n, "private", f"{header} belongs to its own folder")


def check_library(findings, row, path, n, header):
    pattern, _, allowed = row
    name = library_of(header)
    if name is None:
        if not is_system(header):
            findings.add(path, n, "unknown", f"{header} is in no table of tools/lint/layers.py")
        return
    if name not in allowed and "*" not in allowed:
        findings.add(path, n, "library", f"{pattern} may not include {header}")
    is_public = path.endswith(".h") and not path.endswith("_impl.h") and not path.startswith("tests/")
    if is_public and name not in HEADER_ONLY:
        findings.add(path, n, "public", f"{header} in a public header")


def main():
    root = tree.root_from_arguments()
    rows = tree.table(os.path.join(os.path.dirname(os.path.abspath(__file__)), "layers.txt"))
    findings = tree.Findings()
    paths = tree.files(root, (".c", ".h"))
    for path in paths:
        row = row_for(rows, path)
        if row is None:
            findings.add(path, 1, "folder", "no row of layers.txt speaks of this file")
            continue
        for n, line in enumerate(tree.lines(root, path), 1):
            m = INCLUDE.match(line)
            if m is None:
                continue
            check = check_ours if m.group(1) == '"' else check_library
            check(findings, row, path, n, m.group(2))
    findings.end(f"layers, {len(paths)} files")


main()
