"""Letters as mail programs make them (RFC 5322, RFC 2045): threads with References, charsets, HTML, attachments.

In: who writes to whom about what. Out: the bytes and what is needed to answer them.
"""

from __future__ import annotations

import random
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr, localtime, make_msgid

import msgspec

from .attachments import make_attachment
from .texts import ALARM, COLLEAGUES, LANGUAGES, NEWSLETTERS, Opening

QUOTED_LINES = 12
HTML_SHARE = 0.4


class Writer(msgspec.Struct, frozen=True):
    """Somebody who writes or is written to."""

    name: str
    address: str
    language: str = "en"

    @property
    def first_name(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class Letter(msgspec.Struct, frozen=True):
    """A letter ready to be sent. `recipients` are envelope recipients, Bcc among them; `text` is its plain text."""

    author: Writer
    to: Writer
    recipients: tuple[str, ...]
    subject: str
    text: str
    content: bytes
    message_id: str = ""
    references: tuple[str, ...] = ()
    """The Message-IDs of the thread before this letter."""


def first_letter(author: Writer, to: Writer, chance: random.Random, *, copies: tuple[Writer, ...] = ()) -> Letter:
    """A letter that begins a thread."""
    return _open(author, to, chance.choice(LANGUAGES[author.language].openings), chance, copies)


def colleagues_letter(author: Writer, to: Writer, chance: random.Random) -> Letter:
    """A letter between two who work together."""
    return _open(author, to, chance.choice(COLLEAGUES), chance, ())


def answer_to(letter: Letter, author: Writer, chance: random.Random) -> Letter:
    """An answer by `author` to whoever wrote, quoting what they wrote (RFC 5322 §3.6.4)."""
    language = LANGUAGES[author.language]
    quoted = "\n".join(f"> {line}".rstrip() for line in letter.text.splitlines()[:QUOTED_LINES])
    said = _filled(chance.choice(language.answers), author, letter.author)
    text = f"{said}\n\n{letter.author.name} {language.wrote}\n{quoted}"
    subject = letter.subject if letter.subject.startswith("Re: ") else f"Re: {letter.subject}"
    references = (*letter.references, *((letter.message_id,) if letter.message_id else ()))
    message = _head(author, letter.author, subject, references)
    _set_text(message, text, author, chance)
    finished = _finished(author, letter.author, (letter.author.address,), subject, text, message)
    return msgspec.structs.replace(finished, references=references)


def newsletter(to: Writer, chance: random.Random) -> Letter:
    """A newsletter in HTML with pictures from elsewhere and the list fields (RFC 2369, RFC 8058)."""
    name, address, subject = chance.choice(NEWSLETTERS)
    author = Writer(name, address)
    message = _head(author, to, subject, ())
    bounce = f"bounce-{chance.getrandbits(32):08x}@{author.domain}"
    message["List-Id"] = f"{name} <list.{author.domain}>"
    message["List-Unsubscribe"] = f"<https://{author.domain}/leave/{chance.getrandbits(32):08x}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Precedence"] = "bulk"
    text = f"{subject}\n\nRead it at https://{author.domain}/this-week\n"
    message.set_content(text)
    message.add_alternative(_page(name, subject, author.domain), subtype="html")
    letter = _finished(author, to, (to.address,), subject, text, message)
    return msgspec.structs.replace(letter, author=Writer(name, bounce))


def alarm(to: Writer) -> Letter:
    """What a device without a clock sends: the same bytes every time."""
    content = ALARM.format(to=to.address).replace("\n", "\r\n").encode()
    author = Writer("UPS rack 4", "alarm@power-monitor.example")
    return Letter(author, to, (to.address,), "UPS rack 4: battery test passed", "", content)


def _open(author: Writer, to: Writer, opening: Opening, chance: random.Random, copies: tuple[Writer, ...]) -> Letter:
    message = _head(author, to, opening.subject, ())
    if copies:
        message["Cc"] = ", ".join(formataddr((copy.name, copy.address)) for copy in copies)
    text = _filled(opening.text, author, to)
    _set_text(message, text, author, chance)
    if opening.attachment is not None:
        made = make_attachment(opening.attachment, opening.subject, chance)
        message.add_attachment(made.content, maintype=made.maintype, subtype=made.subtype, filename=made.name)
    recipients = (to.address, *(copy.address for copy in copies))
    return _finished(author, to, recipients, opening.subject, text, message)


def _filled(text: str, author: Writer, to: Writer) -> str:
    return text.format(name=to.first_name, me=author.first_name)


def _set_text(message: EmailMessage, text: str, author: Writer, chance: random.Random) -> None:
    message.set_content(text + "\n", charset=_charset_for(text, author.language))
    if author.language == "en" and chance.random() < HTML_SHARE:
        message.add_alternative(_letter_page(text), subtype="html")


def _head(author: Writer, to: Writer, subject: str, references: tuple[str, ...]) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((author.name, author.address))
    message["To"] = formataddr((to.name, to.address))
    message["Subject"] = subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(domain=author.domain)
    if references:
        message["In-Reply-To"] = references[-1]
        message["References"] = " ".join(references)
    return message


def _finished(
    author: Writer, to: Writer, recipients: tuple[str, ...], subject: str, text: str, message: EmailMessage
) -> Letter:
    return Letter(author, to, recipients, subject, text, message.as_bytes(), str(message["Message-ID"]))


def _charset_for(text: str, language: str) -> str:
    """The charset of the writer's mail program, where the text fits into it."""
    charset = LANGUAGES[language].charset
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return "utf-8"
    return charset


def _letter_page(text: str) -> str:
    paragraphs = "".join(f"<p>{part.replace(chr(10), '<br>')}</p>" for part in text.split("\n\n"))
    return f'<html><body style="font-family: Calibri, sans-serif">{paragraphs}</body></html>'


def _page(name: str, subject: str, domain: str) -> str:
    rows = "".join(
        f'<tr><td><img src="https://{domain}/{number}.jpg" alt="" width="120"></td>'
        f"<td><h2>{subject} ({number})</h2><p>A few lines that make one want to read on.</p></td></tr>"
        for number in range(1, 6)
    )
    return (
        f"<html><head><style>h1 {{ color: #134 }}</style></head><body><h1>{name}</h1><table>{rows}</table>"
        f'<img src="https://{domain}/seen.gif" width="1" height="1" alt=""></body></html>'
    )
