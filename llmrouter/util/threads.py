"""Work in a thread that nothing waits for longer than it should."""

from __future__ import annotations

import threading
from collections.abc import Callable


def within(limit_s: float, name: str, work: Callable[[], object]) -> bool:
    """Run `work` in a thread that may be left behind. False where it took longer than that."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(limit_s)
    return not thread.is_alive()
