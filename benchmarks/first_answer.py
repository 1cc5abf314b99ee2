"""How long a stranger waits: from `pip install` of the wheel to the first routed answer.

Run as `python -m benchmarks.first_answer`. Builds the wheel, makes an empty environment and an
empty folder (neither is counted), then counts `pip install` and `llmrouter demo` until `/complete`
has answered. Prints seconds by the clock; exits with 1 over 60 s.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.served import free_port

AT_MOST_S = 60.0
GIVE_UP_S = 600.0
ROOT = Path(__file__).parents[1]


def first_answer(base: str) -> None:
    """Ask until the service has answered once. Raises TimeoutError."""
    body = json.dumps({"prompt": "What is 2 + 2?"}).encode()
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(f"{base}/complete", body, headers)  # noqa: S310 - our own
    ends = time.monotonic() + GIVE_UP_S
    while time.monotonic() < ends:
        try:
            urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310 - our own
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError("no answer")


def main() -> int:
    """Print both times."""
    with tempfile.TemporaryDirectory() as directory:
        place, empty = Path(directory), Path(directory) / "empty"
        empty.mkdir()
        pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
        wheel = [*pip, "wheel", "--no-deps", "-w", str(place), str(ROOT)]
        subprocess.run([sys.executable, *wheel], check=True)
        subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
        own = place / "venv" / "bin"
        built = str(next(place.glob("*.whl")))
        began = time.monotonic()
        subprocess.run([str(own / "python"), *pip, "install", built], check=True, cwd=empty)
        installed = time.monotonic()
        port = free_port()
        command = [str(own / "llmrouter"), "demo", "--port", str(port)]
        with (empty / "log").open("w") as log:
            demo = subprocess.Popen(command, cwd=empty, stdout=log, stderr=log)
            try:
                first_answer(f"http://127.0.0.1:{port}")
                answered = time.monotonic()
            finally:
                demo.terminate()
                demo.wait(30)
    total = answered - began
    print(f"pip install {installed - began:6.1f} s")
    print(f"first answer {answered - installed:5.1f} s later")
    print(f"together {total:9.1f} s (at most {AT_MOST_S:g})")
    return int(total > AT_MOST_S)


if __name__ == "__main__":
    sys.exit(main())
