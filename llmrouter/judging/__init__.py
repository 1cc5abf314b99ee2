"""What the router LLM is asked and how: protocols, prompt, judgement cache, calibration, blend."""
