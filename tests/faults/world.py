# SPDX-License-Identifier: Apache-2.0
"""Three nodes in a world that can be broken: each in a network of its own behind a switch, with a disk of its own on a loop
device, and with a shim between it and its disk and clock.

All of it lives in namespaces of this process: when the last process in them ends, however it ends, the kernel takes the
networks, mounts and loop devices away. Nothing has a name outside, nothing is left behind.
"""
import contextlib
import ctypes
import fcntl
import http.client
import json
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
PR_SET_PDEATHSIG = 1
DISK_MIB, DISK_MIB_PER_S = 160, 4  # what clients write in a second, with its log, and as it is copied by a rejoin
NAMES = ("n1", "n2", "n3")
libc = ctypes.CDLL(None, use_errno=True)


def must(rc, what):
    if rc != 0:
        raise OSError(ctypes.get_errno(), what)


def tell(command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)


def why(e):
    """In a few words, without paths that differ from run to run."""
    if isinstance(e, subprocess.CalledProcessError):
        return f"{e.cmd[0]} is refused"
    return f"{e.strerror} {e.filename or ''}".strip() if isinstance(e, OSError) and e.strerror else str(e)


def now():
    return time.monotonic_ns()


class Control:
    """The shim's page: tests/faults/shim.c, struct control."""
    SYNC, WRITE, SHORT, ALLOCATE = 1, 2, 4, 8

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 4096)

    def clock(self, ms):
        self.page[0:8] = struct.pack("<q", ms)

    def slow(self, ms):
        self.page[8:12] = struct.pack("<i", ms)

    def fail(self, what, error, skip, times, part=""):
        self.page[12:16] = struct.pack("<i", 0)
        self.page[16:128] = struct.pack("<4i96s", error, skip, times, 0, part.encode())
        self.page[12:16] = struct.pack("<i", what)

    def hits(self):
        return struct.unpack("<i", self.page[28:32])[0]

    def clear_disk(self):
        self.slow(0)
        self.page[12:16] = struct.pack("<i", 0)


class Node:
    def __init__(self, world, number):
        self.world, self.number, self.name = world, number, NAMES[number]
        self.base = world.base / self.name
        self.base.mkdir()
        self.data, self.log_path = self.base / "data", world.base / f"{self.name}.log"
        self.control = Control(world.base / f"{self.name}.control")
        self.process, self.fill, self.loop, self.mounted, self.limit = None, None, None, False, None
        self.excused = set()  # exit statuses that the fault at hand accounts for
        self.exits = []
        self.host = f"10.77.0.{number + 1}" if world.has_net else "127.0.0.1"
        offset = 0 if world.has_net else number + world.port_base
        self.http, self.peer = (8500 + offset, 8300 + offset) if world.has_net else (offset, offset + 50)

    # --- disk ---

    def make_disk(self):
        image = self.world.base / f"{self.name}.img"
        with open(image, "wb") as f:
            f.truncate(self.world.disk_mib << 20)
        tell(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)])
        self.mount()

    def mount(self):
        image = self.world.base / f"{self.name}.img"
        tell(["mount", "-o", "loop,errors=remount-ro", str(image), str(self.base)])
        self.mounted = True
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1] == str(self.base):
                self.loop = line.split()[0].rsplit("/", 1)[1]

    def unmount(self):
        for i in range(50):
            if subprocess.run(["umount", str(self.base)], capture_output=True).returncode == 0:
                self.mounted = False
                return
            time.sleep(0.02 * (i + 1))
        raise RuntimeError(f"{self.base} stays busy")

    def shut_down_disk(self):
        fd = os.open(self.base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def mount_again(self, check=False):
        self.kill()
        self.unmount()
        if check:
            subprocess.run(["e2fsck", "-fy", str(self.world.base / f"{self.name}.img")], capture_output=True, timeout=60)
        self.mount()

    # --- process ---

    def command(self):
        peers = ",".join(f"{x.name}={x.host}:{x.peer}" for x in self.world.nodes)
        return [str(self.world.build / "server" / "musterd"), "--name", self.name, "--data-dir", str(self.data),
                "--listen", f"{self.host}:{self.http}", "--peer", f"{self.host}:{self.peer}", "--initial-cluster", peers,
                "--insecure", "--peer-plaintext", "--workers", "1", "--snapshot-log", "1048576", "--segment", "262144",
                "--max-connections-per-source", "1000"]

    def start(self):
        if self.process is not None:
            return
        env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        if self.world.shim is not None:
            env.update(LD_PRELOAD=str(self.world.shim), FAULT_CONTROL=str(self.control.path))
        with open(self.log_path, "ab") as log:
            log.write(b"-- start\n")
            log.flush()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=env,
                                            preexec_fn=self.world.inside(self.number))

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def reap(self):
        """Take note of a process that ended by itself. Its status, or None."""
        if self.process is None or self.process.poll() is None:
            return None
        code = self.process.returncode
        self.process = None
        self.exits.append((code, code in self.excused))
        return code

    def kill(self):
        if self.process is not None and self.reap() is None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def get(self, path, timeout=1.0):
        c = http.client.HTTPConnection(self.host, self.http, timeout=timeout)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def post(self, path, body, timeout=3.0):
        c = http.client.HTTPConnection(self.host, self.http, timeout=timeout)
        try:
            c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            r = c.getresponse()
            r.read()
            return r.status
        finally:
            c.close()

    def is_ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.alive() and self.get("/readyz")[0] == 200
        return False

    def status(self):
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return json.loads(self.get("/api/v1/cluster")[1])
        return {}


class World:
    def __init__(self, base, build, seed, busy_s=0):
        self.base, self.build, self.seed = pathlib.Path(base), pathlib.Path(build), seed
        self.disk_mib = min(DISK_MIB + int(busy_s * DISK_MIB_PER_S), 1500)
        self.skipped = []
        self.switch, self.spaces, self.nodes = None, [], []
        shim = self.build / "tests" / "faults" / "faultshim.so"
        self.shim = shim if shim.exists() else None
        if self.shim is None:
            self.skipped.append("shim (a sanitizer's build)")
        self.is_root = os.geteuid() == 0 or self.become_root()
        self.has_disks = self.enter_mounts()
        self.has_net = self.make_net()
        self.port_base = 0 if self.has_net else self.free_ports()
        self.nodes = [Node(self, i) for i in range(3)]
        if self.has_disks:
            for x in self.nodes:
                x.make_disk()

    @staticmethod
    def free_ports():
        """Below the range that connections are given; 53 in a row of which six are used."""
        for i in range(100):
            first = 20000 + (os.getpid() * 7 + i * 61) % 10000
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                for port in [first + k for k in (0, 1, 2, 50, 51, 52)]:
                    s = stack.enter_context(socket.socket())
                    s.bind(("127.0.0.1", port))
                return first
        raise RuntimeError("no free ports")

    def become_root(self):
        """An ordinary user may be root of namespaces of its own, where that is allowed: enough for the network."""
        uid, gid = os.geteuid(), os.getegid()
        try:
            must(libc.unshare(CLONE_NEWUSER), "user namespace")
            pathlib.Path("/proc/self/setgroups").write_text("deny")
            pathlib.Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            pathlib.Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
            return True
        except OSError as e:
            self.skipped.append(f"namespaces ({e})")
            return False

    def enter_mounts(self):
        if not self.is_root:
            self.skipped += ["disks (not root)"]
            return False
        try:
            must(libc.unshare(CLONE_NEWNS), "mount namespace")
            must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
            probe = self.base / "probe.img"
            with open(probe, "wb") as f:
                f.truncate(8 << 20)
            tell(["mkfs.ext4", "-q", "-F", str(probe)])
            (self.base / "probe").mkdir()
            tell(["mount", "-o", "loop", str(probe), str(self.base / "probe")])
            tell(["umount", str(self.base / "probe")])
            probe.unlink()
            return True
        except (OSError, subprocess.SubprocessError) as e:
            self.skipped.append(f"disks ({why(e)})")
            return False

    def make_net(self):
        if not self.is_root:
            self.skipped += ["network (not root)"]
            return False
        taps, home = [], os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
            tell(["ip", "-V"])
            for i in range(4):
                must(libc.unshare(CLONE_NEWNET), "network namespace")
                self.spaces.append(os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
                tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
                fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI))
                taps.append(tap)
                address = f"10.77.0.{i + 1 if i < 3 else 9}/24"
                for command in (["ip", "link", "set", "lo", "up"], ["ip", "addr", "add", address, "dev", "eth0"],
                                ["ip", "link", "set", "eth0", "up"]):
                    tell(command)
            # This process stays in the last one, where the clients are.
            self.switch = subprocess.Popen([str(self.build / "tests" / "faults" / "switch"), str(self.seed)] + [str(t) for t in taps],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=taps, preexec_fn=self.inside(None))
            return True
        except (OSError, subprocess.SubprocessError) as e:
            self.skipped.append(f"network ({why(e)})")
            if self.spaces and libc.setns(home, CLONE_NEWNET) != 0:  # who is root of its own namespaces only cannot go back
                tell(["ip", "link", "set", "lo", "up"])
            return False
        finally:
            os.close(home)
            for t in taps:
                os.close(t)

    def inside(self, number):
        """What a child does before it becomes another program."""
        space = self.spaces[number] if self.has_net_space(number) else None

        def enter():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.setpgid(0, 0)  # a key on the terminal is for the driver alone
            if space is not None:
                must(libc.setns(space, CLONE_NEWNET), "network of a node")
        return enter

    def has_net_space(self, number):
        return number is not None and number < len(self.spaces) and self.switch is not None

    # --- links ---

    def links(self, *lines):
        if self.switch is not None:
            self.switch.stdin.write("".join(f"{x}\n" for x in lines).encode())
            self.switch.stdin.flush()

    def frames(self):
        if self.switch is None:
            return [0] * 5
        self.links("count")
        return [int(x) for x in self.switch.stdout.readline().split()]

    # --- cluster ---

    def endpoints(self):
        return ",".join(f"{x.name}={x.host}:{x.http}" for x in self.nodes)

    def leader(self):
        said = [x.status().get("leader") for x in self.nodes if x.alive()]
        for x in self.nodes:
            if said.count(x.name) >= 2 and x.alive():
                return x
        return None

    def reap(self):
        """Starts again what ended by itself. Says what must not have happened."""
        bad = []
        for x in self.nodes:
            code = x.reap()
            if code is not None:
                if not x.exits[-1][1]:
                    bad.append(f"{x.name} ended with {code}")
                x.start()
        return bad

    def all_ready(self, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if all(x.is_ready() for x in self.nodes):
                return True
            time.sleep(0.05)
        return False

    def close(self):
        for x in self.nodes:
            x.signal(signal.SIGCONT)
            x.kill()
        for x in self.nodes:
            if x.mounted:
                with contextlib.suppress(RuntimeError):
                    x.unmount()
        if self.switch is not None:
            self.switch.stdin.close()
            self.switch.wait(5)
