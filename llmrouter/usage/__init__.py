"""What the service was used for: totals per tenant, task and target, and their drift."""
