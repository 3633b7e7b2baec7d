"""Arguments and options that several commands have, each said once.

Like `app` this is loaded for help and completion, so nothing heavy is imported.
"""

from __future__ import annotations

from typing import Annotated

import typer


def _said(text: str | None) -> str | None:
    """A hub that is named by nothing is none: what a shell put there failed, and another one is not meant."""
    if text is not None and not text.strip():
        raise typer.BadParameter("it is empty, and so names no hub")
    return text


Control = Annotated[
    str | None,
    typer.Option(
        "--control",
        "--hub",
        callback=_said,
        metavar="PATH",
        help="The hub: its control socket, or tls://host:port (or the variable JACKFIELD_CONTROL).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens next.")]
Last = Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="Begin with the last N.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET", help="3 | dev1 | host:port | 3,7 | 'dev*' | tag:t | all", show_default=False
    ),
]
Client = Annotated[
    str, typer.Argument(metavar="CLIENT", help="The id, name or host:port of one client.", show_default=False)
]
Eol = Annotated[
    str | None, typer.Option("--eol", metavar="NAME", help="Line ending: lf, crlf, cr, nul or none.")
]
Hex = Annotated[bool, typer.Option("--hex", help="DATA is hex: 'de ad be ef' or 0xdeadbeef.")]
File = Annotated[
    str | None, typer.Option("--file", metavar="PATH", help="Send the contents of a file, of any length.")
]
Snippet = Annotated[
    str | None,
    typer.Option("--snippet", metavar="NAME", help="Send what is kept under a name (see `snippet`)."),
]
Escapes = Annotated[
    bool, typer.Option("--escapes", "-e", help=r"DATA has escapes: \n \r \t \0 \e \xHH \uHHHH.")
]
Encoded = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Encoding of text: gbk, latin-1 ... instead of UTF-8."),
]
Crc = Annotated[
    str | None,
    typer.Option("--crc", metavar="NAME", help="Append a checksum: modbus, crc32, xor8:hex ... (see `crc`)."),
]
Expect = Annotated[
    str | None,
    typer.Option(
        "--expect", metavar="PATTERN", help="Wait for an answer that matches: a regular expression, or hex."
    ),
]
Patience = Annotated[
    str | None, typer.Option("--timeout", metavar="TIME", help="How long an answer is waited for (2s).")
]
Wave = Annotated[
    int | None,
    typer.Option("--wave", metavar="N", min=1, help="So many clients at a time, and then the next."),
]
HaltOn = Annotated[
    str | None,
    typer.Option("--halt-on", metavar="N", help="No more waves once so many failed: 2, or 10% of all."),
]
Pause = Annotated[str | None, typer.Option("--pause", metavar="TIME", help="Between two waves.")]
Every = Annotated[
    str | None, typer.Option("--every", metavar="TIME", help="Again and again, so far apart, until Ctrl-C.")
]
Repeat = Annotated[
    int | None, typer.Option("--repeat", metavar="N", min=1, help="With --every: so often in all.")
]
Jitter = Annotated[
    str | None, typer.Option("--jitter", metavar="TIME", help="With --every: each up to so much later.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say who would be sent what, and send nothing.")]
Wait = Annotated[str, typer.Option("--wait", metavar="TIME", help="How long a full queue may be waited for.")]
Queue = Annotated[
    bool, typer.Option("--queue", help="Have it wait for those who are known and absent (see `mail`).")
]
Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="With --queue: how long it waits (7d).")
]
Data = Annotated[
    list[str] | None,
    typer.Argument(metavar="DATA", help="What to send; - reads standard input, and sends as it comes."),
]

Framed = Annotated[
    str | None,
    typer.Option(
        "--framing", metavar="F", help="Frame messages: line, u32, netstring ... Lines in, lines out."
    ),
]
Dump = Annotated[bool, typer.Option("--hex", help="Show both directions as hex dumps.")]
OutEol = Annotated[
    str | None, typer.Option("--eol", metavar="NAME", help="Send input lines with this ending.")
]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", metavar="TIME", help="To connect within, and to end after when nothing moves."),
]
Recorded = Annotated[
    str | None,
    typer.Option("--record", metavar="FILE", help="Record both directions; FILE.pcapng is for Wireshark."),
]
InsecureToken = Annotated[
    bool,
    typer.Option(
        "--insecure-token", help="Show the token without TLS, where everyone on the way could read it."
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say on standard error who talks to whom.")]


def chosen_control(context: typer.Context, control: str | None) -> str | None:
    """The control path that stands behind the command or, failing that, before it."""
    chosen: str | None = control or context.obj
    return chosen


Join = Annotated[
    str | None,
    typer.Option(
        "--join", metavar="ADDRESS", help="As a native client of the hub there; an invitation will do."
    ),
]
JoinToken = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar="JACKFIELD_TOKEN", help="What admits with --join."),
]
