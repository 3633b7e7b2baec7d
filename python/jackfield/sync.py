"""Jackfield without an event loop: the same names, blocking.

    from jackfield import sync

    with sync.connect("tcp://127.0.0.1:7000", framing="line") as channel:
        print(channel.request(b"hello", timeout=2.0))

    with sync.listen("tls://:7443?cert=hub.pem&key=hub.key", framing="line") as listener:
        listener.serve(lambda channel: channel.send(b"welcome"))

Every call blocks its thread alone (the GIL is released), takes a time-out where it may wait, and may come
from any thread: one may receive while another sends, with TLS as well. Addresses, options, framings and
errors are those of ``jackfield``.
"""

from jackfield._sync import Channel, connect, pair
from jackfield._sync_listen import Listener, listen

__all__ = ["Channel", "Listener", "connect", "listen", "pair"]
