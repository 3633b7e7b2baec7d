"""`jackfield join` as a command: its options and its help. What it does is in `join.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import InsecureToken, Json


def join(
    address: Annotated[
        str,
        typer.Argument(metavar="ADDRESS", help="The hub's address, or an invitation.", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What others know this client by.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="TOKEN", envvar="JACKFIELD_TOKEN", help="What admits this client."),
    ] = None,
    insecure_token: InsecureToken = False,
    answer: Annotated[
        str | None,
        typer.Option(
            "--answer",
            metavar="COMMAND",
            help="Answer requests: the question goes in, its output is the answer.",
        ),
    ] = None,
    anew: Annotated[
        bool,
        typer.Option("--forget", help="First forget what was kept for ADDRESS when an invitation was used."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Join a hub as a native client, and stay until Ctrl-D or Ctrl-C.

    Messages of others are shown as they come, and so is what is said on streams that others open. Lines
    that you type: `@NAME TEXT` is a message to a client, which waits for it if it is absent; anything
    else goes to whoever opened a stream last. When the connection is lost it is made again, and nothing
    of the session is lost if that takes less than a minute.

    What is got for an invitation is kept in $XDG_DATA_HOME/jackfield for the next time: then the address
    alone will do, and where it gives a name that one counts, not --name. --forget drops it.

    COMMAND runs without a shell, with the asking client's name in JACKFIELD_PEER; if it fails, who asked
    is told so.

    \b
    Examples:
      jackfield join tcp://127.0.0.1:7000 --name alice
      jackfield join 'tls://hub.example:7000?pin=sha256:5f...&invitation=jf_...'
      jackfield join tcp://127.0.0.1:7000 --forget
      jackfield join unix:///run/jackfield/hub --name clock --answer date
      jackfield join 127.0.0.1:7000 --json | jq .text
    """
    from .join import join as command

    command(
        address, name=name, token=token, answer=answer, as_json=as_json, insecure_token=insecure_token,
        anew=anew,
    )  # fmt: skip
