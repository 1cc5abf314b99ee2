#!/bin/sh
# Codex through the router: codex.sh "what to do". Leave out `exec` and its options for a session.
# Install it with `npm install --global @openai/codex`. The -c settings may stand in config.toml.
export ROUTER_KEY="${ROUTER_KEY:-any}"
exec codex \
  -c model="\"${ROUTER_MODEL:-auto}\"" \
  -c model_provider='"llmrouter"' \
  -c model_providers.llmrouter.name='"llmrouter"' \
  -c model_providers.llmrouter.base_url="\"${ROUTER_URL:-http://localhost:8080}/v1\"" \
  -c model_providers.llmrouter.env_key='"ROUTER_KEY"' \
  -c model_providers.llmrouter.wire_api='"responses"' \
  exec --skip-git-repo-check --sandbox "${CODEX_SANDBOX:-workspace-write}" "$@" </dev/null
