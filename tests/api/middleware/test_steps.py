"""The list of middlewares: what `app` says of it holds, and each does one thing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp import web

from llmrouter.api import app
from llmrouter.api.middleware.pipeline import MIDDLEWARES
from llmrouter.api.middleware.steps import Access, Call, load_bounded, observed, quota_counted
from llmrouter.errors import NotFound
from tests.api.fakes import services


def a_call(needed: Access = Access.PUBLIC) -> Call:
    """A call that no socket stands behind."""
    request: Any = web.Request.__new__(web.Request)
    answer: Any = None
    return Call(request, "/healthz", needed, answer)


async def fine(call: Call) -> web.StreamResponse:
    """The next step: an empty answer."""
    return web.Response()


def test_the_page_lists_the_middlewares_in_their_order() -> None:
    """Five, outermost first, as a reader of the application finds them."""
    told = re.findall(r"^\d\. (\w+):", app.__doc__ or "", re.M)
    assert told == [one.__name__ for one in MIDDLEWARES]


async def test_what_is_not_routed_holds_no_place_and_counts_nowhere() -> None:
    """Health is answered whatever the load and the quotas."""
    made = services()
    for step in (load_bounded, quota_counted):
        call = a_call()
        assert (await step(made, fine)(call)).status == 200
        assert not call.counted
    assert made.admission.running == 0


async def test_an_error_passes_the_span_and_is_still_the_same_error() -> None:
    """Only the outermost step makes an envelope of it."""

    async def failing(call: Call) -> web.StreamResponse:
        raise NotFound("no such thing")

    class Asked:
        """A request's method and headers."""

        method, headers = "GET", {}

    call = a_call()
    call.request = Asked()  # type: ignore[assignment]
    with pytest.raises(NotFound, match="no such thing"):
        await observed(services(), failing)(call)
