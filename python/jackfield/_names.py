"""From a name to the places to try; and if that fails, who was asked and what they said.

getaddrinfo(3) decides. It tells too little when it fails, so the name servers of resolv.conf(5) are asked
once more, each by itself: after it has failed, or beside it when it takes long. Nothing is asked for a name
that resolves quickly, or where this machine does not use DNS.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from jackfield._dns import AAAA, A, Answer, ResolverConfig, full_name, parse_answer, question, read_config
from jackfield._error_classes import JackfieldError, NameServerAnswer, TimedOut
from jackfield._name_errors import NameFailure, not_resolved
from jackfield._os_errors import from_os_error
from jackfield._transports import RawAddress, Setup, resolve

if TYPE_CHECKING:
    from jackfield._channel import Channel

PATIENCE = 1.0
"""Seconds that a look-up may take before the name servers are asked beside it."""
QUESTION_LIMIT = 2.0
"""Seconds that asking them may take after a look-up has failed."""
_AGAIN = 0.7
"""Seconds until a question is repeated: packets get lost."""

_WORTH_ASKING = {
    getattr(socket, name, None)
    for name in ("EAI_AGAIN", "EAI_NONAME", "EAI_FAIL", "EAI_NODATA", "EAI_ADDRFAMILY")
}
"""Failures that name servers have to do with."""

Connect = Callable[[str], Awaitable["Channel"]]


async def find_places(
    setup: Setup, *, connect: Connect, limit: float | None = None
) -> list[tuple[int, RawAddress]]:
    """The places that the address stands for, within ``limit`` seconds; ``connect`` opens a UDP channel.

    Raises ``NameNotResolved``, or ``ConnectTimedOut`` when the limit is reached, which name the servers asked
    and their answers. Cancelled, it leaves nothing open.
    """
    host = setup.address.host
    if host is None or setup.is_unix or _is_number(host):
        try:
            return await resolve(setup)
        except OSError as failure:  # a zone that names no interface
            raise from_os_error(failure, stage="resolve", address=setup.address) from failure
    deadline = None if limit is None else time.monotonic() + limit
    inquiry = Inquiry(host, connect)
    looking = asyncio.ensure_future(resolve(setup))
    asking: asyncio.Future[None] | None = None
    try:
        patience = PATIENCE if limit is None else min(PATIENCE, limit / 4)
        done, _ = await asyncio.wait([looking], timeout=patience)
        if not done:
            asking = asyncio.ensure_future(inquiry.run(None if limit is None else limit - patience))
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait([looking], timeout=left)
        if not done:
            raise not_resolved(NameFailure(setup.address, None, inquiry.config, inquiry.answers(), limit))
        error = looking.exception()
        if error is None:
            return looking.result()
        if not isinstance(error, socket.gaierror):
            if isinstance(error, OSError):
                raise from_os_error(error, stage="resolve", address=setup.address) from error
            raise error
        _check_descriptors(setup)
        if asking is None and error.errno in _WORTH_ASKING:
            asking = asyncio.ensure_future(inquiry.run(QUESTION_LIMIT))
        if asking is not None:
            left = QUESTION_LIMIT - inquiry.elapsed
            if deadline is not None:
                left = min(left, deadline - time.monotonic())
            await asyncio.wait([asking], timeout=max(0.0, left))
        answers = inquiry.answers() if asking is not None else ()
        raise not_resolved(NameFailure(setup.address, error, inquiry.config, answers, limit)) from error
    finally:
        tasks: list[asyncio.Future[object]] = [task for task in (looking, asking) if task is not None]  # type: ignore[misc]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Inquiry:
    """The same question to each name server of this machine, all at once."""

    def __init__(self, host: str, connect: Connect) -> None:
        self._host = host
        self._connect = connect
        self._said: dict[str, NameServerAnswer] = {}
        self._started: float | None = None

    @functools.cached_property
    def config(self) -> ResolverConfig:
        """How this machine looks names up."""
        return read_config(_text("/etc/resolv.conf"), _text("/etc/nsswitch.conf"))

    @property
    def elapsed(self) -> float:
        """Seconds since the first question; 0 before."""
        return 0.0 if self._started is None else time.monotonic() - self._started

    @property
    def _name(self) -> str:
        return full_name(self._host, self.config)

    async def run(self, limit: float | None) -> None:
        """Ask until every server has answered, or ``limit`` seconds have passed. Never raises OSError."""
        self._started = time.monotonic()
        if not self.config.asks_dns:
            return
        async with asyncio.TaskGroup() as group:
            for server in self.config.servers:
                group.create_task(self._ask(server, limit))

    def answers(self) -> tuple[NameServerAnswer, ...]:
        """What each server has said so far, in their order."""
        if not self.config.asks_dns:
            return ()
        waited = self.elapsed
        return tuple(
            self._said.get(server) or NameServerAnswer(server, self._name, None, (), waited)
            for server in self.config.servers
        )

    async def _ask(self, server: str, limit: float | None) -> None:
        try:
            questions = [question(self._name, number=secrets.randbits(16), kind=kind) for kind in (A, AAAA)]
        except ValueError:
            return
        host = f"[{server}]" if ":" in server else server
        started = time.monotonic()
        try:
            channel = await self._connect(f"udp://{host.replace('%', '%25')}:53")
            try:
                answers = await _exchange(channel, questions, limit)
            finally:
                channel.abort()
        except JackfieldError as error:
            if not isinstance(error, TimedOut):
                self._say(server, f"unreachable: {error.message.partition(': ')[2]}", (), started)
            return
        except OSError as error:
            self._say(server, f"unreachable: {error.strerror}", (), started)
            return
        worst = next((answer for answer in answers if answer.code != "no error"), answers[0])
        self._say(server, worst.code, tuple(ip for answer in answers for ip in answer.addresses), started)

    def _say(self, server: str, said: str, addresses: tuple[str, ...], started: float) -> None:
        elapsed = time.monotonic() - started
        self._said[server] = NameServerAnswer(server, self._name, said, addresses, elapsed)


async def _exchange(channel: Channel, questions: list[bytes], limit: float | None) -> list[Answer]:
    """Every question's answer. Raises ``TimedOut``, and ``ChannelLost`` when the server cannot be reached."""
    deadline = None if limit is None else time.monotonic() + limit
    open_ = dict.fromkeys(questions)
    answers: list[Answer] = []
    while True:
        for asked in open_:
            await channel.send(asked)
        again = time.monotonic() + _AGAIN
        while (left := again - time.monotonic()) > 0:
            try:
                packet = await channel.receive(left)
            except TimedOut:
                break
            for asked in list(open_):
                answer = parse_answer(packet, asked)
                if answer is not None:
                    del open_[asked]
                    answers.append(answer)
            if not open_:
                return answers
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut("the name server did not answer")


def _check_descriptors(setup: Setup) -> None:
    """Without a free descriptor the resolver fails, and says something else. Raises ``TooManyOpenFiles``."""
    try:
        os.close(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise from_os_error(error, stage="resolve", address=setup.address) from error


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return None
