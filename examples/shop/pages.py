"""The pages a visitor sees."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from account import DEMO_PASSWORD, CurrentAccount, authenticate, sign_in, sign_out
from cart import COOKIE, CurrentCart, cart_lines
from catalogue import all_categories, featured_products, find_product, find_products
from database import Session
from forms import AddToCart, Login, form
from models import Product
from orders import (
    find_order,
    place_order,
    recent_orders,
    recent_orders_one_by_one,
    send_receipt,
)
from report import make_report
from templating import templates

PER_PAGE = 12

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)


def see_other(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)


@router.get("/")
async def home(request: Request, session: Session) -> Response:
    context = {
        "products": await featured_products(session),
        "categories": await all_categories(session),
    }
    return templates.TemplateResponse(request, "home.html", context)


@router.get("/products")
async def products(
    request: Request,
    session: Session,
    q: Annotated[str, Query(max_length=80)] = "",
    category: str = "",
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
) -> Response:
    context = {
        "q": q,
        "category": category,
        "page": page,
        "categories": await all_categories(session),
        "found": await find_products(session, q, category, PER_PAGE, PER_PAGE * (page - 1)),
    }
    return templates.TemplateResponse(request, "products.html", context)


@router.get("/products/{product_id}")
async def product(request: Request, session: Session, product_id: int) -> Response:
    found = await find_product(session, product_id)
    if found is None:
        raise HTTPException(404, "There is no such product.")
    return templates.TemplateResponse(request, "product.html", {"product": found})


@router.get("/cart")
async def show_cart(request: Request, session: Session, cart: CurrentCart) -> Response:
    lines = await cart_lines(session, cart)
    context = {"lines": lines, "total": sum(line.total for line in lines)}
    return templates.TemplateResponse(request, "cart.html", context)


@router.post("/cart")
async def add_to_cart(
    session: Session, cart: CurrentCart, wanted: Annotated[AddToCart, Depends(form(AddToCart))]
) -> Response:
    if await session.get(Product, wanted.product_id) is None:
        raise HTTPException(404, "There is no such product.")
    response = see_other("/cart")
    cart.add(wanted.product_id, wanted.quantity).save(response)
    return response


@router.post("/checkout")
async def checkout(
    session: Session, cart: CurrentCart, account: CurrentAccount, background: BackgroundTasks
) -> Response:
    # What stands in a cookie may have left the shop since: order only what was found.
    quantities = {line.product.id: line.quantity for line in await cart_lines(session, cart)}
    if not quantities:
        return see_other("/cart")
    if account is None:
        return see_other("/login")
    order = await place_order(session, account.customer_id, quantities)
    background.add_task(send_receipt, order.id)
    response = see_other(f"/orders/{order.id}")
    response.delete_cookie(COOKIE)
    return response


@router.get("/orders")
async def orders(request: Request, session: Session) -> Response:
    context = {"orders": await recent_orders_one_by_one(session)}
    return templates.TemplateResponse(request, "orders.html", context)


@router.get("/orders/fast")
async def orders_fast(request: Request, session: Session) -> Response:
    context = {"orders": await recent_orders(session)}
    return templates.TemplateResponse(request, "orders.html", context)


@router.get("/orders/{order_id}")
async def order(request: Request, session: Session, order_id: int) -> Response:
    found = await find_order(session, order_id)
    if found is None:
        raise HTTPException(404, "There is no such order.")
    return templates.TemplateResponse(request, "order.html", {"order": found})


@router.get("/login")
async def login_form(request: Request) -> Response:
    return templates.TemplateResponse(request, "login.html", {"hint": DEMO_PASSWORD})


@router.post("/login")
async def login(
    request: Request,
    session: Session,
    cart: CurrentCart,
    fields: Annotated[Login, Depends(form(Login))],
) -> Response:
    account = await authenticate(session, fields)
    if account is None:
        context = {"hint": DEMO_PASSWORD, "email": fields.email, "failed": True}
        return templates.TemplateResponse(request, "login.html", context, status_code=401)
    sign_in(request, account)
    return see_other("/cart" if cart.quantities else "/")


@router.post("/logout")
async def logout(request: Request) -> Response:
    sign_out(request)
    return see_other("/")


@router.get("/admin/report")
async def report(request: Request) -> Response:
    return templates.TemplateResponse(request, "report.html", {"report": await make_report()})
