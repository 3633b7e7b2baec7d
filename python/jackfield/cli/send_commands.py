"""What `jackfield send` takes, and `jackfield broadcast`, which is the same without a target: to all.

Like `app` this is loaded for help and completion, so nothing heavy is imported; `sending` does it.
"""

from __future__ import annotations

import inspect
from typing import Any

import typer

from .parameters import (
    Control,
    Crc,
    Data,
    DryRun,
    Encoded,
    Eol,
    Escapes,
    Every,
    Expect,
    Expires,
    File,
    HaltOn,
    Hex,
    Jitter,
    Json,
    Patience,
    Pause,
    Queue,
    Repeat,
    Snippet,
    Target,
    Wait,
    Wave,
    chosen_control,
)


def send(
    context: typer.Context,
    target: Target,
    data: Data = None,
    as_hex: Hex = False,
    file: File = None,
    escapes: Escapes = False,
    eol: Eol = None,
    encoding: Encoded = None,
    crc: Crc = None,
    snippet: Snippet = None,
    expect: Expect = None,
    timeout: Patience = None,
    wave: Wave = None,
    halt_on: HaltOn = None,
    pause: Pause = None,
    every: Every = None,
    repeat: Repeat = None,
    jitter: Jitter = None,
    dry_run: DryRun = False,
    queue: Queue = False,
    expires: Expires = None,
    wait: Wait = "10s",
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Send DATA to clients.

    Text goes out with the listener's line ending; hex, escapes, files and standard input go out
    as they are. --eol overrides both. DATA is dropped (and counted) when a client's queue is full.

    --crc appends a checksum of everything but the line ending, in the byte order that its protocols
    use: `jackfield crc` lists them. NAME:le and NAME:be choose the order, NAME:hex appends digits.

    Files and standard input wait for room in a full queue: a client that makes none within --wait
    gets no more, and is told of with the bytes it got. Standard input goes out as it comes, 64K at
    a time; files 16M at a time. Within that nobody waits for another client. Clients with a framing and
    packet clients get everything as one message at its end: at most 16M, 64K by UDP; those that
    cannot are skipped and named.

    --expect listens before it sends, and prints what the client answers: on a stream all it says up
    to the end of the line that matches, else the message that does; or, where PATTERN has groups, what
    they match. ^ and $ are ends of lines, '.' is any answer. Syntax: RE2's. With --hex PATTERN is
    bytes: '01 03 .. *', .. any byte, * any number of them. Of several clients a table tells who gave
    which answer, and a wave starts when everyone in the one before answered or did not in time.

    --queue reaches those of TARGET who are known and absent, too: up to 32K wait in the hub's store
    until they return, or for --expires; `jackfield mail` shows what waits.

    \b
    Examples:
      jackfield send 3 'open the door'
      jackfield send 'dev*' --hex 'de ad be ef'
      jackfield send dev7 -e 'AT\\r\\n'
      jackfield send plc --hex '01 03 00 00 00 0a' --crc modbus
      jackfield send dev7 --encoding gbk '温度?'
      jackfield send 3,7 --file firmware.bin
      date | jackfield send all -
      jackfield send dev7 --snippet status
      jackfield send dev7 'restart at night' --queue --expires 2d
      jackfield send dev7 'AT' --expect OK --timeout 500ms
      jackfield send 'dev*' 'version?' --expect 'version (\\S+)'
      jackfield send 'dev*' --file fw.bin --expect done --timeout 1m --wave 10 --halt-on 2
      jackfield send plc --hex '01 03 00 00 00 01' --crc modbus --expect '01 03 02 .. ..' --every 1s
    """
    from .sending import send as command

    command(
        target, data or [], as_hex=as_hex, file=file, escapes=escapes, eol=eol, encoding=encoding, crc=crc,
        snippet=snippet, expect=expect, timeout=timeout, wave=wave, halt_on=halt_on, pause=pause,
        every=every, repeat=repeat, jitter=jitter, dry_run=dry_run, queue=queue, expires=expires, wait=wait,
        as_json=as_json, control=chosen_control(context, control),
    )  # fmt: skip


def broadcast(context: typer.Context, **options: Any) -> None:
    """Send DATA to every client: `send all`.

    \b
    Examples:
      jackfield broadcast 'the server restarts at 18:00'
      jackfield broadcast --hex 0x00ff
      jackfield broadcast 'version?' --expect . --json
    """
    send(context, "all", **options)


# The parser and the completion read a command's parameters from its signature.
broadcast.__annotations__ = {name: hint for name, hint in send.__annotations__.items() if name != "target"}
broadcast.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [each for name, each in inspect.signature(send, eval_str=True).parameters.items() if name != "target"]
)
