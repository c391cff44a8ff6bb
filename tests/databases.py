"""PostgreSQL and MariaDB as throwaway servers, and the URLs of every driver for all three databases.

A server lives in a temporary folder, listens on a free port of the loopback interface, and writes
nothing to disk in a hurry. Each test that asks gets an empty database of its own. The programs are
Debian's: `.ci/parts.sh databases` installs them.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from tests.external.parts import free_addresses

System = Literal["sqlite", "postgresql", "mariadb"]

SYNC: dict[System, tuple[str, ...]] = {
    "sqlite": ("pysqlite",),
    "postgresql": ("psycopg",),
    "mariadb": ("pymysql",),
}
ASYNC: dict[System, tuple[str, ...]] = {
    "sqlite": ("aiosqlite",),
    "postgresql": ("asyncpg", "psycopg"),
    "mariadb": ("aiomysql", "asyncmy"),
}
"""SQLAlchemy's drivers, the one to take where any will do first."""

START_SECONDS = 60
_MODULES = {"pysqlite": "sqlite3"}
_DIALECTS: dict[System, str] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "mariadb": "mysql",
}
_numbers = count(1)


@dataclass(frozen=True)
class Database:
    """An empty database. On a server, user `toolbar` owns it and has no password."""

    system: System
    name: str
    """Of the database; of SQLite, the path of its file."""
    host: str = ""
    port: int = 0

    def url(self, driver: str = "") -> str:
        """SQLAlchemy's URL for a driver, the first synchronous one when none is named."""
        scheme = f"{_DIALECTS[self.system]}+{driver or SYNC[self.system][0]}"
        if self.system == "sqlite":
            return f"{scheme}:///{self.name}"
        return f"{scheme}://toolbar@{self.host}:{self.port}/{self.name}"

    def async_url(self, driver: str = "") -> str:
        """SQLAlchemy's URL for a driver, the first asynchronous one when none is named."""
        return self.url(driver or ASYNC[self.system][0])


@dataclass(frozen=True)
class Server:
    """A running server, on which databases are made and dropped by the shell's client."""

    system: System
    host: str
    port: int
    run: Callable[[str], None]
    """Runs one statement as the administrator."""

    @contextmanager
    def database(self) -> Iterator[Database]:
        """An empty database, dropped afterwards whoever is still connected."""
        name = f"shop{next(_numbers)}"
        owner = " OWNER toolbar" if self.system == "postgresql" else ""
        force = " WITH (FORCE)" if self.system == "postgresql" else ""
        self.run(f"CREATE DATABASE {name}{owner}")
        try:
            yield Database(self.system, name, self.host, self.port)
        finally:
            self.run(f"DROP DATABASE {name}{force}")


def missing(system: System, *drivers: str) -> str | None:
    """One line that says what is not there and how to get it; None when all is there."""
    if system != "sqlite" and _programs(system) is None:
        return f"{system} is not there: run .ci/parts.sh databases"
    for driver in drivers:
        if importlib.util.find_spec(_MODULES.get(driver, driver)) is None:
            return f"the driver {driver} is not there: pip install --group test"
    return None


@contextmanager
def sqlite() -> Iterator[Database]:
    """An empty SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield Database("sqlite", str(Path(folder) / "shop.sqlite"))


def _programs(system: System) -> Path | None:
    """The folder of the server's programs: Debian keeps PostgreSQL's off the PATH."""
    if system == "mariadb":
        found = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
        return Path(found).parent if found and shutil.which("mariadb-install-db") else None
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _version(path: Path) -> float:
    return float(path.parts[-3])


@contextmanager
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server."""
    programs = _programs("postgresql")
    assert programs is not None, missing("postgresql")
    (address,) = free_addresses(1)
    host, port = address.split(":")
    with _folder("postgres") as (folder, user):
        data = folder / "data"
        made = [programs / "initdb", "--pgdata", data, "--auth=trust", "--username=toolbar"]
        _run([*made, "--no-sync", "--encoding=UTF8", "--locale=C"], user)
        options = {
            "listen_addresses": host,
            "port": port,
            "unix_socket_directories": str(folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_prepared_transactions": "10",
        }
        settings = [part for pair in options.items() for part in ("-c", "=".join(pair))]
        command = [programs / "postgres", "-D", data, *settings]
        client = [programs / "psql", "--no-psqlrc", "--quiet", f"--host={host}", f"--port={port}"]
        client += ["--username=toolbar", "--dbname=postgres", "--set=ON_ERROR_STOP=1", "--command"]

        def run(statement: str) -> None:
            _run([*client, statement], user)

        with _serving(command, user, folder, run):
            yield Server("postgresql", host, int(port), run)


@contextmanager
def mariadb() -> Iterator[Server]:
    """A MariaDB server."""
    programs = _programs("mariadb")
    assert programs is not None, missing("mariadb")
    (address,) = free_addresses(1)
    host, port = address.split(":")
    with _folder("mysql") as (folder, user):
        data, socket = folder / "data", folder / "socket"
        made = ["mariadb-install-db", "--no-defaults", f"--datadir={data}"]
        _run([*made, "--auth-root-authentication-method=normal", "--skip-test-db"], user)
        command = [programs / "mariadbd", "--no-defaults", f"--datadir={data}"]
        command += [f"--bind-address={host}", f"--port={port}", f"--socket={socket}"]
        command += [f"--pid-file={folder / 'pid'}", f"--tmpdir={folder}"]
        command += ["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"]
        command += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]
        client = ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--execute"]

        def run(statement: str) -> None:
            _run([*client, statement], user)

        with _serving(command, user, folder, run):
            run(f"CREATE USER toolbar@'{host}'; GRANT ALL ON *.* TO toolbar@'{host}'")
            yield Server("mariadb", host, int(port), run)


def server(system: System) -> AbstractContextManager[Server]:
    """The server of a system that has one."""
    return {"postgresql": postgresql, "mariadb": mariadb}[system]()


@contextmanager
def _folder(preferred: str) -> Iterator[tuple[Path, str | None]]:
    """A folder, and the user whose it is: both servers refuse to run as root. None is who we are."""
    user = _account(preferred, "nobody") if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="toolbar-") as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name), user


def _account(*names: str) -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in names if name in known)


def _run(command: Sequence[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command,
        check=False,
        user=user,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")


@contextmanager
def _serving(
    command: Sequence[str | Path], user: str | None, folder: Path, run: Callable[[str], None]
) -> Iterator[None]:
    """The server while it takes statements; killed at the end, for nothing of it is kept."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, user=user, cwd="/", stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(run):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(run: Callable[[str], None]) -> bool:
    try:
        run("SELECT 1")
    except RuntimeError:
        return False
    return True
