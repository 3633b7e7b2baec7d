"""The causes that a check can name: their identifiers, exit codes and meanings.

Identifiers and codes are a contract with scripts: they may be added to, never changed. docs/check.md has the
same table, and a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Cause:
    """One way in which a check can end."""

    name: str
    exit_code: int
    meaning: str


CAUSES: Final = tuple(
    Cause(*row)
    for row in (
        ("ok", 0, "it answers as it should"),
        ("failed", 1, "none of the causes below; the evidence has what the system said"),
        ("no-such-host", 10, "a name server says that there is no such name"),
        ("name-not-resolved", 11, "the name has no address of a usable kind, or the name server failed"),
        ("name-server-silent", 12, "no name server answered"),
        ("no-route", 20, "this machine's own routing table has no way there"),
        ("router-unreachable", 21, "a router on the way has no way there"),
        ("neighbour-silent", 22, "nobody answers for that address on the local link"),
        ("filtered", 23, "a firewall or filter refused it"),
        ("silence", 24, "nothing came back at all; over UDP that proves nothing"),
        ("routing-loop", 25, "the packet's hops ran out on the way"),
        ("own-firewall", 26, "a firewall rule of this machine forbids it, or drops it"),
        ("gateway-silent", 27, "the first router on the way does not answer on the local link"),
        ("interface-down", 28, "the network interface is down"),
        ("unreachable", 29, "the host is out of reach, and nobody said more"),
        ("refused", 30, "the host answered that nothing listens there"),
        ("bound-elsewhere", 31, "something listens on that port of this machine, on another address"),
        ("accept-queue-full", 32, "the server's queue of connections to accept is full"),
        ("process-stopped", 33, "the process that listens is stopped (SIGSTOP, Ctrl-Z, a debugger)"),
        ("process-busy", 34, "the process that listens computes or waits for a device, and does not accept"),
        ("not-accepting", 35, "the process that listens sleeps, and does not accept or read"),
        ("no-socket", 40, "there is no socket of that path or abstract name"),
        ("stale-socket", 41, "a socket file that no process holds"),
        ("wrong-kind", 42, "the Unix socket is of another kind: stream, datagram or seqpacket"),
        ("permission", 43, "the operating system does not permit it"),
        ("not-a-socket", 44, "the file at that path is no socket"),
        ("closed-at-once", 50, "it accepted and closed without a word"),
        ("reset-after-connect", 51, "it accepted and reset the connection"),
        ("silent-server", 52, "it accepted, was asked, and said nothing"),
        ("wrong-protocol", 53, "it answered with something other than HTTP"),
        ("no-websocket", 54, "it speaks HTTP, and opens no WebSocket there"),
        ("not-a-hub", 55, "a WebSocket opens there, and no Jackfield hub answers"),
        ("turned-away", 56, "the server takes this client not now, or not from here"),
        ("tls-failed", 60, "the TLS handshake did not come about"),
        ("certificate-invalid", 61, "the TLS handshake came about, and the certificate is not to be trusted"),
        ("no-local-port", 70, "this machine has no free local address or port for it"),
        ("too-many-files", 71, "the limit on open files is reached"),
        ("interrupted", 130, "Ctrl-C ended the check before there was a verdict"),
    )
)

FROM_LIBRARY: Final = {
    "nothing_listens": "refused",
    "port_closed": "refused",
    "filtered": "filtered",
    "own_firewall": "own-firewall",
    "router_refused": "router-unreachable",
    "routing_loop": "routing-loop",
    "no_such_neighbour": "neighbour-silent",
    "gateway_silent": "gateway-silent",
    "no_route": "no-route",
    "own_route_refuses": "no-route",
    "interface_down": "interface-down",
    "no_answer": "silence",
    "accept_queue_full": "accept-queue-full",
    "protocol_unknown": "refused",
    "unreachable": "unreachable",
    "no_such_name": "no-such-host",
    "name_without_address": "name-not-resolved",
    "name_server_silent": "name-server-silent",
    "name_server_failed": "name-not-resolved",
    "no_name_server": "name-not-resolved",
    "stale_socket_file": "stale-socket",
    "no_such_file": "no-socket",
    "not_a_socket": "not-a-socket",
    "wrong_kind": "wrong-kind",
    "no_such_address": "no-local-port",
    "no_free_port": "no-local-port",
    "not_permitted": "permission",
    "too_many_open_files": "too-many-files",
}
"""What ``JackfieldError.cause`` says of a connect, as a cause of a check."""

NAME_CAUSES: Final = ("no-such-host", "name-not-resolved", "name-server-silent")

_CODES: Final = {cause.name: cause.exit_code for cause in CAUSES}


def exit_code(cause: str) -> int:
    """The exit code of a cause."""
    return _CODES[cause]
