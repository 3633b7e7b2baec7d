"""Native clients and plain ones in one room, over TCP, TLS and Unix sockets: nobody misses anything.

Nor does who is killed and returns, and a hub that is killed has it all when it is back.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from programs import HubProcess, Process, Spawn, StartHub, need, wait_for

from jackfield.hub.security.certificate import fingerprint

MEMBER = Path(__file__).with_name("room_member.py")


def native(spawn: Spawn, address: str, name: str, file: Path) -> Process:
    program = spawn(sys.executable, MEMBER, address, name, "lobby", file)
    program.seen(rb"joined\n")
    return program


def plain(spawn: Spawn, *command: str) -> Process:
    need(command[0])
    program = spawn(*command)
    program.seen(rb"This is lobby")
    return program


def heard(file: Path) -> list[str]:
    """What a native member has, without names: those of members that left may be missing."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [f"{line.split()[0]} {line.split(' ', 2)[2]}" for line in lines]


def start(start_hub: StartHub, directory: Path) -> HubProcess:
    return start_hub(
        "tcp://127.0.0.1:0,protocol=native",
        "tcp://127.0.0.1:0,room=lobby",
        f"unix://{directory}/native,protocol=native",
        f"unix://{directory}/plain,room=lobby",
        "tls://127.0.0.1:0,protocol=native",
        "tls://127.0.0.1:0,room=lobby",
        "--state",
        f"{directory}/hub.db",
        control=directory / "control" / "hub.sock",
    )


def test_three_native_clients_and_two_nc_miss_nothing(
    start_hub: StartHub, spawn: Spawn, directory: Path
) -> None:
    hub = start(start_hub, directory)
    tcp, unix = f"tcp://127.0.0.1:{hub.port()}", f"unix://{directory}/native"
    tls = f"tls://127.0.0.1:{hub.port(4)}?pin={fingerprint(directory / 'hub.cert.pem')}"
    files = {name: directory / name for name in ("ann", "ben", "cat")}
    ann, ben = native(spawn, tcp, "ann", files["ann"]), native(spawn, tls, "ben", files["ben"])
    cat = native(spawn, unix, "cat", files["cat"])
    first = plain(spawn, "nc", "127.0.0.1", str(hub.port(1)))
    second = plain(spawn, "nc", "-U", f"{directory}/plain")
    third = plain(spawn, "openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{hub.port(5)}")
    said: list[str] = []

    def say(program: Process, text: str) -> None:
        """Say something once all that was said before was heard by who is there."""
        program.write(f"{text}\n".encode())
        said.append(f"{len(said) + 1} {text}")
        for name in there:
            wait_for(lambda n=name: heard(files[n]) == said, f"{text} at {name}")

    there = ["ann", "ben", "cat"]
    say(ann, "an old herring")
    say(first, "hello from tcp")
    say(second, "hello from unix")
    first.seen(rb"ann: an old herring\n")
    second.seen(rb"hello from tcp\n")
    first.seen(rb"hello from unix\n")
    say(third, "hello from tls")
    second.seen(rb"hello from tls\n")
    say(cat, "hello over a native unix socket")

    ben.popen.send_signal(signal.SIGKILL)
    ben.wait()
    there.remove("ben")
    for number in range(50):
        say((ann, cat, first, second, third)[number % 5], f"while ben is away {number}")
    ben = native(spawn, tls, "ben", files["ben"])
    there.append("ben")
    say(ben, "ben is back")
    assert heard(files["ben"]) == said, "each once and in order"
    first.write(b"/search herring\n")
    first.seen(rb"\d\d:\d\d ann: an old herring\n")

    hub.popen.send_signal(signal.SIGKILL)
    hub.wait()
    hub = start(start_hub, directory)
    rows = hub.do("rooms", "history", "lobby", "--after", "0").decode().splitlines()
    assert [row.split(": ", 1)[1] for row in rows] == [line.split(" ", 1)[1] for line in said]
    assert b"ann: an old herring" in wait_for(
        lambda: hub.do("rooms", "search", "herring"), "what was said long ago"
    )
    # Those on the Unix socket find the hub again by themselves, and go on.
    there = ["cat"]
    last = plain(spawn, "nc", "-U", f"{directory}/plain")
    say(last, "after the restart")
    cat.write(b"cat goes on\n")
    last.seen(rb"cat: cat goes on\n")
