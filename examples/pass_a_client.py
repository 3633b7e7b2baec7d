"""Passing descriptors: one process accepts, another one answers.

    python examples/pass_a_client.py

The front process takes clients and hands each one to a worker over a Unix socket (SCM_RIGHTS): the connection
itself moves, and nothing is relayed. A supervisor can restart workers this way without a client noticing, and
a privileged process can open what its workers may not.
"""

import asyncio
import os
import sys

import jackfield


async def work(number: int) -> None:
    """The worker: every descriptor that comes is a client."""
    front = jackfield.adopt(number, framing="line")
    assert isinstance(front, jackfield.Channel)
    async with front:
        try:
            while True:
                greeting, fds = await front.receive_fds(max_fds=1)
                client = jackfield.adopt(fds[0], framing="line")
                assert isinstance(client, jackfield.Channel)
                async with client:
                    await client.send(greeting + b", process %d speaking" % os.getpid())
        except jackfield.EndOfStream:
            pass  # the front process has ended


async def serve() -> None:
    """The front: accept, hand over, forget."""
    ours, theirs = jackfield.pair(framing="line")
    number = theirs.detach()
    worker = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "work", str(number), pass_fds=[number]
    )
    os.close(number)
    print(f"the worker is process {worker.pid}", flush=True)
    async with ours, jackfield.listen("tcp://127.0.0.1:0") as listener:
        for name in (b"ada", b"bob"):
            async with jackfield.connect(listener.address, framing="line") as client:
                accepted = (await listener.accept()).detach()
                await ours.send_fds(b"hello " + name, [accepted])
                os.close(accepted)  # a copy is on its way
                print((await client.receive(timeout=10.0)).decode(), flush=True)
    await worker.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        jackfield.run(lambda: work(int(sys.argv[2])))
    else:
        jackfield.run(serve)
