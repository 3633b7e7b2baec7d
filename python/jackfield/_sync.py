"""The blocking twin: channels that are used without an event loop, from any thread.

What opens an endpoint is shared with the asynchronous library and runs on a private loop; the socket is taken
out of it afterwards. What passes through a channel is native and knows no loop.
"""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Self, Unpack

from jackfield import _engine
from jackfield._address import Address
from jackfield._connect import open_channel
from jackfield._errors import EndOfStream, NotSupported
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
    ``jackfield.connect``, and so are the ways in which names and addresses are tried.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=False)
    refuse_tls(setup)
    if setup.protocol == "serial":
        from jackfield._serial import open_line

        fd, before = open_line(setup)
        return Channel(fd, setup, setup.config(0), file=(os.fsencode(where.path or ""), before))
    return Channel(run_apart(lambda: _open(setup)), setup, setup.config(0))


def refuse_tls(setup: Setup) -> None:
    """Say what the blocking twin does without. Raises ``NotSupported``."""
    if setup.protocol == "tls":
        hint = "use jackfield.connect and jackfield.listen"
        raise NotSupported(f"{setup.address} needs an event loop: tls: has no blocking twin yet", hint=hint)


def pair(**options: Unpack[OptionFields]) -> tuple[Channel, Channel]:
    """Two channels connected to each other, for two threads of this process (socketpair(2))."""
    setup = prepare(Address.parse("pair:"), Options().merge(**options), listening=False)
    config = setup.config(0)
    one, two = socket.socketpair()
    return Channel(one.detach(), setup, config), Channel(two.detach(), setup, config)


async def _open(setup: Setup) -> int:
    return (await open_channel(setup)).detach()
