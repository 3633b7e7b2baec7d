"""What is typed for a request of operators: refusals name that, and not what the hub calls it inside."""

from __future__ import annotations

from typing import Final

_COMMANDS: Final = {
    "ask": "send --expect",
    "flush": "backup",
    "look": "console",
    "watch": "console",
    "send_on": "send",
    "mail_queue": "send --queue",
    "mail_list": "mail ls",
    "mail_drop": "mail drop",
    "snippet_list": "snippet ls",
    "snippet_remove": "snippet rm",
    "autoreply_list": "autoreply ls",
    "autoreply_remove": "autoreply rm",
    "script_list": "script ls",
    "script_remove": "script rm",
    "dial_add": "dial",
    "dial_list": "dial",
    "dial_remove": "undial",
    "recorded": "record",
    "record_end": "record",
    "room_list": "rooms",
    "room_chat": "chat",
    "room_say": "chat",
    "room_private": "chat",
    "room_seen": "chat",
    "room_open": "rooms open",
    "room_delete": "rooms rm",
    "room_read": "rooms history",
    "token_list": "token ls",
    "web_link": "console --web",
}


def typed(op: str) -> str:
    """The command that asks for it, such as `token ls`; of what no command asks for, its own name."""
    if op.startswith("room_") and op not in _COMMANDS:
        return "rooms " + op.removeprefix("room_").replace("_", " ")
    return _COMMANDS.get(op, op.replace("_", " "))
