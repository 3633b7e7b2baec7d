"""`jackfield recording`: show, info, convert. They read files and ask no hub."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..recording import Client, Damaged, Encoder, NotARecording, Record, read
from ..recording.file import READ_AT_ONCE, decoder_of
from ..recording.tape import CHUNK
from .failures import FAILED, OK, Failure, say
from .loop import run
from .operate import print_json, terminal_width
from .progress import Progress
from .recording_file import RecordingFile, format_of
from .recording_view import Only, Summary, as_json, lines

LOOK_AGAIN: Final = 0.1  # seconds between two looks at a file that may grow
NO_CUT: Final = 1_000_000


def records_of(path: str) -> Iterator[Record]:
    """The records of a file; that it is none is said with its name."""
    try:
        yield from read(path)
    except NotARecording as problem:
        raise Failure(f"{path}: {problem}", "see docs/recording.md") from None
    except IsADirectoryError:
        raise Failure(f"{path} is a directory", f"name its files: {path.rstrip('/')}/*.jfrec") from None


def show(
    files: list[str], *, client: str | None, as_hex: bool, full: bool, follow: bool, as_json: bool
) -> None:
    only = _only(client)
    for path in files[:-1] if follow else files:
        _print(records_of(path), only, as_hex=as_hex, full=full, json_lines=as_json)
        only.clients.clear()

    async def watch() -> None:
        async for records in _growing(files[-1]):
            _print(records, only, as_hex=as_hex, full=full, json_lines=as_json)
            sys.stdout.flush()

    if follow:
        run(watch)


def _only(client: str | None) -> Only:
    try:
        return Only(client)
    except ValueError as problem:
        raise Failure(str(problem), "see jackfield recording show --help") from None


def _print(records: Iterable[Record], only: Only, *, as_hex: bool, full: bool, json_lines: bool) -> None:
    for record in records:
        if not only.wants(record):
            continue
        if json_lines:
            print(json.dumps(as_json(record)))
            continue
        for line in lines(record, only, as_hex=as_hex, full=full):
            print(line)


async def _growing(path: str) -> Any:
    """The records of a file as it grows, a list at a time, for ever."""
    decoder = None
    with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230 - one file, and nothing else to do
        while True:
            data = file.read(READ_AT_ONCE)
            if not data:
                await asyncio.sleep(LOOK_AGAIN)
                continue
            decoder = decoder or decoder_of(data)
            try:
                found = decoder.feed(data)
            except NotARecording as problem:
                raise Failure(f"{path}: {problem}", "see docs/recording.md") from None
            yield [record for _, record in found]


def info(files: list[str], *, as_json: bool) -> int:
    """Print each recording in figures; the exit code says whether all of them are whole."""
    found: list[dict[str, Any]] = []
    whole = True
    for number, path in enumerate(files):
        summary = Summary()
        for record in records_of(path):
            summary.add(record)
        whole &= summary.whole
        found.append({"file": path, **summary.to_json()})
        if not as_json:
            print("\n".join([*([""] if number else []), *summary.lines(path, terminal_width() or NO_CUT)]))
    if as_json:
        print_json(found if len(files) > 1 else found[0])
    return OK if whole else FAILED


def convert(path: str, output: str, *, client: str | None, force: bool, as_json: bool) -> None:
    only = _only(client)
    records = records_of(path)
    first = next(records, None)  # what is no recording makes no file
    if first is None:
        raise Failure(f"{path} is empty", "a recording begins with its header")
    if output != "-" and Path(output).exists() and Path(path).samefile(output):
        raise Failure(f"{output} is the file that is read", "choose another name")
    file = RecordingFile.create(output, form=format_of(output, None), replace=force)
    damaged = clients = 0
    encoder = Encoder(os.urandom(4))
    chunk, records_in_it = encoder.header(), 0
    try:
        for record in _with_progress(itertools.chain([first], records)):
            if isinstance(record, Damaged):
                damaged += record.length
            elif only.wants(record):
                clients += isinstance(record, Client)
                chunk += encoder.encode(record)
                records_in_it += 1
            if len(chunk) >= CHUNK:
                file.write(chunk, records=records_in_it, data=0)
                chunk, records_in_it = b"", 0
        file.write(chunk, records=records_in_it, data=0)
        file.close(None)
    except BaseException:
        file.close(None)
        if output != "-":
            with suppress(OSError):
                Path(output).unlink()
        raise
    if file.missing:
        raise Failure(f"{output} is not whole: the disk is full", "make room, and convert again")
    if client is not None and not clients:
        raise Failure(f"no client {client!r} is in {path}", "see jackfield recording info")
    if damaged:
        say(f"jackfield: {damaged} bytes of the recording are damaged and left out")
    if as_json and output != "-":
        print_json({"file": output, "records": file.records, "clients": clients, "damaged": damaged})


def _with_progress(records: Iterable[Record]) -> Iterator[Record]:
    progress, since = Progress(), time.monotonic()
    try:
        for done, record in enumerate(records):
            yield record
            if done % 1000 == 0 and time.monotonic() - since > 0.5:
                progress.show(f"{done} records; Ctrl-C ends it")
    finally:
        progress.clear()
