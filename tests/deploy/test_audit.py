"""The audit of dependencies says whether there was one."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / "deploy" / "audit.sh"


class Database(BaseHTTPRequestHandler):
    """Answers any question with nothing known."""

    def do_POST(self) -> None:
        """One query."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def database() -> Iterator[str]:
    """A vulnerability database on a free port."""
    with HTTPServer(("127.0.0.1", 0), Database) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def audit(url: str, tools: Path) -> subprocess.CompletedProcess[str]:
    """Run the script against a database, with `tools` in the place of pip-audit's environment."""
    environ = {**os.environ, "OSV_URL": url, "AUDIT_VENV": str(tools), "no_proxy": "127.0.0.1"}
    return subprocess.run([str(AUDIT)], env=environ, capture_output=True, text=True, check=False)


def test_without_the_database_it_says_that_nothing_was_audited(tmp_path: Path) -> None:
    """And fails no build; pip-audit itself would call every package unknown and end well."""
    done = audit("http://127.0.0.1:9", tmp_path)
    assert done.returncode == 0
    assert "NOT DONE" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [0, 1])
def test_with_the_database_its_verdict_is_pip_audits(
    tmp_path: Path, database: str, status: int
) -> None:
    """Every pin is looked up, strictly, and a vulnerable one fails the build."""
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "pip-audit"
    fake.write_text(f'#!/bin/sh\necho "$@"\nexit {status}\n')
    fake.chmod(0o755)
    done = audit(database, tmp_path)
    assert done.returncode == status
    assert "--strict" in done.stdout
    assert "--requirement constraints.txt" in done.stdout
