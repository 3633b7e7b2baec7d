"""From a name to addresses: what the system's resolver says, how long it took, and whom it asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from pathlib import Path
from typing import Any

import jackfield
from jackfield import Address, ConnectFailed, JackfieldError, NameNotResolved

from .causes import FROM_LIBRARY, NAME_CAUSES
from .observations import Resolution

_HOSTS, _RESOLVERS = Path("/etc/hosts"), Path("/etc/resolv.conf")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def is_number(host: str) -> bool:
    """Whether a host is an IP address and needs no resolving; a zone (``%eth0``) may follow."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


async def resolve(name: str, *, datagram: bool, timeout: float) -> Resolution:
    """Ask the system's resolver, for at most ``timeout`` seconds. Cancelled, it stops waiting.

    The library is asked at the same time: its error knows best why there is no address.
    """
    begun = time.monotonic()
    source = asked_for(name)
    failing = asyncio.create_task(_failure(name, timeout))
    try:
        async with asyncio.timeout(timeout):
            found = await _getaddrinfo(name, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
        addresses = [str(place[0]) for family, _, _, _, place in found if family in _FAMILIES]
        if addresses:
            return Resolution(name, time.monotonic() - begun, tuple(dict.fromkeys(addresses)), source)
        problem = await failing
    except (OSError, TimeoutError):
        problem = await failing
    finally:
        failing.cancel()
    cause = FROM_LIBRARY.get(str(problem.cause))
    return Resolution(
        name,
        time.monotonic() - begun,
        source=source,
        failure=cause if cause in NAME_CAUSES else "name-not-resolved",
        said=problem.message.partition(f"of {problem.address}: ")[2] or problem.message,
        hint=problem.hint or "",
        servers=tuple(map(str, problem.servers)),
    )


async def _failure(name: str, timeout: float) -> ConnectFailed:
    """The library's error about a name. A connected UDP socket has sent nothing."""
    try:
        channel = await jackfield.connect(Address("udp", name, 9), connect_timeout=timeout)
    except ConnectFailed as error:
        return error
    except JackfieldError as error:
        return ConnectFailed(error.message, hint=error.hint, cause=error.cause)
    channel.abort()
    return NameNotResolved("the resolver has changed its mind meanwhile", hint="try again")


def asked_for(name: str, *, hosts: Path = _HOSTS, resolvers: Path = _RESOLVERS) -> str:
    """Who knows a name: the hosts file if it is in there, otherwise the name servers."""
    if any(name.lower() in line.lower().split()[1:] for line in _lines(hosts) if line.strip()):
        return str(hosts)
    words = [line.split() for line in _lines(resolvers)]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    if not servers:
        return "the resolver"
    return f"name server{'s' if len(servers) > 1 else ''} {', '.join(servers[:3])}"


async def _getaddrinfo(name: str, kind: int) -> list[Any]:
    """getaddrinfo(3) in a thread that nobody waits for: it cannot be cancelled and may take half a minute."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def settle(found: list[Any] | None, error: OSError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def ask() -> None:
        found, problem = None, None
        try:
            found = socket.getaddrinfo(name, None, type=kind, flags=socket.AI_ADDRCONFIG)
        except OSError as error:
            problem = error
        except UnicodeError:
            problem = socket.gaierror(socket.EAI_NONAME, "this can be no host name")
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, problem)

    threading.Thread(target=ask, daemon=True, name="getaddrinfo").start()
    return await answer


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.partition("#")[0] for line in text.splitlines()]
