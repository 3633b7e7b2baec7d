"""A hub within a program: it answers by itself, and operators can reach it, too.

    python examples/hub_in_a_program.py tcp://127.0.0.1:7000 /tmp/hub.sock
    nc 127.0.0.1 7000                               # say: time
    jackfield --control /tmp/hub.sock clients       # from a third terminal

The hook runs in the event loop of the program, and what it returns is the answer.
"""

import asyncio
import contextlib
import datetime
import sys

import jackfield
from jackfield.hub import HookClient, serve
from jackfield.hub.control import ControlError


def on_message(client: HookClient, message: bytes) -> str | None:
    if message == b"time":
        return f"{datetime.datetime.now():%H:%M:%S}"
    print(f"{client.name} says {message!r}", flush=True)
    return None


async def main() -> None:
    if len(sys.argv) not in (1, 3):
        raise SystemExit(__doc__)
    address, control = sys.argv[1:] or ("tcp://127.0.0.1:7000", "/tmp/hub.sock")
    async with serve(address, on_message=on_message, framing="line", control=control) as hub:
        print(f"listening on {hub.listeners[0][0].address}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            jackfield.run(main)
    except (jackfield.JackfieldError, ControlError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
