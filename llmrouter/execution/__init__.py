"""From a decision to a reply: the plan, the attempts, what is accepted."""
