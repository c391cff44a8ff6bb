"""Signing in. The session is a signed cookie."""

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from forms import Login
from models import Customer

# Everybody's password, shown on the login page: this shop sells nothing.
DEMO_PASSWORD = "open sesame"


@dataclass(frozen=True)
class Account:
    customer_id: int
    name: str


def get_account(request: Request) -> Account | None:
    stored = request.session.get("account")
    return Account(**stored) if stored else None


CurrentAccount = Annotated[Account | None, Depends(get_account)]


async def authenticate(session: AsyncSession, login: Login) -> Account | None:
    if not secrets.compare_digest(login.password.encode(), DEMO_PASSWORD.encode()):
        return None
    email = login.email.strip().lower()
    customer = await session.scalar(select(Customer).where(Customer.email == email))
    return Account(customer.id, customer.name) if customer else None


def sign_in(request: Request, account: Account) -> None:
    request.session["account"] = {"customer_id": account.customer_id, "name": account.name}


def sign_out(request: Request) -> None:
    request.session.clear()
