"""Who may come to a listener: `access=plain|token|certificate`, and `allow=NETWORK,...` beside it.

Owns the defaults. A listener that only this machine can reach is open. Any other one asks for a token over
TLS; without TLS it must say `access=plain`, which consents to clients that prove nothing. Pure: addresses in,
a decision or what to write instead out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from jackfield import Address, Options

PLAIN: Final = "plain"
TOKEN: Final = "token"
CERTIFICATE: Final = "certificate"
MODES: Final = (PLAIN, TOKEN, CERTIFICATE)
SECURE: Final = ("tls", "wss")
DATAGRAMS: Final = ("udp", "unix+dgram")
LOOPBACK: Final = ("localhost", "::1")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Host = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Access:
    """What a listener asks of who comes: `mode` of `MODES`, from the networks `allow` (None: from anywhere).

    `chosen` is False where the address said nothing, and the default was taken.
    """

    mode: str = PLAIN
    allow: tuple[Network, ...] | None = None
    chosen: bool = False

    @property
    def is_open(self) -> bool:
        """Whether clients without token and certificate come in."""
        return self.mode == PLAIN

    def admits(self, host: str | None) -> bool:
        """Whether someone at that host may come; who has none (a Unix socket's peer) is on this machine."""
        if self.allow is None or host is None:
            return True
        at = host_of(host)
        return at is not None and any(at in network for network in self.allow)


OPEN: Final = Access()


class Unconsented(ValueError):
    """An address can be reached by others, and nothing says who of them may come. `consenting` would do.

    `private` is the same for this machine alone.
    """

    def __init__(self, message: str, consenting: Address, private: Address) -> None:
        super().__init__(message)
        self.consenting = consenting
        self.private = private


@lru_cache(maxsize=4096)
def host_of(text: str) -> Host | None:
    """A numeric host as a value: IPv4 written as IPv6 is IPv4, a zone is left out. None for anything else."""
    try:
        host = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return mapped or host


def is_local(address: Address) -> bool:
    """Whether only this machine can reach the address."""
    if address.port is None:
        return True
    if address.host is None:
        return False
    host = host_of(address.host)
    return address.host in LOOPBACK or (host is not None and host.is_loopback)


def access_of(address: Address, *, control: bool = False) -> Access:
    """What a listener on that address asks of who comes; `control` for one that is for operators.

    Raises `Unconsented` where it must say more, and ValueError for what cannot be.
    """
    mode, texts = address.option("access"), address.option_values("allow")
    allow = Options(allow=tuple(part for text in texts for part in text.split(",") if part) or None).allow
    secure, local = address.scheme in SECURE, is_local(address)
    if mode is not None and mode not in MODES:
        raise ValueError(f"access={mode} means nothing: it is {', '.join(MODES[:-1])} or {MODES[-1]}")
    if allow is not None and address.port is None and address.scheme != "fd":
        raise ValueError("allow= is about networks, which this transport has not")
    if mode == CERTIFICATE and not secure:
        raise ValueError("access=certificate needs tls://, where clients can show one")
    if mode == CERTIFICATE and not _asks_for_certificates(address):
        raise ValueError(
            "access=certificate needs ca=FILE, the authority that signed its clients' certificates"
        )
    if mode == TOKEN and address.scheme in DATAGRAMS:
        raise ValueError("access=token needs a connection, and datagrams have none")
    if control and mode == PLAIN:
        raise ValueError("operators come with a token: access=plain is not for them")
    if not secure and not local and address.scheme != "fd" and (mode == TOKEN or control):
        raise ValueError("without TLS everyone on the way could read tokens: write tls://, or a host of here")
    if mode is None and control:
        mode = TOKEN
    elif mode is None and (local or address.scheme == "fd"):
        mode = PLAIN  # what a descriptor is bound to is seen when it is opened: `check_bound`
    elif mode is None and secure:
        mode = TOKEN
    elif mode is None:
        raise unconsented(address)
    networks = None if allow is None else tuple(map(ipaddress.ip_network, allow))
    return Access(mode, networks, chosen=address.option("access") is not None)


def _asks_for_certificates(address: Address) -> bool:
    """Whether TLS lets in only who has a certificate that it has verified."""
    whose = address.option("ca") is not None or address.option("pin") is not None
    return whose and (address.option("verify") or "full") == "full"


def check_bound(bound: Address, planned: Address, access: Access) -> None:
    """Raise `Unconsented` when a socket that somebody else has opened (`fd://`) can be reached by others."""
    if access.is_open and not access.chosen and not is_local(bound):
        raise unconsented(bound, planned)


def unconsented(address: Address, planned: Address | None = None) -> Unconsented:
    """What to raise of an address that others reach, written as `planned` where it was opened elsewhere."""
    host = "[::1]" if address.host is not None and ":" in address.host else "127.0.0.1"
    private = Address.parse(f"{address.scheme}://{host}:{address.port}")
    return Unconsented(
        f"{address.without_options()} can be reached from other machines, and nothing says who may come",
        (planned or address).with_options(access=PLAIN),
        private.with_options(**{name: value for name, value in address.options if name != "allow"}),
    )


def networks_text(networks: Iterable[Network] | None) -> str:
    """Networks as an address has them; empty for anywhere."""
    return ",".join(map(str, networks or ()))
