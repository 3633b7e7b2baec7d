"""What sockets can do beside sending and receiving bytes: pass descriptors and urgent data, tell what the
kernel knows of them, become file objects."""

from __future__ import annotations

import socket
from collections.abc import Coroutine, Sequence
from typing import IO, TYPE_CHECKING, Any

from jackfield._errors import DescriptorsLost, NotSupported
from jackfield._tcp_info import TcpInfo, from_kernel

if TYPE_CHECKING:
    from jackfield._adopt import HasFileno

MAX_FDS = 253
"""The kernel's limit for one message (SCM_MAX_FD)."""


class SocketCalls:
    """The part of ``Channel`` that belongs to its socket."""

    __slots__ = ()

    def send_fds(
        self, data: bytes, fds: Sequence[int | HasFileno], timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        """Send a message and open descriptors with it, at most 253 (unix(7), SCM_RIGHTS).

        Over ``unix``, ``unix+seqpacket``, ``unix+dgram`` and ``pair``, to a peer that calls ``receive_fds``.
        They keep their place among the other messages. What is sent are copies, made when this is called:
        the caller's own stay open, and may be closed at once. As with ``send``, the message is queued when
        this is called if there is room; cancelled while it waits for room, it has queued nothing and the
        copies are closed. On a stream without framing ``data`` has a byte at least.

        Raises ``NotSupported`` on other transports, ``ValueError`` for too many and for a number that can be
        none, ``OSError`` for one that is not open, ``TypeError`` for what is neither a number nor has
        ``fileno()``, and what ``send`` raises.
        """
        return self._send_fds(data, [_number_of(fd) for fd in fds], timeout)

    async def receive_fds(
        self, max_fds: int = MAX_FDS, timeout: float | None = None
    ) -> tuple[bytes, list[int]]:
        """The next message and the descriptors that came with it: none, or at most ``max_fds``.

        They are new, close-on-exec, and the caller's to close. Without a call of this a channel takes none:
        the kernel discards what comes. On a stream they belong to the message that holds the last byte of
        the peer's write. A plain ``receive`` of such a message closes them.

        Raises ``DescriptorsLost``, which has the message and those that came, if some are missing: more than
        ``max_fds``, more than this process may open, or read along with an earlier message before this was
        called the first time. Raises ``NotSupported`` where none can come, and what ``receive`` raises. A
        cancelled call has taken neither message nor descriptors.
        """
        if not 0 <= max_fds <= MAX_FDS:
            raise ValueError(f"max_fds is {max_fds}, and must be a number from 0 to {MAX_FDS}")
        self._refuse_unless("receive_fds", "unix", "pair", "unix+seqpacket", "unix+dgram")
        data, fds, lost = await self._receive_fds(max_fds, timeout)
        if lost:
            raise DescriptorsLost(
                f"{len(fds)} descriptors came with a message of {len(data)} bytes, and others were lost",
                hint="raise max_fds or the limit of open files, and use receive_fds() from the first message",
                data=data,
                fds=tuple(fds),
            )
        return data, fds

    def send_urgent(self, byte: bytes, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Send one byte of urgent data behind what is queued (TCP's urgent mechanism, MSG_OOB).

        It takes part in no framing, and the peer receives it past everything that it has not read yet. TCP
        has room for one such byte at a time: of two that are not received in between, the first one becomes
        ordinary data at the peer. RFC 6093 advises new protocols against it. Waits and raises as ``send``
        does; ``NotSupported`` on other transports than ``tcp``.
        """
        if len(byte) != 1:
            raise ValueError(f"urgent data is one byte, not {len(byte)}")
        self._refuse_unless("send_urgent", "tcp")
        return self._send_urgent(byte[0], timeout)

    async def receive_urgent(self, timeout: float | None = None) -> bytes:
        """The byte of urgent data that the peer has sent, as soon as it has arrived.

        It never appears among the ordinary messages, whether this is called or not. One task at a time.
        Raises ``TimedOut``, ``EndOfStream`` once the peer has ended its side, ``ChannelLost``,
        ``NotSupported`` on other transports than ``tcp``. A cancelled call has taken nothing.
        """
        self._refuse_unless("receive_urgent", "tcp")
        return await self._receive_urgent(timeout)

    def tcp_info(self) -> TcpInfo:
        """What the kernel knows of the connection now: round-trip time, losses, windows, bytes acknowledged.

        Raises ``NotSupported`` on other transports than ``tcp``, ``ChannelClosed``.
        """
        self._refuse_unless("tcp_info", "tcp", "tls")
        return from_kernel(self._tcp_info())

    def makefile(self, mode: str = "rwb", *, buffering: int = -1, encoding: str | None = None) -> IO[Any]:
        """The connection as a blocking file object; the channel is closed with this, as by ``detach``.

        For code that wants a file: in another thread, in a child process, or after the event loop. A file
        blocks, and would hold up the loop; that is why the two cannot be had at once. The connection closes
        with the file. ``mode`` is of ``r``, ``w``, ``b``; what the framing put around messages is the
        caller's matter now. Raises ``ChannelBusy`` when bytes would be lost: ``flush`` before, and receive
        what has been read; ``NotSupported`` for peers of a datagram listener; ``ValueError`` for a mode.
        """
        if not set(mode) <= set("rwb") or not set(mode) & set("rw"):
            raise ValueError(f"mode {mode!r} is not of r, w and b")
        plain = socket.socket(fileno=self.detach())
        with plain:  # the file holds on to it until it is closed
            plain.setblocking(True)
            made: IO[Any] = plain.makefile(mode, buffering=buffering, encoding=encoding)  # type: ignore[call-overload]
            return made

    def _refuse_unless(self, call: str, *protocols: str) -> None:
        if self._protocol() not in protocols:
            names = ", ".join(f"{name}:" for name in protocols)
            raise NotSupported(f"the {self._protocol()} channel cannot do {call}(): it is for {names}")
        if call == "receive_fds" and self._shares_its_socket():
            raise NotSupported(
                "a peer of a datagram listener shares its socket, and cannot take descriptors",
                hint="bind a socket of your own and connect() it, or use unix+seqpacket://",
            )

    def _protocol(self) -> str:
        raise NotImplementedError

    def _shares_its_socket(self) -> bool:
        raise NotImplementedError

    def detach(self) -> int:
        """See the native class."""
        raise NotImplementedError

    def _send_fds(
        self, data: bytes, fds: Sequence[int], timeout: float | None = None
    ) -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    def _receive_fds(
        self, max_fds: int, timeout: float | None = None
    ) -> Coroutine[Any, Any, tuple[bytes, list[int], bool]]:
        raise NotImplementedError

    def _send_urgent(self, byte: int, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    def _receive_urgent(self, timeout: float | None = None) -> Coroutine[Any, Any, bytes]:
        raise NotImplementedError

    def _tcp_info(self) -> dict[str, int | None]:
        raise NotImplementedError


def _number_of(fd: int | HasFileno) -> int:
    number = fd
    if not isinstance(fd, int):
        if not callable(getattr(fd, "fileno", None)):
            raise TypeError(f"a descriptor is a number or has fileno(), and {type(fd).__name__} is neither")
        number = fd.fileno()
    if not isinstance(number, int) or abs(number) >= 2**31:
        raise ValueError(f"{number!r} cannot be a descriptor")
    return number
