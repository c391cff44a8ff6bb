"""Secrets do not reach a span, whatever way they come; everything else is shown as it is."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import re
import time
import uuid
import zoneinfo
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.insights import secrets
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import masking
from otel_toolbar.signals.core.masking import MASK


@pytest.fixture(autouse=True)
def default_settings() -> Iterator[None]:
    yield
    masking.configure(Settings())


SECRET_NAMES = """password Password userPassword user_password_hash dbpassword X-API-Key api_key apikey
    Authorization proxy-authorization cookie Set-Cookie session session_id PHPSESSID csrftoken
    X-CSRF-Token csrfmiddlewaretoken card_number cardNumber cvv ssn pin pin_code otp_code access_token
    accessToken id_token client_secret private_key user[password] password_1 passwordConfirmation
    laravel_session pwd authToken AWS_SECRET_ACCESS_KEY credentials user.credentials DB_PASSWD"""

PLAIN_NAMES = """tokenizer passenger author authors author_id cookies_accepted cookie_consent token_type
    max_tokens token_count session_title spin_rate pinned opinion primary_key key monkey passport
    compass secretariat secretary broken username email has_password password_changed_at
    authenticated country_code product_code id name _ 1 param_1"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert secrets.is_secret(name)
    assert masking.clean("hunter2", name) == MASK


@pytest.mark.parametrize("name", PLAIN_NAMES.split())
def test_names_of_other_things(name: str) -> None:
    assert not secrets.is_secret(name)
    assert masking.clean("hunter2", name) == "hunter2"


def test_a_long_name_is_judged_by_its_head_and_tail() -> None:
    assert secrets.is_secret("a_" * 10_000 + "password")
    assert secrets.is_secret("password" + "_a" * 10_000)


def test_the_mask_setting_adds_names() -> None:
    assert not masking.is_secret("employee_number")
    masking.configure(Settings(mask=("^employee", "x$"), value_length=5))
    assert masking.is_secret("Employee_number")
    assert masking.text("employee_number=7, box=1, boy=2") == "employee_number=***, box=***, boy=2"
    assert masking.value("shown", "1234567") == "1234…"
    assert masking.value("shown", 12) == "12"
    assert masking.value("x", 12) == MASK
    masking.configure(Settings())
    assert not masking.is_secret("employee_number")


# Free text.

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("password=hunter2 and token: abc", "password=*** and token: ***"),
        ('{"password": "hun\\"ter2", "a": 1}', '{"password": "***", "a": 1}'),
        ("{'pwd': 'it', 'pin': 1234}", "{'pwd': '***', 'pin': ***}"),
        ("Bearer abcdefghijklmnop", "Bearer ***"),
        ("got bearer abcdefghijklmnop!", "got bearer ***!"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        (f"a {JWT} b", "a *** b"),
        ("key AKIAIOSFODNN7EXAMPLE.", "key ***."),
        ("ghp_" + "a1" * 18, MASK),
        ("xoxb-1234567890-abcdef", MASK),
        ("sk_live_" + "a1" * 12, MASK),
        ("paid with 4111 1111 1111 1111", "paid with ***"),
        ("4111-1111-1111-1111, 378282246310005", "***, ***"),
        ("postgresql://u:p@ss/w@host/db", "postgresql://u:***@host/db"),
        ("Key (token)=(abc) already exists", "Key (token)=*** already exists"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- x", "*** x"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", MASK),
        (
            "(E) [SQL: INSERT ...]\n[parameters: ('hunter[2]\\n',)]\n(Background on this error at: x)",
            "(E) [SQL: INSERT ...]\n[parameters: ***]\n(Background on this error at: x)",
        ),
        ("[parameters: ('hunter2',)", "[parameters: ***]"),
    ],
)
def test_secrets_in_text(shown: str, expected: str) -> None:
    assert masking.text(shown) == expected
    assert masking.text(expected) == expected


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Basic authentication is basic understanding",
        "the bearer of news",
        "WHERE users.password = ? AND token = :token_1 AND secret = $1 AND pin = %(pin)s",
        "password: None",
        "password is required",
        "at http://localhost:8000/@alice and http://[::1]:80/x@y",
        "1700000000000000000",
        "4111111111111112",
        "5111111111111",
        "0.4111111111111111",
        "order 12-34",
        "12:34:56",
        "author=me, monkey=1",
        "eyJ is how they begin, AKIA too, xox and sk-",
        "token::text",
    ],
)
def test_text_without_secrets_is_left(shown: str) -> None:
    assert masking.text(shown) == shown


def test_text_is_cut() -> None:
    assert len(masking.text("a" * 10**6)) == masking.MAX_TEXT + 1


# Values.


class Dangerous:
    """All that a lazy proxy may do wrong."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"{name} was asked for")

    def _raise(self, *_: object) -> str:
        raise AssertionError("called")

    __repr__ = __str__ = __eq__ = __hash__ = __iter__ = __len__ = __format__ = _raise  # type: ignore[assignment]


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("called")

    __repr__ = __len__ = __getitem__ = encode = __str__  # type: ignore[assignment]


class Number(int):
    def __repr__(self) -> str:
        raise AssertionError("called")

    __str__ = bit_length = __repr__  # type: ignore[assignment]


class Real(float):
    __repr__ = __str__ = Number.__repr__  # type: ignore[assignment]


class Raw(bytes):
    __repr__ = __len__ = decode = Number.__repr__  # type: ignore[assignment]


class Colour(str, enum.Enum):
    RED = "red"


class Zone(dt.tzinfo):
    def utcoffset(self, _: object) -> dt.timedelta:
        raise AssertionError("called")


class Meta(type):
    def __getattribute__(cls, name: str) -> object:
        raise AssertionError(f"{name} was asked for")


class Made(metaclass=Meta):
    pass


MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5)


VALUES: list[tuple[object, str]] = [
    ("text", "text"),
    (1, "1"),
    (True, "True"),
    (None, "None"),
    (1.5, "1.5"),
    (4111111111111111, MASK),
    (10**400, "<int of 1329 bits>"),
    (decimal.Decimal("1.50"), "1.50"),
    (b"text", "text"),
    (b"", "<0 bytes>"),
    (b"\xff\x00", "<2 bytes>"),
    (b"\x00", "<1 bytes>"),
    (bytearray(3), "<3 bytes>"),
    (MOMENT, "2026-01-02T03:04:05"),
    (MOMENT.replace(tzinfo=dt.timezone.utc), "2026-01-02T03:04:05+00:00"),
    (MOMENT.replace(tzinfo=zoneinfo.ZoneInfo("UTC")), "2026-01-02T03:04:05+00:00"),
    (MOMENT.replace(tzinfo=Zone()), "2026-01-02T03:04:05 <test_masking.Zone>"),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.time(1, 2), "01:02:00"),
    (dt.timedelta(seconds=1), "0:00:01"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ([1, "a", [2, [3, [4]]]], "[1, 'a', [2, [3, <list>]]]"),
    ((1,), "(1)"),
    ({1}, "{1}"),
    (frozenset(), "{}"),
    (
        {"password": "x", "a": {"token": None}, 1: 2},
        "{'password': ***, 'a': {'token': None}, 1: 2}",
    ),
    (list(range(22)), "[" + ", ".join(map(str, range(20))) + ", … 2 more]"),
    (Text("text"), "text"),
    (Number(7), "7"),
    (Real(1.5), "1.5"),
    (Raw(b"text"), "text"),
    (Raw(b"\xff"), "<1 bytes>"),
    (Colour.RED, "red"),
    ("\ud800", "?"),
    (Dangerous(), "<test_masking.Dangerous>"),
    (object(), "<object>"),
    ([Dangerous()], "[<test_masking.Dangerous>]"),
]


# Ids by type: pytest would ask the values.
@pytest.mark.parametrize(
    ("shown", "expected"), VALUES, ids=[type(shown).__name__ for shown, _ in VALUES]
)
def test_values(shown: object, expected: str) -> None:
    cleaned = masking.clean(shown)
    assert cleaned.replace("tests.unit.", "") == expected
    assert type(cleaned) is str


def test_a_metaclass_is_not_asked() -> None:
    assert masking.clean(Made()).endswith("test_masking.Made>")


def test_values_are_cut() -> None:
    assert masking.clean("x" * 2000, limit=10) == "x" * 9 + "…"
    # A secret that the limit would cut in two is known by what follows.
    assert "eyJ" not in masking.clean(f"{'x' * 1000} {JWT}", limit=1024)


def test_a_value_that_another_thread_changes() -> None:
    class Changing(dict):  # type: ignore[type-arg]
        pass

    growing: dict[int, int] = {1: 1}

    def items() -> Iterator[tuple[int, int]]:
        for key, value in growing.items():
            growing[key + 1] = value
            yield key, value

    assert masking.clean(Changing(a=1)) == (
        f"<{Changing.__module__}.test_a_value_that_another_thread_changes.<locals>.Changing>"
    )
    # CPython raises RuntimeError here as it does when a thread adds a key meanwhile.
    original = masking.islice
    try:
        masking.islice = lambda _items, _count: items()  # type: ignore[assignment]
        assert masking.clean({1: 1}) == "<dict>"
    finally:
        masking.islice = original


# Parts of a request.


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        (
            "cookie",
            "theme=dark; session=abc; x=0123456789abcdef0123456789",
            "theme=dark; session=***; x=***",
        ),
        ("cookie", "loose; 0123456789abcdef0123456789; session=", "loose; ***; session="),
        ("set-cookie", "session=abc; Path=/; HttpOnly", "session=***; Path=/; HttpOnly"),
        ("authorization", "Bearer x", "Bearer ***"),
        ("authorization", "x", MASK),
        ("proxy-authorization", "no:scheme here", MASK),
        ("x-api-key", "x", MASK),
        ("accept", "text/html", "text/html"),
        ("referer", "http://a/?token=1&b=2", "http://a/?token=***&b=2"),
        ("x-note", "password=1", "password=***"),
        ("x-note", "plain", "plain"),
    ],
)
def test_headers(name: str, sent: str, expected: str) -> None:
    assert masking.header(name, sent) == expected


def test_cookies() -> None:
    assert masking.cookie("session", "abc") == MASK
    assert masking.cookie("session", "") == ""
    assert masking.cookie("theme", "dark") == "dark"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"a=1&password=x&\xff=\xfe", "a=1&password=***&ÿ=þ"),
        ("é=1".encode(), "é=1"),
        ("user%5Bpassword%5D=z&a", "user%5Bpassword%5D=***&a"),
        ("next=https%3A%2F%2Fu%3Apw%40host%2F", "next=***"),
        ("next=%2Fpath%3Ftoken%3D1", "next=***"),
        ("code=abc&code=aGVsbG8gd29ybGQ12345678", "code=abc&code=***"),
        (f"{JWT}&password", "***&password"),
        ("password=", "password="),
        ("a=b=c&&=&=x", "a=b=c&&=&=x"),
    ],
)
def test_query_strings(sent: str | bytes, expected: str) -> None:
    assert masking.query_string(sent) == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "https://u:p@h/x?token=1&a=2#access_token=z",
            "https://u:***@h/x?token=***&a=2#access_token=***",
        ),
        ("mysql+aiomysql://root:p@ss/w@h:1,h2:2/db", "mysql+aiomysql://root:***@h:1,h2:2/db"),
        ("https://git@host/x", "https://git@host/x"),
        (f"https://{'a1' * 12}@host/", "https://***@host/"),
        ("//host/x", "//host/x"),
        ("/path?flag&x=&state=0123456789abcdef0123456789", "/path?flag&x=&state=***"),
        ("/path#top", "/path#top"),
        ("just text", "just text"),
        ("sqlite:///file.db", "sqlite:///file.db"),
    ],
)
def test_urls(sent: str, expected: str) -> None:
    assert masking.url(sent) == expected


def test_long_urls_are_cut() -> None:
    assert len(masking.url("a" * 10**6)) <= masking.MAX_TEXT + 2
    assert len(masking.query_string("a" * 10**6)) <= masking.MAX_TEXT + 2


# Whatever is sent.


@given(st.text())
def test_any_text_can_be_masked(sent: str) -> None:
    for mask in (masking.text, masking.url, masking.clean, masking.query_string):
        mask(sent).encode("utf-8", "surrogatepass")
    for name in ("cookie", "set-cookie", "authorization", "referer", "x-other"):
        masking.header(name, sent)


@given(st.binary())
def test_any_query_string_can_be_masked(sent: bytes) -> None:
    masking.query_string(sent).encode()


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b%20c", "é"]), st.text(alphabet="xyzé +-/", max_size=6))
    )
)
def test_a_query_string_without_secrets_is_left(pairs: list[tuple[str, str]]) -> None:
    sent = "&".join(f"{name}={quote(value)}" for name, value in pairs).encode()
    assert masking.query_string(sent).encode() == sent


@given(st.text(min_size=1), st.text(min_size=4, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_secret_never_shows(before: str, secret: str) -> None:
    sent = f"a={quote(before)}&password={quote(secret)}"
    masked = masking.query_string(sent)
    assert dict(parse_qsl(masked))["password"] == MASK


LONG = [
    "a" * 10**6, "eyJ" * 300_000, "password=" * 100_000, "'" * 10**6, "4 " * 500_000, "://" * 300_000,
    "a-" * 500_000, "basic " * 200_000, "(password)=(" * 80_000, "://a:" * 200_000,
    "[parameters: " * 80_000, "-----BEGIN PRIVATE KEY-----" * 40_000, "a=\\" * 300_000,
    'a="' + "\\" * 10**6, "a@" * 500_000, "&" * 10**6, ";" * 10**6, "=&" * 10**6,
]  # fmt: skip


@pytest.mark.parametrize("sent", LONG, ids=[re.sub(r"\W", "_", each[:12]) for each in LONG])
def test_no_text_takes_long(sent: str) -> None:
    started = time.process_time()
    masking.text(sent)
    masking.url(sent)
    masking.query_string(sent)
    masking.header("x-other", sent)
    # Quadratic work on these takes minutes; the bound only has to tell that apart.
    assert time.process_time() - started < 3
