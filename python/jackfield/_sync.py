"""The blocking twin: channels that are used without an event loop, from any thread.

What opens an endpoint is shared with the asynchronous library and runs on a private loop; the socket is taken
out of it afterwards. What passes through a channel is native and knows no loop.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from types import TracebackType
from typing import Any, Self, Unpack

from jackfield import _engine
from jackfield._address import Address
from jackfield._connect import open_channel
from jackfield._errors import EndOfStream
from jackfield._facts import ChannelFacts
from jackfield._options import OptionFields, Options
from jackfield._private_loop import run_apart
from jackfield._transports import Setup, prepare


class Channel(_engine.BlockingChannel, ChannelFacts):
    """One end of a conversation, whatever the transport: messages in, messages out, in order; blocking.

    ``for message in channel`` receives until the peer ends its side. A channel is a context manager that
    closes at the end (and aborts when the block raises). Every call may come from any thread: each message
    goes whole to one of the threads that receive, and leaves whole from each that sends, in the order in
    which they called. ``close`` and ``abort`` wake the others with ``ChannelClosed``. Made by ``connect``,
    by listeners and by ``pair``.

    ``send`` returns once the kernel has taken the message. A call that times out, or that Ctrl-C ends, has
    received nothing; what it wanted to send it has sent whole (or, in part on its way already, queued) or not
    at all.
    """

    __slots__ = ("__weakref__", "_last")

    def _tls(self) -> dict[str, Any] | None:
        return _engine.BlockingChannel._tls(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, EndOfStream):
            self.close(self._setup.options.linger)
        else:
            self.abort()


def connect(address: Address | str, **options: Unpack[OptionFields]) -> Channel:
    """Connect to an address: ``with connect(...) as channel``. Options and errors are those of
    ``jackfield.connect``, and so are the ways in which names and addresses are tried. With ``tls:`` it
    returns once the handshake is done, so somebody has to accept meanwhile.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=False)
    config = setup.config(0)
    if setup.protocol == "serial":
        from jackfield._serial import open_line

        fd, before = open_line(setup)
        return Channel(fd, setup, config, file=(os.fsencode(where.path or ""), before))
    fd, session = run_apart(lambda: _open(setup))
    return Channel(fd, setup, config, session=session)


def pair(**options: Unpack[OptionFields]) -> tuple[Channel, Channel]:
    """Two channels connected to each other, for two threads of this process (socketpair(2))."""
    setup = prepare(Address.parse("pair:"), Options().merge(**options), listening=False)
    config = setup.config(0)
    one, two = socket.socketpair()
    return Channel(one.detach(), setup, config), Channel(two.detach(), setup, config)


async def _open(setup: Setup) -> tuple[int, _engine.TlsSession | None]:
    """The descriptor, and with TLS what the handshake has brought about."""
    # What the peer says at once is divided by the blocking channel.
    plain = dataclasses.replace(setup, options=dataclasses.replace(setup.options, framing=None))
    return _engine.tls_detach(await open_channel(plain))
