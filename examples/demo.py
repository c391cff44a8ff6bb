"""Runs the shop under `opentelemetry-instrument` and says where to look. `make demo` calls it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

SHOP = Path(__file__).parent / "shop"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="taken? then the next free one")
    port = free_port(parser.parse_args().port)
    site = f"http://127.0.0.1:{port}"
    print(
        f"\n  The shop         {site}/"
        f"\n  An N+1           {site}/orders   and its fixed twin   {site}/orders/fast"
        f"\n  Calls, a cache   {site}/delivery      A websocket   {site}/help"
        f"\n  The toolbar      bottom right on every page, or Alt+Shift+D"
        f"\n  All requests     {site}/_toolbar"
        f"\n  To stop          Ctrl+C\n",
        flush=True,
    )
    tools = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
        "OTEL_SERVICE_NAME": os.environ.get("OTEL_SERVICE_NAME", "shop"),
    }
    command = ["opentelemetry-instrument", "uvicorn", "--app-dir", str(SHOP), "app:app"]
    os.execvpe(str(tools / command[0]), [*command, "--port", str(port)], environment)


def free_port(wanted: int) -> int:
    """`wanted`, or the next port above that nothing listens on."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            if os.name == "posix":  # what uvicorn does: a port just left by the last run is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"No free port from {wanted} to {wanted + 99}; give another with PORT=...")


if __name__ == "__main__":
    main()
