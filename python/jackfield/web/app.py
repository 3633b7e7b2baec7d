"""The routes: pages, the API, its document, and the WebSockets.

Every answer has the headers of `guard`; a body is read up to a limit and a time; whatever goes wrong is
answered as `{"error": {code, message, hint}}`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .asking import answer
from .endpoint import Endpoint
from .guard import HEADERS
from .live import live
from .logins import Login, LoginRefused
from .native import PATH, native
from .openapi import document
from .schemas import Invalid, from_query
from .site import Refused, Site, operator_name, place

STATIC: Final = Path(__file__).with_name("static")
LONGEST_BODY: Final = 8 * 1024 * 1024
LONGEST_LOGIN: Final = 4096
PATIENCE: Final = 10.0  # seconds that a body may take
Handler = Callable[[Request], Awaitable[Response]]


def make_app(site: Site) -> ASGIApp:
    """The application of one console."""
    endpoints = site.endpoints()
    described = document(version=site.version, endpoints=endpoints.values(), cookie=site.cookie)

    async def index(request: Request) -> Response:
        site.check_host(request)
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def login_page(request: Request) -> Response:
        site.check_host(request)
        return FileResponse(STATIC / "login.html", headers={"cache-control": "no-cache"})

    async def openapi(request: Request) -> Response:
        site.who(request, changes=False)
        return JSONResponse(described)

    async def login(request: Request) -> Response:
        site.check_origin(request)
        site.count_attempt(place(request))
        code = (await _body(request, LONGEST_LOGIN)).get("code")
        try:
            secret, found = site.logins.begin(site.clock(), code if isinstance(code, str) else "")
        except LoginRefused as problem:
            site.log("login_refused", peer=place(request), reason=problem.message)
            hint = "make a new one with 'jackfield console --web'"
            raise Refused(401, problem.code, problem.message, hint=hint) from None
        site.log(
            "login", operator=operator_name(found), name=found.name, role=found.role, peer=place(request)
        )
        response = JSONResponse(_session(site, found))
        response.set_cookie(
            site.cookie,
            secret,
            max_age=int(found.ends - site.clock()),
            path="/",
            secure=site.secure,
            httponly=True,
            samesite="strict",
        )
        return response

    async def session(request: Request) -> Response:
        return JSONResponse(_session(site, site.who(request, changes=False)))

    async def logout(request: Request) -> Response:
        found = site.who(request, changes=True)
        site.end(found)
        site.log("logout", operator=operator_name(found), name=found.name)
        response = JSONResponse({"ended": True})
        response.delete_cookie(site.cookie, path="/", secure=site.secure, httponly=True, samesite="strict")
        return response

    def operation(endpoint: Endpoint) -> Handler:
        async def handle(request: Request) -> Response:
            found = site.who(request, changes=not endpoint.reads)
            site.check_may(found, endpoint.op)
            try:
                if endpoint.reads:
                    arguments = from_query(request.query_params, endpoint.takes)
                else:
                    arguments = await _body(request, LONGEST_BODY)
            except Invalid as problem:
                raise Refused(400, "bad_request", f"{endpoint.op}: {problem}") from None
            status, content = await answer(
                site.door, operator_name(found), endpoint, arguments, role=found.role
            )
            return JSONResponse(content, status)

        return handle

    routes = [
        Route("/", index, methods=["GET"]),
        Route("/login", login_page, methods=["GET"]),
        Route("/api/v1/openapi.json", openapi, methods=["GET"]),
        Route("/api/v1/login", login, methods=["POST"]),
        Route("/api/v1/logout", logout, methods=["POST"]),
        Route("/api/v1/session", session, methods=["GET"]),
        *(Route(f"/api/v1/{op}", operation(each), methods=[each.method]) for op, each in endpoints.items()),
        WebSocketRoute("/api/v1/live", lambda socket: live(site, socket)),
        WebSocketRoute(PATH, lambda socket: native(site, socket)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Any] = {Refused: _refused, HTTPException: _http_error, Exception: _fault}
    return Headed(Starlette(routes=routes, exception_handlers=handlers))


def _session(site: Site, login: Login) -> dict[str, Any]:
    return {
        "name": login.name,
        "operator": operator_name(login),
        "role": login.role,
        "csrf": login.csrf or None,
        "version": site.version,
        "expires": round(login.ends - site.clock(), 3) if login.ends < float("inf") else None,
    }


async def _body(request: Request, longest: int) -> dict[str, Any]:
    """The JSON object of a request. Raises `Refused`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(400, "bad_request", "the body must be application/json")
    read = bytearray()
    too_large = Refused(413, "too_big", f"the body is longer than {longest} bytes")
    if _length(request) > longest:
        raise too_large
    try:
        async with asyncio.timeout(PATIENCE):
            async for piece in request.stream():
                read += piece
                if len(read) > longest:
                    raise too_large
    except TimeoutError:
        raise Refused(400, "bad_request", f"the body took longer than {PATIENCE:.0f} s") from None
    try:
        value = json.loads(bytes(read))
    except (ValueError, RecursionError):
        raise Refused(400, "bad_request", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(400, "bad_request", "the body is not a JSON object")
    return value


def _length(request: Request) -> int:
    given = request.headers.get("content-length", "0")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 20 else 0


async def _refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Refused)
    headers = {"retry-after": str(int(problem.retry))} if problem.retry else {}
    return _error(problem.status, problem.code, problem.message, problem.hint, headers)


async def _http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    code = {404: "not_found", 405: "bad_method"}.get(problem.status_code, "bad_request")
    return _error(problem.status_code, code, str(problem.detail), "see /api/v1/openapi.json", problem.headers)


async def _fault(request: Request, problem: Exception) -> Response:
    return _error(500, "failed", "a fault of the hub; see its log", "", None)


def _error(status: int, code: str, message: str, hint: str, headers: Any) -> Response:
    told = {"code": code, "message": message, **({"hint": hint} if hint else {})}
    return JSONResponse({"error": told}, status, headers=dict(headers or {}))


class Headed:
    """Every answer with the headers that keep a browser from being misled."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                is_static = scope["path"].startswith("/static/")
                headers.setdefault("cache-control", "no-cache" if is_static else "no-store")
            await send(message)

        await self._app(scope, receive, headed)
