"""Shortcuts round a library, each for a measured budget that fails without it.

Each stands behind the interface that the library's own way implements too, and one contract test
runs on both: `http_post` (upstream/http_transport), `response` (aiohttp's `web.Response`) and
`telemetry/` (the OpenTelemetry SDK's batch processor). `LLMROUTER_FASTPATH=false` switches all of
them off. docs/decisions/0013-fastpath.md holds the measurements.
"""
