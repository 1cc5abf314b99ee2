"""Settings of the whole suite: no test asserts a time, hypothesis' deadlines included, and chance
(audits, back-off, made-up inputs) falls the same way each time. `make thorough` makes up five times
as many inputs, others each time.
"""

import os
import random

import pytest
from hypothesis import HealthCheck, settings

from tests.samples import THOROUGH, examples

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # there is a test process a CPU already
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=examples(100),
    derandomize=not THOROUGH,
)
settings.load_profile("suite")
os.environ.setdefault("EXAMPLE_KEY", "k")  # the key of the targets in `prompts_dir`


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """One test in fifty would otherwise meet an audit it did not expect."""
    random.seed(0)
