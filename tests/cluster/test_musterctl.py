# SPDX-License-Identifier: Apache-2.0
"""The real musterctl against three real nodes: every command, in table and JSON form, and what its exit statuses promise."""
import base64
import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import time

import pytest

from harness import BUILD, SLOW, Cluster, clean_env, free_ports, wait_for

MUSTERCTL = str(BUILD / "tools" / "musterctl" / "musterctl")
DONE, FAILED, USAGE, NOT_FOUND, CONFLICT, UNREACHABLE, UNKNOWN = range(7)
INTERRUPTED = 130
HOSTILE = "a b/c%2Fd%é…~\"'"


def env_of(cluster=None, **more):
    env = clean_env()
    env.update(USER="tester", MUSTER_TIMEOUT=f"{int(5 * SLOW)}s", TERM="xterm")
    if cluster is not None:
        env["MUSTER_ENDPOINTS"] = ",".join(x.endpoint for x in cluster.nodes)
    env.update(more)
    return env


def run(cluster, *args, code=DONE, stdin=b"", **env):
    p = subprocess.run([MUSTERCTL, *args], input=stdin, capture_output=True, env=env_of(cluster, **env), timeout=60 * SLOW, check=False)
    assert p.returncode == code, (args, p.returncode, p.stdout[-2000:], p.stderr[-2000:])
    assert (p.stderr == b"") == (code == DONE), p.stderr
    return p


def out(cluster, *args, **kw):
    return run(cluster, *args, **kw).stdout.decode()


def doc(cluster, *args, **kw):
    return json.loads(out(cluster, *args, "-o", "json", **kw))


def error(cluster, *args, code, **kw):
    text = run(cluster, *args, code=code, **kw).stderr.decode()
    assert text.startswith("musterctl: ") and text.endswith("\n") and len(text.splitlines()) == 1, text
    return text


def start(cluster, *args, **env):
    return subprocess.Popen([MUSTERCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env_of(cluster, **env))


def stop(p, number=signal.SIGINT):
    p.send_signal(number)
    rest, err = p.communicate(timeout=20 * SLOW)
    return p.returncode, rest.decode(), err.decode()


def on_terminal(cluster, *args, columns=80, **env):
    """Output and status when stdout and stderr are a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(MUSTERCTL, [MUSTERCTL, *args], env_of(cluster, COLUMNS=str(columns), **env))
    text = b""
    end = time.monotonic() + 30 * SLOW
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                piece = os.read(fd, 65536)
            except OSError:
                break
            if not piece:
                break
            text += piece
    os.close(fd)
    return text.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- what needs no cluster ---


def test_help_version_man():
    top = out(None, "--help")
    for word in ("config put", "member replace", "exit status", "--endpoints", "MUSTER_ENDPOINTS"):
        assert word in top
    assert "__complete" not in top
    assert out(None, "help", "config", "put") == out(None, "config", "put", "--help")
    assert "usage: musterctl config VERB" in out(None, "config", "-h")
    assert re.fullmatch(r"musterctl \d+\.\d+\.\d+\n", out(None, "--version"))
    assert out(None, "--man").startswith("musterctl(1)\n")
    if shutil.which("scdoc"):
        page = subprocess.run(["scdoc"], input=run(None, "--man").stdout, capture_output=True, check=True).stdout
        assert page.count(b".SS") > 20


def test_wrong_usage_is_2_and_says_what_is_right():
    e = lambda *a: error(None, *a, code=USAGE)  # noqa: E731
    assert 'did you mean "put"' in e("config", "putt")
    assert 'did you mean "config"' in e("confg", "list")
    assert "did you mean --comment" in e("config", "put", "k", "v", "--coment", "x")
    assert "needs a value" in e("config", "put", "k", "v", "--comment")
    assert "is missing" in e("config", "get")
    assert "unexpected argument" in e("config", "get", "a", "b")
    assert "number from 1" in e("config", "get", "a", "--revision", "0")
    assert "one of table json plain" in e("status", "-o", "xml")
    assert "takes no value" in e("config", "put", "a", "b", "--create-only=yes")
    assert "exclude each other" in e("config", "put", "a", "b", "--create-only", "--if-revision", "3")
    assert "the name is empty" in e("config", "get", "app/")
    assert "a command is missing" in e()


def test_a_wrong_variable_is_named():
    text = error(None, "status", code=USAGE, MUSTER_TIMEOUT="soon")
    assert "MUSTER_TIMEOUT must be a duration" in text


def test_no_endpoint_is_5():
    port = free_ports(1)[0]
    began = time.monotonic()
    text = error(None, "config", "get", "a/b", "-e", f"127.0.0.1:{port}", "--timeout", "1s", code=UNREACHABLE)
    assert f"127.0.0.1:{port}" in text and time.monotonic() - began < 5 * SLOW
    error(None, "watch", "-e", f"127.0.0.1:{port}", "--timeout", "1s", code=UNREACHABLE)
    error(None, "member", "list", "-e", f"127.0.0.1:{port}", "--timeout", "1s", code=UNREACHABLE)
    p = subprocess.run([MUSTERCTL, "status", "-e", f"127.0.0.1:{port}"], capture_output=True, text=True, env=env_of(), check=False)
    assert p.returncode == UNREACHABLE and "no endpoint answers" in p.stdout


# --- configs ---


def test_config_put_get_delete(shared):
    assert "published cfg/a: revision " in out(shared, "config", "put", "cfg/a", "one", "--comment", "first", "--type", "application/json")
    first = doc(shared, "config", "get", "cfg/a")
    assert first["content"] == "one" and first["content_type"] == "application/json" and first["key"] == "a" and first["group"] == "cfg"
    assert out(shared, "config", "get", "cfg/a") == "one"
    second = int(out(shared, "config", "put", "cfg/a", "two\n", "-o", "plain", "--if-revision", str(first["revision"])))
    assert second > first["revision"]
    assert "not the one expected" in error(shared, "config", "put", "cfg/a", "x", "--if-revision", str(first["revision"]), code=CONFLICT)
    error(shared, "config", "put", "cfg/a", "x", "--create-only", code=CONFLICT)
    assert out(shared, "config", "get", "cfg/a", "-r", str(first["revision"])) == "one"
    # From a pipe, byte for byte.
    blob = bytes(range(256)) * 40
    put = json.loads(run(shared, "config", "put", "cfg/bin", "-o", "json", stdin=blob).stdout)
    assert put["size"] == len(blob) and put["version"] == 1
    assert run(shared, "config", "get", "cfg/bin").stdout == blob
    assert base64.b64decode(doc(shared, "config", "get", "cfg/bin")["content_base64"]) == blob
    listed = {x["key"]: x for x in doc(shared, "config", "list", "-g", "cfg")["configs"]}
    assert set(listed) == {"a", "bin"} and listed["a"]["author"] == "tester"
    table = out(shared, "config", "list", "-g", "cfg").splitlines()
    assert table[0].split()[:3] == ["GROUP", "KEY", "REVISION"] and len(table) == 3
    assert out(shared, "config", "put", "cfg/q", "x", "-q") == ""
    error(shared, "config", "delete", "cfg/bin", "--if-revision", "1", code=CONFLICT)
    out(shared, "config", "delete", "cfg/bin")
    assert "does not exist" in error(shared, "config", "get", "cfg/bin", code=NOT_FOUND)
    error(shared, "config", "delete", "cfg/bin", code=NOT_FOUND)


def test_config_from_a_file_takes_its_type(shared, tmp_path):
    f = tmp_path / "x.yaml"
    f.write_bytes(b"a: 1\n")
    out(shared, "config", "put", "cfgfile/x", "--file", str(f), "--description", "what", "--tag", "t1", "--tag", "t2")
    row = doc(shared, "config", "list", "-g", "cfgfile")["configs"][0]
    assert row["content_type"] == "application/yaml" and row["tags"] == ["t1", "t2"] and row["description"] == "what"
    assert "No such file" in error(shared, "config", "put", "cfgfile/x", "--file", str(tmp_path / "no"), code=FAILED)


def test_config_history_diff_rollback(shared):
    revs = [int(out(shared, "config", "put", "hist/a", f"x\nline {i}\n", "-o", "plain", "--comment", f"c{i}")) for i in range(3)]
    table = out(shared, "config", "history", "hist/a").splitlines()
    assert [int(x.split()[0]) for x in table[1:]] == revs[::-1] and table[1].endswith("c2")
    assert [x["revision"] for x in doc(shared, "config", "history", "hist/a", "-n", "2")["versions"]] == revs[:0:-1]
    assert "-line 1\n+line 2\n" in out(shared, "config", "diff", "hist/a")
    assert "-line 0\n+line 1\n" in out(shared, "config", "diff", "hist/a", str(revs[0]), str(revs[1]))
    assert "+line 2" in doc(shared, "config", "diff", "hist/a", str(revs[0]))["diff"]
    assert "rolled back hist/a" in out(shared, "config", "rollback", "hist/a", str(revs[0]))
    assert out(shared, "config", "get", "hist/a") == "x\nline 0\n"
    error(shared, "config", "rollback", "hist/a", str(revs[0]), "--if-revision", str(revs[0]), code=CONFLICT)
    error(shared, "config", "diff", "hist/none", code=NOT_FOUND)
    assert "compacted" in out(shared, "config", "compact", "--keep", "720h")
    assert doc(shared, "config", "compact") == {"more": False}


def test_names_with_everything_in_them(shared):
    out(shared, "config", "put", f"hostile/{HOSTILE}", "v")
    assert out(shared, "config", "get", f"hostile/{HOSTILE}") == "v"
    out(shared, "config", "put", "-g", "gr/oup é", "..x", "dots")
    assert out(shared, "config", "get", "-g", "gr/oup é", "..x") == "dots"
    assert HOSTILE in out(shared, "config", "list", "-g", "hostile")
    out(shared, "service", "register", "-g", "gr/oup é", HOSTILE, "--address", "h", "--id", "i d/1")
    got = doc(shared, "service", "get", "-g", "gr/oup é", HOSTILE)
    assert got["instances"][0]["id"] == "i d/1" and got["name"] == HOSTILE
    out(shared, "service", "deregister", "-g", "gr/oup é", HOSTILE, "i d/1")
    error(shared, "service", "get", "-g", "gr/oup é", HOSTILE, code=NOT_FOUND)
    # Another namespace holds none of it.
    error(shared, "config", "get", "-N", "other", f"hostile/{HOSTILE}", code=NOT_FOUND)
    # MUSTER_GROUP stands for DEFAULT_GROUP.
    out(shared, "config", "put", "short", "1", MUSTER_GROUP="hostile")
    assert out(shared, "config", "get", "hostile/short") == "1"


# --- edit ---


def script(tmp_path, name, text):
    f = tmp_path / name
    f.write_text("#!/bin/sh\n" + text)
    f.chmod(0o755)
    return str(f)


def test_edit_publishes_what_the_editor_wrote(shared, tmp_path):
    out(shared, "config", "put", "ed/a.json", "old\n", "--type", "application/json")
    seen = tmp_path / "seen"
    editor = script(tmp_path, "ed", f'cp "$1" {seen}; stat -c "%a %n" "$1" > {seen}.mode; echo new > "$1"\n')
    assert "published ed/a.json" in out(shared, "config", "edit", "ed/a.json", EDITOR=editor, VISUAL="", TMPDIR=str(tmp_path))
    assert seen.read_text() == "old\n"
    mode, name = (tmp_path / "seen.mode").read_text().split()
    assert mode == "600" and name.endswith("/a.json") and not os.path.exists(os.path.dirname(name))
    got = doc(shared, "config", "get", "ed/a.json")
    assert got["content"] == "new\n" and got["content_type"] == "application/json"
    # Nothing changed: nothing is published. An editor with arguments works.
    assert "unchanged" in out(shared, "config", "edit", "ed/a.json", VISUAL="true --wait", TMPDIR=str(tmp_path))
    assert doc(shared, "config", "get", "ed/a.json")["revision"] == got["revision"]
    # A config that is not there yet is made.
    out(shared, "config", "edit", "ed/fresh", EDITOR=editor, VISUAL="", TMPDIR=str(tmp_path))
    assert out(shared, "config", "get", "ed/fresh") == "new\n"


def test_edit_that_lost_keeps_the_text(shared, tmp_path):
    out(shared, "config", "put", "ed/race", "old\n")
    editor = script(tmp_path, "ed2", f'echo mine > "$1"; "{MUSTERCTL}" config put ed/race theirs -q\n')
    p = run(shared, "config", "edit", "ed/race", code=CONFLICT, VISUAL=editor, TMPDIR=str(tmp_path))
    kept = re.search(r"your text is kept in (\S+)", p.stderr.decode()).group(1)
    with open(kept, encoding="utf-8") as f:
        assert f.read() == "mine\n"
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600 and stat.S_IMODE(os.stat(os.path.dirname(kept)).st_mode) == 0o700
    assert out(shared, "config", "get", "ed/race") == "theirs"
    # An editor that fails publishes nothing.
    bad = script(tmp_path, "ed3", 'echo half > "$1"; exit 3\n')
    p = run(shared, "config", "edit", "ed/race", code=FAILED, VISUAL=bad, TMPDIR=str(tmp_path))
    assert b"failed; nothing is published" in p.stderr and b"kept in" in p.stderr
    assert out(shared, "config", "get", "ed/race") == "theirs"


# --- export, import ---


def fill(cluster, ns):
    configs = {
        ("app", "db.yaml"): b"a: 1\n",
        ("app", HOSTILE): "é\n".encode(),
        ("app", ".dot"): b"dot",
        ("app", "empty"): b"",
        ("gr/oup", "..bin"): bytes(range(256)) * 300,
        ("app", "long" + "/x" * 400): b"long",
        ("app", "nul"): b"a\0b",
    }
    for (group, key), content in configs.items():
        run(cluster, "config", "put", "-N", ns, "-g", group, "-q", "--type", "text/x-" + str(len(content)), "--description", "d é", "--tag", "t",
            key, "-", stdin=content)
    return configs


def content_of(cluster, ns):
    rows = doc(cluster, "config", "list", "-N", ns)["configs"]
    return {(x["group"], x["key"]): (run(cluster, "config", "get", "-N", ns, "-g", x["group"], x["key"]).stdout,
                                     x["content_type"], x["description"], tuple(x["tags"])) for x in rows}


@pytest.mark.parametrize("form", ["directory", "document"])
def test_export_and_import_are_exact(shared, tmp_path, form):
    ns, copy = f"from-{form}", f"to-{form}"
    want = fill(shared, ns)
    if form == "directory":
        place = str(tmp_path / "ex")
        assert f"exported {len(want)} configs" in out(shared, "config", "export", "-N", ns, place)
        assert (tmp_path / "ex" / "app" / "db.yaml").read_bytes() == b"a: 1\n"
        assert (tmp_path / "ex" / "gr%2Foup" / "%2E.bin").read_bytes() == bytes(range(256)) * 300
    else:
        place = str(tmp_path / "ex.json")
        with open(place, "wb") as f:
            f.write(run(shared, "config", "export", "-N", ns, "-").stdout)
    dry = doc(shared, "config", "import", "-N", copy, "--dry-run", place)
    assert dry["created"] == len(want) and dry["dry_run"] is True
    assert doc(shared, "config", "list", "-N", copy)["configs"] == []
    text = out(shared, "config", "import", "-N", copy, place)
    assert f"{len(want)} created, 0 changed, 0 equal" in text and "create app/db.yaml" in text
    assert content_of(shared, copy) == content_of(shared, ns)
    assert {k: v[0] for k, v in content_of(shared, copy).items()} == want
    assert doc(shared, "config", "import", "-N", copy, place)["equal"] == len(want)
    # Nothing but the content differs.
    run(shared, "config", "put", "-N", copy, "app/db.yaml", "other", "-q", "--type", "text/x-5", "--description", "d é", "--tag", "t")
    assert doc(shared, "config", "import", "-N", copy, "--create-only", place)["left"] == 1
    assert doc(shared, "config", "import", "-N", copy, place)["changed"] == 1
    assert content_of(shared, copy) == content_of(shared, ns)


def test_import_of_a_directory_made_by_hand(shared, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.json").write_bytes(b"{}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"no")
    assert doc(shared, "config", "import", "-N", "hand", str(tmp_path))["created"] == 1
    got = doc(shared, "config", "get", "-N", "hand", "web/a.json")
    assert got["content"] == "{}" and got["content_type"] == "application/json"
    (tmp_path / "web" / "50%").write_bytes(b"no")
    p = run(shared, "config", "import", "-N", "hand", str(tmp_path), code=FAILED)
    assert b"unsafe characters are %XX" in p.stderr
    os.unlink(tmp_path / "web" / "50%")
    (tmp_path / "muster-export.json").write_text(json.dumps(
        {"format": "muster-export", "version": 1, "configs": [{"group": "g", "key": "k", "content_type": "t/t", "file": "../../etc/passwd"}]}))
    p = run(shared, "config", "import", "-N", "hand", str(tmp_path), code=FAILED)
    assert b"not in a folder of the export" in p.stderr
    (tmp_path / "muster-export.json").write_text("{}")
    p = run(shared, "config", "import", "-N", "hand", str(tmp_path), code=FAILED)
    assert b"is no export of configs" in p.stderr


# --- services, leases ---


def test_services(shared):
    text = out(shared, "service", "register", "web", "--address", "10.0.0.7", "--port", "80", "--ttl", "1h", "--tag", "a", "--meta", "k=v=w", "--weight", "7")
    assert "registered DEFAULT_GROUP/web instance 10.0.0.7:80" in text and "lease " in text
    got = doc(shared, "service", "get", "web")["instances"][0]
    assert (got["weight"], got["tags"], got["metadata"], got["ttl"], got["healthy"]) == (7, ["a"], {"k": "v=w"}, "1h", True)
    table = out(shared, "service", "get", "web").splitlines()
    assert table[0].startswith("CLUSTER") and "healthy" in table[1] and "ttl 1h" in table[1] and "k=v=w" in table[1]
    assert doc(shared, "service", "patch", "web", "10.0.0.7:80", "--enabled", "false", "--meta", "n=1")["metadata"] == {"k": "v=w", "n": "1"}
    assert "disabled" in out(shared, "service", "get", "web")
    assert "nothing to change" in error(shared, "service", "patch", "web", "10.0.0.7:80", code=USAGE)
    error(shared, "service", "get", "web", "--tag", "zzz", code=NOT_FOUND)
    assert "kept alive for 1h" in out(shared, "service", "keepalive", "web", "10.0.0.7:80")
    row = [x for x in doc(shared, "service", "list")["services"] if x["name"] == "web"][0]
    assert row["instances"] == 1
    assert re.search(r"^DEFAULT_GROUP +web +1 +\d$", out(shared, "service", "list", "we"), re.M)
    checked = doc(shared, "service", "register", "app/chk", "--address", "127.0.0.1", "--check-tcp", "127.0.0.1:1", "--check-interval", "1h",
                  "--check-failures", "3", "--cluster", "c2", "--remove-after", "1h")
    assert checked["check"]["type"] == "tcp" and checked["check"]["failures"] == 3 and checked["cluster"] == "c2" and checked["healthy"] is False
    out(shared, "service", "deregister", "app/chk", "127.0.0.1:0", "--cluster", "c2")
    out(shared, "service", "deregister", "web", "10.0.0.7:80")
    error(shared, "service", "deregister", "web", "10.0.0.7:80", code=NOT_FOUND)
    error(shared, "service", "keepalive", "web", "10.0.0.7:80", code=NOT_FOUND)
    assert "--ttl and --check-http exclude" in error(shared, "service", "register", "x", "--address", "h", "--ttl", "5s", "--check-http", "http://h/", code=USAGE)
    assert "--address is missing" in error(shared, "service", "register", "x", code=USAGE)
    assert "NAME=VALUE" in error(shared, "service", "register", "x", "--address", "h", "--meta", "k", code=USAGE)


def test_register_keep_lives_as_long_as_the_command(shared):
    p = start(shared, "service", "register", "kept", "--address", "h", "--port", "1", "--ttl", f"{int(2 * SLOW)}s", "--keep")
    wait_for(lambda: out(shared, "service", "get", "kept", "-o", "plain"), 10, "the registration")
    time.sleep(3 * SLOW)
    assert doc(shared, "service", "get", "kept", "--healthy")["instances"][0]["healthy"] is True
    code, text, _ = stop(p, signal.SIGTERM)
    assert code == INTERRUPTED and "deregistered h:1" in text
    error(shared, "service", "get", "kept", code=NOT_FOUND)


def test_leases(shared):
    ident = out(shared, "lease", "grant", "30s", "-o", "plain").strip()
    assert re.fullmatch(r"[0-9a-f]{16}", ident)
    assert doc(shared, "lease", "grant", "1m", "--id", "00000000000004d2") == {"id": "00000000000004d2", "ttl": "1m"}
    out(shared, "service", "register", "leased", "--address", "h", "--lease", ident)
    table = out(shared, "lease", "get", ident)
    assert "DEFAULT_GROUP/leased:h:0" in table and re.search(r"\d+\.\ds", table)
    assert {x["id"] for x in doc(shared, "lease", "list")["leases"]} >= {ident, "00000000000004d2"}
    assert ident in out(shared, "lease", "list")
    assert "kept alive for 30s" in out(shared, "lease", "keepalive", ident)
    p = run(shared, "lease", "keepalive", ident, "00000000000000aa", code=NOT_FOUND)
    assert b"00000000000000aa does not exist" in p.stderr and ident.encode() in p.stdout
    out(shared, "lease", "revoke", ident)
    error(shared, "lease", "get", ident, code=NOT_FOUND)
    error(shared, "lease", "revoke", ident, code=NOT_FOUND)
    error(shared, "service", "get", "leased", code=NOT_FOUND)
    error(shared, "lease", "grant", "1ms", code=USAGE)
    p = start(shared, "lease", "keepalive", "--loop", "00000000000004d2")
    assert b"kept alive" in p.stdout.readline()
    assert stop(p)[0] == INTERRUPTED


# --- watch ---


def test_watch_sees_a_put_and_ends_with_130(shared):
    p = start(shared, "watch", "--config", "wt/*", "--service", "wtsvc", "-o", "json")
    seen = []

    def put():
        # Until the stream is there nothing arrives: it begins with the next revision.
        out(shared, "config", "put", "wt/a", "hello\n\x1b[31m")
        if select.select([p.stdout], [], [], 0.5)[0]:
            seen.append(json.loads(p.stdout.readline()))
        return seen

    wait_for(put, 20, "an event")
    assert seen[0]["kind"] == "config" and seen[0]["key"] == "a" and seen[0]["content"] == "hello\n\x1b[31m"
    code, _, err = stop(p)
    assert code == INTERRUPTED and err == ""
    first = str(seen[0]["revision"])
    line = out(shared, "config", "watch", "wt/*", "--from", first, "-n", "1")
    assert re.fullmatch(r' *\d+  put     config    wt/a version \d+ "hello\\n\\x1b\[31m"\n', line), line
    out(shared, "service", "register", "wtsvc", "--address", "h")
    out(shared, "service", "deregister", "wtsvc", "h:0")
    lines = out(shared, "service", "watch", "wtsvc", "--from", first, "-n", "2").splitlines()
    assert re.search(r"put     instance  DEFAULT_GROUP/wtsvc h:0 h:0 healthy$", lines[0]), lines
    assert re.search(r"delete  instance  DEFAULT_GROUP/wtsvc h:0$", lines[1]), lines
    plain = out(shared, "service", "watch", "wtsvc", "--from", first, "-n", "1", "-o", "plain").rstrip("\n").split("\t")
    assert plain[1:] == ["put", "instance", "DEFAULT_GROUP", "wtsvc", "h:0"]


def test_watch_goes_on_at_another_node(cluster):
    p = start(cluster, "config", "watch", "fo/*", "-o", "plain", "--from", "1")
    out(cluster, "config", "put", "fo/a", "1")
    assert p.stdout.readline().decode().split("\t")[4] == "a"
    cluster.nodes[0].kill()
    wait_for(lambda: subprocess.run([MUSTERCTL, "config", "put", "fo/b", "2"], env=env_of(cluster), capture_output=True, check=False).returncode == 0,
             30, "a write")
    while True:
        key = p.stdout.readline().decode().rstrip("\n").split("\t")[4]
        if key == "b":
            break
        assert key == "a"
    assert stop(p)[0] == INTERRUPTED


# --- the cluster ---


def test_status_and_members(cluster):
    text = out(cluster, "status")
    assert text.startswith("healthy\n") and text.count("yes") == 6 and "leader n" in text
    s = doc(cluster, "status")
    assert s["healthy"] is True and len(s["members"]) == 3 and all(x["ready"] for x in s["endpoints"])
    lead, other = cluster.leader(), cluster.follower()
    assert f"the leader is {other.name}" in out(cluster, "member", "transfer", other.name)
    assert cluster.leader() is other
    assert doc(cluster, "member", "transfer", lead.name)["leader"] == lead.name
    wait_for(lambda: cluster.leader() is lead, 10, "the transfer")
    assert len(out(cluster, "member", "list").splitlines()) == 4
    assert {m["name"] for m in doc(cluster, "member", "list")["members"]} == {"n1", "n2", "n3"}
    assert "leads" in error(cluster, "member", "remove", lead.name, code=CONFLICT)
    assert "no such member" in error(cluster, "member", "remove", "n9", code=NOT_FOUND)
    only = {"MUSTER_ENDPOINTS": other.endpoint}
    assert f"the leader is {lead.name}" in error(cluster, "member", "list", code=UNREACHABLE, **only)
    other.kill()
    wait_for(lambda: subprocess.run([MUSTERCTL, "status"], env=env_of(cluster), capture_output=True, check=False).returncode == FAILED, 20, "degraded")
    p = subprocess.run([MUSTERCTL, "status"], env=env_of(cluster), capture_output=True, text=True, check=False)
    assert p.stdout.startswith("degraded: ") and "Couldn't connect" in p.stdout
    next(x for x in cluster.running() if x is not lead).kill()
    wait_for(lambda: subprocess.run([MUSTERCTL, "status"], env=env_of(cluster), capture_output=True, check=False).returncode == UNREACHABLE, 30,
             "no leader")
    error(cluster, "config", "get", "a/b", "--timeout", f"{int(2 * SLOW)}s", code=UNREACHABLE)
    # A write that reached a node which says nothing any more may have been done.
    lead.pause()
    error(cluster, "config", "put", "a/b", "x", "--timeout", "1s", code=UNKNOWN)


def test_a_dead_member_is_replaced_with_progress_shown(cluster):
    for i in range(20):
        out(cluster, "config", "put", f"rep/{i}", "x")
    dead = cluster.follower()
    dead.kill()
    fresh = cluster.add_node("n4")
    cluster.initial, initial = "", cluster.initial
    fresh.start()
    cluster.initial = initial
    cluster.nodes.remove(dead)
    text = out(cluster, "member", "replace", dead.name, "n4", fresh.peer)
    assert text.splitlines()[-1].startswith("done: n4 (") and "n4 voter" in text and dead.name + " " not in text.splitlines()[-1]
    assert {m["name"] for m in doc(cluster, "member", "list")["members"]} == {x.name for x in cluster.nodes}
    assert "last operation: done: n4" in out(cluster, "member", "list")
    assert fresh.get("/api/v1/configs/rep/7").body == b"x"


def test_tls_with_client_certificates(tmp_path):
    """An https endpoint is checked by --cacert, and asked with --cert and --key; without a certificate there is no answer."""
    def ssl(*args):
        subprocess.run(["openssl", *args], cwd=tmp_path, check=True, capture_output=True)

    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2")
    for name in ("server", "client"):
        ssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
        ssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", f"{name}.pem", "-days", "2", "-copy_extensions", "copy")
        (tmp_path / f"{name}.key").chmod(0o600)
    port = free_ports(1)[0]
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen([str(BUILD / "server" / "musterd"), "--data-dir", str(tmp_path / "d"), "--listen", f"127.0.0.1:{port}",
                              "--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"),
                              "--tls-client-ca", str(tmp_path / "ca.pem")], stdout=log, stderr=log, env=clean_env())
    try:
        mine = {"MUSTER_CACERT": str(tmp_path / "ca.pem"), "MUSTER_CERT": str(tmp_path / "client.pem"), "MUSTER_KEY": str(tmp_path / "client.key"),
                "MUSTER_ENDPOINTS": f"127.0.0.1:{port}"}
        wait_for(lambda: subprocess.run([MUSTERCTL, "status"], env=env_of(**mine), capture_output=True, check=False).returncode == DONE, 20, "the node")
        out(None, "config", "put", "tls/a", "secret", **mine)
        assert out(None, "config", "get", "tls/a", **mine) == "secret"
        error(None, "config", "get", "tls/a", "-e", f"https://127.0.0.1:{port}", "--cacert", mine["MUSTER_CACERT"], "--timeout", "1s", code=UNREACHABLE)
        error(None, "config", "get", "tls/a", "-e", f"https://127.0.0.1:{port}", "--timeout", "1s", code=UNREACHABLE)
    finally:
        p.kill()
        p.wait()


# --- snapshots ---


def test_snapshot(shared, tmp_path):
    run(shared, "config", "put", "snap/a", "-q", stdin=b"x" * 100000)
    out(shared, "service", "register", "snapsvc", "--address", "h")
    f = tmp_path / "s.snap"
    assert "checked" in out(shared, "snapshot", "save", str(f))
    assert stat.S_IMODE(f.stat().st_mode) == 0o600 and os.listdir(tmp_path) == ["s.snap"]
    info = doc(shared, "snapshot", "inspect", str(f))
    assert info["size"] == f.stat().st_size and info["configs"] >= 1 and info["instances"] >= 1 and "n3 " in info["members"]
    assert out(None, "snapshot", "inspect", str(f)).startswith("complete and undamaged")
    assert "--force" in error(shared, "snapshot", "save", str(f), code=CONFLICT)
    assert doc(shared, "snapshot", "save", "--force", str(f))["revision"] >= info["revision"]
    good = f.read_bytes()
    step = max(1, len(good) // 60)
    for at in list(range(0, 200, 7)) + list(range(200, len(good), step)) + [len(good) - 1]:
        bad = bytearray(good)
        bad[at] ^= 0x20
        f.write_bytes(bad)
        error(None, "snapshot", "inspect", str(f), code=FAILED)
    for cut in (0, 1, 71, len(good) // 2, len(good) - 1):
        f.write_bytes(good[:cut])
        error(None, "snapshot", "inspect", str(f), code=FAILED)
    f.write_bytes(good + b"\0")
    assert "behind the end" in error(None, "snapshot", "inspect", str(f), code=FAILED)
    error(None, "snapshot", "inspect", str(tmp_path / "none"), code=NOT_FOUND)
    f.unlink()
    error(shared, "snapshot", "save", str(tmp_path / "no" / "x"), code=FAILED)
    error(None, "snapshot", "save", str(f), "-e", f"127.0.0.1:{free_ports(1)[0]}", "--timeout", "1s", code=UNREACHABLE)
    assert os.listdir(tmp_path) == []


def test_a_saved_snapshot_starts_a_new_cluster(shared, tmp_path):
    out(shared, "config", "put", "restore/a", "kept")
    out(shared, "snapshot", "save", str(tmp_path / "s"))
    c = Cluster(3, extra=["--restore", str(tmp_path / "s")])
    try:
        c.start()
        assert out(c, "config", "get", "restore/a") == "kept"
    finally:
        c.close()


# --- bench ---


def test_bench_measures_and_cleans_up(shared):
    for what in ("put", "get", "keepalive"):
        got = doc(shared, "bench", what, "-n", "200", "-c", "4", "--keys", "20")
        assert got["requests"] == 200 and got["failed"] == 0 and 0 < got["p50_ms"] <= got["p99_ms"] <= got["max_ms"] and got["per_second"] > 0
    assert doc(shared, "config", "list", "-g", "musterctl-bench")["configs"] == []
    assert "throughput" in out(shared, "bench", "get", "-d", "300ms", "--keys", "5", "--consistency", "stale")
    p = start(shared, "bench", "put", "--duration", "1m", "--keys", "10")
    wait_for(lambda: any(x["version"] > 2 for x in doc(shared, "config", "list", "-g", "musterctl-bench")["configs"]), 10, "the benchmark to write")
    code, text, _ = stop(p)
    assert code == INTERRUPTED and "throughput" in text
    assert doc(shared, "config", "list", "-g", "musterctl-bench")["configs"] == []


# --- terminals and pipes ---


def test_terminal_output_is_escaped_coloured_and_fits(shared):
    evil = "a\x1b]0;owned\x07b\u202e\x9b31m\nline2"
    run(shared, "config", "put", "tty/evil", "-q", stdin=evil.encode())
    text, code = on_terminal(shared, "config", "get", "tty/evil")
    assert code == DONE and text == "a\\x1b]0;owned\\x07b\\u202e\\x9b31m\nline2\n"
    assert run(shared, "config", "get", "tty/evil").stdout == evil.encode()
    for i in range(3):
        out(shared, "config", "put", "tty/" + "long-name-" * 10 + str(i), "x")
    text, _ = on_terminal(shared, "config", "list", "-g", "tty", columns=60)
    lines = text.splitlines()
    assert "\x1b[1m" in lines[0] and "…" in text
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", x)) <= 60 for x in lines), lines
    for quiet in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal(shared, "config", "list", "-g", "tty", **quiet)[0]
    assert "\x1b" not in on_terminal(shared, "config", "list", "-g", "tty", "--no-color")[0]
    assert "\x1b" not in out(shared, "config", "list", "-g", "tty")


def test_a_closed_pipe_is_quiet(shared):
    run(shared, "config", "put", "pipe/a", "-q", stdin=b"x\n" * 200000)
    p = subprocess.run(["bash", "-c", f"'{MUSTERCTL}' config get pipe/a | head -n 1; echo ${{PIPESTATUS[0]}}"], capture_output=True, env=env_of(shared),
                       check=True)
    assert p.stdout == b"x\n141\n" and p.stderr == b""
    with open("/dev/full", "wb") as full:
        p = subprocess.run([MUSTERCTL, "config", "get", "pipe/a"], stdout=full, stderr=subprocess.PIPE, env=env_of(shared), check=False)
    assert p.returncode == FAILED and b"No space left" in p.stderr


# --- completion in real shells ---

BASH = r"""
source <(%s completion bash)
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
complete_line() { # as bash splits a line at COMP_WORDBREAKS
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
  _musterctl 2>/dev/null; printf '%%s\n' "${COMPREPLY[@]}"
}
"""


def complete(cluster, *words):
    line = " ".join("'" + w.replace("'", "'\\''") + "'" for w in words)
    p = subprocess.run(["bash", "-c", BASH % f"'{MUSTERCTL}'" + f"complete_line '{MUSTERCTL}' {line}"], capture_output=True, text=True, env=env_of(cluster),
                       check=False)
    return p.stdout.split("\n")[:-1]


def test_completion_in_bash(shared, tmp_path):
    out(shared, "config", "put", "comp/one", "1")
    out(shared, "config", "put", "comp/two words", "1")
    out(shared, "config", "put", "plain", "1")
    out(shared, "service", "register", "compsvc", "--address", "10.1.1.1", "--port", "80")
    assert complete(shared, "con") == ["config"]
    assert set(complete(shared, "lease", "")) == {"list", "get", "grant", "keepalive", "revoke"}
    assert "--if-revision" in complete(shared, "config", "put", "--")
    assert complete(shared, "config", "put", "--if-") == ["--if-revision"]
    assert complete(shared, "status", "-o", "") == ["table", "json", "plain"]
    assert complete(shared, "status", "--output", "=", "js") == ["json"]
    assert complete(shared, "completion", "f") == ["fish"]
    assert complete(shared, "config", "get", "comp/") == ["comp/one", "comp/two\\ words"]
    assert complete(shared, "config", "get", "-g", "comp", "o") == ["one"]
    assert complete(shared, "config", "get", "pl") == ["plain"]
    assert complete(shared, "service", "get", "comps") == ["compsvc"]
    assert complete(shared, "service", "keepalive", "compsvc", "10") == ["10.1.1.1:80"]
    assert complete(shared, "service", "keepalive", "compsvc", "10.1.1.1", ":", "8") == ["80"]
    assert sorted(complete(shared, "member", "remove", "")) == ["n1", "n2", "n3"]
    assert complete(shared, "help", "member", "tr") == ["transfer"]
    assert complete(shared, "__") == [] or complete(shared, "__") == [""]
    (tmp_path / "some.file").write_text("")
    assert complete(shared, "snapshot", "inspect", str(tmp_path / "some")) == [str(tmp_path / "some.file")]
    # Without a cluster there is nothing, soon and silently.
    assert complete(None, "config", "get", "-e", "127.0.0.1:1", "x") in ([], [""])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts_are_understood(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    p = subprocess.run([shell, "-n"], input=run(None, "completion", shell).stdout, capture_output=True, env=env_of(), check=False)
    assert p.returncode == 0 and p.stderr == b""
    if shell == "fish":
        path = os.path.dirname(MUSTERCTL) + ":" + os.environ["PATH"]
        p = subprocess.run(["fish", "-c", "musterctl completion fish | source; complete -C 'musterctl config hi'"], capture_output=True, text=True,
                           env=env_of(PATH=path), check=False)
        assert p.stdout.split("\t")[0] == "history"


ZSH = r"""
zmodload zsh/zpty
zpty z 'PS1=READY; stty rows 24 cols 200; exec zsh -f -i'
zpty -w z "autoload -Uz compinit; compinit -u -D; source <(%s completion zsh); PS1=GO'>'"
zpty -r -m z REST '*GO>*' || exit 3
zpty -w -n z $'%s\t'
sleep %d
zpty -r -t z REST; while zpty -r -t z MORE; do REST+=$MORE; done
print -r -- $REST
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_completion_in_zsh(shared):
    out(shared, "config", "put", "zshgroup/only", "1")
    path = os.path.dirname(MUSTERCTL) + ":" + os.environ["PATH"]
    for line, want in (("musterctl config hist", "musterctl config history"), ("musterctl config get zshgr", "zshgroup/only"),
                       ("musterctl status --output=js", "--output=json")):
        p = subprocess.run(["zsh", "-f", "-c", ZSH % (f"'{MUSTERCTL}'", line, int(2 * SLOW))], capture_output=True, text=True, env=env_of(shared, PATH=path),
                           timeout=60 * SLOW, check=False)
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|.\x08", "", p.stdout)
        assert want in shown, (line, p.stdout, p.stderr)
