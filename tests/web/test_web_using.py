"""What people do with the pages, in a real browser: keys alone, hostile clients, lost connections."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect
from scripted import HOSTILE, many
from stage import Open, Stage

from jackfield.hub.protocol import decode_data


def asked(stage: Stage, page: Page, op: str) -> dict[str, object]:
    """The arguments of the last such request, once it has come."""
    for _ in range(200):
        found = [arguments for name, arguments in stage.door.asked if name == op]
        if found:
            return found[-1]
        page.wait_for_timeout(20)
    raise AssertionError(f"nobody asked for {op}")


def test_by_keys_alone_from_the_list_to_a_sent_message(open_page: Open, stage: Stage) -> None:
    page = open_page()
    page.wait_for_selector("[role=option]")
    page.keyboard.press("/")
    page.keyboard.type("tag:hall door")
    expect(page.locator(".count")).to_have_text("1 of 11")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".message")
    page.keyboard.press("t")
    page.keyboard.type("open sesame")
    page.keyboard.press("Enter")
    sent = asked(stage, page, "send")
    assert (sent["target"], decode_data(str(sent["data"])), sent["ending"]) == (
        "1",
        b"open sesame",
        "default",
    )
    page.keyboard.press("ArrowUp")
    expect(page.locator("textarea")).to_have_value("open sesame")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("#/clients$"))
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.locator("h1")).to_have_text("Traffic")


def test_everything_that_send_can_do(open_page: Open, stage: Stage) -> None:
    page = open_page(path="clients/1")
    page.wait_for_selector(".message")
    page.locator("summary").click()
    page.locator("#send-form").select_option("hex")
    page.locator("#send-crc").select_option("modbus")
    page.locator("textarea").fill("01 03 00 00 00 02")
    expect(page.locator(".preview")).to_have_text("8 bytes: 01 03 00 00 00 02 c4 0b")
    page.locator("#field-expect").fill("01 03 .. *")
    page.locator("textarea").press("Enter")
    question = asked(stage, page, "ask")
    assert decode_data(str(question["data"])) == bytes.fromhex("010300000002c40b")
    assert (question["binary"], question["timeout"], question["ending"]) == (True, 2, "none")
    expect(page.locator(".results")).to_contain_text("version 2.4.1")
    page.locator("textarea").fill("0")
    page.locator("textarea").press("Enter")
    expect(page.locator(".outcome")).to_contain_text("hex")
    page.locator("#field-expect").fill("")
    page.locator("#field-every").fill("0.05")
    page.locator("#field-times").fill("3")
    page.locator("textarea").fill("aa")
    page.locator("textarea").press("Enter")
    expect(page.locator(".send-line button")).to_have_text("Send")
    page.wait_for_function("() => document.querySelector('.send-line button').textContent === 'Send'")
    asked(stage, page, "send")
    page.locator("#send-snippet").select_option("modbus-read")
    expect(page.locator("textarea")).to_have_value("01 03 00 00 00 02 c4 0b")
    assert page.locator("#send-form").input_value() == "hex"


def test_what_clients_say_is_text_and_nothing_else(open_page: Open, stage: Stage) -> None:
    stage.door.hostile = True
    page = open_page()
    for path in (
        "clients",
        "clients/1",
        "rooms",
        "rooms/ops",
        "traffic",
        "audit",
        "automation",
        "access",
        "settings",
    ):
        page.evaluate("path => location.hash = '#/' + path", path)
        page.wait_for_function("path => globalThis.jackfield.shown === path", arg=path)
        page.wait_for_timeout(50)
        if path == "clients/1":
            page.wait_for_selector(".message")
        shown = page.locator("body").inner_text()
        assert not re.search("[\x1b\u202e\u200b]", shown), path
        assert page.evaluate(
            "() => [globalThis.pwned, document.querySelectorAll('img, main script').length]"
        ) == [
            None,
            0,
        ]
        assert "<script>pwned=1</script>" in shown or path not in ("clients", "clients/1")
    page.evaluate("path => location.hash = '#/clients/1'", None)
    page.get_by_role("button", name="Note", exact=True).click()
    expect(page.locator("dialog textarea")).to_have_value(HOSTILE)
    assert page.evaluate("() => globalThis.pwned") is None


def test_ten_thousand_clients_in_a_bounded_document(open_page: Open, stage: Stage) -> None:
    stage.door.views = many(10_000)
    page = open_page()
    expect(page.locator(".count")).to_have_text("10,000")
    counts = (
        "() => [document.querySelectorAll('[role=option]').length, document.querySelectorAll('*').length]"
    )
    options, elements = page.evaluate(counts)
    assert options < 40
    assert elements < 1200
    slowest = page.evaluate(
        """async () => {
          const list = document.querySelector(".virtual");
          let slowest = 0;
          for (let step = 0; step <= 60; step++) {
            list.scrollTop = step / 60 * list.scrollHeight;
            const before = performance.now();
            globalThis.jackfield.page.list.draw();
            slowest = Math.max(slowest, performance.now() - before);
            await new Promise((done) => requestAnimationFrame(done));
          }
          return slowest;
        }"""
    )
    assert page.evaluate(counts)[0] == options
    assert slowest < 100, "milliseconds for one look, on a machine that does other things as well"
    page.keyboard.press("/")
    page.keyboard.type("dev-9999")
    expect(page.locator("[role=option]:visible")).to_have_count(1)
    expect(page.locator(".count")).to_have_text("1 of 10,000")
    looked = [arguments["seen"] for op, arguments in stage.door.asked if op == "look"]
    assert max(map(len, looked)) < 40, "the hub is asked about what is on the screen"


def test_a_lost_connection_is_said_and_comes_back(open_page: Open, stage: Stage) -> None:
    page = open_page()
    page.wait_for_selector("[role=option]")

    async def hang_up() -> None:
        stage.door.hang_up()

    stage.run(hang_up())
    expect(page.locator(".banner")).to_be_visible()
    expect(page.locator(".state")).to_have_text("Not connected")
    expect(page.locator(".state")).to_have_text("Live")
    expect(page.locator(".banner")).to_be_hidden()
    stage.run(stage.door.tell(said=[], previews=[[1, 1.0, "after the loss"]]))
    expect(page.locator("[role=option]").first).to_contain_text("after the loss")


def test_logging_out_and_a_session_that_is_over(open_page: Open, stage: Stage) -> None:
    page = open_page(path="settings")
    page.get_by_role("button", name="Log out").click()
    page.locator("dialog").get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login$"))
    page.goto(stage.url)
    expect(page).to_have_url(re.compile("/login$"))
    assert stage.door.asked


def test_a_link_that_was_used_is_explained(open_page: Open, stage: Stage) -> None:
    page = open_page()
    page.context.clear_cookies()
    link = stage.link()
    stage.logins.begin(stage.site.clock(), link.partition("#")[2])
    page.goto(link)
    expect(page.locator("p.bad")).to_have_text("This link was used already. Make a new one.")
    assert "#" not in page.url


def test_language_and_theme_are_kept(open_page: Open) -> None:
    page = open_page(path="settings")
    page.locator("#theme").select_option("dark")
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.locator("#language").select_option("zh")
    expect(page.locator("h1")).to_have_text("设置")
    assert page.evaluate("() => document.documentElement.lang") == "zh-Hans"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == dark
    page.reload()
    expect(page.locator("h1")).to_have_text("设置")


def test_what_the_hub_refuses_is_said_where_it_was_asked(open_page: Open, stage: Stage) -> None:
    page = open_page(path="clients/1")
    page.wait_for_selector(".message")
    page.keyboard.press("r")
    page.locator("dialog input").fill("taken")
    page.locator("dialog input").press("Enter")
    expect(page.locator("dialog [role=alert]")).to_have_text(
        "the name 'taken' is in use (choose another one)"
    )
    page.locator("dialog input").fill("gate")
    page.locator("dialog input").press("Enter")
    expect(page.locator("dialog")).to_have_count(0)
    page.get_by_role("button", name="Tags").click()
    page.locator("dialog input").fill("critical new")
    page.locator("dialog input").press("Enter")
    tagged = asked(stage, page, "tag")
    assert (tagged["add"], tagged["remove"]) == (["new"], ["hall"])


def test_a_conversation_is_searched_shown_and_exported(open_page: Open, tmp_path: Path) -> None:
    page = open_page(path="clients/1")
    page.wait_for_selector(".message")
    expect(page.locator(".message")).to_have_count(7)
    page.keyboard.press("/")
    page.keyboard.type("temp")
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator("mark")).to_have_text(["temp", "temp"])
    page.locator("input[type=search]").fill("")
    page.get_by_role("button", name="Mixed").click()
    expect(page.locator(".message").nth(2)).to_contain_text("<01 03 04 00>*<ff>")
    page.get_by_role("button", name="Hex").click()
    expect(page.locator(".message").nth(2)).to_contain_text("01 03 04 00 2a ff")
    page.get_by_role("button", name="Export").click()
    page.locator("dialog select").select_option("json")
    with page.expect_download() as download:
        page.locator("dialog").get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "jackfield-door.json"
    download.value.save_as(tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())
    assert (len(rows), rows[2]["hex"], rows[4]["by"]) == (7, "01030400" + "2aff", "pid:4242")


def test_a_name_decides_nothing_about_where_an_export_goes(open_page: Open) -> None:
    page = open_page()
    names = page.evaluate(
        """async (names) => {
          const { fileName } = await import("/static/js/conversation.js");
          return names.map((name) => fileName(name, "text"));
        }""",
        ["../../etc/passwd", "a/b\\c", "", "con.txt", "你好 x", ".hidden"],
    )
    assert all(re.fullmatch(r"jackfield-[\w-]+\.txt", name) for name in names), names
