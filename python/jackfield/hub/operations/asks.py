"""A question to clients and what each one answers: ask."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from ..asking import Asking, Question, Result
from ..identities import candidate_of
from ..patterns import Pattern
from ..protocol import BAD_REQUEST, Request, RequestError, encode_data
from ..sending import in_turns
from ..target import select_in_turns
from ..text import LINE_ENDINGS, TextError
from ..waves import halt_count
from .clients import absent_of
from .replies import with_snippet

if TYPE_CHECKING:
    from ..session import Session

PAGE: Final = 500  # clients in one event


async def ask(session: Session, request: Request) -> None:
    target = request.text("target")
    request = with_snippet(session, request)
    name = request.text("ending", "none")
    if name != "default" and name not in LINE_ENDINGS:
        raise RequestError(BAD_REQUEST, f"unknown line ending {name!r}; known are {', '.join(LINE_ENDINGS)}")
    ids = await select_in_turns(target, session.hub)
    try:
        question = Question(
            data=request.data("data"),
            ending=None if name == "default" else LINE_ENDINGS[name],
            pattern=Pattern(request.text("expect")) if "expect" in request.arguments else None,
            binary=request.flag("binary"),
            timeout=request.seconds("timeout", 2.0),
            wait=request.seconds("wait", 0.0),
            wave=request.integer("wave", least=1) if "wave" in request.arguments else None,
            halt_on=halt_count(request.text("halt_on"), len(ids)) if "halt_on" in request.arguments else None,
            pause=request.seconds("pause", 0.0),
        )
    except TextError as problem:
        raise RequestError(BAD_REQUEST, str(problem)) from None
    asking = Asking(session.hub, ids, question, session.who)
    session.begin(request.id, _ask(session, request.id, target, asking, again=request.flag("again")))


async def _ask(
    session: Session, request_id: int, target: str, asking: Asking, *, again: bool
) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    try:
        for some in in_turns(asking.ids, PAGE):
            clients = [
                (id_, client.name if client else "") for id_ in some for client in [session.hub.client(id_)]
            ]
            await session.reply(protocol.event(request_id, {"asking": clients, "total": len(asking.ids)}))
        if target != "all" and not again:
            absent = [candidate_of(entry).name for entry in await absent_of(session.hub, target)]
            for names in in_turns(absent, PAGE):
                await session.reply(protocol.event(request_id, {"absent": list(names)}))
        async with aclosing(asking.run()) as news:
            async for some_news in news:
                results = [each for each in some_news if isinstance(each, Result)]
                for result in results:
                    outcomes[result.outcome] = outcomes.get(result.outcome, 0) + 1
                for page in in_turns(results, PAGE):
                    await _tell_results(session, request_id, page)
                wave = [each for each in some_news if isinstance(each, int)]
                for ids in in_turns(wave, PAGE):
                    event = {"wave": asking.waves.started, "of": asking.waves.count, "to": list(ids)}
                    await session.reply(protocol.event(request_id, event))
    finally:
        not_sent = list(asking.waves.not_begun)
        if not again or asking.waves.failed or not_sent:
            _log(session, target, asking, outcomes)
    return {
        "clients": len(asking.ids),
        "outcomes": outcomes,
        "waves": asking.waves.started,
        "halted": asking.waves.halted and bool(not_sent),
        "not_sent": not_sent,
    }


def _log(session: Session, target: str, asking: Asking, outcomes: dict[str, int]) -> None:
    facts = {"bytes": len(asking.question.data), "clients": len(asking.ids), **outcomes}
    if asking.waves.not_begun:
        facts["not_sent"] = len(asking.waves.not_begun)
    session.hub.log("asked", by=session.who, target=target, **facts)


async def _tell_results(session: Session, request_id: int, results: Any) -> None:
    """Answers may be long: what one operator is told at once stays below what one message carries."""
    views: list[dict[str, Any]] = []
    size = 0
    for result in results:
        views.append(_view(result))
        size += 0 if result.answer is None else len(result.answer.data)
        if size > protocol.MAX_MESSAGE // 16:
            await session.reply(protocol.event(request_id, {"results": views}))
            views, size = [], 0
            await asyncio.sleep(0)
    if views:
        await session.reply(protocol.event(request_id, {"results": views}))


def _view(result: Result) -> dict[str, Any]:
    view: dict[str, Any] = {"id": result.id, "name": result.name, "outcome": result.outcome}
    if result.seconds is not None:
        view["seconds"] = round(result.seconds, 6)
    if result.answer is not None:
        view["answer"] = encode_data(result.answer.data)
        if result.answer.groups:
            view["groups"] = [None if group is None else encode_data(group) for group in result.answer.groups]
    if result.said:
        view["said"] = encode_data(result.said)
    if result.detail:
        view["detail"] = result.detail
    return view


OPERATIONS: Final = {"ask": ask}
