# SPDX-License-Identifier: Apache-2.0
"""The faults. Each is a generator: it breaks something, yields how long it should stay broken, and mends it when it is resumed.

Whatever a fault leaves dead is started again by the driver. A fault that destroys what a node had stored (damage) begins only
when all three nodes are whole: two of three copies are what the cluster promises to keep.
"""
import contextlib
import errno
import http.client
import os
import signal
import subprocess
import time

SYNC_FAILED, DAMAGED, UNUSABLE = 75, 76, 78


class Fault:
    def __init__(self, name, needs, run, damages):
        self.name, self.needs, self.run, self.damages = name, needs, run, damages


MENU = {}


def fault(name, needs="", damages=False):
    def add(run):
        MENU[name] = Fault(name, needs, run, damages)
        return run
    return add


def anyone(w, r):
    return r.choice(w.nodes)


def leader(w, r):
    return w.leader() or anyone(w, r)


# --- processes ---

def kill(w, nodes, r):
    for x in nodes:
        x.kill()
    yield r.uniform(0.05, 1.2)
    for x in nodes:
        x.start()


@fault("kill-one")
def kill_one(w, r):
    yield from kill(w, [anyone(w, r)], r)


@fault("kill-leader")
def kill_leader(w, r):
    yield from kill(w, [leader(w, r)], r)


@fault("kill-all")
def kill_all(w, r):
    yield from kill(w, w.nodes, r)


@fault("kill-two")
def kill_two(w, r):
    """What is left is a minority."""
    yield from kill(w, r.sample(w.nodes, 2), r)


@fault("stop-one")
def stop_one(w, r):
    """An orderly stop and a start."""
    x = anyone(w, r)
    x.excused |= {0, -signal.SIGTERM}
    x.signal(signal.SIGTERM)
    end = time.monotonic() + 15
    while x.alive() and time.monotonic() < end:
        time.sleep(0.02)
    yield 0.05
    x.reap()
    x.start()


def pause(x, seconds):
    x.signal(signal.SIGSTOP)
    yield seconds
    x.signal(signal.SIGCONT)


@fault("pause-leader")
def pause_leader(w, r):
    yield from pause(leader(w, r), r.uniform(0.1, 3.0))


@fault("pause-one")
def pause_one(w, r):
    yield from pause(anyone(w, r), r.uniform(0.1, 3.0))


@fault("transfer")
def transfer(w, r):
    x = leader(w, r)
    with contextlib.suppress(OSError, http.client.HTTPException):
        x.post("/api/v1/cluster:transfer", {})
    yield 0.05


@fault("compact")
def compact(w, r):
    """Histories of configs are cut: who wants to resume from what is gone must be told so."""
    x = leader(w, r)
    body = {"keep": "0s", "versions": r.choice([1, 1, 5, 50])}
    for _ in range(3):
        with contextlib.suppress(OSError, http.client.HTTPException):
            x.post("/api/v1/cluster:compact", body)
        yield 0.05


# --- disks ---

def power_cut(w, nodes, r):
    for x in nodes:
        x.shut_down_disk()
    for x in nodes:
        x.kill()
    yield r.uniform(0.0, 0.5)
    for x in nodes:
        x.mount_again()
        x.start()


@fault("power-one", "disk")
def power_one(w, r):
    for x in w.nodes:
        x.excused |= {SYNC_FAILED, UNUSABLE, -signal.SIGBUS}
    yield from power_cut(w, [anyone(w, r)], r)


@fault("power-all", "disk")
def power_all(w, r):
    for x in w.nodes:
        x.excused |= {SYNC_FAILED, UNUSABLE, -signal.SIGBUS}
    yield from power_cut(w, w.nodes, r)


@fault("disk-full", "disk")
def disk_full(w, r):
    x = anyone(w, r)
    path = x.base / "filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    size = 16 << 20
    at = 0
    while size >= 4096:
        try:
            os.posix_fallocate(fd, at, size)
            at += size
        except OSError:
            size //= 2
    os.close(fd)
    x.excused |= {SYNC_FAILED, UNUSABLE}
    yield r.uniform(0.5, 2.0)
    path.unlink()


@fault("disk-readonly", "disk")
def disk_readonly(w, r):
    """The file system stops taking writes, as ext4 does when it finds an error."""
    x = anyone(w, r)
    x.excused |= {SYNC_FAILED, UNUSABLE, DAMAGED, -signal.SIGBUS}
    trigger = f"/sys/fs/ext4/{x.loop}/trigger_fs_error"
    try:
        with open(trigger, "w") as f:
            f.write("1")
    except OSError:
        subprocess.run(["mount", "-o", "remount,ro", str(x.base)], capture_output=True)
    yield r.uniform(0.3, 1.5)
    x.kill()
    x.mount_again(check=True)
    x.start()


@fault("disk-slow", "shim")
def disk_slow(w, r):
    x = anyone(w, r) if r.random() < 0.5 else leader(w, r)
    x.control.slow(r.choice([10, 50, 200, 600]))
    yield r.uniform(1.0, 2.5)
    x.control.clear_disk()


def failing(w, r, what, error, times, part="/log/"):
    x = anyone(w, r) if r.random() < 0.5 else leader(w, r)
    x.excused |= {SYNC_FAILED, DAMAGED, UNUSABLE}
    x.control.fail(what, error, r.randrange(0, 30), times, part)
    yield r.uniform(0.5, 1.5)
    x.control.clear_disk()
    if not x.alive():
        x.reap()
        x.start()


@fault("sync-eio", "shim")
def sync_eio(w, r):
    yield from failing(w, r, 1, errno.EIO, 1)


@fault("sync-eio-vote", "shim")
def sync_eio_vote(w, r):
    yield from failing(w, r, 1, errno.EIO, 1, "/vote")


@fault("write-eio", "shim")
def write_eio(w, r):
    yield from failing(w, r, 2, errno.EIO, 1)


@fault("write-enospc", "shim")
def write_enospc(w, r):
    yield from failing(w, r, 2 | 8, errno.ENOSPC, 5, "")


@fault("write-short", "shim")
def write_short(w, r):
    yield from failing(w, r, 4, 0, 50, "")


# --- damage at rest ---

def flip(path, r, at=None):
    size = path.stat().st_size
    at = r.randrange(size) if at is None else at
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0] ^ (1 << r.randrange(8))
        f.seek(at)
        f.write(bytes([byte]))


def used_size(path):
    """Without the zeros at the end."""
    data = path.read_bytes().rstrip(b"\0")
    return max(len(data), 1)


def damaged(w, r, how):
    x = anyone(w, r)
    x.kill()
    how(x, r)
    x.excused |= {DAMAGED}
    yield r.uniform(0.0, 0.3)
    x.start()


@fault("flip-log", damages=True)
def flip_log(w, r):
    def how(x, r):
        path = r.choice(sorted((x.data / "log").glob("*.seg")))
        flip(path, r, r.randrange(used_size(path)))
    yield from damaged(w, r, how)


@fault("cut-log", damages=True)
def cut_log(w, r):
    def how(x, r):
        path = r.choice(sorted((x.data / "log").glob("*.seg")))
        os.truncate(path, r.randrange(used_size(path)))
    yield from damaged(w, r, how)


@fault("lose-log", damages=True)
def lose_log(w, r):
    def how(x, r):
        r.choice(sorted((x.data / "log").glob("*.seg"))).unlink()
    yield from damaged(w, r, how)


@fault("flip-vote", damages=True)
def flip_vote(w, r):
    yield from damaged(w, r, lambda x, r: flip(x.data / "vote", r, r.choice([0, 4096]) + r.randrange(40)))


@fault("flip-snapshot", damages=True)
def flip_snapshot(w, r):
    def how(x, r):
        files = sorted(x.data.glob("snapshots/*.snap"))
        if files:
            flip(r.choice(files), r)
    yield from damaged(w, r, how)


@fault("lose-store", damages=True)
def lose_store(w, r):
    def how(x, r):
        for p in (x.data / "store").iterdir():
            p.unlink()
    yield from damaged(w, r, how)


# --- network: ports 0 to 2 are nodes, 3 is where the clients are ---

def both(a, b, what):
    return [f"link {a} {b} {what}", f"link {b} {a} {what}"]


def cut_links(w, lines, seconds):
    w.links(*lines)
    yield seconds
    w.links("clear")


@fault("isolate-leader", "net")
def isolate_leader(w, r):
    """From the other nodes; clients still reach it."""
    x = leader(w, r).number
    yield from cut_links(w, [c for i in range(3) if i != x for c in both(x, i, "cut=1")], r.uniform(0.5, 3.0))


@fault("isolate-one", "net")
def isolate_one(w, r):
    """From everybody."""
    x = r.randrange(3)
    yield from cut_links(w, [c for i in range(4) if i != x for c in both(x, i, "cut=1")], r.uniform(0.5, 3.0))


@fault("deaf", "net")
def deaf(w, r):
    """One way only: a node that sends and hears nothing, or hears and cannot be heard."""
    x = leader(w, r).number if r.random() < 0.5 else r.randrange(3)
    hears = r.random() < 0.5
    lines = [f"link {x} {i} cut=1" if hears else f"link {i} {x} cut=1" for i in range(3) if i != x]
    yield from cut_links(w, lines, r.uniform(0.5, 3.0))


@fault("bridge", "net")
def bridge(w, r):
    """Two nodes do not see each other, both see the third."""
    a, b = r.sample(range(3), 2)
    yield from cut_links(w, both(a, b, "cut=1"), r.uniform(0.5, 3.0))


@fault("all-apart", "net")
def all_apart(w, r):
    yield from cut_links(w, both(0, 1, "cut=1") + both(0, 2, "cut=1") + both(1, 2, "cut=1"), r.uniform(0.3, 1.5))


@fault("flapping", "net")
def flapping(w, r):
    a = r.randrange(3)
    for i in range(r.randrange(3, 8)):
        w.links(*[c for b in range(3) if b != a for c in both(a, b, "cut=1")])
        yield r.uniform(0.05, 0.5)
        w.links("clear")
        yield r.uniform(0.05, 0.3)
        a = (a + 1) % 3


def everywhere(what):
    return [f"link {a} {b} {what}" for a in range(4) for b in range(4) if a != b]


@fault("loss", "net")
def loss(w, r):
    yield from cut_links(w, everywhere(f"loss={r.choice([0.02, 0.1, 0.25])}"), r.uniform(1.0, 3.0))


@fault("delay", "net")
def delay(w, r):
    yield from cut_links(w, everywhere(f"delay={r.choice([5, 40, 120])} jitter={r.choice([0, 30])}"), r.uniform(1.0, 3.0))


@fault("reorder", "net")
def reorder(w, r):
    """Frames overtake each other."""
    yield from cut_links(w, everywhere(f"delay=1 jitter={r.choice([5, 20])}"), r.uniform(1.0, 2.0))


@fault("duplicates", "net")
def duplicates(w, r):
    yield from cut_links(w, everywhere("dup=0.3 jitter=3"), r.uniform(1.0, 2.0))


@fault("resets", "net")
def resets(w, r):
    yield from cut_links(w, everywhere("reset=0.02"), r.uniform(0.5, 2.0))


@fault("narrow", "net")
def narrow(w, r):
    yield from cut_links(w, everywhere(f"rate={r.choice([32, 128])}"), r.uniform(1.0, 2.0))


@fault("clients-cut", "net")
def clients_cut(w, r):
    """Answers to clients get lost, so they do not know what they did."""
    x = r.randrange(3)
    yield from cut_links(w, [f"link {x} 3 cut=1"], r.uniform(0.5, 2.0))


# --- clocks and limits ---

@fault("clock", "shim")
def clock(w, r):
    """Wall clocks jump: seconds, hours, back again; strobing."""
    x = anyone(w, r)
    for i in range(r.choice([1, 1, 8])):
        x.control.clock(r.choice([-86400000, -3600000, -5000, -700, 700, 5000, 3600000, 86400000]))
        yield r.uniform(0.05, 1.0)
    if r.random() < 0.5:
        x.control.clock(0)


def limited(x, what, value, seconds):
    if not x.alive():
        return
    pid = str(x.process.pid)
    subprocess.run(["prlimit", "--pid", pid, f"--{what}={value}:"], capture_output=True)
    yield seconds
    if x.alive() and str(x.process.pid) == pid:
        subprocess.run(["prlimit", "--pid", pid, f"--{what}=20000:" if what == "nofile" else f"--{what}=unlimited:"],
                       capture_output=True)


@fault("descriptors")
def descriptors(w, r):
    x = anyone(w, r)
    x.excused |= {SYNC_FAILED, UNUSABLE}
    yield from limited(x, "nofile", r.choice([8, 24]), r.uniform(0.5, 2.0))


@fault("memory")
def memory(w, r):
    """No more address space: a node that needs some ends at once and comes back."""
    x = anyone(w, r)
    x.excused |= {-signal.SIGABRT, 77, SYNC_FAILED, UNUSABLE}
    yield from limited(x, "as", 1 << 20, r.uniform(0.5, 1.5))
