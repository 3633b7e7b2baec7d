"""`jackfield request`: one question to a native client, from an operator or from another native client.

Owns what an answer looks like, and which exit code says that there is none.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from jackfield import ChannelLost, TimedOut

from ..hub.display import show_bytes
from ..hub.operator import Operator
from ..hub.protocol import FAILED, NO_ANSWER, NO_SUCH_CLIENT, REFUSED, RequestError, decode_data, encode_data
from ..hub.text import parse_duration
from ..native import PeerRefused, RequestRefused
from . import failures
from .failures import Failure
from .loop import run
from .membership import Membership
from .notation import Notation
from .operate import print_json, with_hub

NO_SUCH_PEER = "no_such_peer"
LONGEST = 16 * 1024 * 1024  # bytes of a question


def request(
    client: str,
    words: list[str],
    *,
    as_hex: bool,
    escapes: bool,
    timeout: str,
    as_json: bool,
    control: str | None,
    address: str | None,
    name: str | None,
    token: str | None,
    insecure_token: bool,
) -> None:
    patience = parse_duration(timeout)
    notation = Notation.from_options(as_hex=as_hex, escapes=escapes, eol=None, encoding=None, crc=None)
    if address is None and name is not None:
        raise Failure("--name is for --join", "an operator asks under its own name", code=failures.USAGE)
    data = _question(words, notation)
    try:
        if address is None:
            answer = _as_operator(client, data, patience, control)
        else:
            answer = _as_client(
                client, data, patience, address, name=name, token=token, insecure_token=insecure_token
            )
    except RequestError as problem:
        code = {NO_ANSWER: failures.NO_ANSWER, REFUSED: failures.LEFT}.get(problem.code)
        if code is None:
            raise
        raise Failure(problem.message, problem.hint, code=code) from None
    _show(answer, as_hex=as_hex, as_json=as_json)


def _question(words: list[str], notation: Notation) -> bytes:
    if not words:
        raise Failure("nothing to ask", "give DATA, or - for standard input", code=failures.USAGE)
    if words != ["-"]:
        return notation.message(" ".join(words))[0]
    data = sys.stdin.buffer.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise Failure(f"a question has at most {LONGEST} bytes")
    return notation.message(data.decode("utf-8", "replace"))[0] if notation.as_hex else data


def _as_operator(client: str, data: bytes, patience: float, control: str | None) -> dict[str, Any]:
    async def work(operator: Operator) -> dict[str, Any]:
        return await operator.request("request", target=client, data=encode_data(data), timeout=patience)

    answer = with_hub(control, work)
    return {**answer, "answer": decode_data(answer["answer"])}


def _as_client(
    peer: str,
    data: bytes,
    patience: float,
    address: str,
    *,
    name: str | None,
    token: str | None,
    insecure_token: bool,
) -> dict[str, Any]:
    """Join, ask and leave. Raises `RequestError` where there is no answer, and what `connect` raises."""
    membership = Membership.of(address, token)

    async def main() -> dict[str, Any]:
        async with membership.joined(name, services=(), insecure_token=insecure_token) as client:
            began = time.monotonic()
            try:
                answer = await client.request(peer, data, patience)
            except PeerRefused as problem:
                code = NO_SUCH_CLIENT if problem.code == NO_SUCH_PEER else REFUSED
                raise RequestError(code, str(problem)) from problem
            except RequestRefused as problem:
                raise RequestError(FAILED, str(problem)) from problem
            except TimedOut as problem:
                raise RequestError(NO_ANSWER, str(problem), hint="see --timeout") from problem
            except ChannelLost as problem:
                raise RequestError(REFUSED, str(problem)) from problem
            return {"name": peer, "answer": answer, "seconds": round(time.monotonic() - began, 6)}

    return run(main)


def _show(found: dict[str, Any], *, as_hex: bool, as_json: bool) -> None:
    answer: bytes = found.pop("answer")
    if as_json:
        try:
            body = {"text": answer.decode()}
        except UnicodeDecodeError:
            body = {"data": encode_data(answer)}
        print_json(found | body)
    elif as_hex:
        print(answer.hex(" "))
    elif sys.stdout.isatty():
        print(show_bytes(answer.replace(b"\r\n", b"\n"), keep="\n\t").removesuffix("\n"))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
