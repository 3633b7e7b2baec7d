"""Replaying: when what is due, in which order, in lock-step or not, and what of the answers differs."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.recording import Client, Data, Encoder, Left, Lost, NotARecording, Opened, Record
from jackfield.recording.comparing import Comparison, first_difference
from jackfield.recording.index import Recording
from jackfield.recording.pcapng import capture
from jackfield.recording.playing import How, Pace, Player, is_stream
from jackfield.testing import Simulation

NOW = 1_795_000_000_000_000_000
MS = 1_000_000
CLIENT = Client(NOW, 1, 1, "dev1", "tcp", "127.0.0.1", 7000, "127.0.0.1", 40122)


def conversation(ref: int = 1) -> list[Record]:
    """Questions and answers with gaps of 100 ms, 1 s and ten minutes."""
    return [
        Data(NOW + 100 * MS, ref, "in", b"question 1"),
        Data(NOW + 150 * MS, ref, "out", b"answer 1", "pid:1"),
        Data(NOW + 1100 * MS, ref, "in", b"question 2"),
        Data(NOW + 1100 * MS, ref, "in", b"question 3"),
        Data(NOW + 1150 * MS, ref, "out", b"answer "),
        Data(NOW + 1160 * MS, ref, "out", b"2"),
        Data(NOW + 600_000 * MS, ref, "in", b"question 4"),
        Left(NOW + 601_000 * MS, ref, "gone"),
    ]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "some.jfrec"
    encoder = Encoder(b"mark")
    records = [Opened(NOW), CLIENT, *conversation()]
    path.write_bytes(encoder.header() + b"".join(map(encoder.encode, records)))
    return path


class Answering:
    """The other end.

    It notes what it is told and when, and answers after `delay` seconds as it is told to.
    """

    def __init__(self, answers: dict[bytes, bytes], delay: float = 0.0) -> None:
        self._answers = answers
        self._delay = delay
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.told: list[tuple[float, bytes]] = []

    async def send(self, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.told.append((loop.time(), message))
        answer = self._answers.get(message)
        if answer is not None:
            loop.call_later(self._delay, self._queue.put_nowait, answer)

    async def receive(self) -> list[bytes]:
        return [await self._queue.get()]


RIGHT = {b"question 1": b"answer 1", b"question 3": b"answer 2"}


def play(
    path: Path, how: How, other: Answering, *, says: str = "in", stream: bool = True
) -> tuple[list[float], Player]:
    """Play the recording on a clock that steps; when each message was said, counted from the start."""

    async def main() -> tuple[list[float], Player]:
        start = asyncio.get_running_loop().time()
        with Recording(str(path)) as recording:
            (track,) = recording.tracks
            player = Player(track, says, how, stream=stream)  # type: ignore[arg-type]
            await player.play(other, Pace(track.began, start, how.speed))
        return [round(when - start, 6) for when, _ in other.told], player

    return Simulation(seed=1).run(main)


@pytest.mark.parametrize("speed", [1.0, 10.0, 0.5])
def test_gaps_are_kept_and_do_not_drift(written: Path, speed: float) -> None:
    other = Answering(RIGHT, delay=0.01)
    times, player = play(written, How(speed), other)
    expected = [0.1, 1.1, 1.1, 600.0]
    assert times == [pytest.approx(each / speed, abs=2e-3) for each in expected]
    assert [message for _, message in other.told] == [
        b"question 1",
        b"question 2",
        b"question 3",
        b"question 4",
    ]
    assert (player.said, player.said_bytes, player.answered_bytes) == (4, 40, 16)


def test_the_fastest_waits_for_nothing(written: Path) -> None:
    times, player = play(written, How(None), Answering(RIGHT))
    assert times == [0.0] * 4
    assert player.answered_bytes == 16


def test_in_lock_step_a_message_waits_for_the_answers_before_it(written: Path) -> None:
    """Each answer takes 3 s: what follows keeps its distance to the answer."""
    times, player = play(written, How(1.0, lock_step=True), Answering(RIGHT, delay=3.0))
    first, second, third, fourth = times
    assert first == pytest.approx(0.1, abs=2e-3)
    assert second == third == pytest.approx(0.1 + 3.0 + 0.95, abs=2e-3)
    assert fourth == pytest.approx(second + 3.0 + 600.0 - 1.16, abs=2e-3)
    assert player.difference is None


def test_in_lock_step_who_does_not_answer_is_waited_for_only_so_long(written: Path) -> None:
    times, player = play(written, How(None, lock_step=True, timeout=2.0), Answering({}))
    assert times == [
        0.0,
        pytest.approx(2.0, abs=2e-3),
        pytest.approx(2.0, abs=2e-3),
        pytest.approx(4.0, abs=2e-3),
    ]
    assert player.answered == 0


def test_answers_are_compared_until_the_first_that_differs(written: Path) -> None:
    how = How(None, lock_step=True, check=True, timeout=2.0)
    _, player = play(written, how, Answering(RIGHT))
    assert player.difference is None
    other = Answering({**RIGHT, b"question 3": b"answer X"})
    times, player = play(written, how, other)
    assert player.difference is not None
    assert str(player.difference) == "other than was recorded at byte 15"
    assert player.difference.recorded == b"answer 1answer 2"[-len(player.difference.recorded) :]
    assert player.difference.recorded[-3:] + player.difference.answered[-3:] == b"r 2r X"
    assert len(times) == 3, "nothing is said behind an answer that differs"


def test_an_answer_that_does_not_come_is_a_difference(written: Path) -> None:
    _, player = play(
        written, How(None, lock_step=True, check=True, timeout=1.0), Answering({b"question 1": b"answer 1"})
    )
    assert str(player.difference) == "less than was recorded at byte 8"


def test_the_other_side_can_be_said_as_well(written: Path) -> None:
    other = Answering({})
    play(written, How(None, timeout=0.1), other, says="out")
    assert [message for _, message in other.told] == [b"answer 1", b"answer ", b"2"]


def test_real_channels_over_a_simulated_link(written: Path) -> None:
    """What one track says arrives, byte by byte, at the other end of a link that splits and delays."""
    simulation = Simulation(seed=7)

    async def main() -> bytes:
        async with simulation.link() as link:
            with Recording(str(written)) as recording:
                from jackfield.cli.replay import ChannelLine

                (track,) = recording.tracks
                player = Player(track, "in", How(10.0, timeout=0.1), stream=True)
                start = asyncio.get_running_loop().time()
                await player.play(ChannelLine(link.left, stream=True), Pace(track.began, start, 10.0))
            await link.left.close()
            heard = bytearray()
            async for data in link.right:
                heard += data
            return bytes(heard)

    assert simulation.run(main) == b"question 1question 2question 3question 4"


# -------------------------------------------------------------------- comparing


def cuts(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


@given(
    st.binary(max_size=200),
    st.lists(st.integers(1, 50), min_size=1),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_on_a_stream_the_cuts_do_not_matter(data: bytes, one: list[int], other: list[int]) -> None:
    comparison = Comparison(cuts(data, one), stream=True)
    for piece in cuts(data, other):
        comparison.heard(piece)
    comparison.end()
    assert comparison.difference is None


@given(st.binary(min_size=1, max_size=200), st.data())
def test_the_first_byte_that_differs_is_found(data: bytes, drawn: st.DataObject) -> None:
    at = drawn.draw(st.integers(0, len(data) - 1))
    other = data[:at] + bytes([data[at] ^ 1]) + drawn.draw(st.binary(max_size=20))
    sizes = st.lists(st.integers(1, 50), min_size=1)
    comparison = Comparison(cuts(data, drawn.draw(sizes)), stream=True)
    for piece in cuts(other, drawn.draw(sizes)):
        comparison.heard(piece)
    comparison.end()
    found = comparison.difference
    assert found is not None
    assert (found.offset, found.message) == (at, None)
    assert found.recorded[at - found.shown] == data[at]
    assert found.answered[at - found.shown] == other[at]
    assert data[found.shown : found.shown + len(found.recorded)] == found.recorded
    assert first_difference(data, other) == at


def test_messages_are_compared_one_by_one() -> None:
    def compared(recorded: list[bytes], answered: list[bytes]) -> str:
        comparison = Comparison(iter(recorded), stream=False)
        for message in answered:
            comparison.heard(message)
        comparison.end()
        return str(comparison.difference)

    assert compared([b"ab", b"", b"c"], [b"ab", b"", b"c"]) == "None"
    assert compared([b"ab", b"c"], [b"abc"]) == "other than was recorded at byte 2 of answer 1"
    assert compared([b"ab", b"c"], [b"ab", b"d", b"c"]) == "other than was recorded at byte 0 of answer 2"
    assert compared([b"ab"], [b"ab", b""]) == "more than was recorded at byte 0 of answer 2"
    assert compared([b"ab", b""], [b"ab"]) == "less than was recorded at byte 0 of answer 2"


# -------------------------------------------------------------------- the index


def test_a_recording_and_its_capture_are_read_alike(tmp_path: Path) -> None:
    other = Client(NOW + 5, 2, 2, "dev2", "udp", "127.0.0.1", 7000, "127.0.0.1", 40123)
    long = os.urandom(3_000_000)
    records = [
        Opened(NOW, role="client"), CLIENT, *conversation()[:3], other, Data(NOW + 6, 2, "in", b"odd"),
        Data(NOW + 7, 1, "in", long), Lost(NOW + 8, 3, 4, "slow"),
    ]  # fmt: skip
    encoder = Encoder(b"mark")
    own, captured = tmp_path / "a.jfrec", tmp_path / "a.pcapng"
    own.write_bytes(encoder.header() + b"".join(map(encoder.encode, records)) + b"cut")
    captured.write_bytes(b"".join(capture(iter([*records, Data(NOW + 9, 1, "in", b"x")]))))
    for path, damaged, more in ((own, 3, []), (captured, 0, [b"x"])):
        with Recording(str(path)) as recording:
            assert (recording.role, recording.lost, recording.damaged) == ("client", 3, damaged)
            one, two = recording.tracks
            assert [track.client.name for track in (one, two)] == ["dev1", "dev2"]
            said = [message.data for message in one.messages() if message.direction == "in"]
            assert said == [b"question 1", b"question 2", long, *more]
            assert [message.data for message in two.messages()] == [b"odd"]
            assert one.bytes["out"] == 8


def test_another_file_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello, this is text")
    with pytest.raises(NotARecording):
        Recording(str(path))
    with pytest.raises(FileNotFoundError):
        Recording(str(tmp_path / "missing"))


def test_what_is_a_stream() -> None:
    assert is_stream("tcp", "none")
    assert is_stream("unix", "none")
    assert not is_stream("tcp", "line")
    assert not is_stream("udp", "none")
    assert not is_stream("unix+seqpacket", "none")
