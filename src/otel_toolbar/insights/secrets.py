"""Which names mean a secret: the name of a column, header, cookie, parameter or key.

A name is split into its words (`userPassword`, `X-API-Key`, `card_number`, `user[password]`), so that
`passenger`, `author`, `tokenizer` and `cookies_accepted` are what they are. When in doubt a name is
taken for a secret: a masked value costs a look elsewhere, a shown one cannot be taken back.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Final

MASK: Final = "***"
"""What stands in place of a secret."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_LONGEST = 256
"""Characters of a name that are looked at: its head and its tail."""


def words(text: str) -> frozenset[str]:
    """A set of words, written as one text."""
    return frozenset(text.split())


_SECRET = words(
    """password passwords passwd passphrase passcode pwd pw secret secrets token tokens
    authorization authorisation cookie cookies credential credentials creds csrf xsrf jwt otp totp
    ssn cvv cvc pin sid bearer apikey apikeys iban csrftoken xsrftoken csrfmiddlewaretoken
    sessionid sessionkey phpsessid jsessionid sessid cardnumber creditcard privatekey secretkey
    accesskey pincode ccnumber ccnum"""
)
_PAIRS = frozenset(
    tuple(pair.split("-"))
    for pair in words(
        """api-key private-key access-key secret-key signing-key encryption-key auth-key master-key
        ssh-key service-key account-key shared-key storage-key session-id session-key session-
        data session-hash card-number credit-card card-no cc-number security-code pin-code pass-
        code pass-word pass-phrase social-security auth-code auth-data auth-hash recovery-code
        recovery-codes backup-code backup-codes verification-code one-time reset-code login-code"""
    )
)
_LAST = words("session auth")
"""Secret where a name ends in them: `user_session`, but `session_title` and `auth_user_id` are not."""

_ENDINGS = ("password", "passwd", "token", "secret", "apikey", "sessionid", "sessid", "passphrase")
_BEGINNINGS = ("password", "passwd", "passphrase")

_ABOUT = words(
    """accepted accept consent consents policy policies banner count counts type types length len at
    on date time expires expiry expired expire expiration ttl age enabled disabled required used
    usage limit limits size name names domain path version status timeout changed samesite
    httponly secure min max strength rounds attempts tries total"""
)
"""A name that ends so is about a secret: `password_changed_at`, `token_type`, `cookies_accepted`."""

_ASKING = words(
    "has is max min num no total requires require needs allow allows use uses can count"
)
"""A name that begins so counts or asks: `has_password`, `max_tokens`."""

_WEAK = words("code state nonce key sig signature hash auth sid assertion ticket otp k pin")
"""Words that are a secret only if the value looks like one: `?code=` of OAuth, `?key=`."""


@lru_cache(2048)
def is_secret(name: str) -> bool:
    """True when a value under this name has to be masked."""
    found = _split(name)
    if not found or found[0] in _ASKING or found[-1] in _ABOUT:
        return False
    if found[-1] in _LAST or not _SECRET.isdisjoint(found):
        return True
    return any(map(_is_glued, found)) or any(pair in _PAIRS for pair in pairwise(found))


@lru_cache(2048)
def is_weak(name: str) -> bool:
    """True when a value under this name is a secret if it looks like one."""
    return not _WEAK.isdisjoint(_split(name))


def _split(name: str) -> list[str]:
    """Words of a name in lower case, without a trailing number: SQLAlchemy binds `password_1`."""
    if len(name) > _LONGEST:
        name = name[: _LONGEST // 2] + " " + name[-_LONGEST // 2 :]
    found = [word.lower() for word in _WORD.findall(name)]
    while len(found) > 1 and found[-1].isdecimal():
        found.pop()
    return found


def _is_glued(word: str) -> bool:
    return word.endswith(_ENDINGS) or word.startswith(_BEGINNINGS)
