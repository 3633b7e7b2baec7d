"""Serial lines: their settings, those that cannot be opened, and devices that go and come."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
from lines import Device, device
from support import Runner, eventually

import jackfield
from jackfield import Address, sync
from jackfield._serial_line import described, line_settings, read_settings


def opened(path: str, **options: Any) -> jackfield.JackfieldError:
    """The error of connecting."""

    async def main() -> None:
        await jackfield.connect(f"serial://{path}", **options)

    with pytest.raises(jackfield.JackfieldError) as caught:
        asyncio.run(main())
    return caught.value


# Settings -----------------------------------------------------------------------------------------


def test_the_line_is_set_and_put_back(run: Runner) -> None:
    async def main() -> None:
        with device() as end:
            before = end.settings()
            async with jackfield.connect(f"serial://{end.path}?baud=115200&stop=2&flow=xonxoff") as channel:
                iflag, oflag, cflag, lflag, speed_in, speed_out, characters = end.settings()
                assert (speed_in, speed_out) == (termios.B115200, termios.B115200)
                assert (oflag, lflag) == (0, 0), "bytes pass as they are"
                assert iflag == termios.IXON | termios.IXOFF
                assert isinstance(cflag, int)
                assert cflag & (termios.CSTOPB | termios.CLOCAL | termios.CREAD | termios.CSIZE) == (
                    termios.CSTOPB | termios.CLOCAL | termios.CREAD | termios.CS8
                )
                assert isinstance(characters, list)
                assert characters[termios.VMIN] in (1, b"\x01")
                assert channel.kernel_options() == {
                    "baud": 115200,
                    "bits": 8,
                    "parity": "none",
                    "stop": 2,
                    "flow": "xonxoff",
                }
                end.write(bytes(range(256)).replace(b"\x11", b"").replace(b"\x13", b""))
                got = b""
                while len(got) < 254:
                    got += await channel.receive(5.0)
                assert got[-1] == 255
            assert end.settings() == before
            channel = await jackfield.connect(f"serial://{end.path}")
            assert end.settings() != before
            channel.abort()
            await eventually(lambda: end.settings() == before)

    run(main)


def test_the_blocking_twin_puts_it_back_too() -> None:
    with device() as end:
        before = end.settings()
        with sync.connect(f"serial://{end.path}", baud=38400) as channel:
            assert end.settings()[4] == termios.B38400
            assert channel.kernel_options()["baud"] == 38400
        assert end.settings() == before
        sync.connect(f"serial://{end.path}").abort()
        assert end.settings() == before


def test_a_detached_line_stays_as_it_is(run: Runner) -> None:
    async def main() -> None:
        with device() as end:
            channel = await jackfield.connect(f"serial://{end.path}", baud=57600)
            fd = channel.detach()
            assert end.settings()[4] == termios.B57600
            end.write(b"x")
            assert os.read(fd, 1) == b"x"
            os.close(fd)

    run(main)


def test_any_rate_can_be_had_and_changed_while_open(run: Runner) -> None:
    async def main() -> None:
        with device() as end:
            async with jackfield.connect(f"serial://{end.path}", baud=250_000, framing="line") as channel:
                assert channel.kernel_options()["baud"] == 250_000
                assert channel.set_option("baud", 19200) == 19200
                assert end.settings()[4] == termios.B19200
                assert channel.set_option("stop", "2") == 2
                assert channel.kernel_options() == {
                    "baud": 19200,
                    "bits": 8,
                    "parity": "none",
                    "stop": 2,
                    "flow": "none",
                }
                with pytest.raises(jackfield.InvalidOption, match="chosen when the line is opened"):
                    channel.set_option("exclusive", False)
                with pytest.raises(jackfield.NotSupported, match="it is for tcp"):
                    channel.set_option("nodelay", True)
                with pytest.raises(jackfield.NotSupported, match="no line DTR"):
                    channel.set_option("dtr", False)
                end.write(b"still here\n")
                assert await channel.receive(5.0) == b"still here"

    run(main)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"bits": 7, "parity": "even"}, termios.CS7 | termios.PARENB),
        ({"bits": 5, "parity": "odd", "stop": 2}, termios.PARENB | termios.PARODD | termios.CSTOPB),
        ({"bits": 6, "parity": "mark"}, termios.CS6 | termios.PARENB | termios.PARODD | 0o10000000000),
        (
            {"parity": "space", "flow": "rtscts"},
            termios.CS8 | termios.PARENB | 0o10000000000 | termios.CRTSCTS,
        ),
    ],
)
def test_what_a_pseudo_terminal_does_not_take_is_set_all_the_same(
    options: dict[str, Any], flags: int
) -> None:
    """Pure: which flags the options are, and that they are read back as the same options."""
    with device() as end:
        assert end.kept is not None
        chosen = jackfield.Options(baud=9600, **options)
        settings = line_settings(read_settings(end.kept), chosen)
    cflag = int.from_bytes(settings[8:12], "little")
    assert cflag & ~(termios.CREAD | termios.CLOCAL | termios.HUPCL | 0o10017) == flags
    found = described(settings)
    assert {name: found[name] for name in ("baud", "bits", "parity", "stop", "flow")} == {
        "baud": 9600,
        "bits": chosen.bits,
        "parity": chosen.parity,
        "stop": chosen.stop,
        "flow": chosen.flow,
    }


# What cannot be opened ----------------------------------------------------------------------------


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    error = opened(str(tmp_path / "ttyUSB7"))
    assert isinstance(error, jackfield.ConnectFailed)
    assert error.cause is jackfield.Cause.NO_SUCH_DEVICE
    assert "not plugged in" in str(error)
    assert error.errno == errno.ENOENT
    assert "no directory /nowhere" in str(opened("/nowhere/ttyUSB7"))


@pytest.mark.parametrize("path", ["/dev/null", "/tmp"])
def test_what_is_no_serial_device(path: str) -> None:
    error = opened(path)
    assert isinstance(error, jackfield.ConnectFailed)
    assert error.cause is jackfield.Cause.NO_SUCH_DEVICE
    assert "it is no serial device" in str(error)


def test_a_line_that_is_in_use_names_who_uses_it() -> None:
    with device() as end, sync.connect(f"serial://{end.path}") as first:
        error = opened(end.path)
        assert isinstance(error, jackfield.AddressInUse)
        assert error.holders[0].pid == os.getpid()
        assert "in use by this process" in str(error)
        first.close()
        sync.connect(f"serial://{end.path}").close()
        with sync.connect(f"serial://{end.path}", exclusive=False):
            sync.connect(f"serial://{end.path}", exclusive=False).close()


def test_permission_names_the_group_and_how_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    with device() as end:

        def refuse(path: object, flags: int, *rest: object, **more: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied")

        status = os.stat(end.path)
        fields = list(status)[:10]
        fields[0], fields[4], fields[5] = 0o020660, 0, 1
        monkeypatch.setattr("jackfield._serial.os.open", refuse)
        monkeypatch.setattr("jackfield._serial.os.stat", lambda path: os.stat_result((*fields[:9], 0)))
        with pytest.raises(jackfield.AccessDenied) as caught:
            sync.connect(f"serial://{end.path}")
        assert "belongs to user root and group daemon (crw-rw----)" in str(caught.value)
        assert "sudo usermod -aG daemon $USER" in str(caught.value.hint)
        now = os.stat_result((*fields[:9], 2**40))
        monkeypatch.setattr("jackfield._serial.os.stat", lambda path: now)
        with pytest.raises(jackfield.ConnectFailed, match="try again"):
            sync.connect(f"serial://{end.path}")


def test_options_that_cannot_be() -> None:
    with device() as end:
        before = end.settings()
        for option, said in (
            ("baud=fast", "not a whole number"),
            ("baud=0", "outside its limits"),
            ("bits=9", "from 5 to 8"),
            ("parity=evne", "even"),
            ("stop=3", "from 1 to 2"),
            ("flow=dtr", "rtscts"),
            ("dtr=maybe", "maybe"),
            ("bits=7", "does not take it, and stays with bits=8"),
            ("dtr=no", "has no line DTR"),
            ("mark=5", "it is for tcp"),
        ):
            with pytest.raises(jackfield.JackfieldError, match=said):
                sync.connect(f"serial://{end.path}?{option}")
            assert end.settings() == before, option
    with pytest.raises(jackfield.NotSupported, match="baud= means nothing to tcp"):
        sync.connect("tcp://127.0.0.1:1?baud=115200")
    with pytest.raises(jackfield.NotSupported, match="serial: is not a transport of this version"):
        jackfield.listen("serial:///dev/ttyUSB0")


def test_what_a_line_has_not(run: Runner) -> None:
    async def main() -> None:
        with device() as end:
            async with jackfield.connect(f"serial://{end.path}") as channel:
                with pytest.raises(jackfield.NotSupported, match="no end"):
                    channel.send_eof()
                with pytest.raises(jackfield.NotSupported):
                    channel.tcp_info()
                assert channel.credentials is None
                assert str(channel.local) == str(channel.peer) == f"serial://{end.path}"

    run(main)
    with (
        device() as end,
        sync.connect(f"serial://{end.path}") as blocking,
        pytest.raises(jackfield.NotSupported, match="no end"),
    ):
        blocking.send_eof()


# Devices that go and come -------------------------------------------------------------------------


def test_an_unplugged_device_is_told(run: Runner) -> None:
    async def main() -> None:
        with device() as end:
            channel = await jackfield.connect(f"serial://{end.path}", framing="line")
            waiting = asyncio.create_task(channel.receive(10.0))
            await asyncio.sleep(0)
            end.write(b"last words\n")
            assert await waiting == b"last words"
            waiting = asyncio.create_task(channel.receive(10.0))
            await asyncio.sleep(0)
            end.unplug()
            with pytest.raises(jackfield.ChannelLost, match="the device has gone: it was unplugged"):
                await waiting
            with pytest.raises(jackfield.ChannelLost, match="unplugged"):
                await channel.send(b"x")
            assert "unplugged" in str(channel.explain())
            await channel.close()

    run(main)


def test_an_unplugged_device_is_told_without_a_loop() -> None:
    with device() as end, sync.connect(f"serial://{end.path}", framing="line") as channel:
        unplugging = threading.Timer(0.05, end.unplug)
        unplugging.start()
        with pytest.raises(jackfield.ChannelLost, match="unplugged"):
            channel.receive(10.0)
        unplugging.join()


def test_a_close_wakes_who_receives_without_a_loop() -> None:
    with device() as end:
        channel = sync.connect(f"serial://{end.path}", framing="line")
        closing = threading.Timer(0.05, channel.close)
        closing.start()
        with pytest.raises(jackfield.ChannelClosed):
            channel.receive()
        closing.join()


def plug(link: Path, end: Device) -> str:
    link.unlink(missing_ok=True)
    link.symlink_to(end.path)
    return f"serial://{link}"


def test_a_device_that_comes_back_is_gone_on_with(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        states: list[jackfield.State] = []
        backoff = jackfield.Backoff(first=0.01, maximum=0.05)
        with device() as first, device() as second:
            link = tmp_path / "ttyUSB0"
            address = plug(link, first)
            async with jackfield.connect(
                address, framing="line", reconnect=backoff, on_state=states.append
            ) as channel:
                first.write(b"one\n")
                assert await channel.receive(5.0) == b"one"
                link.unlink()
                first.unplug()
                await eventually(lambda: isinstance(channel.state, jackfield.Reconnecting))
                await channel.send(b"meanwhile")
                await eventually(lambda: "no such device" in str(channel.explain()))
                before = second.settings()
                plug(link, second)
                assert await asyncio.to_thread(second.read, 10) == b"meanwhile\n"
                second.write(b"two\n")
                assert await channel.receive(5.0) == b"two"
                assert [type(state).__name__ for state in states][:2] == ["Connecting", "Connected"]
            assert second.settings() == before

    run(main)


def test_one_is_waited_for_from_the_beginning(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        backoff = jackfield.Backoff(first=0.01, maximum=0.05)
        link = tmp_path / "ttyACM0"
        opening = asyncio.ensure_future(_connected(f"serial://{link}", backoff))
        await asyncio.sleep(0.03)
        assert not opening.done()
        with device() as end:
            plug(link, end)
            channel = await opening
            end.write(b"hello\n")
            assert await channel.receive(5.0) == b"hello"
            await channel.close()

    run(main)


async def _connected(address: str, backoff: jackfield.Backoff) -> jackfield.Channel:
    return await jackfield.connect(Address.parse(address), framing="line", reconnect=backoff)
