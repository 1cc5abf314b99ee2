#!/bin/sh
# opencode through the router: opencode.sh "what to do". It needs opencode.json (beside this file)
# as its configuration. Install it with `npm install --global opencode-ai`.
export ROUTER_URL="${ROUTER_URL:-http://localhost:8080}" ROUTER_KEY="${ROUTER_KEY:-any}"
export ROUTER_MODEL="${ROUTER_MODEL:-auto}"
export OPENCODE_CONFIG="${OPENCODE_CONFIG:-$(dirname "$0")/opencode.json}"
printf '%s' "$*" | exec opencode run
