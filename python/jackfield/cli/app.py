"""Every command, its options and its help.

Owns the shape of the command line. Nothing heavy is imported here: help and completion answer at
once, and each command brings its module when it runs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from .client_commands import claim, clients, forget, note, rename, tag
from .failures import EXIT_CODES, INTERRUPTED, OK, USAGE, one_line, report, say

os.environ.setdefault("TYPER_USE_RICH", "0")  # plain help: 50 ms instead of 130

import typer
import typer.core

from .autoreply_command import autoreply
from .chat_command import chat
from .check_command import check
from .config_command import config
from .console_command import console
from .crc_command import crc
from .demo_command import demo
from .dial_command import dial, undial
from .join_command import join
from .mail_command import mail
from .parameters import (
    Client,
    Control,
    Crc,
    Dump,
    Encoded,
    Eol,
    Escapes,
    Follow,
    Framed,
    Json,
    Last,
    OutEol,
    Recorded,
    Target,
    Timeout,
    Verbose,
    chosen_control,
)
from .record_command import record
from .recording_command import recording
from .replay_command import replay
from .request_command import request
from .rooms_command import rooms
from .script_command import script
from .send_commands import broadcast, send
from .serve_command import serve
from .service_commands import backup, reload, restore
from .snippet_command import snippet
from .token_commands import audit, invite, token

if TYPE_CHECKING:
    from .netcat import Manner


class OutputClosed(Exception):
    """Whoever read our output has had enough."""


class Commands(typer.core.TyperGroup):
    """The commands; a closed output is no failure of theirs (typer itself would exit with 1)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise OutputClosed from None


app = typer.Typer(
    name="jackfield",
    cls=Commands,
    help="One hub that holds every client, so that you can pick one and talk to it.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .operate import version

        version(as_json=False)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    control: Control = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="PATH", help="File with the token for a --hub that is tls:."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = control
    if token_file is not None:
        os.environ["JACKFIELD_TOKEN_FILE"] = token_file


# -------------------------------------------------------------------- the hub


app.command()(serve)
app.command()(console)


@app.command()
def status(
    context: typer.Context,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it every second, until Ctrl-C.")] = False,
    control: Control = None,
) -> None:
    """Show the hub: listeners, clients, limits, traffic, resources.

    \b
    Examples:
      jackfield status
      jackfield status --json
      jackfield status --watch
    """
    from .operate import status as command

    command(as_json=as_json, watch=watch, control=chosen_control(context, control))


@app.command()
def stop(context: typer.Context, as_json: Json = False, control: Control = None) -> None:
    """End the hub, after it delivered what is queued.

    With --json it is said which process that is.

    \b
    Examples:
      jackfield stop
      jackfield stop --json | jq .pid
    """
    from .operate import stop as command

    command(as_json=as_json, control=chosen_control(context, control))


app.command()(reload)
app.command(no_args_is_help=True)(backup)
app.command(no_args_is_help=True)(restore)
app.add_typer(config, name="config")


@app.command()
def logs(
    context: typer.Context,
    follow: Follow = False,
    lines: Last = 20,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Show who joined, who left and why, and what operators did.

    \b
    Examples:
      jackfield logs -n 100
      jackfield logs -f --json
    """
    from .operate import logs as command

    command(follow=follow, last=lines, as_json=as_json, control=chosen_control(context, control))


app.command()(audit)
app.command()(invite)
app.add_typer(token)


# -------------------------------------------------------------------- clients


app.command()(clients)


@app.command(no_args_is_help=True)
def talk(
    context: typer.Context,
    client: Client,
    eol: Eol = None,
    escapes: Escapes = False,
    as_hex: Annotated[bool, typer.Option("--hex", help="Type hex, see hex dumps.")] = False,
    encoding: Encoded = None,
    crc: Crc = None,
    wait: Annotated[
        str,
        typer.Option("--wait", metavar="TIME", help="After piped input ends, show answers for this long."),
    ] = "2s",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each message as a JSON object on a line.")
    ] = False,
    control: Control = None,
) -> None:
    """Talk to one client. (Also: attach)

    What you type goes out, each line with the listener's line ending; what it says appears.
    Ctrl-D leaves; the client stays connected.
    With a pipe as input its lines are sent, and answers are printed until --wait has passed. With --json
    each is an object with `from` and `text`, or `data` (base64) where it is no text.

    \b
    Examples:
      jackfield talk 1
      jackfield talk dev7 --eol crlf
      jackfield talk dev7 --encoding gbk
      jackfield talk plc --hex --crc modbus
      echo 'status?' | jackfield talk dev7 --wait 500ms
      jackfield talk dev7 --json < questions.txt | jq -r .text
    """
    from .talk import talk as command

    command(
        client, eol=eol, escapes=escapes, as_hex=as_hex, encoding=encoding, crc=crc, wait=wait,
        as_json=as_json, control=chosen_control(context, control),
    )  # fmt: skip


for command in (send, broadcast, request):
    app.command(no_args_is_help=True)(command)


for naming in (rename, tag, note, claim, forget):
    app.command(no_args_is_help=True)(naming)


@app.command(no_args_is_help=True)
def kick(
    context: typer.Context,
    target: Target,
    reset: Annotated[
        bool, typer.Option("--reset", help="At once, discarding what is queued (TCP: a reset).")
    ] = False,
    as_json: Json = False,
    control: Control = None,
) -> None:
    """Disconnect clients, after what is queued for them.

    \b
    Examples:
      jackfield kick 3
      jackfield kick 'dev*' --reset
    """
    from .operate import kick as command

    command(target, reset=reset, as_json=as_json, control=chosen_control(context, control))


app.command()(dial)
app.command(no_args_is_help=True)(undial)
app.add_typer(mail)
app.add_typer(snippet)
app.add_typer(autoreply)
app.add_typer(script)


# -------------------------------------------------------------------- native clients

app.command(no_args_is_help=True)(join)


# -------------------------------------------------------------------- rooms

app.add_typer(rooms)
app.command(no_args_is_help=True)(chat)


# -------------------------------------------------------------------- recordings

app.command()(record)
app.add_typer(recording)
app.command(no_args_is_help=True)(replay)


# -------------------------------------------------------------------- netcat's job


def _manner(**options: Any) -> Manner:
    from .netcat import Manner

    return Manner.from_options(**options)


@app.command(no_args_is_help=True)
def connect(
    address: Annotated[list[str], typer.Argument(metavar="ADDRESS", show_default=False)],
    framing: Framed = None,
    as_hex: Dump = False,
    eol: OutEol = None,
    encoding: Encoded = None,
    timeout: Timeout = None,
    record: Recorded = None,
    verbose: Verbose = False,
) -> None:
    """Connect to ADDRESS with standard input and output.

    Input goes there, what comes back goes to the output.
    The end of the input is passed on (half-close), and answers are read until the peer ends.
    Datagrams have no end: there it ends when nothing came for --timeout (1s) after the input.

    \b
    Examples:
      jackfield connect 127.0.0.1:7000
      printf 'GET / HTTP/1.0\\r\\n\\r\\n' | jackfield connect example.org 80
      jackfield connect tcp://127.0.0.1:7000,framing=u32 --hex
      jackfield connect 192.168.1.30:7000 --encoding gbk
      echo ping | jackfield connect udp://127.0.0.1:7000 --timeout 500ms
    """
    from .netcat import connect as command

    manner = _manner(
        framing=framing,
        as_hex=as_hex,
        eol=eol,
        encoding=encoding,
        timeout=timeout,
        verbose=verbose,
        record=record,
    )
    command(address, manner)


@app.command(no_args_is_help=True)
def listen(
    address: Annotated[list[str], typer.Argument(metavar="ADDRESS", show_default=False)],
    keep: Annotated[
        bool, typer.Option("--keep", "-k", help="Keep accepting; input goes to everyone.")
    ] = False,
    framing: Framed = None,
    as_hex: Dump = False,
    eol: OutEol = None,
    encoding: Encoded = None,
    timeout: Timeout = None,
    record: Recorded = None,
    verbose: Verbose = False,
) -> None:
    """Wait at ADDRESS for one client, with standard input and output.

    \b
    Examples:
      jackfield listen 7000
      jackfield listen unix:///tmp/in.sock > received.bin
      jackfield listen -k tcp://127.0.0.1:7000,framing=line -v
    """
    from .netcat import listen as command

    manner = _manner(
        framing=framing,
        as_hex=as_hex,
        eol=eol,
        encoding=encoding,
        timeout=timeout,
        verbose=verbose,
        record=record,
    )
    command(address, manner, keep=keep)


# -------------------------------------------------------------------- diagnosis

app.command(no_args_is_help=True)(check)
app.command()(crc)


# -------------------------------------------------------------------- lessons

app.command()(demo)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version.

    \b
    Example:
      jackfield version
    """
    from .operate import version as command

    command(as_json=as_json)


@app.command()
def options(as_json: Json = False) -> None:
    """List every option of addresses and channels.

    \b
    Example:
      jackfield options
    """
    from .options import options as command

    command(as_json=as_json)


app.command("ls", hidden=True, help=clients.__doc__)(clients)
app.command("attach", hidden=True, no_args_is_help=True, help=talk.__doc__)(talk)


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code."""
    completing = os.environ.get("_JACKFIELD_COMPLETE", "")
    if completing.startswith("complete_"):
        from .completion import complete

        answer = complete(app, completing, os.environ)
        if answer is not None:
            print(answer[0])
            return answer[1]
    # What a terminal cannot show, and names that are no text, are shown escaped.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        result: object = app(args=list(arguments), prog_name="jackfield", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else OK
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        # Not a failure. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else OK
    except Exception as problem:
        if type(problem).__name__ == "Interrupted":
            return INTERRUPTED
        return _usage(problem) if hasattr(problem, "format_message") else report(problem)


def _usage(problem: Any) -> int:
    """Wrong usage, as the argument parser found it (its exception types moved between releases)."""
    context = getattr(problem, "ctx", None)
    command = context.command_path if context is not None else "jackfield"
    message = problem.format_message()
    if type(problem).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(message + "\n")
        wanted = [] if context is None or hasattr(context.command, "commands") else _missing(context.command)
        if wanted:
            say(one_line(f"{command.removeprefix('jackfield ')} needs {' and '.join(wanted)}"))
    else:
        # The parser's words for it are those of a library.
        message = re.sub(r"Input should be a valid integer.*", "it should be a whole number", message)
        hint = f"see {command} --help"
        if getattr(problem, "option_name", None) == "--token-file":
            hint = "it stands before the command: jackfield --token-file PATH --hub ADDRESS COMMAND"
        say(one_line(message, hint))
    return USAGE


def _missing(command: Any) -> list[str]:
    """The arguments without which the command does nothing."""
    return [each.metavar for each in command.params if each.param_type_name == "argument" and each.required]
