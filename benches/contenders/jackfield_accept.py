"""Jackfield: accepts and closes."""

from common import arguments, ready

import jackfield

words = arguments()


async def main() -> None:
    async with jackfield.listen(words.address) as listener:
        ready(str(listener.address.without_options()))
        async for channel in listener:
            await channel.close()


jackfield.run(main)
