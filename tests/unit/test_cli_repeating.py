"""When a repeated send goes out."""

from __future__ import annotations

from jackfield.cli.repeating import Schedule, came_and_went, summary


def test_no_delay_adds_up() -> None:
    schedule = Schedule(100.0, 1.0, count=4)
    late = 0.3
    due = [schedule.next(100.0)]
    for number in range(1, 4):
        due.append(schedule.next(100.0 + number - 1 + late))
    assert due == [100.0, 101.0, 102.0, 103.0]
    assert schedule.next(104.0) is None
    assert (schedule.done, schedule.missed) == (4, 0)


def test_missed_times_are_left_out_and_counted() -> None:
    schedule = Schedule(0.0, 1.0)
    assert schedule.next(0.0) == 0.0
    assert schedule.next(3.5) == 4.0
    assert schedule.missed == 3
    assert schedule.next(4.0) == 5.0
    assert schedule.missed == 3


def test_a_hair_late_is_in_time() -> None:
    schedule = Schedule(0.0, 0.1)
    schedule.next(0.0)
    assert schedule.next(0.1001) == 0.1
    assert schedule.missed == 0


def test_jitter_puts_off_and_never_adds_up() -> None:
    schedule = Schedule(0.0, 1.0, jitter=0.5, chance=iter([1.0, 0.0, 0.5]).__next__)
    assert [schedule.next(0.0), schedule.next(0.5), schedule.next(1.0)] == [0.5, 1.0, 2.25]


def test_who_came_and_went() -> None:
    assert came_and_went({1: "a", 2: "b"}, {2: "b", 3: "c"}) == ["new: c", "gone: a"]
    assert came_and_went({}, {n: str(n) for n in range(7)}) == ["new: 0, 1, 2, 3, 4 and 2 more"]
    assert came_and_went({1: "a"}, {1: "a"}) == []


def test_the_summary() -> None:
    assert (
        summary(3, 2.04, well=5, failed=1, missed=0, answers=True)
        == "sent 3 times in 2.0 s: 5 answered, 1 failed"
    )
    assert summary(1, 0.0, well=1, failed=0, missed=2, answers=False).endswith(
        "1 sent, 0 failed; 2 left out, being late"
    )
