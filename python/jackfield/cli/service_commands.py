"""The commands that keep a hub running: their options and their help. What they do is in `service.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from .parameters import Control, Json, chosen_control


def reload(
    context: typer.Context,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long the new process may take.")
    ] = "30s",
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Start the hub anew and keep its clients.

    The running hub starts its successor, as installed and configured now, with the same command
    line and hands it the listening sockets, so that no connect is refused, and every connection
    with what it had received and what is queued. Clients keep their ids and names and notice a
    pause at most. Who cannot be kept is named, with the reason. If the successor does not take
    over, nothing has changed. A SIGHUP does the same to a hub that is attached to no terminal.

    \b
    Examples:
      jackfield reload
      jackfield reload --timeout 10s --json
    """
    from .service import reload as command

    command(timeout=timeout, as_json=as_json, control=chosen_control(context, control))


def backup(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Such as hub.tar.gz.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Keep state, rooms and configuration of the hub in one file.

    The state has names, tags, notes, rules and snippets. A running hub goes on meanwhile; without
    one the files at their usual places are taken. FILE is a tar archive that only its owner can
    read: hub.db, hub-rooms.db, jackfield.toml and backup.json, which says where they were;
    `jackfield restore FILE` puts them back.

    \b
    Examples:
      jackfield backup hub.tar.gz
      jackfield backup /var/backups/hub-$(date +%F).tar.gz --json
    """
    from .backup import backup as command

    command(file, force=force, as_json=as_json, control=chosen_control(context, control))


def restore(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Of `jackfield backup`.", show_default=False)],
    state: Annotated[
        str | None, typer.Option("--state", metavar="PATH", help="Where to, if not the usual place.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="PATH", help="Put the configuration there, too.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only see whether it can be restored.")] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Put the state and the rooms of a backup back in their place.

    No hub may run with that state. The whole of FILE is checked first; what was there before is
    kept beside, under a name that ends with .before-restore- and the time. Where the files were
    when FILE was made does not matter.

    \b
    Examples:
      jackfield restore hub.tar.gz --check
      jackfield restore hub.tar.gz --config /etc/jackfield/jackfield.toml
      jackfield restore hub.tar.gz --state /var/lib/jackfield/hub.db
    """
    from .restore import restore as command

    command(
        file, state=state, config=config, check=check, as_json=as_json,
        control=chosen_control(context, control),
    )  # fmt: skip
