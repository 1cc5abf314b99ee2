"""What diskcache may put into its database, and take out of it: text keys and bytes, no pickles."""

from __future__ import annotations

from diskcache import Disk
from diskcache.core import MODE_RAW

from llmrouter.errors import StoreFailed


class BytesOnly(Disk):  # type: ignore[misc]  # diskcache ships no types
    """A diskcache serializer that knows text keys and inline bytes, and refuses the rest."""

    def put(self, key: object) -> tuple[str, bool]:
        """A key's column; only text."""
        if type(key) is not str:
            raise TypeError(f"a key is text, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """A key from its column; one that would have to be unpickled is refused."""
        if not raw or type(key) is not str:
            raise StoreFailed("the folder holds a key that this service did not write")
        return key

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, bytes]:
        """A value's columns; only bytes, always inside the database."""
        if type(value) is not bytes or read:
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: int, filename: object, value: object, read: bool) -> bytes:
        """A value from its columns; files and pickles are refused unread."""
        if mode != MODE_RAW or filename is not None or type(value) is not bytes or read:
            raise StoreFailed("the folder holds a value that this service did not write")
        return value

    def remove(self, file_path: object) -> None:
        """Nothing: no value is a file, so a file name in the database is not ours."""
