"""Where the tag goes: `|` in a document marks the place, no mark means that there is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_toolbar.web.prolog import LIMIT, PENDING, Prolog

LABELLED = {
    "after head": b"<!doctype html><html lang=en><head>|<title>x</title></head><body>",
    "attributes": b"<html><head profile='x' data-a=\"<head>\" b=c/>|<title>x",
    "upper case, spaces": b" \n<!DOCTYPE HTML>\n <HTML>\r\n<HEAD\n>|<TITLE>",
    "end of a self-closing head": b"<html><head/>|<title>",
    "greater-than in a quoted value": b"<html data-x='a>b' data-y=\"<head>\"><head>|x",
    "quote inside a name is no quotation": b'<html a"b><head>|<p title="x">',
    "equals sign as a name": b'<html ="x"><head>|',
    "empty value": b"<html a= ><head>|",
    "empty value at the end": b"<html a=><head>|",
    "unquoted value with a quote": b'<html a=b"c><head>|',
    "head in a comment": b"<!-- <head> --><html><!--<head>--><head>|<p>",
    "empty comments": b"<!--><head>|<!-- -->",
    "empty comment of three": b"<!---><head>|<!-- -->",
    "comment closed by --!>": b"<!-- x --!><head>|<!-- -->",
    "comment with dashes": b"<!-- a -- b -> c ---><head>|",
    "old doctype": b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x"><html><head>|',
    "xml declaration": b'<?xml version="1.0"?><!doctype html><html xmlns="x"><head>|',
    "cdata is a comment": b"<![CDATA[ x ]]><html><head>|",
    "byte order mark": b"\xef\xbb\xbf<!doctype html><head>|",
    "no head, title": b"<!doctype html>\n|<title>x</title><p>",
    "no head, body": b"<html>\n|<body>x",
    "no head, meta": b"<!doctype html>|<meta charset=utf-8>",
    "no head, text": b"<!doctype html> |Hello",
    "no head, script that writes one": b"<!doctype html>|<script>'<head>'</script>",
    "no head, end tag": b"<!doctype html>|</html>",
    "no head, less-than sign": b"<!doctype html>|<3",
    "header is not head": b"<!doctype html>|<header>x",
    "fragment": b"<p>x</p>",
    "fragment that starts as text": b"x <head>",
    "fragment after a comment": b"<!-- x --><div><head></div>",
    "nothing": b"",
    "white space": b" \n\t",
    "only a doctype": b"<!doctype html>",
    "comment without end": b"<!-- <head>",
    "tag without end": b"<html lang='<head>",
    "tag without end, in a name": b"<html la",
    "UTF-16, little end first": "\ufeff<html><head>".encode("utf-16-le"),
    "UTF-16, big end first": "\ufeff<html><head>".encode("utf-16-be"),
    "UTF-16 without a mark": "<html><head>".encode("utf-16-le"),
    "UTF-32": "<html><head>".encode("utf-32"),
    "NUL bytes": b"<!doctype html>\0<head>",
}

UNLABELLED = {
    "leading meta": b"<html><head><meta charset=utf-8>|<title>x</title>",
    "meta in capitals": b"<head><META CHARSET='utf-8'>|<title>",
    "http-equiv": b'<head><meta http-equiv="Content-Type" content="text/html; charset=x">|<p>',
    "http-equiv without charset": b'<head><meta http-equiv=content-type content="text/html">|<p>',
    "after other metas, links and the title": (
        b"<head> <!-- <meta charset> --><meta name=a><link href=b><title a=b><meta charset=c>"
        b"</titlex></title ><meta charset=utf-8>|<script>"
    ),
    "no head": b"<!doctype html><meta charset=utf-8>|<p>",
    "none, all seen": b"<!doctype html><head>|<script></script>",
    "none, long document": b"<!doctype html><head>|<script>" + b" " * 1100 + b"charset",
    "late one within the prescan": b"<!doctype html><head><script></script><meta charset=utf-8>",
    "base": b"<!doctype html><head>|<base href=//x/><p>",
    "byte order mark": b"\xef\xbb\xbf<head>|<script></script><meta charset=x>",
    "title without end": b"<head><title>x",
    "title whose end tag has no end": b"<head><title>x</title",
}


def marked(document: bytes) -> tuple[bytes, int | None]:
    place = document.find(b"|")
    return document.replace(b"|", b"", 1), None if place < 0 else place


def place(prolog: Prolog, document: bytes, *sizes: int) -> int | None:
    """Feed a document in chunks of these sizes, then the rest; the tag's place in the document."""
    start = 0
    for size in sizes:
        found = prolog.feed(document[start : start + size], last=False)
        if found is not None:
            return start + found
        if prolog.done:
            return None
        start += size
    found = prolog.feed(document[start:], last=True)
    return None if found is None else start + found


@pytest.mark.parametrize("document", LABELLED.values(), ids=LABELLED)
def test_labelled(document: bytes) -> None:
    html, expected = marked(document)
    assert place(Prolog(labelled=True, fragments=False), html) == expected


@pytest.mark.parametrize("document", UNLABELLED.values(), ids=UNLABELLED)
def test_unlabelled(document: bytes) -> None:
    """Browsers look for the encoding's label in the first 1,024 bytes: it must stay there."""
    html, expected = marked(document)
    assert place(Prolog(labelled=False, fragments=False), html) == expected


@pytest.mark.parametrize("document", LABELLED.values(), ids=LABELLED)
def test_cut_anywhere(document: bytes) -> None:
    """A cut may cost the tag where it has to stand before something; it never misplaces it."""
    html, expected = marked(document)
    after = expected is not None and html[:expected].rstrip().lower().endswith((b"<head>", b"/>"))
    for cut in range(len(html) + 1):
        for more in (0, 1):
            found = place(Prolog(labelled=True, fragments=False), html, cut, more)
            assert found == expected or (found is None and not after), cut
    found = place(Prolog(labelled=True, fragments=False), html, *[1] * len(html))
    assert found == expected or (found is None and not after)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_chunks_make_no_difference_to_a_head(data: st.DataObject) -> None:
    pieces = [
        b"<!doctype html>",
        b"<!-- <head> -->",
        b" ",
        b"<html a='<head>' b=\"x>\" c=d>",
        b"<!x>",
    ]
    before = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=6)))
    html = before + b"<head a='>'>" + b"<title>x</title>"
    sizes = data.draw(st.lists(st.integers(0, 9), max_size=60))
    assert place(Prolog(labelled=True, fragments=False), html, *sizes) == html.index(b"<title>")


def test_fragment_in_a_document_of_its_own() -> None:
    for html in (b"|<p>x", b"<!-- x --> |text"):
        document, expected = marked(html)
        assert place(Prolog(labelled=True, fragments=True), document) == expected


def test_other_mark_cut_after_its_first_byte() -> None:
    prolog = Prolog(labelled=True, fragments=True)
    assert prolog.feed(b"\xff", last=False) is None
    assert prolog.done


def test_cut_in_a_byte_order_mark() -> None:
    for sizes in ((1,), (2,), (1, 1), (0, 1)):
        assert place(Prolog(labelled=False, fragments=False), b"\xef\xbb\xbf<head><p>", *sizes) == 9


def test_unlabelled_page_whose_beginning_is_not_all_there() -> None:
    prolog = Prolog(labelled=False, fragments=False)
    assert prolog.feed(b"<!doctype html><head><script></script>", last=False) is None
    assert prolog.done


def test_gives_up_at_the_limit() -> None:
    comment = b"<!--" + b"x" * LIMIT + b"-->"
    assert place(Prolog(labelled=True, fragments=False), comment + b"<head>") is None
    assert place(Prolog(labelled=True, fragments=False), b"<!-- x -->" * LIMIT + b"<head>") is None
    prolog = Prolog(labelled=True, fragments=False)
    chunks = 0
    while not prolog.done:
        assert prolog.feed(b"<!-- x -->", last=False) is None
        chunks += 1
    assert chunks == LIMIT // 10 + 1


def test_keeps_little_of_an_unfinished_token() -> None:
    prolog = Prolog(labelled=True, fragments=False)
    assert prolog.feed(b"<!--" + b"x" * PENDING, last=False) is None
    assert prolog.done


POLICY_META = b"<meta http-equiv=content-security-policy content=a>"
POLICIES = {
    "after the place": (
        b'<head><meta http-equiv="Content-Security-Policy" content="a b">',
        ["a b"],
    ),
    "escaped": (
        b"<head><meta content='script-src &#39;self&#39;' http-equiv=content-security-policy>",
        ["script-src 'self'"],
    ),
    "two": (b"<head>%s<META/%s" % (POLICY_META, POLICY_META[6:]), ["a", "a"]),
    "not finished": (
        b"<head><meta http-equiv=content-security-policy content='a",
        ["script-src 'none'"],
    ),
    "only mentioned": (b"<head><meta name='content-security-policy' content='a'>", []),
    "in text": (b"<head><title>about content-security-policy</title>", []),
    "without content": (b"<head><meta http-equiv=content-security-policy>", [""]),
}


@pytest.mark.parametrize(("html", "expected"), POLICIES.values(), ids=POLICIES)
def test_policies_of_the_document(html: bytes, expected: list[str]) -> None:
    prolog = Prolog(labelled=True, fragments=False)
    assert place(prolog, html) is not None
    assert prolog.policies == expected


def test_policy_before_the_place() -> None:
    prolog = Prolog(labelled=False, fragments=False)
    html = b"<head><meta http-equiv=content-security-policy content=a><meta charset=x><p>"
    assert place(prolog, html) == html.index(b"<p>")
    assert prolog.policies == ["a"]


def test_a_beginning_that_is_known_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    document = b"<!doctype html><html lang=en><head><title>%d</title>"
    policy = b"<meta http-equiv=content-security-policy content=\"script-src 'self'\">"
    found = Prolog(labelled=True, fragments=False).feed(document % 1, last=True)

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("otel_toolbar.web.prolog._read", fail)
    again = Prolog(labelled=True, fragments=False)
    assert again.feed(document % 2 + policy, last=True) == found
    assert again.policies == ["script-src 'self'"], "what follows is looked at"
    another = document.replace(b"=en", b"=de")
    for labelled, different in ((True, another), (False, document)):
        with pytest.raises(AssertionError):
            Prolog(labelled=labelled, fragments=False).feed(different, last=True)
