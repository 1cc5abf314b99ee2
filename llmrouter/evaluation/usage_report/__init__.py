"""`llmrouter report`: quality to cost per task, and its trend."""
