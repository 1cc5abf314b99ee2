"""From an edit to its end in a real browser: preview, canary, promote, revert, with two workers."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.api.console.browsing import ADMIN_KEY, Reader, call, reader, send_traffic
from tests.served import Process


def opened(one: Reader, place: str) -> Page:
    """A place of the console, read with the admin key."""
    one.goes("")
    one.page.evaluate("key => sessionStorage.setItem('llmrouter.key', key)", ADMIN_KEY)
    one.page.reload()
    expect(one.page.locator("#who")).to_have_text("admin key")
    return one.goes(place)


def edits(page: Page, before: str, after: str) -> None:
    """Replace a piece of the text that is open."""
    area = page.get_by_label("Text of the file")
    expect(area).to_have_value(re.compile(re.escape(before)))
    area.fill(area.input_value().replace(before, after))


def presses_twice(page: Page, name: str) -> None:
    """A button that asks first."""
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("button", name=re.compile(r"\?$")).click()


def default_of(served: Process) -> str:
    """The default target that is on disk."""
    text = call(served, "GET", "/prompts")["files"]["routing.yaml"]["text"]
    found = re.search(r"^default: (\S+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_an_edit_is_checked_previewed_tried_promoted_and_reverted(
    chromium: Browser, served: Process
) -> None:
    """The whole story, and at its end the catalog is what it was."""
    before = default_of(served)
    with reader(chromium, served.base) as one:
        page = opened(one, "catalog")
        edits(page, f"default: {before}", "default: nobody")
        checked = page.locator(".checked")
        expect(checked).to_contain_text("This could not serve")
        expect(checked).to_contain_text("routing.yaml:")
        expect(page.get_by_role("button", name="Save", exact=True)).to_be_disabled()
        edits(page, "default: nobody", "default: deepseek-flash")
        expect(checked).to_contain_text("This could serve")
        page.get_by_text("What was edited").click()
        expect(page.get_by_role("region", name="routing.yaml")).to_contain_text("deepseek-flash")

        page.get_by_role("button", name="Preview").click()
        expect(page.locator(".headline")).not_to_be_empty(timeout=180_000)
        expect(page.locator(".preview")).to_contain_text("recorded")

        page.get_by_label("Share of sessions, percent").fill("50")
        page.get_by_role("button", name="Start a canary").click()
        expect(page).to_have_url(re.compile("catalog/canary"))
        expect(page.locator(".verdict")).to_contain_text("running")
        send_traffic(served, 24, score=1)
        arms = page.get_by_role("region", name="Both arms").locator("tbody tr")
        for arm in range(2):
            expect(arms.nth(arm).locator("td").nth(1)).not_to_have_text("0")
        presses_twice(page, "Promote")
        expect(page.locator(".verdict")).to_contain_text("promoted")
        assert default_of(served) == "deepseek-flash"

        page.get_by_role("link", name="Versions").click()
        versions = page.get_by_role("region", name="Versions").locator("tbody tr")
        expect(versions.first).to_contain_text("canary")
        versions.nth(1).get_by_role("button", name=re.compile("^Diff")).click()
        expect(page.locator(".diff .ins")).to_contain_text("default: deepseek-flash")
        versions.nth(1).get_by_role("button", name=re.compile("^Revert to")).click()
        versions.nth(1).get_by_role("button", name=re.compile("Really go back")).click()
        expect(versions.first).to_contain_text("revert")
        assert default_of(served) == before
        assert one.wrong == []


def test_an_edit_of_what_somebody_else_saved_meanwhile_is_refused(
    chromium: Browser, served: Process
) -> None:
    """The other's text stays, and the page says what to do."""
    with reader(chromium, served.base) as one:
        page = opened(one, "catalog")
        page.get_by_role("button", name="gpt-6-luna").click()
        edits(page, "\nmodel:", "\n# mine\nmodel:")
        expect(page.locator(".checked")).to_contain_text("This could serve")
        text = call(served, "GET", "/prompts")["files"]["catalog/gpt-6-luna.md"]["text"]
        theirs = text.replace("\nmodel:", "\n# theirs\nmodel:")
        call(served, "PUT", "/prompts", {"files": {"catalog/gpt-6-luna.md": theirs}})
        presses_twice(page, "Save")
        expect(page.get_by_role("alert")).to_contain_text("Somebody saved another version")
        saved = call(served, "GET", "/prompts")["files"]["catalog/gpt-6-luna.md"]["text"]
        assert saved == theirs


def test_the_playground_decides_two_ways_and_answers(chromium: Browser, served: Process) -> None:
    """Under two strategies, then under an earlier catalog; answers arrive as they stream."""
    with reader(chromium, served.base) as one:
        page = opened(one, "playground")
        page.get_by_label("Request").fill("Add 2 and 2, <b>please</b>.")
        page.get_by_label("Compare two ways").check()
        page.get_by_role("button", name="Decide and answer").click()
        sides = page.locator(".side")
        for number in range(2):
            expect(sides.nth(number).locator(".verdict")).to_contain_text("by ")
            expect(sides.nth(number).locator(".answer")).to_contain_text("<b>please</b>")
            expect(sides.nth(number).get_by_role("region", name="Attempts")).to_contain_text("ok")
        page.get_by_label("Catalog").nth(1).select_option(label="version 1")
        page.get_by_role("button", name="Decide", exact=True).click()
        expect(sides.nth(1)).not_to_contain_text("Deciding …")
        expect(sides.nth(1).get_by_role("link", name="Its story")).to_have_count(0)
        expect(sides.nth(0).get_by_role("link", name="Its story")).to_be_visible()
        assert one.wrong == []


def test_learning_shows_reliability_and_says_when_there_is_no_way_back(
    chromium: Browser, served: Process
) -> None:
    """Curves by judge; the first model has none before it."""
    with reader(chromium, served.base) as one:
        page = opened(one, "learning")
        expect(page.get_by_role("img", name=re.compile("^Reliability of")).first).to_be_visible()
        expect(page.get_by_role("region", name="Today and last week")).to_contain_text("%")
        presses_twice(page, "Roll back")
        expect(page.get_by_role("alert")).to_contain_text("no earlier model")


def test_a_key_is_made_shown_once_and_revoked(chromium: Browser, served: Process) -> None:
    """With a limit; the last key's end opens the service again."""
    with reader(chromium, served.base) as one:
        page = opened(one, "keys")
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Requests").fill("60/m")
        page.get_by_role("button", name="Make the key").click()
        expect(page.get_by_role("status").filter(has_text="The key of alice")).to_contain_text(
            "lr-"
        )
        row = page.get_by_role("region", name="Keys").locator("tr", has_text="alice")
        expect(row).to_contain_text("60/m")
        page.reload()
        expect(row).to_be_visible()
        expect(page.locator("main")).not_to_contain_text("lr-")
        presses_twice(page, "Revoke alice")
        expect(row).to_have_count(0)
        assert [key["name"] for key in call(served, "GET", "/keys")["keys"]] != ["alice"]


def test_pages_for_the_admin_key_say_so(chromium: Browser, served: Process) -> None:
    """Without it nothing of them is shown."""
    with reader(chromium, served.base) as one:
        for place in ("catalog", "keys"):
            page = one.goes(place)
            expect(page.get_by_role("alert")).to_contain_text("for the admin key")
