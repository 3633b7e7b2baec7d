"""What the hub answers by itself, and what operators keep to say again: autoreply_*, snippet_*."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from ..autoreply import Autoreply
from ..protocol import BAD_REQUEST, FAILED, REFUSED, Request, RequestError
from ..reply_rules import Rate, Rule
from ..snippets import Snippet, Snippets
from ..target import Matcher
from ..text import LINE_ENDINGS, TextError, there_are

if TYPE_CHECKING:
    from ..session import Session

NAME: Final = re.compile(r"[^\W_][\w.+-]{0,63}")


def _autoreply(session: Session) -> Autoreply:
    found = session.hub.part(Autoreply)
    if found is None:
        raise RequestError(FAILED, "this hub has no automatic replies")
    return found


def _snippets(session: Session) -> Snippets:
    found = session.hub.part(Snippets)
    if found is None:
        raise RequestError(FAILED, "this hub keeps no snippets")
    return found


def _name(request: Request, default: str | None = None) -> str:
    name = request.text("name", default)
    if NAME.fullmatch(name) is None:
        raise RequestError(
            BAD_REQUEST,
            f"{name[:80]!r} is not a name: up to 64 letters, digits and . _ + -, a letter or digit first",
        )
    return name


def _ending(request: Request) -> str:
    ending = request.text("ending", "none")
    if ending != "default" and ending not in LINE_ENDINGS:
        raise RequestError(
            BAD_REQUEST, f"unknown line ending {ending!r}; known are {', '.join(LINE_ENDINGS)}"
        )
    return ending


def _unknown(what: str, name: str, known: list[str]) -> RequestError:
    return RequestError(REFUSED, f"no {what} {name[:80]!r}; {there_are(known[:10])}", candidates=known[:10])


# -------------------------------------------------------------------- autoreply


async def autoreply_add(session: Session, request: Request) -> dict[str, Any]:
    replies = _autoreply(session)
    taken = {rule.name for rule, _ in replies.rules()}
    free = next(f"reply{number}" for number in range(1, len(taken) + 2) if f"reply{number}" not in taken)
    rule = Rule(
        _name(request, free),
        pattern=request.text("pattern"),
        reply=request.data("reply"),
        to=request.text("to", "all"),
        exact=request.flag("exact"),
        ending=_ending(request),
    )
    try:
        if "rate" in request.arguments:
            rule = dataclasses.replace(rule, rate=Rate.parse(request.text("rate")))
        rule.compile()
        try:
            Matcher(rule.to)
        except ValueError as problem:
            raise RequestError(BAD_REQUEST, str(problem)) from problem
        replies.add(rule)
    except TextError as problem:
        raise RequestError(BAD_REQUEST, str(problem)) from problem
    except ValueError as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    session.hub.log("autoreply_added", rule=rule.name, pattern=rule.pattern, to=rule.to, by=session.who)
    await session.hub.state.flush()
    return {"name": rule.name, "replaced": rule.name in taken}


async def autoreply_list(session: Session, request: Request) -> dict[str, Any]:
    return {
        "rules": [
            {
                "name": rule.name,
                "pattern": rule.pattern,
                "exact": rule.exact,
                "reply": protocol.encode_data(rule.reply),
                "ending": rule.ending,
                "to": rule.to,
                "rate": str(rule.rate),
                **dataclasses.asdict(counts),
            }
            for rule, counts in _autoreply(session).rules()
        ]
    }


async def autoreply_remove(session: Session, request: Request) -> dict[str, Any]:
    replies, name = _autoreply(session), request.text("name")
    try:
        replies.remove(name)
    except KeyError:
        raise _unknown("automatic reply", name, [rule.name for rule, _ in replies.rules()]) from None
    session.hub.log("autoreply_removed", rule=name, by=session.who)
    await session.hub.state.flush()
    return {"name": name}


# -------------------------------------------------------------------- snippets


def _find(session: Session, name: str) -> Snippet:
    snippets = _snippets(session)
    snippet = snippets.find(name)
    if snippet is None:
        raise _unknown("snippet", name, [each.name for each in snippets])
    return snippet


async def snippet_add(session: Session, request: Request) -> dict[str, Any]:
    snippets = _snippets(session)
    snippet = Snippet(_name(request), request.data("data"), _ending(request))
    replaced = snippets.find(snippet.name) is not None
    try:
        snippets.add(snippet)
    except ValueError as problem:
        raise RequestError(REFUSED, str(problem)) from problem
    session.hub.log("snippet_added", snippet=snippet.name, bytes=len(snippet.data), by=session.who)
    await session.hub.state.flush()
    return {"name": snippet.name, "replaced": replaced}


async def snippet_list(session: Session, request: Request) -> dict[str, Any]:
    for snippet in _snippets(session):
        await session.reply(protocol.event(request.id, _view(snippet)))
    return {}


async def snippet_show(session: Session, request: Request) -> dict[str, Any]:
    return _view(_find(session, request.text("name")))


def _view(snippet: Snippet) -> dict[str, Any]:
    data = protocol.encode_data(snippet.data)
    return {"snippet": snippet.name, "data": data, "ending": snippet.ending}


def with_snippet(session: Session, request: Request) -> Request:
    """A request that names a snippet, with its data and its ending; any other one as it is."""
    if "snippet" not in request.arguments:
        return request
    snippet = _find(session, request.text("snippet"))
    data = protocol.encode_data(snippet.data)
    return dataclasses.replace(
        request, arguments={"ending": snippet.ending, **request.arguments, "data": data}
    )


async def snippet_remove(session: Session, request: Request) -> dict[str, Any]:
    snippets, name = _snippets(session), request.text("name")
    try:
        snippets.remove(name)
    except KeyError:
        raise _unknown("snippet", name, [each.name for each in snippets]) from None
    session.hub.log("snippet_removed", snippet=name, by=session.who)
    await session.hub.state.flush()
    return {"name": name}


OPERATIONS: Final = {
    "autoreply_add": autoreply_add,
    "autoreply_list": autoreply_list,
    "autoreply_remove": autoreply_remove,
    "snippet_add": snippet_add,
    "snippet_list": snippet_list,
    "snippet_show": snippet_show,
    "snippet_remove": snippet_remove,
}
