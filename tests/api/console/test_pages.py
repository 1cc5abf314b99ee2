"""Every page of the console in a real browser, before a service of two workers."""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from tests.api.console.browsing import ADMIN_KEY, Reader, call, reader, send_traffic
from tests.served import Process

PLACES = ("", "decisions", "playground", "learning", "catalog", "catalog/versions", "keys")
FIRST_LOAD = 250 * 1024


def uses_admin_key(one: Reader) -> None:
    """As if it had been typed before."""
    one.goes("")
    one.page.evaluate("key => sessionStorage.setItem('llmrouter.key', key)", ADMIN_KEY)
    one.page.reload()
    expect(one.page.locator("#who")).to_have_text("admin key")


def settled(one: Reader, place: str) -> None:
    """Wait until a place shows its data."""
    one.goes(place)
    one.page.locator("main :is(.task, table, form, article):visible").first.wait_for()


def test_axe_finds_nothing(chromium: Browser, served: Process) -> None:
    """On every page of a phone in the dark; on a desk in the light, where contrast is another.

    Nothing is thrown, and nothing blocked by the page's policy, meanwhile.
    """
    name = send_traffic(served, 1)[0]
    places = (*PLACES, f"decisions/{name}")
    with reader(chromium, served.base, 400, "dark") as one:
        uses_admin_key(one)
        for place in places:
            settled(one, place)
            assert (place, one.audits()) == (place, [])
        one.page.emulate_media(color_scheme="light")
        one.page.set_viewport_size({"width": 1280, "height": 900})
        for place in places:
            settled(one, place)
            assert (place, one.audits("color-contrast")) == (place, [])
        assert one.wrong == []


def test_no_page_is_wider_than_its_window(chromium: Browser, served: Process) -> None:
    """From a narrow phone's 400 to a wide screen's 2560 pixels."""
    with reader(chromium, served.base, 400) as one:
        uses_admin_key(one)
        for place in (*PLACES, f"decisions/{send_traffic(served, 1)[0]}"):
            settled(one, place)
            for width in (400, 760, 1280, 2560):
                one.page.set_viewport_size({"width": width, "height": 900})
                assert (place, width, one.overflow()) == (place, width, 0)


def test_the_first_load_is_light_and_comes_from_the_service_alone(
    chromium: Browser, served: Process
) -> None:
    """Scripts, styles and data of the overview, in bytes; no other host is asked."""
    with reader(chromium, served.base) as one:
        loaded: dict[str, int] = {}
        one.page.on("response", lambda got: loaded.update({got.url: len(got.body())}))
        settled(one, "")
        one.page.wait_for_load_state("networkidle")
        assert all(url.startswith(served.base) for url in loaded)
        assert 20_000 < sum(loaded.values()) < FIRST_LOAD


def test_the_overview_says_what_was_spent_and_saved(chromium: Browser, served: Process) -> None:
    """Tiles, charts with their text, and targets; a window of time can be chosen."""
    with reader(chromium, served.base) as one:
        settled(one, "")
        page = one.page
        expect(page.locator(".tile").first).to_contain_text("$0.")
        expect(
            page.get_by_role("img", name=re.compile("^Decisions by source: .*llm"))
        ).to_be_visible()
        expect(
            page.get_by_role("img", name=re.compile("quality against cost")).first
        ).to_be_visible()
        page.get_by_text("Fortnight").click()
        expect(page).to_have_url(re.compile("window=fortnight"))
        expect(page.get_by_role("region", name="Targets")).to_contain_text(
            re.compile("gpt|claude|gemini|deepseek")
        )


def test_a_filter_narrows_the_list_and_a_click_tells_the_story(
    chromium: Browser, served: Process
) -> None:
    """From the list to a decision's attempts; feedback given there is in its story."""
    with reader(chromium, served.base) as one:
        page = one.goes("decisions")
        one.uses_key(ADMIN_KEY)
        page.get_by_label("Text").fill("capital of Australia")
        rows = page.locator("[aria-label=Decisions] tbody tr")
        expect(rows.filter(has_not_text="capital of Australia")).to_have_count(0)
        source = call(served, "GET", "/decisions?limit=1&brief=true&text=capital+of+Australia")
        source = source["decisions"][0]["source"]
        page.get_by_label("Source").select_option(source)
        expect(rows.filter(has_not_text=source)).to_have_count(0)
        page.get_by_label("live").uncheck()
        rows.first.get_by_role("link").click()
        story = page.get_by_role("article")
        expect(story.get_by_role("heading", level=2)).to_be_focused()
        for part in ("Asked", "Who could serve", "How it was decided", "What happened"):
            expect(story.get_by_role("heading", name=part)).to_be_visible()
        expect(story).to_contain_text("What is the capital of Australia?")
        expect(story.get_by_role("region", name="Attempts")).to_contain_text("ok")
        story.get_by_label("Comment").fill("<b>short</b> and right")
        story.get_by_role("button", name="Give feedback").click()
        expect(story.get_by_role("region", name="Feedback")).to_contain_text(
            "<b>short</b> and right"
        )
        assert one.wrong == []


def test_pages_of_decisions_lead_back_and_forth(chromium: Browser, served: Process) -> None:
    """Older ones, then the newest again."""
    send_traffic(served, 12)
    with reader(chromium, served.base) as one:
        page = one.goes("decisions")
        first = page.locator("[aria-label=Decisions] tbody tr").first
        newest = first.get_attribute("data-id")
        page.get_by_role("button", name="Older").click()
        expect(page.locator(".pager")).to_contain_text("page 2")
        assert first.get_attribute("data-id") != newest
        page.get_by_role("button", name="Newer").click()
        expect(page.locator(".pager")).to_contain_text("the newest")


def test_a_late_answer_never_overwrites_a_newer_one(chromium: Browser, served: Process) -> None:
    """The list of the first filter arrives after that of the second, and is dropped."""
    with reader(chromium, served.base) as one:
        page = one.goes("decisions")
        rows = page.locator("[aria-label=Decisions] tbody tr")
        rows.first.wait_for()
        page.get_by_label("live").uncheck()
        held: list[Route] = []
        page.route(re.compile("outcome=failed"), lambda route: held.append(route))
        page.get_by_label("Outcome").select_option("failed")
        page.get_by_label("Outcome").select_option("ok")
        expect(page).to_have_url(re.compile("outcome=ok"))
        expect(rows.filter(has_text="ok").first).to_be_visible()
        assert len(held) == 1
        held[0].fulfill(json={"decisions": [], "next": None})
        page.evaluate("() => new Promise(done => setTimeout(done, 50))")
        expect(rows.first).to_contain_text("ok")


def test_a_wrong_admin_key_says_so(chromium: Browser, served: Process) -> None:
    """Beside the field, and the right one is taken."""
    with reader(chromium, served.base) as one:
        page = one.goes("")
        one.uses_key("not-the-admin-key")
        expect(page.get_by_role("alert")).to_contain_text("Wrong admin key")
        page.get_by_label("Key", exact=True).fill(ADMIN_KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#who")).to_have_text("admin key")
        page.reload()
        expect(page.locator("#who")).to_have_text("admin key")


def test_the_keyboard_alone_reaches_a_story(chromium: Browser, served: Process) -> None:
    """Skip link, pages, filters, then a decision."""
    with reader(chromium, served.base) as one:
        page = one.goes("decisions")
        page.locator("[aria-label=Decisions] tbody tr").first.wait_for()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('tbody') !== null"):
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("article")).to_be_visible()


def test_whoami_tells_rights(served: Process) -> None:
    """The admin key's; prompts are recorded here."""
    said = call(served, "GET", "/whoami")
    assert (said["admin"], said["open"], said["records_prompts"]) == (True, True, True)


SHOTS = (
    ("overview-light", "", 1280, "light"),
    ("decision-dark", "decisions/{id}", 1280, "dark"),
    ("decision-phone", "decisions/{id}", 400, "light"),
    ("playground", "playground", 1280, "light"),
    ("learning-dark", "learning", 1280, "dark"),
    ("catalog-light", "catalog", 1280, "light"),
)


def test_screenshots_of_the_docs_are_made_here(
    chromium: Browser, served: Process, tmp_path: Path
) -> None:
    """Into docs/console where LLMROUTER_SCREENSHOTS=docs/console says so, else thrown away."""
    folder = Path(os.environ.get("LLMROUTER_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    name = send_traffic(served, 1)[0]
    for title, place, width, scheme in SHOTS:
        with reader(chromium, served.base, width, scheme) as one:
            uses_admin_key(one)
            settled(one, place.format(id=name))
            if place == "playground":
                one.page.get_by_label("Compare two ways").check()
                one.page.get_by_role("button", name="Decide and answer").click()
                expect(one.page.locator(".side .answer")).to_have_count(2)
                expect(one.page.get_by_role("region", name="Attempts")).to_have_count(2)
            one.page.wait_for_load_state("networkidle")
            height = 1600 if width < 500 else 1000
            one.page.set_viewport_size({"width": width, "height": height})
            one.page.screenshot(path=folder / f"console-{title}.png")
        assert (folder / f"console-{title}.png").stat().st_size > 10_000
