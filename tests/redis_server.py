"""Redis as a throwaway server: Debian's program, on a free port of the loopback interface.

Nothing is written to disk. `.ci/parts.sh system` installs it.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.external.parts import free_addresses, running, wait_until

PROGRAM = "redis-server"


@dataclass(frozen=True)
class Redis:
    """A running server without a password. Its 16 databases are empty when it starts."""

    host: str
    port: int

    def url(self, database: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{database}"

    def flush(self) -> None:
        """Forget every key of every database."""
        assert self._says(b"FLUSHALL\r\n") == b"+OK\r\n"

    def answers(self) -> bool:
        """True once it takes commands."""
        try:
            return self._says(b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False

    def _says(self, command: bytes) -> bytes:
        # By hand: a client library may be what a test watches.
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            connection.sendall(command)
            return connection.recv(64)


def missing() -> str | None:
    """One line that says what is not there and how to get it; None when it is there."""
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not there: run .ci/parts.sh system"
    return None


@contextmanager
def server() -> Iterator[Redis]:
    """A Redis that takes commands, gone at the end."""
    (address,) = free_addresses(1)
    host, port = address.split(":")
    with tempfile.TemporaryDirectory(prefix="toolbar-redis-") as folder:
        command = [PROGRAM, "--bind", host, "--port", port, "--save", "", "--appendonly", "no"]
        command += ["--dir", folder, "--daemonize", "no"]
        redis = Redis(host, int(port))
        with running(command, {}, Path(folder) / "log") as alive:
            wait_until(alive, redis.answers)
            yield redis
