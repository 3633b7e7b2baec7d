"""How a lesson looks: Chinese and English wrapped to a terminal's width."""
# ruff: noqa: RUF001  Chinese has commas of its own

from __future__ import annotations

import pytest

from jackfield.cli.demo_view import heading, next_lines, step_lines, wrapped
from jackfield.demos import LANGUAGES, LESSONS, Lesson, texts_of, words_of
from jackfield.hub.display import width_of

CHINESE = "套接字（socket）有两端，每一端都有地址和端口。内核选择了一个空闲的端口：40123。“请选一个”，它说。"
BOTH = pytest.mark.parametrize("language", LANGUAGES)
EACH = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def test_without_a_width_nothing_is_wrapped() -> None:
    assert wrapped(CHINESE * 5, 8, None) == [CHINESE * 5]


@pytest.mark.parametrize("width", [30, 31, 40, 57, 80])
def test_a_line_breaks_where_it_may(width: int) -> None:
    lines = wrapped(CHINESE * 3, 0, width)
    assert "".join(lines) == CHINESE * 3
    for line in lines:
        assert width_of(line) <= width
        assert line[0] not in "，。；：？！）”、》"
        assert line[-1] not in "（“《"


def test_words_stay_whole_and_long_ones_are_cut() -> None:
    assert wrapped("one two three four five six seven", 4, 34) == ["one two three four five six", "    seven"]
    assert wrapped("x" * 70, 0, 30) == ["x" * 30, "x" * 30, "x" * 10]


def test_what_was_seen_cannot_steer_the_terminal() -> None:
    assert wrapped("a\x1b[2Jb", 0, 80) == ["a\\e[2Jb"]


def plain(lines: list[str]) -> list[str]:
    return [line.replace("\x1b[1m", "").replace("\x1b[36m", "").replace("\x1b[0m", "") for line in lines]


@BOTH
@EACH
def test_every_lesson_fits(lesson: Lesson, language: str) -> None:
    text, words = texts_of(lesson.name, language), words_of(language)
    lines = heading(text, width=80) + next_lines(text, words, width=80)
    for step in text.steps.values():
        lines += step_lines("1/1", step, ["x" * 200], words, width=80)
    assert max(map(width_of, plain(lines))) <= 80


def test_a_step() -> None:
    text = texts_of("half-close", "zh").steps["waiting"].filled({"sent": 100})
    assert plain(step_lines("1/4", text, ["TimedOut"], words_of("zh"), width=60)) == [
        "",
        "1/4  服务器还在等",
        "  操作  客户端向一个求和服务器发送 100 个数，然后稍等片刻，",
        "        看有没有结果。",
        "  现象  没有回答。",
        "            TimedOut",
        "  原因  服务器已经收到了所有的数，但它无法知道这就是全部。在",
        "        TCP 中，沉默不说明任何问题：下一个数可能正在路上。",
    ]
