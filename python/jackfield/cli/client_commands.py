"""Who clients are, as commands: clients, rename, tag, note, claim, forget. `operate` and `naming` do them.

Like `app` this is loaded for help and completion, so nothing heavy is imported.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Client, Control, Json, Target, chosen_control

Known = Annotated[
    str, typer.Argument(metavar="CLIENT", help="One client; an absent one by its name.", show_default=False)
]


def clients(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Only these.", show_default=False)] = "all",
    absent: Annotated[bool, typer.Option("--absent", help="Only those who are known and not there.")] = False,
    connected: Annotated[bool, typer.Option("--connected", help="Only those who are there.")] = False,
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only with this tag.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="P", help="Only over tcp, udp, unix ...")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="Only with this in name, address, tags or note."),
    ] = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing, until Ctrl-C.")] = False,
    control: Control = None,
) -> None:
    """List who is connected, and who is known and absent. (Also: ls)

    A native client is known by its name, any other one when its listener identifies it (see `serve
    --identify`): it keeps name, tags and note while it is away, and SINCE says for how long it has
    been. `claims dev1` under STATE is a client that says it is dev1 while another one has that name.

    \b
    Examples:
      jackfield clients
      jackfield clients 'tcp-*' --json
      jackfield clients --absent
      jackfield clients --tag floor1 --protocol udp
      jackfield clients --watch
    """
    from .operate import clients as command

    if absent and connected:
        raise typer.BadParameter("leave --absent or --connected out: both together mean everyone")
    command(
        target,
        as_json=as_json,
        watch=watch,
        control=chosen_control(context, control),
        state="absent" if absent else "connected" if connected else "all",
        tag=tag,
        protocol=protocol,
        text=text,
    )


def rename(
    context: typer.Context,
    client: Known,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Letters, digits and . _ @ + -", show_default=False)
    ],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Give a client a name.

    One that is identified (see `serve --identify`) keeps it when it comes back, and when the hub is
    started again; any other one until it disconnects. An absent one can be renamed, too.

    \b
    Examples:
      jackfield rename 3 door
      jackfield rename 192.168.1.20:40122 dev7
    """
    from .operate import rename as command

    command(client, name, as_json=as_json, control=chosen_control(context, control))


def tag(
    context: typer.Context,
    target: Target,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="TAG", help="Tags to add.", show_default=False)
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", "-r", metavar="TAG", help="A tag to remove; may be repeated."),
    ] = None,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Add tags to clients or remove them; `tag:NAME` is a TARGET.

    \b
    Examples:
      jackfield tag dev1 floor1 spare
      jackfield tag 'dev*' floor2 --remove floor1
      jackfield send tag:floor1 'status?'
    """
    from .naming import tag as command

    command(target, tags or [], remove or [], as_json=as_json, control=chosen_control(context, control))


def note(
    context: typer.Context,
    client: Known,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What to remember; '' for nothing.", show_default=False)
    ],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Write a note beside a client, in place of the one before.

    \b
    Examples:
      jackfield note dev1 'in the cellar, key at the desk'
      jackfield note dev1 ''
    """
    from .naming import note as command

    command(client, text, as_json=as_json, control=chosen_control(context, control))


def claim(context: typer.Context, client: Client, as_json: Json = False, control: Control = None) -> None:
    """Give a client the name that it claims and another one has.

    Of two clients that say the same name the older one keeps it; the newer one stands in `clients` under
    its default name, as `claims NAME`. This gives the name, with its tags and note, to the one you say.
    A listener with `conflict=newer` does it by itself.

    \b
    Example:
      jackfield claim tcp-12
    """
    from .naming import claim as command

    command(client, as_json=as_json, control=chosen_control(context, control))


def forget(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of one that is absent.", show_default=False)
    ],
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Forget an absent client: its name, tags and note.

    \b
    Example:
      jackfield forget dev1
    """
    from .naming import forget as command

    command(name, as_json=as_json, control=chosen_control(context, control))
