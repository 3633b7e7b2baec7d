"""The values of options: how the text of each one is read, which limits it has, how it is written again.

``KINDS`` has one entry for each field of ``Options``, in the same order; what the kernel makes of them is
said in ``_socket_options``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from jackfield._address import Address
from jackfield._errors import JackfieldError
from jackfield._framing import Framing
from jackfield._keepalive import Keepalive
from jackfield._units import (
    UnitError,
    format_bytes,
    format_seconds,
    read_bytes,
    read_integer,
    read_seconds,
    read_switch,
)
from jackfield._when_full import WhenFull


def bind_address(scheme: str, text: str) -> Address:
    """The ``bind`` option as an address of the scheme; a missing port is 0. Raises ``InvalidAddress``."""
    if text.startswith(("/", "@")):
        return Address(scheme, path=text)
    bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    host = f"[{text}]" if bare_ipv6 else text
    has_port = ":" in host.rpartition("]")[2]
    return Address.parse(f"{scheme}://{host}" if has_port else f"{scheme}://{host}:0")


MTU_DISCOVER = ("dont", "want", "do", "probe", "interface", "omit")
"""The words of ``mtu_discover``, each at the place of its number in linux/in.h."""

OFF = frozenset({"off", "no", "none", "false"})


class Kind:
    """How one option is read from text and checked, and whether ``off`` and ``no`` mean None."""

    def __init__(
        self,
        read: Callable[[str], Any],
        check: Callable[[Any], Any],
        example: str,
        *,
        can_be_off: bool = True,
    ) -> None:
        self.read = read
        self.check = check
        self.example = example
        self.can_be_off = can_be_off


def _whole(smallest: int, largest: int, form: Callable[[int], str] = str) -> Callable[[Any], int]:
    limits = f"from {form(smallest)} to {form(largest)}"

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnitError(f"{value!r} is not a whole number", f"give a number {limits}")
        if not smallest <= value <= largest:
            raise UnitError(
                f"{form(value) if value >= 0 else value} is outside its limits", f"give a number {limits}"
            )
        return value

    return check


def _seconds(smallest: float, largest: float) -> Callable[[Any], float]:
    limits = f"give a time from {format_seconds(smallest)} to {format_seconds(largest)}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UnitError(f"{value!r} is not a time in seconds", limits)
        if not smallest <= value <= largest:
            raise UnitError(f"{value:g} s is outside its limits", limits)
        return float(value)

    return check


def _size(smallest: int, largest: int, example: str = "4M", *, can_be_off: bool = True) -> Kind:
    return Kind(read_bytes, _whole(smallest, largest, format_bytes), example, can_be_off=can_be_off)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnitError(f"{value!r} is neither True nor False", "give True or False")
    return value


def _framing(value: Any) -> Framing:
    return value if isinstance(value, Framing) else Framing(_plain(value))


def _plain(value: Any) -> str:
    if not isinstance(value, str):
        raise UnitError(f"{value!r} is not text", "give a str")
    return value


def _when_full(value: Any) -> WhenFull:
    try:
        return WhenFull(value)
    except ValueError:
        near = get_close_matches(str(value).lower(), list(WhenFull), n=1)
        hint = f"did you mean {near[0]}" if near else f"write one of {', '.join(WhenFull)}"
        raise UnitError(f"{value!r} is no policy for a full queue", hint) from None


def _read_keepalive(text: str) -> Keepalive:
    return Keepalive() if text.lower() in ("", "yes", "on", "true") else Keepalive.parse(text)


def _keepalive(value: Any) -> Keepalive | None:
    if isinstance(value, bool):
        return Keepalive() if value else None
    if not isinstance(value, Keepalive):
        raise UnitError(f"{value!r} is not a Keepalive", "give Keepalive(60, 5, 3), '60s/5s/3' or None")
    return value


def _bind(value: Any) -> str:
    text = _plain(value)
    try:
        bind_address("unix" if text.startswith(("/", "@")) else "tcp", text)
    except JackfieldError as error:
        hint = "write host, host:port, :port, /path or @name, such as 192.168.1.5:0"
        raise UnitError(error.message, hint) from None
    return text


def _device(value: Any) -> str:
    text = _plain(value)
    if (
        not 1 <= len(text.encode("utf-8", "surrogateescape")) <= 15
        or "/" in text
        or not text.isprintable()
        or " " in text
    ):
        raise UnitError(
            f"{text!r} is not a network interface", "write a name such as eth0 (ip link lists them)"
        )
    return text


def _words(*words: str) -> Callable[[Any], str]:
    """One of a few words."""

    def check(value: Any) -> str:
        text = _plain(value)
        if text not in words:
            near = get_close_matches(text.lower(), words, n=1)
            hint = f"did you mean {near[0]}" if near else f"write one of {', '.join(words)}"
            raise UnitError(f"{text!r} is not one of its values", hint)
        return text

    return check


def _congestion(value: Any) -> str:
    text = _plain(value)
    if not (1 <= len(text) <= 15 and text.isascii() and text.replace("_", "").replace("-", "").isalnum()):
        raise UnitError(f"{text!r} is not a congestion control", "write a name such as bbr, cubic or reno")
    return text


def _interface(value: Any) -> str:
    text = _plain(value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return str(_device(text))


def _source(value: Any) -> str:
    text = _plain(value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UnitError(f"{text!r} is no IP address", "write the sender's, such as 192.0.2.1") from None


def _read_rate(text: str) -> int:
    return read_integer(text.removesuffix("/s"))


def _read_dscp(text: str) -> int:
    upper = text.upper()
    if upper == "EF":
        return 46
    if len(upper) == 3 and upper[:2] == "CS" and upper[2] in "01234567":
        return 8 * int(upper[2])
    if len(upper) == 4 and upper[:2] == "AF" and upper[2] in "1234" and upper[3] in "123":
        return 8 * int(upper[2]) + 2 * int(upper[3])
    return read_integer(text)


def _file(value: Any) -> str:
    text = os.path.expanduser(os.fspath(value))
    if not isinstance(text, str) or "\0" in text:
        raise UnitError(
            f"{value!r} is not the name of a file", "write a path such as /etc/jackfield/cert.pem"
        )
    return text


_FINGERPRINT = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)


def _pin(value: Any) -> tuple[str, ...]:
    pins = []
    for part in [value] if isinstance(value, str) else value:
        found = _FINGERPRINT.fullmatch(_plain(part).strip())
        if found is None:
            raise UnitError(f"{part!r} is not a fingerprint", "write sha256: and 64 hexadecimal digits")
        pins.append("sha256:" + found[1].replace(":", "").lower())
    return tuple(pins)


def _alpn(value: Any) -> tuple[str, ...]:
    names = tuple(_plain(part) for part in ([value] if isinstance(value, str) else value))
    for name in names:
        if not 1 <= len(name.encode("utf-8", "surrogateescape")) <= 255 or not name.isprintable():
            raise UnitError(f"{name!r} is not the name of a protocol", "write for example h2")
    return names


def _server_name(value: Any) -> str:
    text = _plain(value)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UnitError(f"{text!r} is not a host name", "write a name such as hub.example")
    return text


def _allow(value: Any) -> tuple[str, ...]:
    networks = []
    for part in [value] if isinstance(value, str) else value:
        try:
            networks.append(str(ipaddress.ip_network(_plain(part))))
        except ValueError as error:
            if isinstance(error, UnitError):
                raise
            hint = "write for example 192.168.1.0/24"
            if "host bits" in str(error):
                network = ipaddress.ip_network(part, strict=False)
                hint = f"write {network} for the network, or {part.partition('/')[0]} for one host"
            raise UnitError(f"{part!r} is not a network", hint) from None
    return tuple(networks)


KINDS: dict[str, Kind] = {
    "framing": Kind(_plain, _framing, "u32", can_be_off=False),
    "max_message": _size(1, 2**40, can_be_off=False),
    "high_water": _size(1, 2**40, can_be_off=False),
    "when_full": Kind(_plain, _when_full, "wait", can_be_off=False),
    "nodelay": Kind(read_switch, _switch, "yes", can_be_off=False),
    "keepalive": Kind(_read_keepalive, _keepalive, "60s/5s/3"),
    "vanished_after": Kind(read_seconds, _seconds(0.1, 86400), "30s"),
    "reuse_address": Kind(read_switch, _switch, "yes", can_be_off=False),
    "reuse_port": Kind(read_switch, _switch, "yes", can_be_off=False),
    "send_buffer": _size(1, 2**31 - 1),
    "receive_buffer": _size(1, 2**31 - 1),
    "linger": Kind(read_seconds, _seconds(0, 65535), "5s"),
    "bind": Kind(_plain, _bind, "192.168.1.5"),
    "device": Kind(_plain, _device, "eth0"),
    "dscp": Kind(_read_dscp, _whole(0, 63), "46"),
    "mark": Kind(read_integer, _whole(0, 2**32 - 1), "1"),
    "priority": Kind(read_integer, _whole(0, 2**31 - 1), "6"),
    "ttl": Kind(read_integer, _whole(1, 255), "64"),
    "mtu_discover": Kind(_plain, _words(*MTU_DISCOVER), "do"),
    "v6only": Kind(read_switch, _switch, "yes", can_be_off=False),
    "freebind": Kind(read_switch, _switch, "yes", can_be_off=False),
    "transparent": Kind(read_switch, _switch, "yes", can_be_off=False),
    "user_timeout": Kind(read_seconds, _seconds(1e-3, 2**31 / 1000 - 1), "20s"),
    "congestion": Kind(_plain, _congestion, "bbr", can_be_off=False),
    "quickack": Kind(read_switch, _switch, "yes", can_be_off=False),
    "cork": Kind(read_switch, _switch, "yes", can_be_off=False),
    "notsent_low_water": _size(1, 2**32 - 2, "16K"),
    "max_segment": _size(88, 32767, "1200B", can_be_off=False),
    "max_pacing_rate": _size(1, 2**32 - 2),
    "syn_retries": Kind(read_integer, _whole(1, 127), "3", can_be_off=False),
    "defer_accept": Kind(read_seconds, _seconds(1, 65535), "5s"),
    "fastopen": Kind(read_integer, _whole(1, 65535), "256"),
    "incoming_cpu": Kind(read_integer, _whole(0, 2**31 - 1), "0", can_be_off=False),
    "kernel_busy_poll": Kind(read_seconds, _seconds(1e-6, 1), "50us"),
    "interface": Kind(_plain, _interface, "eth0"),
    "source": Kind(_plain, _source, "192.0.2.1"),
    "loop": Kind(read_switch, _switch, "no", can_be_off=False),
    "broadcast": Kind(read_switch, _switch, "yes", can_be_off=False),
    "packet_info": Kind(read_switch, _switch, "yes", can_be_off=False),
    "baud": Kind(read_integer, _whole(1, 2**31 - 1), "115200", can_be_off=False),
    "bits": Kind(read_integer, _whole(5, 8), "7", can_be_off=False),
    "parity": Kind(_plain, _words("none", "even", "odd", "mark", "space"), "even", can_be_off=False),
    "stop": Kind(read_integer, _whole(1, 2), "2", can_be_off=False),
    "flow": Kind(_plain, _words("none", "rtscts", "xonxoff"), "rtscts", can_be_off=False),
    "dtr": Kind(read_switch, _switch, "no", can_be_off=False),
    "rts": Kind(read_switch, _switch, "no", can_be_off=False),
    "exclusive": Kind(read_switch, _switch, "no", can_be_off=False),
    "connect_timeout": Kind(read_seconds, _seconds(1e-6, 86400), "5s"),
    "backlog": Kind(read_integer, _whole(1, 2**31 - 1), "4096", can_be_off=False),
    "idle_timeout": Kind(read_seconds, _seconds(1e-3, 31536000), "60s"),
    "max_clients": Kind(read_integer, _whole(1, 2**31 - 1), "1000"),
    "cert": Kind(_plain, _file, "cert.pem"),
    "key": Kind(_plain, _file, "key.pem"),
    "ca": Kind(_plain, _file, "ca.pem"),
    "pin": Kind(lambda text: tuple(filter(None, text.split(","))), _pin, "sha256:" + "5f" * 32),
    "verify": Kind(_plain, _words("full", "chain", "optional", "none"), "full", can_be_off=False),
    "server_name": Kind(_plain, _server_name, "hub.example"),
    "alpn": Kind(lambda text: tuple(filter(None, text.split(","))), _alpn, "h2"),
    "tls_min": Kind(_plain, _words("1.2", "1.3"), "1.3", can_be_off=False),
    "handshake_timeout": Kind(read_seconds, _seconds(0.01, 86400), "10s"),
    "handshake_rate": Kind(_read_rate, _whole(1, 1_000_000), "20/s"),
    "access": Kind(_plain, _plain, "plain"),
    "allow": Kind(lambda text: tuple(filter(None, text.split(","))), _allow, "192.168.1.0/24"),
}
