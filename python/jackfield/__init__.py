"""Jackfield: communication over Linux sockets.

One address names any endpoint, one channel talks over it:

    async with jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener:
        async with listener.serving(handler), jackfield.connect(listener.address, framing="u32") as channel:
            print(await channel.request(b"hello", timeout=2.0))

Names are imported when they are first used, so that a command line which only prints its help starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jackfield._activation import Activated as Activated, activated as activated
    from jackfield._address import Address as Address
    from jackfield._adopt import adopt as adopt
    from jackfield._busy_poll import BusyPollStatistics as BusyPollStatistics
    from jackfield._causes import Cause as Cause
    from jackfield._certificates import (
        MadeCertificate as MadeCertificate,
        make_certificate as make_certificate,
    )
    from jackfield._channel import Channel as Channel
    from jackfield._connect import connect as connect, pair as pair
    from jackfield._endpoint import Datagram as Datagram, Endpoint as Endpoint, bind as bind
    from jackfield._errors import (
        AccessDenied as AccessDenied,
        AddressInUse as AddressInUse,
        AddressNotAvailable as AddressNotAvailable,
        AdoptFailed as AdoptFailed,
        AlreadyWaiting as AlreadyWaiting,
        Attempt as Attempt,
        CertificateRejected as CertificateRejected,
        ChannelBusy as ChannelBusy,
        ChannelClosed as ChannelClosed,
        ChannelLost as ChannelLost,
        ConnectFailed as ConnectFailed,
        ConnectRefused as ConnectRefused,
        ConnectTimedOut as ConnectTimedOut,
        DescriptorsLost as DescriptorsLost,
        EndOfStream as EndOfStream,
        FramingError as FramingError,
        HandshakeFailed as HandshakeFailed,
        HostUnreachable as HostUnreachable,
        InvalidAddress as InvalidAddress,
        InvalidFrame as InvalidFrame,
        InvalidFraming as InvalidFraming,
        InvalidOption as InvalidOption,
        JackfieldError as JackfieldError,
        ListenFailed as ListenFailed,
        MessageTooLarge as MessageTooLarge,
        NameNotResolved as NameNotResolved,
        NameServerAnswer as NameServerAnswer,
        NotSupported as NotSupported,
        PeerStalled as PeerStalled,
        PeerVanished as PeerVanished,
        ProtocolViolation as ProtocolViolation,
        QueueFull as QueueFull,
        TimedOut as TimedOut,
        TooManyOpenFiles as TooManyOpenFiles,
        TruncatedFrame as TruncatedFrame,
    )
    from jackfield._explain import Explanation as Explanation
    from jackfield._facts import Credentials as Credentials, Statistics as Statistics
    from jackfield._framing import Framing as Framing
    from jackfield._group import (
        AcceptFailed as AcceptFailed,
        Detached as Detached,
        Event as Event,
        Group as Group,
        Joined as Joined,
        Left as Left,
        Member as Member,
        Message as Message,
        Relayed as Relayed,
    )
    from jackfield._keepalive import Keepalive as Keepalive
    from jackfield._listen import (
        Listener as Listener,
        ListenerStatistics as ListenerStatistics,
        listen as listen,
    )
    from jackfield._loop import (
        EventLoop as EventLoop,
        new_event_loop as new_event_loop,
        raise_open_files as raise_open_files,
        run as run,
    )
    from jackfield._option_table import OptionFacts as OptionFacts, option_table as option_table
    from jackfield._options import Options as Options
    from jackfield._reconnect import LastingChannel as LastingChannel
    from jackfield._states import (
        Backoff as Backoff,
        Closed as Closed,
        Connected as Connected,
        Connecting as Connecting,
        Reconnecting as Reconnecting,
        State as State,
    )
    from jackfield._switch import (
        Fan as Fan,
        FanStatistics as FanStatistics,
        FellBehind as FellBehind,
        FrameKind as FrameKind,
        Published as Published,
        Recognised as Recognised,
        Session as Session,
        Switch as Switch,
        SwitchCounts as SwitchCounts,
    )
    from jackfield._tcp_info import TcpInfo as TcpInfo
    from jackfield._tls import Certificate as Certificate, TlsFacts as TlsFacts
    from jackfield._when_full import WhenFull as WhenFull
    from jackfield._workers import Processes as Processes, Threads as Threads

    from jackfield import portable as portable, sync as sync  # isort: skip

_HOMES = {
    "_activation": "Activated activated",
    "_address": "Address",
    "_adopt": "adopt",
    "_busy_poll": "BusyPollStatistics",
    "_causes": "Cause",
    "_certificates": "MadeCertificate make_certificate",
    "_channel": "Channel",
    "_connect": "connect pair",
    "_endpoint": "Datagram Endpoint bind",
    "_errors": (
        "AccessDenied AddressInUse AddressNotAvailable AdoptFailed AlreadyWaiting Attempt "
        "CertificateRejected ChannelBusy ChannelClosed ChannelLost ConnectFailed ConnectRefused "
        "ConnectTimedOut DescriptorsLost EndOfStream FramingError HandshakeFailed HostUnreachable "
        "InvalidAddress InvalidFrame InvalidFraming InvalidOption JackfieldError ListenFailed "
        "MessageTooLarge NameNotResolved NameServerAnswer NotSupported PeerStalled PeerVanished "
        "ProtocolViolation QueueFull TimedOut TooManyOpenFiles TruncatedFrame"
    ),
    "_explain": "Explanation",
    "_facts": "Credentials Statistics",
    "_framing": "Framing",
    "_group": "AcceptFailed Detached Event Group Joined Left Member Message Relayed",
    "_keepalive": "Keepalive",
    "_listen": "Listener ListenerStatistics listen",
    "_loop": "EventLoop new_event_loop raise_open_files run",
    "_option_table": "OptionFacts option_table",
    "_options": "Options",
    "_reconnect": "LastingChannel",
    "_states": "Backoff Closed Connected Connecting Reconnecting State",
    "_switch": "Fan FanStatistics FellBehind FrameKind Published Recognised Session Switch SwitchCounts",
    "_tcp_info": "TcpInfo",
    "_tls": "Certificate TlsFacts",
    "_when_full": "WhenFull",
    "_workers": "Processes Threads",
}
"""Each module and the names it is the home of; type checkers read the block above, and a test compares."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

_SUBMODULES = ("netlink", "portable", "sync")
"""Public modules of their own, there after ``import jackfield`` alone."""

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("jackfield")
        except PackageNotFoundError:
            return "unknown"
    if name in _SUBMODULES:
        return import_module(f"jackfield.{name}")
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'jackfield' has no attribute {name!r}")
    value = getattr(import_module(f"jackfield.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_MODULES, *_SUBMODULES, "__version__"]
