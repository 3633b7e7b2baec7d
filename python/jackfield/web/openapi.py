"""The OpenAPI document of the API, made of the same registry that the API answers by. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .endpoint import Endpoint
from .registry import ENDPOINTS, LIVE
from .schemas import Schema, flag, listing, nullable, number, record, told

ERROR: Final = record(
    {
        "error": record(
            {"code": told("Stable; for programs."), "message": told("For people.")},
            {"hint": told("What to try."), "candidates": listing(told(), "What may have been meant.")},
        )
    },
    about="Why it was not done.",
)
SESSION: Final = record(
    {
        "name": told("Who is logged in."),
        "operator": told("What the log calls this session."),
        "role": told("`member`, `operator` or `admin`."),
        "csrf": nullable(told("Goes into X-CSRF-Token of every POST; null with a bearer token.")),
        "version": told(),
        "expires": nullable(number("Seconds until the session ends.")),
    }
)
STATUSES: Final = {
    "400": "The request is malformed.",
    "401": "Nobody is logged in.",
    "403": "Not allowed to this role, or from this page.",
    "404": "No such client.",
    "409": "Ambiguous, or refused.",
    "413": "The request is too large.",
    "429": "Too many; Retry-After says when.",
    "500": "The hub could not do it.",
    "503": "The hub is being reloaded; ask again.",
}


def document(
    *,
    version: str,
    endpoints: Iterable[Endpoint] = tuple(ENDPOINTS.values()),
    cookie: str = "jackfield_8080",
) -> dict[str, Any]:
    """The whole document; `cookie` is what the session's one is called at the port that it is served from."""
    paths: dict[str, Any] = {f"/api/v1/{each.op}": _path(each) for each in endpoints}
    paths["/api/v1/session"] = {
        "get": {
            "operationId": "session",
            "summary": "Who is logged in.",
            "responses": _responses(SESSION),
        }
    }
    paths["/api/v1/logout"] = {
        "post": {
            "operationId": "logout",
            "summary": "End the session.",
            "requestBody": _body(record()),
            "responses": _responses(record({"ended": flag()})),
        }
    }
    paths["/api/v1/login"] = {
        "post": {
            "operationId": "login",
            "summary": "Begin a session with a one-time link's code.",
            "security": [],
            "requestBody": _body(record({"code": told()})),
            "responses": _responses(SESSION),
        }
    }
    live = "; ".join(f"`{op}`: {what}" for op, what in LIVE.items())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jackfield",
            "version": version,
            "description": "The hub's operations. What goes on is asked for on the WebSocket /api/v1/live, "
            f"whose text messages are those of the control socket (hub/protocol.py): {live}.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR},
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": cookie},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"cookie": []}, {"token": []}],
    }


def _path(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.op,
        "summary": endpoint.about,
        "responses": _responses(endpoint.gives),
    }
    if endpoint.reads:
        needed = endpoint.takes.get("required", ())
        found["parameters"] = [
            {"name": name, "in": "query", "required": name in needed, "schema": schema}
            for name, schema in endpoint.takes["properties"].items()
        ]
    else:
        found["requestBody"] = _body(endpoint.takes)
    return {endpoint.method.lower(): found}


def _body(schema: Schema) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _responses(schema: Schema) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}},
        **{status: {"description": about, "content": error} for status, about in STATUSES.items()},
    }
