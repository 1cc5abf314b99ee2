"""Settings of the whole suite: no test asserts a time, hypothesis' deadlines included."""

from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
