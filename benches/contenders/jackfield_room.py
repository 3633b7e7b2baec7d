"""Jackfield: a room; what any member sends goes to every member, through bounded queues."""

from common import arguments, ready

import jackfield

words = arguments()


async def main() -> None:
    group = jackfield.Group()
    async with jackfield.listen(words.address, framing="u32") as listener:
        listener.into(group)
        ready(str(listener.address.without_options()))
        while True:
            for event in await group.receive_many():
                if isinstance(event, jackfield.Message):
                    await group.broadcast(event.data)


jackfield.run(main)
