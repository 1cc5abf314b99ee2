"""Tests of what the disk store's database may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmrouter.store.bytes_only import BytesOnly


def test_only_text_keys_and_bytes_can_be_written(tmp_path: Path) -> None:
    """The serializer has no way to pickle, whatever it is given."""
    disk = BytesOnly(str(tmp_path))
    with pytest.raises(TypeError):
        disk.put(("a",))
    with pytest.raises(TypeError):
        disk.store({"a": 1}, read=False)
