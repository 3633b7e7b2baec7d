"""Networks of a test's own: namespaces with links, routes, routers, firewalls and name servers between them.

Rules: a namespace has no name that could clash or stay behind. It lives as long as its holder, a program that
ends when this process does, even by `kill -9`. Everything that was started inside is ended with the network.
No packet leaves the namespaces. Without the right to make them the test is skipped, and on CI it fails.

    def test_it(network):
        client, server = network.namespace(), network.namespace()
        client.link(server, "10.1.0.1/24", "10.1.0.2/24")
        listener = server.listener("10.1.0.2")
        assert client.call(lambda: jackfield.run(talk))          # a function of the test, run inside

`call` and `start` fork this process, so that a function sees everything that the test has made; what it gives
or raises comes back pickled. A socket belongs for ever to the namespace that it was made in:
`Namespace.socket` makes one there and hands it to the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pickle
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

LIMIT = 30.0
"""Seconds that one call inside a namespace may take."""

_CLONE = {"user": 0x10000000, "net": 0x40000000, "mnt": 0x00020000}
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """The namespaces of one test; a context manager that ends them all."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="jf-net-", dir="/tmp"))
        self.processes: list[Process] = []
        self._namespaces: list[Namespace] = []
        self._devices = itertools.count()
        self._unprivileged = os.geteuid() != 0

    def namespace(self) -> Namespace:
        """A new one, with nothing but a loopback interface, which is up."""
        first = self._namespaces[0] if self._namespaces else None
        try:
            made = Namespace(self, within=first, unprivileged=self._unprivileged)
        except OSError as error:
            if first is None:
                lacking(f"network namespaces cannot be made here: {error}")
            raise
        self._namespaces.append(made)
        made.ip("link set lo up")
        return made

    def device(self) -> str:
        """A name for the next interface, the same at both ends of a link."""
        return f"jf{next(self._devices)}"

    def file(self, text: str) -> Path:
        """A file with this text."""
        descriptor, path = tempfile.mkstemp(dir=self.directory)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return Path(path)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.kill()
        for namespace in reversed(self._namespaces):
            namespace.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Namespace:
    """One host of the network: interfaces, routes, rules, and its own view of a few files in /etc."""

    def __init__(self, network: Network, *, within: Namespace | None, unprivileged: bool) -> None:
        self._network = network
        self._kinds = ("user", "net", "mnt") if unprivileged else ("net", "mnt")
        new_user = ["--user", "--map-root-user"] if unprivileged and within is None else []
        command = [program("unshare"), *new_user, "--net", "--mount", program("cat")]
        entering = None if within is None else within._enter_user
        self._holder = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=entering,
        )
        self.pid = self._holder.pid
        self._descriptors: dict[str, int] = {}
        # What the holder echoes shows that it is where it shall be.
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        with contextlib.suppress(BrokenPipeError):
            self._holder.stdin.write(b"here\n")
            self._holder.stdin.flush()
        if self._holder.stdout.readline() != b"here\n":
            said = self._holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise OSError(said or "unshare ended")
        for kind in self._kinds:
            self._descriptors[kind] = os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """The holder ends, and with it the namespace once nothing runs inside."""
        self._holder.kill()
        self._holder.wait()
        for pipe in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    # Running inside -------------------------------------------------------------------------------

    def call(self, function: Callable[[], Any], *, limit: float = LIMIT) -> Any:
        """What the function gives when it runs inside, in a process of its own; what it raises is raised."""
        return self.start(lambda ready: function()).result(limit)

    def start(self, function: Callable[[Callable[[Any], None]], Any]) -> Process:
        """Run ``function(ready)`` inside, in a process of its own, while the test goes on.

        With ``ready(value)`` the function says that it has come so far: `Process.ready` waits for that.
        """
        return Process(self._network, function, self.enter)

    def python(self, snippet: str, *arguments: str, limit: float = LIMIT) -> str:
        """What a fresh interpreter prints that runs this text inside."""
        return self.run([sys.executable, "-c", snippet, *arguments], limit=limit).stdout

    def run(
        self, command: list[str], *, limit: float = LIMIT, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end. If it fails, so does the test, unless ``check=False``."""
        ended = subprocess.run(
            command, input=input, capture_output=True, text=True, timeout=limit, preexec_fn=self.enter
        )
        if check and ended.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr or ended.stdout}"
            )
        return ended

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program inside; it is killed at the end of the test if it still runs."""
        started = subprocess.Popen(command, preexec_fn=self.enter, **options)
        self._network.processes.append(Process.of(started))
        return started

    def enter(self) -> None:
        """Move this process inside, for good; it must have one thread only."""
        directory = os.getcwd()
        for kind, descriptor in self._descriptors.items():
            _set_namespace(descriptor, kind)
        with contextlib.suppress(OSError):
            os.chdir(directory)

    def _enter_user(self) -> None:
        if "user" in self._descriptors:
            _set_namespace(self._descriptors["user"], "user")

    # Sockets --------------------------------------------------------------------------------------

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this namespace in the test's own process."""

        def make() -> None:
            with socket.socket(family, kind, protocol) as made:
                socket.send_fds(theirs, [b"."], [made.fileno()])

        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.call(make)
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        # recv_fds gives descriptors that programs started later would inherit.
        os.set_inheritable(descriptors[0], False)
        made = socket.socket(family, kind, protocol, fileno=descriptors[0])
        made.settimeout(LIMIT)
        return made

    def listener(self, host: str, port: int = 0, *, backlog: int = 16) -> socket.socket:
        """A listening TCP socket of this namespace in the test's own process."""
        made = self.socket(_family(host), socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(backlog)
        return made

    def datagrams(self, host: str, port: int = 0) -> socket.socket:
        """A bound UDP socket of this namespace in the test's own process."""
        made = self.socket(_family(host), socket.SOCK_DGRAM)
        made.bind((host, port))
        return made

    # Interfaces, addresses, routes ----------------------------------------------------------------

    def ip(self, arguments: str) -> str:
        """``ip`` with these arguments."""
        return self.run([program("ip"), *arguments.split()]).stdout

    def link(self, other: Namespace, *addresses: str) -> str:
        """A cable to ``other``, both ends up; gives the interface's name, which is the same at both ends.

        Addresses such as ``10.1.0.1/24`` are taken in turn by this end and that one.
        """
        device = self._network.device()
        self.ip(f"link add {device} type veth peer name {device} netns {other.pid}")
        for end, own in ((self, addresses[::2]), (other, addresses[1::2])):
            for address in own:
                end.address(device, address)
            end.ip(f"link set {device} up")
        return device

    def address(self, device: str, address: str) -> None:
        """Give an interface an address with prefix length; usable at once, without looking for duplicates."""
        self.ip(f"addr add {address} dev {device} {'nodad' if ':' in address else ''}")

    def link_down(self, device: str) -> None:
        """Pull the plug: the other end loses its carrier."""
        self.ip(f"link set {device} down")

    def link_up(self, device: str) -> None:
        """Put it in again. Routes over the interface may have to be made anew."""
        self.ip(f"link set {device} up")

    def route(self, to: str, via: str) -> None:
        """A route through a router; ``to`` is ``10.2.0.0/24`` or ``default``."""
        self.ip(f"{'-6' if ':' in to + via else '-4'} route add {to} via {via}")

    def refuse_route(self, to: str, kind: str = "unreachable") -> None:
        """A route that says no: ``unreachable``, ``prohibit``, or ``blackhole``, which is silent."""
        self.ip(f"{'-6' if ':' in to else '-4'} route add {kind} {to}")

    def forward(self) -> None:
        """Be a router for both families."""
        self.setting("net/ipv4/ip_forward", "1")
        self.setting("net/ipv6/conf/all/forwarding", "1")
        # Unlimited: a router that has said no too often would be silent.
        self.setting("net/ipv4/icmp_ratelimit", "0")
        self.setting("net/ipv6/icmp/ratelimit", "0")

    def setting(self, name: str, value: str) -> None:
        """Set /proc/sys/NAME; where that is not allowed the test is skipped."""

        def write() -> None:
            Path("/proc/sys", name).write_text(value)

        try:
            self.call(write)
        except OSError as error:
            lacking(f"/proc/sys/{name} cannot be set here: {error}")

    # Rules ----------------------------------------------------------------------------------------

    def nft(self, text: str) -> None:
        """Load nftables rules; without nft, or without the kernel's part of it, the test is skipped."""
        ended = self.run([program("nft"), "-f", "-"], input=text, check=False)
        if ended.returncode != 0:
            lacking(f"nft rules cannot be set here: {ended.stderr.strip()}")

    def rule(self, rule: str, *, hook: str = "input") -> None:
        """One filter rule for ``input``, ``output`` or ``forward``: ``tcp dport 80 drop``,
        ``tcp dport 81 reject with tcp reset``, ``udp dport 82 reject with icmpx admin-prohibited``."""
        self.nft(
            f"add table inet jackfield\n"
            f"add chain inet jackfield {hook} {{ type filter hook {hook} priority 0 ; }}\n"
            f"add rule inet jackfield {hook} {rule}\n"
        )

    # Files ----------------------------------------------------------------------------------------

    def replace_file(self, path: str, text: str) -> None:
        """What a file holds for processes of this namespace; the machine's own file stays as it is."""
        target = os.path.realpath(path)
        if not os.path.exists(target):
            lacking(f"{path} does not exist here and so cannot be covered")
        self.run([program("mount"), "--bind", str(self._network.file(text)), target])

    def name_servers(self, *addresses: str, options: str = "timeout:1 attempts:1") -> None:
        """Processes of this namespace ask these name servers, and DNS alone knows names beside /etc/hosts."""
        lines = [f"nameserver {address}\n" for address in addresses]
        self.replace_file("/etc/resolv.conf", "".join(lines) + f"options {options}\n")
        self.replace_file("/etc/nsswitch.conf", "hosts: files dns\n")

    # Forged packets -------------------------------------------------------------------------------

    def sniffer(self, device: str) -> socket.socket:
        """A packet socket: ``recv`` gives each IP packet, header first, that passes the interface."""
        made = self.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        made.bind((device, 3))
        return made

    def forge_unreachable(self, quoted: bytes, code: int, *, source: str | None = None, mtu: int = 0) -> None:
        """Send an ICMP "destination unreachable" about ``quoted``, an IPv4 packet's beginning, to its sender:
        from ``source``, which need not be ours, or from the host that the packet was for. ``mtu`` is what
        would pass, says code 4 ("fragmentation needed")."""
        victim, target = quoted[12:16], quoted[16:20]
        message = struct.pack("!BBHI", 3, code, 0, mtu) + quoted
        message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
        sender = socket.inet_aton(source) if source else target
        self._forge(message, socket.IPPROTO_ICMP, sender, victim)

    def forge_segment(
        self,
        source: tuple[str, int],
        target: tuple[str, int],
        *,
        sequence: int,
        flags: int,
        data: bytes = b"",
    ) -> None:
        """Send a TCP segment that claims to be from ``source``, with these flags (RST is 4)."""
        ends = socket.inet_aton(source[0]), socket.inet_aton(target[0])
        head = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 0, 5 << 4, flags, 0, 0, 0)
        summed = struct.pack("!4s4sBBH", *ends, 0, socket.IPPROTO_TCP, len(head) + len(data)) + head + data
        head = head[:16] + struct.pack("!H", checksum(summed)) + head[18:]
        self._forge(head + data, socket.IPPROTO_TCP, *ends)

    def _forge(self, message: bytes, protocol: int, source: bytes, target: bytes) -> None:
        length = 20 + len(message)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 1, 0, 64, protocol, 0, source, target)
        with self.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(header + message, (socket.inet_ntoa(target), 0))


class Process:
    """A forked process inside a namespace."""

    def __init__(
        self, network: Network, function: Callable[[Callable[[Any], None]], Any], enter: Any
    ) -> None:
        self._reports, reports = os.pipe()
        self._received = b""
        self._popen: subprocess.Popen[Any] | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(reports, function, enter)
        os.close(reports)
        self._ended = False
        network.processes.append(self)

    @classmethod
    def of(cls, started: subprocess.Popen[Any]) -> Process:
        """A program, so that it is ended as the functions are."""
        self = cls.__new__(cls)
        self._popen, self.pid, self._reports, self._ended = started, started.pid, -1, False
        return self

    def ready(self, limit: float = LIMIT) -> Any:
        """What the function gave to ``ready``. Raises what it raised before that."""
        kind, value = self._next(limit)
        assert kind == "ready", f"it ended without being ready, with {value!r}"
        return value

    def result(self, limit: float = LIMIT) -> Any:
        """Wait for the function's end and give what it returned, or raise what it raised."""
        kind, value = self._next(limit)
        while kind == "ready":
            kind, value = self._next(limit)
        self._reap()
        return value

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it has not ended by itself."""
        if self._popen is not None:
            if self._popen.poll() is None:
                self._popen.kill()
            self._popen.wait()
            for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            return
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        if not self._ended:
            self._ended = True
            os.waitpid(self.pid, 0)
            os.close(self._reports)

    def _next(self, limit: float) -> tuple[str, Any]:
        end = time.monotonic() + limit
        while True:
            if len(self._received) >= 4:
                size = int.from_bytes(self._received[:4], "big")
                if len(self._received) >= 4 + size:
                    report, self._received = self._received[4 : 4 + size], self._received[4 + size :]
                    kind, value, where = pickle.loads(report)
                    if kind == "raised":
                        self._reap()
                        value.add_note(where)
                        raise value
                    return kind, value
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._reports], [], [], left)[0]:
                self.kill()
                raise AssertionError(f"what runs in the namespace did not come to its end within {limit} s")
            more = os.read(self._reports, 1 << 16)
            if not more:
                self.kill()
                raise AssertionError("what ran in the namespace died without a word")
            self._received += more


def _be_child(reports: int, function: Callable[[Callable[[Any], None]], Any], enter: Any) -> NoReturn:
    """The forked side: it never returns into the test."""

    def report(kind: str, value: object, where: str = "") -> None:
        try:
            text = pickle.dumps((kind, value, where))
        except Exception:
            text = pickle.dumps(("raised", AssertionError(f"cannot be pickled: {value!r}"), where))
        text = len(text).to_bytes(4, "big") + text
        while text:
            text = text[os.write(reports, text) :]

    try:
        # The test's own time limit is the parent's affair.
        signal.setitimer(signal.ITIMER_REAL, 0)
        enter()
        report("returned", function(lambda value: report("ready", value)))
    except BaseException as error:
        report("raised", error, "in the namespace:\n" + traceback.format_exc())
    finally:
        os._exit(0)


def lacking(what: str) -> NoReturn:
    """Skip the test for want of something; on CI fail, since there everything must be."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and on CI this must work")
    pytest.skip(what)


def program(name: str) -> str:
    """The path of a program, which ordinary users may not have in their PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        lacking(f"the program {name} is not installed")
    return found


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_beginning(source: tuple[str, int], target: tuple[str, int], sequence: int) -> bytes:
    """The first 28 bytes of a TCP segment over IPv4: what an ICMP error quotes of it."""
    ends = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0x4000, 64, socket.IPPROTO_TCP, 0, *ends)
    return header + struct.pack("!HHI", source[1], target[1], sequence)


def udp_beginning(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """The first 28 bytes of an empty UDP packet over IPv4: what an ICMP error quotes of it."""
    ends = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0x4000, 64, socket.IPPROTO_UDP, 0, *ends)
    return header + struct.pack("!HHHH", source[1], target[1], 8, 0)


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _set_namespace(descriptor: int, kind: str) -> None:
    if _libc.setns(descriptor, _CLONE[kind]) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns {kind}: {os.strerror(number)}")
