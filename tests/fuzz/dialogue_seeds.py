"""Dialogues to begin with, and words that mean something to a door. Turns are separated by RS (0x1e)."""

from __future__ import annotations

T = b"\x1e"
HELLO = b"EHLO client.test\r\n"
MAIL = b"MAIL FROM:<x@example.org>\r\n"
RCPT = b"RCPT TO:<ann@example.com>\r\n"
SLOW = b"RCPT TO:<slow.bob@example.com>\r\n"
TEXT = b"Subject: hello\r\nFrom: x@example.org\r\n\r\nHow are you?\r\n..dots\r\n"
END = b".\r\n"
SMUGGLED = b"MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n" + TEXT
FAKE_ENDS = (
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\r\r\n", b"\n\r\n.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n",
    b"\n.\r\r\n", b"\r\r\n.\r\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\r\n. \r\n", b"\r\n..\r\n", b"\x0b.\x0b",
)  # fmt: skip


def dialogue(*turns: bytes) -> bytes:
    return T.join(turns)


def transaction(text: bytes, *, rcpt: bytes = RCPT) -> bytes:
    return dialogue(MAIL, rcpt, b"DATA\r\n", text + END)


SEEDS: list[bytes] = [
    dialogue(HELLO, transaction(TEXT), b"QUIT\r\n"),
    dialogue(HELLO, MAIL + RCPT + b"DATA\r\n", TEXT + END + MAIL + RCPT + b"DATA\r\n", TEXT + END + b"QUIT\r\n"),
    dialogue(HELLO, MAIL + SLOW + b"DATA\r\n", TEXT + END + b"RSET\r\nNOOP\r\n", b"QUIT\r\n"),
    dialogue(b"HELO old.test\r\n", transaction(b""), transaction(b"\r\n"), transaction(b"..\r\n.\x00\r\n")),
    dialogue(HELLO, MAIL + RCPT + b"DATA\r\n" + TEXT + END + b"QUIT\r\n"),
    dialogue(HELLO, b"MAIL FROM:<>\r\n" + SLOW + RCPT + SLOW, b"DATA\r\n", b"x" * 70_000 + b"\r\n" + END, b"NOOP\r\n"),
    dialogue(HELLO, b"MAIL FROM:<x@example.org> SIZE=100 BODY=8BITMIME\r\n", RCPT, b"DATA\r\n", b"caf\xe9\r\n" + END),
    dialogue(HELLO, b"MAIL FROM:<x@example.org> SIZE=99999999\r\n", b"RCPT TO:<a@b.example>\r\n", b"DATA\r\n"),
    dialogue(HELLO, transaction((b"y" * 70 + b"\r\n") * 400), transaction(TEXT)),
    dialogue(HELLO, MAIL, RCPT, b"DATA\r\n", TEXT, b"more\r\n", b".", b"\r", b"\n", b"QUIT\r\n"),
    dialogue(b"NOOP\r\nVRFY ann\r\nEXPN all\r\nHELP\r\nRSET\r\nAUTH PLAIN AAAA\r\nSTARTTLS\r\nBDAT 3 LAST\r\nabcQUIT\r\n"),
    dialogue(HELLO, b"MAIL FROM:<\"a b\"@example.org>\r\nRCPT TO:<Postmaster>\r\nRCPT TO:<\"ann\"@EXAMPLE.COM>\r\n", b"DATA\r\n",
             b"Stormsail-Trace: v1; 0; mx; 00\r\nAuthentication-Results: mx.example.com; spf=pass\r\n\r\nx\r\n" + END),
    dialogue(b"EHLO " + b"x" * 5000 + b"\r\n", b"NOOP " + b"y" * 70_000 + b"\r\n", HELLO),
    dialogue(b"\r\n\n\r\n", b"\xff\xfe\r\n" * 3, b"QUIT\n", b"QUIT\r\n"),
    *(dialogue(HELLO, MAIL, RCPT, b"DATA\r\n", TEXT + fake + SMUGGLED + END, b"QUIT\r\n") for fake in FAKE_ENDS),
]  # fmt: skip

WORDS: list[bytes] = [
    T, b"\r\n", b"\n", b"\r", b".", b".\r\n", b"\r\n.\r\n", b"\0", b"\xff", b"\t", b" ", b"..", b"<", b">", b'"', b"\\", b"@", b":",
    HELLO, MAIL, RCPT, SLOW, b"DATA\r\n", T + b"DATA\r\n" + T, TEXT, END, SMUGGLED, transaction(TEXT), b"QUIT\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"STARTTLS\r\n", b"AUTH LOGIN\r\n", b"BDAT 10 LAST\r\n", b"data\r\n", b"DATA \r\n", b"DATA x\r\n", b"mail from:<>\r\n",
    b"MAIL FROM: <x@example.org>\r\n", b"RCPT TO:<@a.example,@b.example:ann@example.com>\r\n", b"RCPT TO:<a@[192.0.2.1]>\r\n",
    b"RCPT TO:<Ann+tag@example.com>\r\n", b"RCPT TO:<x@example.net>\r\n", b"HELO x\r\n", b"EHLO\r\n", b"SIZE=", b"BODY=8BITMIME",
    b"SMTPUTF8", b" NOTIFY=NEVER", b"From: a\r\n", b"Received: from a by b; c\r\n", b"Stormsail-Trace: v1; x; mx; y\r\n",
    b"x" * 1000, b"x" * 4096, b"x" * 65_536, b"(" * 300, b"\r\n" * 50, *FAKE_ENDS,
]  # fmt: skip
