"""Settings of the whole suite: no test asserts a time, hypothesis' deadlines included, and chance
(audits, back-off) falls the same way each time.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
os.environ.setdefault("EXAMPLE_KEY", "k")  # the key of the targets in `prompts_dir`


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """One test in fifty would otherwise meet an audit it did not expect."""
    random.seed(0)
