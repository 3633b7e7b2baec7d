"""A client that sends words to an echo server and prints what comes back, over any address.

    python examples/echo_client.py tcp://127.0.0.1:7001,framing=line hello world
    python examples/echo_client.py udp://127.0.0.1:7001 hello
    python examples/echo_client.py unix+seqpacket://@echo hello

Streams need the server's framing in the address; datagrams and packets keep their boundaries themselves.
Errors say what is wrong and what to try: run it without a server.
"""

import sys

import jackfield


async def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    async with jackfield.connect(jackfield.Address.from_command_line(sys.argv[1])) as channel:
        for word in sys.argv[2:]:
            answer = await channel.request(word.encode(), timeout=2.0)
            print(answer.decode())


if __name__ == "__main__":
    try:
        jackfield.run(main)
    except jackfield.JackfieldError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
