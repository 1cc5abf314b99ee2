"""Tests of metrics for everyone: nothing in them names a key or an address."""

from __future__ import annotations

from llmrouter.api.handlers.metrics import without_details

TEXT = """\
# HELP a_total What it counts.
# TYPE a_total counter
a_total{target="small"} 3
a_total{key="alice"} 4
b{server="http://10.0.0.1/v1",state="open"} 1
c_bucket{model="m",server_address="10.0.0.1",server_port="80",le="+Inf"} 2
c_bucket{model="m",server_address="10.0.0.2",server_port="80",le="+Inf"} 3
c_count{server_address="10.0.0.1",server_port="80"} 0.1
c_count{model="monkey",apikey="no"} 1e+20
d 12345678901234
"""
SHOWN = """\
# HELP a_total What it counts.
# TYPE a_total counter
a_total{target="small"} 3
c_bucket{model="m",le="+Inf"} 5
c_count{} 0.10000000000000001
c_count{model="monkey",apikey="no"} 1e+20
d 12345678901234
"""


def test_series_of_keys_go_and_those_of_addresses_are_added_up() -> None:
    """What is equal without an address is one series; every other line stays."""
    assert without_details(TEXT) == SHOWN
