"""Why something could not be opened, in one word each: what ``JackfieldError.cause`` holds."""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """The cause of an error, for programs; ``docs/errors.md`` has evidence and remedy for each.

    The class of an error says how it is caught, the cause what has happened. It is None where nothing more
    than the class is known.
    """

    NOTHING_LISTENS = "nothing_listens"
    """The host is up and answered with a reset: nothing listens on that port."""
    PORT_CLOSED = "port_closed"
    """The host is up and answered by ICMP that the UDP port is closed."""
    FILTERED = "filtered"
    """A filter on the way or at the host forbids it, and says so."""
    OWN_FIREWALL = "own_firewall"
    """A firewall rule of this machine forbids it."""
    ROUTER_REFUSED = "router_refused"
    """A router on the way cannot reach the host, and says so."""
    ROUTING_LOOP = "routing_loop"
    """The packets went on from router to router until their time to live had run out."""
    NO_SUCH_NEIGHBOUR = "no_such_neighbour"
    """The host should be on the local link, and nobody there answers for it."""
    GATEWAY_SILENT = "gateway_silent"
    """The first router on the way is on the local link, and does not answer."""
    NO_ROUTE = "no_route"
    """The routing table of this machine has no way to the host."""
    OWN_ROUTE_REFUSES = "own_route_refuses"
    """A route of this machine was set up to say no: unreachable, prohibit or blackhole."""
    INTERFACE_DOWN = "interface_down"
    """The network interface is down."""
    NO_ANSWER = "no_answer"
    """Silence: the packets were dropped, the host is off, or the server's accept queue is full."""
    ACCEPT_QUEUE_FULL = "accept_queue_full"
    """The server listens, and does not accept."""
    PROTOCOL_UNKNOWN = "protocol_unknown"
    """The host does not speak the protocol at all."""
    UNREACHABLE = "unreachable"
    """The host is out of reach, and nobody said more."""

    NO_SUCH_NAME = "no_such_name"
    """The name does not exist."""
    NAME_WITHOUT_ADDRESS = "name_without_address"
    """The name exists and has no address of a usable kind."""
    NAME_SERVER_SILENT = "name_server_silent"
    """No name server has answered in time."""
    NAME_SERVER_FAILED = "name_server_failed"
    """The name server answered that it could not find out, or refused."""
    NO_NAME_SERVER = "no_name_server"
    """This machine has no name server to ask."""

    STALE_SOCKET_FILE = "stale_socket_file"
    """A Unix socket's file was left behind by a server that has ended."""
    NO_SUCH_FILE = "no_such_file"
    """There is no such socket file, or no such abstract name."""
    NOT_A_SOCKET = "not_a_socket"
    """The file is something else than a socket."""
    WRONG_KIND = "wrong_kind"
    """The Unix socket is of another kind: stream, datagram or seqpacket."""

    ADDRESS_HELD = "address_held"
    """Another socket holds the address; ``holders`` says whose."""
    ADDRESS_LINGERS = "address_lingers"
    """Nobody listens on the address, and the kernel has not given it back yet."""
    FILE_IN_THE_WAY = "file_in_the_way"
    """A file has the name that the Unix socket should get."""
    NO_SUCH_ADDRESS = "no_such_address"
    """This machine does not have the address."""
    NO_FREE_PORT = "no_free_port"
    """Every port of the kernel's range is taken."""
    NOT_PERMITTED = "not_permitted"
    """The process lacks the right: a reserved port, a file's permissions, a privileged option."""
    TOO_MANY_OPEN_FILES = "too_many_open_files"
    """The process, or the machine, has all the open files that it may have."""
