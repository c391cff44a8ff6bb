"""What delivery costs: carriers are asked over HTTP, and the exchange rate stands in a cache.

The carriers and the bank are partners that this very process plays, so that the shop runs alone.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from aiocache import SimpleMemoryCache
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from templating import templates

CARRIERS = {"Gull Express": 890, "Harbour Post": 490, "Slow Boat": 290}
MAX_WEIGHT = {"Gull Express": 10, "Harbour Post": 30, "Slow Boat": 500}
RATE_SECONDS = 60

logger = logging.getLogger("shop.delivery")
pages = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
partners = APIRouter(prefix="/partners", include_in_schema=False)

cache = SimpleMemoryCache(namespace="delivery:")
# No proxy of the environment: the partners are in this process.
client = httpx.AsyncClient(timeout=5, trust_env=False)


@dataclass(frozen=True)
class Offer:
    carrier: str
    price: int
    """In cents of a euro."""
    dollars: int


@pages.get("/delivery")
async def delivery(request: Request, weight: Annotated[int, Query(ge=1, le=1000)] = 2) -> Response:
    site = own_address(request)
    rate = await dollar_rate(site)
    prices = await asyncio.gather(*(ask(site, carrier, weight) for carrier in CARRIERS))
    offers = [
        Offer(carrier, price, round(price * rate))
        for carrier, price in zip(CARRIERS, prices, strict=True)
        if price is not None
    ]
    return templates.TemplateResponse(
        request, "delivery.html", {"offers": offers, "weight": weight}
    )


def own_address(request: Request) -> str:
    """The address that this process listens on: the Host header is the visitor's to choose."""
    host, port = request.scope["server"]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def ask(site: str, carrier: str, weight: int) -> int | None:
    """The price in cents; None when the carrier does not take the parcel."""
    answer = await client.get(f"{site}/partners/{carrier}/quote", params={"weight": weight})
    if answer.status_code == 422:
        logger.info("%s takes no parcel of %d kg", carrier, weight)
        return None
    return answer.raise_for_status().json()["price"]


async def dollar_rate(site: str) -> float:
    rate = await cache.get("dollar")
    if rate is None:
        answer = await client.get(f"{site}/partners/bank/rates")
        rate = answer.raise_for_status().json()["USD"]
        await cache.set("dollar", rate, ttl=RATE_SECONDS)
    return rate


@partners.get("/bank/rates")
async def rates() -> dict[str, float]:
    await asyncio.sleep(0.05)  # a bank takes its time
    return {"USD": 1.08}


@partners.get("/{carrier}/quote")
async def quote(carrier: str, weight: int) -> dict[str, Any]:
    if carrier not in CARRIERS:
        raise HTTPException(404, "There is no such carrier.")
    if weight > MAX_WEIGHT[carrier]:
        raise HTTPException(422, "This is too heavy for us.")
    await asyncio.sleep(0.03 if carrier == "Slow Boat" else 0.01)
    return {"price": CARRIERS[carrier] + 45 * weight}
