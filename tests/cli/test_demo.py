"""`jackfield demo`: each lesson runs in both languages, and what it says is what happens."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import re
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import DEADLINE, JACKFIELD
from terminals import Terminal

import jackfield
from jackfield.demos import LANGUAGES, LESSONS, Lesson, NotAsSaid, find, language_of, texts_of, words_of

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_docs  # noqa: E402
from documents import Document  # noqa: E402

BOTH = pytest.mark.parametrize("language", LANGUAGES)
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def demo(*words: str, code: int = 0, **variables: str) -> str:
    """What the command prints; for another exit code what it says on standard error."""
    environment = {name: value for name, value in os.environ.items() if not re.match(r"LC_|LANG", name)}
    done = subprocess.run(
        [JACKFIELD, "demo", *words],
        env={**environment, "PYTHONUTF8": "1", "PYTHONWARNINGS": "error", **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=DEADLINE * 2,
    )
    assert done.returncode == code, done
    assert not (done.stdout and done.stderr), done
    return done.stdout or done.stderr


# What happens


@BOTH
@EACH
def test_each_lesson_runs_and_shows_every_step(lesson: Lesson, language: str) -> None:
    output = demo(lesson.name, "--lang", language)
    text = texts_of(lesson.name, language)
    lines = output.splitlines()
    assert lines[:2] == [text.title, text.about]
    headings = [line for line in lines if re.match(r"\d+/\d+  ", line)]
    steps = enumerate(text.steps.values(), 1)
    assert headings == [f"{number}/{len(text.steps)}  {step.title}" for number, step in steps]
    assert [line for line in lines if line.startswith("  - ")] == [f"  - {hint}" for hint in text.next]
    assert str(ROOT) not in output
    assert "{" not in re.sub(r"`[^`]*`", "", output), "a fact has no value"


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("server-and-client", {"talk": ["-> hello", "<- hello"]}),
        ("sticky-packets", {"together": ["b'onetwothree'"]}),
        (
            "sticky-packets",
            {
                "same-bytes": [
                    "framing=none            framing=line",
                    "b'one\\ntwo\\nthree\\n'    b'one'",
                    "                        b'two'",
                    "                        b'three'",
                ]
            },
        ),
        ("pick-a-client", {"pick": ["> 2 only for you", "client 2 <- only for you"]}),
        ("udp-chat", {"boundaries": ["bob <- ada: one", "bob <- ada: two", "bob <- ada: three"]}),
        ("half-close", {"waiting": ["TimedOut"], "answer": ["the sum is 5050"]}),
        ("back-pressure", {"pace": ["1000 x 1024"]}),
        ("address-in-use", {"stale": ["jackfield.listen: unix://.../server.sock"]}),
    ],
)
def test_what_a_lesson_saw(name: str, seen: dict[str, list[str]]) -> None:
    records = [json.loads(line) for line in demo(name, "--json").splitlines()]
    shown = {record["step"]: record["lines"] for record in records if "step" in record}
    assert {step: shown[step] for step in seen} == seen
    assert records[-1] == {"lesson": name, "next": list(texts_of(name, "en").next)}


def test_the_three_failures_of_a_connect() -> None:
    records = [json.loads(line) for line in demo("connect-failures", "--json").splitlines()]
    kinds = [record["lines"][0].partition(":")[0] for record in records if "step" in record]
    assert kinds == ["ConnectRefused", "ConnectTimedOut", "HostUnreachable"]


async def look_at(step: str, /, *lines: str, **facts: object) -> None:
    """Takes what a lesson shows, and does nothing with it."""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sticky_packets", {"received": lambda *_: answer([b"one", b"two", b"three"])}),
        ("half_close", {"answer": None}),
        ("connect_failures", {"failure": lambda _: answer(jackfield.HostUnreachable("it is not"))}),
        ("address_in_use", {"try_to_listen": lambda _: answer(None)}),
    ],
)
def test_a_lesson_notices_when_it_is_wrong(
    name: str, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = __import__(f"jackfield.demos.lessons.{name}", fromlist=[name])
    for thing, instead in wrong.items():
        if instead is not None:
            monkeypatch.setattr(module, thing, instead)
    if name == "half_close":  # a server that answers before the end

        async def hasty(channel: jackfield.Channel) -> None:
            async for line in channel:
                await channel.send(line)

        monkeypatch.setattr("jackfield.demos.examples.half_close.add_up", hasty)
    lesson = find(name)
    assert lesson is not None
    with pytest.raises(NotAsSaid):
        jackfield.run(lambda: lesson.run(look_at))


async def answer(value: Any) -> Any:
    return value


def sockets() -> set[str]:
    """The sockets that this process has open."""
    gc.collect()
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {link for link in links if link.startswith("socket:")}


def test_a_cancelled_lesson_leaves_nothing(recwarn: pytest.WarningsRecorder) -> None:
    async def cancelled(lesson: Lesson) -> None:
        async def stop(step: str, /, *lines: str, **facts: object) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await lesson.run(stop)

    for lesson in LESSONS:
        before = sockets()
        jackfield.run(lambda lesson=lesson: cancelled(lesson))
        assert sockets() <= before, lesson.name
    assert [str(warning.message) for warning in recwarn.list] == []


# The command


@BOTH
def test_without_a_name_the_lessons_are_listed(language: str) -> None:
    output = demo("--lang", language)
    for number, lesson in enumerate(LESSONS, 1):
        assert re.search(
            rf"^  {number}  {lesson.name} +{texts_of(lesson.name, language).title}$", output, re.M
        )
    listed = json.loads(demo("--json"))
    assert [lesson["name"] for lesson in listed] == [lesson.name for lesson in LESSONS]


@EACH
def test_the_source_is_the_code_that_runs(lesson: Lesson) -> None:
    output = demo(lesson.name, "--source")
    compile(output.replace("from __future__ import annotations", ""), lesson.name, "exec")
    for name in lesson.examples:
        assert (ROOT / f"examples/{name}.py").read_text() in output
    assert (ROOT / f"python/jackfield/demos/lessons/{lesson.module}.py").read_text() in output


def test_a_lesson_has_a_number_too() -> None:
    assert [find(str(number)) for number in range(1, len(LESSONS) + 1)] == list(LESSONS)
    assert find("half_close") is find("half-close")
    assert find("0") is None
    assert demo("2", "--source") == demo("sticky-packets", "--source")


def test_wrong_usage_is_told() -> None:
    said = demo("sticky-packet", code=2)
    assert (
        said == "jackfield: there is no lesson 'sticky-packet'; did you mean sticky-packets; "
        "jackfield demo lists them\n"
    )
    assert (
        demo("half-close", "--lang", "xx", code=2) == "jackfield: there are no texts in 'xx'; one of en, zh\n"
    )


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": ""}, "en"),
    ],
)
def test_the_environment_chooses_the_language(variables: dict[str, str], language: str) -> None:
    assert language_of(variables) == language


def test_lang_is_heard() -> None:
    assert demo(LANG="zh_CN.UTF-8") == demo("--lang", "zh") != demo(LANG="C.UTF-8")


# On a terminal


@pytest.fixture
def page() -> Iterator[Terminal]:
    terminal = Terminal(str(JACKFIELD), "demo", "half-close", "--lang", "en", environment=dict(os.environ))
    yield terminal
    terminal.end()


PAUSE = f"[{words_of('en')['pause']}] ".encode()


def test_a_reader_goes_step_by_step(page: Terminal) -> None:
    for number in (1, 2, 3):
        page.seen(b"%d/4" % number)
        page.seen(PAUSE)
        page.type(b"\n")
    page.seen(b"4/4")
    page.seen(words_of("en")["next"].encode())
    assert page.wait() == 0
    assert PAUSE not in page.shown


def test_q_leaves(page: Terminal) -> None:
    page.seen(PAUSE)
    page.type(b"q\n")
    assert page.wait() == 0
    assert b"2/4" not in page.shown


def test_the_end_of_the_input_leaves(page: Terminal) -> None:
    page.seen(PAUSE)
    page.type(b"\x04")
    assert page.wait() == 0
    assert b"2/4" not in page.shown


def test_ctrl_c_ends_it(page: Terminal) -> None:
    page.seen(PAUSE)
    page.type(b"\x03")
    assert page.wait() == 130
    assert b"Traceback" not in page.shown


# The texts


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@EACH
def test_the_languages_say_the_same(lesson: Lesson) -> None:
    english, chinese = texts_of(lesson.name, "en"), texts_of(lesson.name, "zh")
    assert list(english.steps) == list(chinese.steps)
    assert len(english.next) == len(chinese.next)
    for name, step in english.steps.items():
        for part in ("title", "does", "seen", "why"):
            ours, theirs = getattr(step, part), getattr(chinese.steps[name], part)
            assert places(ours) == places(theirs), (name, part)
    for ours, theirs in zip(english.next, chinese.next, strict=True):
        assert re.findall(r"`[^`]+`", ours) == re.findall(r"`[^`]+`", theirs)


def test_every_text_is_of_its_language_and_belongs_to_a_lesson() -> None:
    for language in LANGUAGES:
        folder = ROOT / "python/jackfield/demos/texts" / language
        names = {path.stem for path in folder.iterdir()}
        assert names == {lesson.name for lesson in LESSONS} | {"words"}
        for path in folder.iterdir():
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                values = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
                for value in values:
                    assert (re.search(r"[\u4e00-\u9fff]", value) is not None) == (language == "zh"), (
                        f"{path.name}:{number}: {value}"
                    )
    assert words_of("en").keys() == words_of("zh").keys()


@EACH
def test_what_to_try_next_exists(lesson: Lesson) -> None:
    text = "\n".join(texts_of(lesson.name, "en").next)
    assert [str(fault) for fault in check_docs.check_commands(Document("a lesson", text))] == []
    assert re.search(r"`jackfield demo [a-z-]+( --source)?`", text)
