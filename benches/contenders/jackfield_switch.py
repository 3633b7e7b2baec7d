"""Jackfield's switch: native clients connected to each other (`addressed`), or all in one room (`room`).

An `OPEN` names its peer by the order of connections, from 0. `memory` only welcomes.
"""

import json
import struct

from common import arguments, ready

import jackfield
from jackfield import FrameKind

words = arguments()
WELCOME = json.dumps({"type": "welcome", "version": 1, "id": "1", "name": "bench"}).encode()
ROOM = 1 << 31
HEADER_SIZE = 8


async def main() -> None:
    group = jackfield.Group()
    switch = group.switch
    members: list[int] = []
    welcomed: set[int] = set()
    room = switch.fan(ROOM, publish=True) if words.role == "room" else None

    def opened(member: jackfield.Member, stream: int, payload: bytes) -> None:
        asked = json.loads(payload)
        other = members[asked["to"]]
        number = switch.next_stream(other)
        switch.send(other, number, FrameKind.OPEN, payload)
        switch.link(member, stream, other, number, credit=asked["credit"])

    async with jackfield.listen(words.address, framing="u32", max_clients=20_000) as listener:
        listener.into(group, native="only")
        ready(str(listener.address.without_options()))
        while True:
            for event in await group.receive_many():
                if not isinstance(event, jackfield.Message):
                    continue
                member = event.member
                stream, kind = struct.unpack_from(">IB", event.data)
                if member.id not in welcomed:
                    welcomed.add(member.id)
                    members.append(member.id)
                    switch.send(member, 0, FrameKind.CONTROL, WELCOME)
                    if room is not None:
                        room.add(member, len(members))
                elif kind == FrameKind.OPEN:
                    opened(member, stream, event.data[HEADER_SIZE:])


jackfield.run(main)
