"""Messages built to hurt whoever parses them: each cheap to send, each dear to the careless.

In: nothing. Out: names with bytes, CRLF line ends, no bare CR, no NUL: mail that a server has to take and pass on.
"""

from __future__ import annotations

from collections.abc import Callable

HEAD = b"From: x@example.org\r\nTo: ann@example.com\r\nMessage-ID: <bomb@example.org>\r\n"
MIME = HEAD + b"MIME-Version: 1.0\r\n"


def nested_multiparts(depth: int = 3000) -> bytes:
    parts = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(depth)
    )
    return MIME + parts + b"Content-Type: text/plain\r\n\r\nat the bottom\r\n"


def nested_messages(depth: int = 3000) -> bytes:
    return MIME + b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" * depth + b"\r\nat the bottom\r\n"


def alternating_nests(depth: int = 1500) -> bytes:
    layer = b'Content-Type: multipart/digest; boundary="b%d"\r\n\r\n--b%d\r\n\r\nSubject: inner\r\n'
    return MIME + b"".join(layer % (level, level) for level in range(depth)) + b"\r\nat the bottom\r\n"


def many_fields(count: int = 50_000) -> bytes:
    return HEAD + b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(count)) + b"\r\nbody\r\n"


def many_authors(count: int = 450) -> bytes:
    return b"From: x@example.org\r\nMessage-ID: <y@z>\r\n" * count + b"\r\nbody\r\n"


def endless_field() -> bytes:
    return HEAD + b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\nbody\r\n"


def endless_folding() -> bytes:
    return HEAD + b"Subject: start\r\n" + b" x\r\n" * 100_000 + b"\r\nbody\r\n"


def endless_line() -> bytes:
    return HEAD + b"\r\n" + b"y" * 1_040_000 + b"\r\n"


def encoded_words() -> bytes:
    return HEAD + b"Subject:" + b" =?utf-8?q?=41=42?=" * 50_000 + b"\r\n\r\nbody\r\n"


def broken_encoded_words() -> bytes:
    return HEAD + b"Subject:" + b" =?utf-8?b?=?=?q?" * 30_000 + b"\r\nTo:" + b"=?=?=?" * 30_000 + b"\r\n\r\nbody\r\n"


def open_comments() -> bytes:
    return (
        b"From: " + b"(" * 60_000 + b"\r\nTo: " + b'"\\"' * 30_000 + b"\r\nCc: " + b"<" * 60_000 + b"\r\n\r\nbody\r\n"
    )


def many_recipients() -> bytes:
    return HEAD + b"Cc: " + b"a@b.example,\r\n " * 60_000 + b"z@b.example\r\n\r\nbody\r\n"


def many_groups() -> bytes:
    return HEAD + b"Cc: " + b"g:;," * 60_000 + b"\r\n\r\nbody\r\n"


def unknown_charset() -> bytes:
    return MIME + b"Subject: =?klingon?q?=FF?=\r\nContent-Type: text/plain; charset=klingon\r\n\r\ncaf\xe9\xff\r\n"


def odd_charsets() -> bytes:
    parts = b"".join(
        b"--b\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\xff\x80\r\n" % charset
        for charset in (b"idna", b"punycode", b"rot13", b"zlib", b"undefined", b"unicode_escape", b"utf-7", b"mbcs",
                        b"utf-16", b"x" * 5000, b"../../etc/passwd", b"utf-8'; drop", b"\xff\xfe", b"")
    )  # fmt: skip
    return MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def no_boundary() -> bytes:
    return MIME + b"Content-Type: multipart/mixed\r\n\r\n--\r\n--x\r\nContent-Type: text/plain\r\n\r\nlost\r\n--x--\r\n"


def odd_boundary() -> bytes:
    return MIME + b'Content-Type: multipart/mixed; boundary="' + b"-" * 5000 + b'"\r\n\r\n' + b"-" * 100_000 + b"\r\n"


def many_parts(count: int = 20_000) -> bytes:
    return MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * count + b"--b--\r\n"


def many_attachments(count: int = 3000) -> bytes:
    part = (
        b'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="%d"\r\n\r\nx\r\n'
    )
    parts = b"".join(part % number for number in range(count))
    return MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def many_parameters() -> bytes:
    parameters = b"".join(b"; a*%d*=utf-8''%%41\r\n\t" % number for number in range(20_000))
    return MIME + b"Content-Type: text/plain" + parameters + b"; charset=utf-8\r\n\r\nbody\r\n"


def odd_file_names() -> bytes:
    names = (b"../../../etc/passwd", b"con", b"a\x1b[2Jb", b"\xe2\x80\xaegpj.exe", b"x" * 10_000, b"=?utf-8?q?=00?=")
    part = b'--b\r\nContent-Type: text/x; name="%s"\r\nContent-Disposition: attachment; filename="%s"\r\n\r\nx\r\n'
    parts = b"".join(part % (name, name) for name in names)
    return MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"


def bad_encodings() -> bytes:
    base64 = b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"=A=\xff" * 50_000 + b"\r\n"
    quoted = b"--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=\r\n=" * 50_000 + b"\r\n"
    unix = b"--b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n" + b"M" * 100_000 + b"\r\nend\r\n"
    return MIME + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + base64 + quoted + unix + b"--b--\r\n"


def deep_html() -> bytes:
    return MIME + b"Content-Type: text/html\r\n\r\n" + b"<div>\r\n" * 60_000 + b"deep\r\n"


def wide_html() -> bytes:
    rows = b'<p style="a:b"><a href="javascript:alert(1)" onclick=x>x</a><script>y</script></p>\r\n' * 10_000
    return MIME + b"Content-Type: text/html; charset=utf-8\r\n\r\n" + b"<table>" + rows


def unclosed_html() -> bytes:
    return MIME + b"Content-Type: text/html\r\n\r\n" + b"<a <!-- <![CDATA[ &#x" * 20_000 + b"\r\n"


def endless_calendar() -> bytes:
    body = b"BEGIN:VCALENDAR\r\n" * 5000 + b"RRULE:FREQ=SECONDLY\r\n" * 5000
    return MIME + b"Content-Type: text/calendar; method=REQUEST\r\n\r\n" + body


def old_dates() -> bytes:
    return b"Date: " + b"9" * 5000 + b" Jan 99999999 25:61:61 +9999\r\nDate: \xff\r\n" + HEAD + b"\r\nbody\r\n"


def only_blanks() -> bytes:
    return b" \r\n\t\r\n" * 20_000


BOMBS: dict[str, Callable[[], bytes]] = {
    function.__name__: function
    for function in (
        nested_multiparts, nested_messages, alternating_nests, many_fields, many_authors, endless_field,
        endless_folding, endless_line, encoded_words, broken_encoded_words, open_comments, many_recipients,
        many_groups, unknown_charset, odd_charsets, no_boundary, odd_boundary, many_parts, many_attachments,
        many_parameters, odd_file_names, bad_encodings, deep_html, wide_html, unclosed_html, endless_calendar,
        old_dates, only_blanks,
    )
}  # fmt: skip
