"""`jackfield serve` as a command: its options and its help. What it does is in `serve.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .configuring import configurable
from .parameters import Control, chosen_control


@configurable
def serve(
    context: typer.Context,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="ADDRESS", help="Where.", show_default=False)
    ] = None,
    framing: Annotated[
        str,
        typer.Option(
            "--framing", metavar="F", help="Framing of listeners that name none: none, line, u32 ..."
        ),
    ] = "none",
    eol: Annotated[
        str, typer.Option("--eol", metavar="NAME", help="Ending of typed lines where framing is none.")
    ] = "lf",
    max_clients: Annotated[
        int | None, typer.Option("--max-clients", min=1, metavar="N", help="Refuse clients beyond N (50000).")
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="SIZE", help="Bytes that may wait for one client (1M).")
    ] = None,
    max_message: Annotated[
        str | None, typer.Option("--max-message", metavar="SIZE", help="Longest message of a client (1M).")
    ] = None,
    messages: Annotated[bool, typer.Option("--messages", help="Log what clients say, too.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Log lines even on a terminal.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Log lines as JSON.")] = False,
    identify: Annotated[
        str,
        typer.Option(
            "--identify",
            metavar="RULE",
            help="How clients of listeners that name no rule are known again: host, a pattern, or none.",
        ),
    ] = "none",
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="PATH",
            help="File of what lasts: names, tags, notes; 'none' keeps nothing. Default: see `status`.",
        ),
    ] = None,
    script: Annotated[
        list[str] | None,
        typer.Option("--script", metavar="FILE", help="Call the hooks of a Python file (see `script add`)."),
    ] = None,
    log_dir: Annotated[
        str | None,
        typer.Option("--log-dir", metavar="DIR", help="Record everything that is said into files in DIR."),
    ] = None,
    log_keep: Annotated[
        str | None,
        typer.Option("--log-keep", metavar="WHAT", help="Of --log-dir, an age, a size or both (7d,1G)."),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format", metavar="FORM", help="Log lines as json, logfmt or journald, or as (text)."
        ),
    ] = None,
    forget_after: Annotated[
        str | None,
        typer.Option("--forget-after", metavar="TIME", help="Forget who is absent for a time, such as 90d."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="ADDRESS", help="Figures for Prometheus at /metrics, such as 127.0.0.1:9100."
        ),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option(
            "--web", metavar="ADDRESS", help="The web console (see `console --web`), such as 127.0.0.1:8080."
        ),
    ] = None,
    audit: Annotated[
        str | None,
        typer.Option(
            "--audit", metavar="PATH", help="File of who did what (beside the state); 'none' for none."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="Configuration file; 'none' for none. Else see above."),
    ] = None,
    dial: Annotated[
        list[str] | None,
        typer.Option("--dial", metavar="ADDRESS", help="Connect out, too: ADDRESS,name=NAME (see `dial`)."),
    ] = None,
    control: Control = None,
) -> None:
    """Start a hub that holds every client that comes to an ADDRESS.

    On a terminal it is the one window of `jackfield console`, otherwise one log line per event.
    Ctrl-C or SIGTERM ends it, after delivering what is queued.

    Senders of datagrams (UDP) get at most half of the --max-clients places where other listeners
    are there, too.

    With --identify (or identify= in an address) a client keeps its name, tags and note when it comes
    back: `host` knows it by its host, a pattern (RE2) by what it says first, where the group `name`,
    else the first one, else all that matches is its name. Of two that say the same name the older one
    keeps it, or with conflict=newer in the address the newer one. In an address % & ? # and the comma
    are written %25 %26 %3F %23 %2C.

    An address that other machines can reach must say who may come: access=plain is whoever
    reaches it, and allow=NETWORK,... whoever does from there. Only this machine reaches 127.0.0.1
    and Unix sockets, and they need nothing. message_rate=, byte_rate= and connect_rate= limit what
    a client, or an address, does in a second (such as 100/s, 64M/s, none).

    Over TCP and Unix streams and packets native clients (`jackfield join`, the Jackfield protocol) come
    beside plain ones: that is protocol=auto. protocol=plain in an address leaves them out, and spares
    newcomers that say nothing the 0.2 s in which the hub says nothing to them either; protocol=native
    leaves plain clients out.

    What outlives a restart is kept in $XDG_STATE_HOME/jackfield/hub.db (of root: in
    /var/lib/jackfield/hub.db), and with another --control PATH in a file beside it that ends
    with .db; `jackfield status` says where.

    What is not said here is taken from the configuration: --config, $JACKFIELD_CONFIG, or
    ~/.config/jackfield/jackfield.toml (of root: /etc/jackfield/jackfield.toml) if it is there.
    `jackfield config init` writes one with every key; `reload` reads it again.

    \b
    Examples:
      jackfield serve tcp://127.0.0.1:7000
      jackfield serve 127.0.0.1:7000 udp://127.0.0.1:7000 unix:///tmp/lines.sock,framing=line
      jackfield serve tcp://:7000,access=plain,allow=192.168.1.0/24
      jackfield serve 127.0.0.1:7000 --log-dir /var/log/jackfield --log-keep 30d,10G
      jackfield serve tcp://127.0.0.1:7000 --identify 'id=(\\w+)'
      jackfield serve udp://:7000,identify=host,access=plain 127.0.0.1:7001,conflict=newer
      jackfield serve 127.0.0.1:7000,protocol=plain unix:///tmp/native.sock,protocol=native
      jackfield serve tcp://127.0.0.1:7000,eol=crlf --max-clients 100 --queue 256K
    """
    from .serve import serve as command

    command(
        addresses or [],
        config=config,
        metrics=metrics,
        web=web,
        audit=audit,
        forget_after=forget_after,
        log_format=log_format,
        framing=framing,
        eol=eol,
        max_clients=max_clients,
        queue=queue,
        max_message=max_message,
        messages=messages,
        plain=plain,
        as_json=as_json,
        identify=identify,
        state=state,
        scripts=script or [],
        log_dir=log_dir,
        log_keep=log_keep,
        dials=dial or [],
        control=chosen_control(context, control),
    )
