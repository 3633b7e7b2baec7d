"""TLS in bulk: who takes part, with which certificate, and how a run goes.

The C program (`c/tls.c`, OpenSSL) is the other end of every run; its client offers one cipher suite, so both
contenders use the same. Who is measured is the server: its processor time is taken beside the rate.
"""

import atexit
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suite.build import BUILD, missing
from suite.contenders import JACKFIELD, SYNC, Command, Contender, python_program
from suite.processes import ContenderFailed
from suite.scenarios import SLACK, Costed, Setting, serving

Suite = Literal["AES_128_GCM_SHA256", "AES_256_GCM_SHA384"]
PROGRAM = BUILD / "tls"


@dataclass(frozen=True)
class TlsSetting(Setting):
    suite: Suite = "AES_256_GCM_SHA384"


@functools.cache
def certificate() -> tuple[str, str]:
    """Paths of a certificate for the loopback address and of its key, which live as long as the suite."""
    import jackfield

    home = tempfile.TemporaryDirectory(prefix="jfbench-")
    atexit.register(home.cleanup)
    paths = (f"{home.name}/server.pem", f"{home.name}/server.key")
    jackfield.make_certificate(["127.0.0.1"]).save(*paths)
    return paths


def program() -> str:
    """The C program. Raises ContenderFailed when it could not be built."""
    if not PROGRAM.exists():
        raise ContenderFailed(f"there is no C program with OpenSSL: {missing('tls')}")
    return str(PROGRAM)


def _c(role: str, address: str, size: int, seconds: float) -> list[str]:
    sends = [str(size)] if role == "send-each" else []
    return [program(), "send" if sends else "receive", _plain(address), *sends, *certificate()]


def _with_certificate(command: Command) -> Command:
    """A client gets the authority in its address, a server what it shows."""

    def sealed(role: str, address: str, size: int, seconds: float) -> list[str]:
        cert, key = certificate()
        query = f"ca={cert}" if role == "ping" else f"cert={cert}&key={key}"
        return command(role, f"{address}?{query}", size, seconds)

    return sealed


def _plain(address: str) -> str:
    return address.replace("tls://", "tcp://")


C_TLS = Contender("c", "C, OpenSSL", _c)
JACKFIELD_TLS = Contender("jackfield", "jackfield", _with_certificate(JACKFIELD.command))
SYNC_TLS = Contender("jackfield-sync", "jackfield.sync", _with_certificate(SYNC.command))
PLAIN_TLS = Contender("plain", "Python's ssl", _with_certificate(python_program("tls_sockets.py")))


def send_sealed(contender: Contender, at: Setting) -> Costed:
    """Bytes per second that the contender sends, one awaited send per message."""
    return _measure(contender, "send-each", "sink", at)


def receive_sealed(contender: Contender, at: Setting) -> Costed:
    """Bytes per second that the contender receives, each message whole."""
    return _measure(contender, "bulk", "source", at)


def _measure(contender: Contender, role: str, load: str, at: Setting) -> Costed:
    assert isinstance(at, TlsSetting)
    with serving(contender, role, at) as (run, server, [address]):
        words: Sequence[str] = [program(), load, _plain(address), str(at.size), str(at.seconds), at.suite]
        before = server.cpu_seconds()
        result = run.measure(server, words, at.load_core, at.seconds + SLACK)
        spent = server.cpu_seconds() - before
        if result["cipher"] != f"TLSv1.3 TLS_{at.suite}":
            raise ContenderFailed(f"{result['cipher']} was agreed on")
        if result["count"] <= 0:
            raise ContenderFailed("nothing was counted")
        amount = result["count"] * at.size
        return Costed(amount / result["seconds"], amount / spent)
