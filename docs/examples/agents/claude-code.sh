#!/bin/sh
# Claude Code through the router: claude-code.sh "what to do". Leave out -p for a session.
# Install it with `npm install --global @anthropic-ai/claude-code`.
export ANTHROPIC_BASE_URL="${ROUTER_URL:-http://localhost:8080}"
export ANTHROPIC_AUTH_TOKEN="${ROUTER_KEY:-any}"
export ANTHROPIC_MODEL="${ROUTER_MODEL:-auto}"             # auto, a target's id or an alias
export ANTHROPIC_DEFAULT_HAIKU_MODEL="${ROUTER_MODEL:-auto}" # what it asks on the side
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
exec claude -p "$@" --allowedTools Read,Edit,Write </dev/null
