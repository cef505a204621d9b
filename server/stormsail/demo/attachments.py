"""Files to attach, made on the spot: small, valid, and different each time. Nothing is read from disk."""

from __future__ import annotations

import random
import struct
import zlib
from datetime import UTC, datetime, timedelta

import msgspec

PIXELS = 160


class Attachment(msgspec.Struct, frozen=True):
    """A file to attach."""

    name: str
    maintype: str
    subtype: str
    content: bytes


def make_attachment(name: str, title: str, chance: random.Random) -> Attachment:
    """A file of the kind that the name's ending says."""
    match name.rpartition(".")[2]:
        case "pdf":
            return Attachment(name, "application", "pdf", _pdf(title))
        case "png":
            return Attachment(name, "image", "png", _png(chance))
        case "csv":
            return Attachment(name, "text", "csv", _csv(chance))
        case "ics":
            return Attachment(name, "text", "calendar", _invitation(title, chance))
        case _:
            return Attachment(name, "application", "octet-stream", chance.randbytes(2000))


def _pdf(title: str) -> bytes:
    """One page with the title on it."""
    shown = "".join(letter if letter.isascii() and letter not in "()\\" else "?" for letter in title)
    page = f"BT /F1 24 Tf 72 720 Td ({shown}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
    ]
    made = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(made)


def _png(chance: random.Random) -> bytes:
    """Two colours running into each other."""
    left, right = chance.randbytes(3), chance.randbytes(3)
    row = b"".join(
        bytes((one * (PIXELS - at) + other * at) // PIXELS for one, other in zip(left, right, strict=True))
        for at in range(PIXELS)
    )
    pixels = zlib.compress((b"\x00" + row) * PIXELS)
    header = struct.pack(">IIBBBBB", PIXELS, PIXELS, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _csv(chance: random.Random) -> bytes:
    rows = [
        f"item {number};{chance.randint(1, 400)};{chance.randint(100, 99_999) / 100:.2f}" for number in range(1, 30)
    ]
    return "\r\n".join(["item;quantity;price", *rows, ""]).encode()


def _invitation(title: str, chance: random.Random) -> bytes:
    begin = datetime.now(UTC).replace(hour=10, minute=30, second=0) + timedelta(days=chance.randint(2, 9))
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Stormsail//demo//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        f"UID:{chance.getrandbits(64):016x}@demo",
        f"DTSTAMP:{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
        f"DTSTART:{begin:%Y%m%dT%H%M%SZ}",
        f"DTEND:{begin + timedelta(hours=1):%Y%m%dT%H%M%SZ}",
        f"SUMMARY:{title}",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()
