"""Jackfield: connections in a group, no coroutine each; every message is answered with itself."""

from common import arguments, ready

import jackfield

words = arguments()


async def main() -> None:
    group = jackfield.Group()
    async with jackfield.listen(words.address, framing="u32") as listener:
        listener.into(group)
        ready(str(listener.address.without_options()))
        async for event in group:
            if isinstance(event, jackfield.Message):
                group.send_nowait(event.member, event.data)


jackfield.run(main)
