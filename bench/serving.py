"""Serves one variant with uvicorn: `serving.py VARIANT PORT`."""

from __future__ import annotations

import asyncio
import os
import sys

import apps
import uvicorn
from variants import VARIANTS
from worker import pin


async def main(name: str, port: int) -> None:
    parts = apps.Parts(os.environ.get("BENCH_REDIS"))
    await parts.open()
    app = VARIANTS[name].build(parts).app
    config = uvicorn.Config(app, port=port, log_level="warning", loop="asyncio", http="h11")
    server = uvicorn.Server(config)
    pin()
    await server.serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
