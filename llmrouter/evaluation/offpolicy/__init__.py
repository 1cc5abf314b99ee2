"""`llmrouter report --policy`: what another policy would have scored."""
