"""A chat room of nicknames, in which plain `nc` takes part.

    python examples/chat_room.py tcp://127.0.0.1:7001 unix:///tmp/room.sock
    nc 127.0.0.1 7001      # the first line is your nickname; then /who, /quit, or what you have to say

One group holds everyone, whatever socket they came by, without a task for each. A member that does not read
loses the newest lines once its queue is full; nobody waits for it.
"""

import asyncio
import contextlib
import sys

import jackfield


class Room:
    """Who is in the room, and what is said there."""

    def __init__(self, group: jackfield.Group) -> None:
        self.group = group
        self.names: dict[int, str] = {}
        """Nicknames by the member's number; who has given none yet is not in it."""

    def tell(self, text: str, *, but: jackfield.Member | None = None) -> None:
        """Send a line to everyone with a nickname."""
        members = (member for member in self.group.members() if member.number in self.names)
        self.group.broadcast_nowait(text.encode(), to=[member for member in members if member != but])

    def came(self, member: jackfield.Member) -> None:
        self.reply(member, "your nickname?")

    def said(self, member: jackfield.Member, data: bytes) -> None:
        text = "".join(letter for letter in data.decode(errors="replace").strip() if letter.isprintable())
        name = self.names.get(member.number)
        if name is None:
            self.enter(member, text)
        elif text == "/who":
            self.reply(member, ", ".join(sorted(self.names.values())))
        elif text == "/quit":
            self.left(member)
            self.reply(member, f"goodbye, {name}")
            member.close(5.0)
        elif text:
            self.tell(f"{name}: {text}", but=member)

    def enter(self, member: jackfield.Member, name: str) -> None:
        if not 1 <= len(name) <= 20 or " " in name:
            self.reply(member, "a nickname is one word of at most 20 letters; your nickname?")
        elif name in self.names.values():
            self.reply(member, f"{name} is here already; your nickname?")
        else:
            self.tell(f"* {name} came")
            self.names[member.number] = name
            self.reply(member, f"welcome, {name}; here: {', '.join(sorted(self.names.values()))}")

    def left(self, member: jackfield.Member) -> None:
        name = self.names.pop(member.number, None)
        if name is not None:
            self.tell(f"* {name} left")

    def reply(self, member: jackfield.Member, text: str) -> None:
        """Send a line to one member, unless its queue is full or it has just left."""
        with contextlib.suppress(jackfield.QueueFull, jackfield.ChannelClosed, jackfield.ChannelLost):
            member.send_nowait(text.encode())


async def main() -> None:
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(jackfield.Group(when_full="drop_newest"))
        for address in sys.argv[1:] or ["tcp://127.0.0.1:0"]:
            opening = jackfield.listen(address, framing="line", max_message="4K", high_water="64K")
            listener = await stack.enter_async_context(opening)
            listener.into(group)
            print("listening on", listener.address, flush=True)
        room = Room(group)
        async for event in group:
            match event:
                case jackfield.Joined(member):
                    room.came(member)
                case jackfield.Message(member, data):
                    room.said(member, data)
                case jackfield.Left(member):
                    room.left(member)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())  # the standard library's loop does as well as jackfield.run
