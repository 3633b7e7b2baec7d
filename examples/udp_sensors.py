"""Many sensors send readings by UDP to one endpoint, which answers each and says what was lost on the way.

    python examples/udp_sensors.py

Everything runs in this process, on the loopback interface: five sensors send a thousand numbered readings
each, in batches. The endpoint receives them in batches, too, and says to each sensor how many came; the
kernel's own count of what its buffer could not hold is beside it.
"""

import asyncio
import collections

import jackfield

SENSORS, READINGS = 5, 1_000


async def sensor(name: str, to: jackfield.Address) -> str:
    """Sends its readings, then asks until the endpoint has answered: even the question may be lost."""
    async with jackfield.bind("udp://127.0.0.1:0") as endpoint:
        for start in range(0, READINGS, 50):
            readings = [f"{name} {number}".encode() for number in range(start, start + 50)]
            await endpoint.send_many(readings, to)
            await asyncio.sleep(0)  # the endpoint has its turn
        while True:
            await endpoint.send_to(f"{name} done".encode(), to)
            try:
                return (await endpoint.receive_from(timeout=0.5)).data.decode()
            except jackfield.TimedOut:
                continue


async def collect(endpoint: jackfield.Endpoint) -> None:
    """Counts readings, and answers a sensor that is done."""
    seen: collections.Counter[str] = collections.Counter()
    while True:
        for datagram in await endpoint.receive_many_from():
            name, what = datagram.data.decode().split()
            if what != "done":
                seen[name] += 1
                continue
            await endpoint.send_to(
                f"{name}: {seen[name]} of {READINGS} readings came".encode(), datagram.peer
            )


async def main() -> None:
    async with jackfield.bind("udp://127.0.0.1:0", receive_buffer="1M") as endpoint:
        collector = asyncio.create_task(collect(endpoint))
        sensors = [sensor(f"sensor-{number}", endpoint.local) for number in range(SENSORS)]
        for report in await asyncio.gather(*sensors):
            print(report)
        collector.cancel()
        print(f"the kernel dropped {endpoint.statistics().dropped_by_kernel}")


if __name__ == "__main__":
    jackfield.run(main)
