"""The digest of a message: what honest mail shows, in every language and form, and what hostile mail cannot do."""

from __future__ import annotations

import base64
import time
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormsail.digest import Digest, PartAnswer, Refusal, Request, Task
from stormsail.digest.digesting import Digester
from stormsail.digest.protocol import encode_answer
from testkit.mailbox_copies import corpus

HEAD = b"From: Olga <olga@elsewhere.example>\r\nSubject: hello\r\n"


def digest(content: bytes) -> Digest:
    answer = Digester().answer(Request(Task.DIGEST, memoryview(content)))
    assert isinstance(answer, Digest)
    encode_answer(answer)
    return answer


def part(content: bytes, number: str) -> PartAnswer | Refusal:
    answer = Digester().answer(Request(Task.PART, memoryview(content), number))
    assert isinstance(answer, PartAnswer | Refusal)
    return answer


def texts_of(one: Digest) -> list[str]:
    people = [f"{person.name}{person.address}" for person in one.authors + one.to + one.cc + one.reply_to]
    names = [node.file_name for node in one.attachments()]
    return [one.subject, one.text, one.html, one.preview, one.message_id, *people, *names]


def written(subject: str, text: str, charset: str) -> bytes:
    message = EmailMessage()
    message["From"] = "Jörg Müller <joerg@elsewhere.example>"
    message["To"] = "Ann <ann@example.com>, 会議室 <room@example.com>"
    message["Subject"] = subject
    message.set_content(text, charset=charset)
    return message.as_bytes()


def test_a_plain_message_shows_its_header_and_text() -> None:
    one = digest(
        HEAD + b"To: Ann <ann@example.com>\r\nCc: ben@example.com\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\n"
        b"Message-ID: <1@x.example>\r\nReferences: <a@x> <b@x>\r\nIn-Reply-To: <b@x>\r\n"
        b"Auto-Submitted: auto-replied\r\n\r\n> quoted\r\nGood morning\r\n"
    )
    assert (one.subject, one.authors[0].name, one.authors[0].address) == ("hello", "Olga", "olga@elsewhere.example")
    assert [person.address for person in one.to + one.cc] == ["ann@example.com", "ben@example.com"]
    assert one.date == 1_772_442_000_000
    assert (one.message_id, one.references, one.in_reply_to) == ("<1@x.example>", ("<a@x>", "<b@x>"), ("<b@x>",))
    assert one.auto_submitted == "auto-replied"
    assert one.preview == "Good morning"
    assert one.problem == ""
    assert one.header_length > 200


@pytest.mark.parametrize(
    ("subject", "text", "charset"),
    [
        ("Grüße aus Köln", "Die Straße ist gesperrt.\n", "iso-8859-1"),
        ("会議のお知らせ", "明日の会議は十時です。\n", "iso-2022-jp"),
        ("关于会议", "明天上午十点开会。\n", "gb18030"),
        ("회의 안내", "내일 회의는 열 시입니다.\n", "euc-kr"),
        ("Встреча", "Завтра в десять.\n", "koi8-r"),
    ],
)
def test_text_of_every_charset_is_read(subject: str, text: str, charset: str) -> None:
    one = digest(written(subject, text, charset))
    assert one.subject == subject
    assert one.text == text
    assert one.authors[0].name == "Jörg Müller"
    assert one.to[1].name == "会議室"


def test_a_charset_that_does_not_exist_is_guessed() -> None:
    one = digest(HEAD + b"Content-Type: text/plain; charset=klingon\r\n\r\n\xe9t\xe9 \xff\r\n")
    assert one.text.startswith("été")


@pytest.mark.parametrize(
    "codec", ["idna", "punycode", "unicode_escape", "base64", "zip", "rot13", "x" * 500, "a\\x00b"]
)
def test_a_codec_of_python_is_no_charset(codec: str) -> None:
    one = digest(HEAD + f"Content-Type: text/plain; charset={codec}\r\n\r\nplain \\u0041 text\r\n".encode())
    assert one.text == "plain \\u0041 text\n"


def test_controls_and_nul_are_shown_and_not_obeyed() -> None:
    one = digest(b"Subject: a\x00b\x1b[31m\xe2\x80\xaegnp.exe\r\n\r\nx\x00y\x1b]0;title\x07\r\n")
    assert one.subject == "a\ufffdb\ufffd[31mgnp.exe"
    assert one.text == "x\ufffdy\ufffd]0;title\ufffd\n"
    assert not any("\x00" in text for text in texts_of(one))


def test_encoded_words_of_one_character_are_put_together() -> None:
    split = "=?utf-8?B?" + base64.b64encode("会".encode()[:2]).decode() + "?="
    rest = "=?utf-8?B?" + base64.b64encode("会".encode()[2:]).decode() + "?="
    assert digest(f"Subject: {split}\r\n {rest} and =?utf-8*en?q?more=20?=\r\n\r\n".encode()).subject == "会 and more"


def test_an_alternative_shows_its_best_form_and_its_text() -> None:
    message = EmailMessage()
    message["Subject"] = "both"
    message.set_content("plain words")
    message.add_alternative("<p>rich <b>words</b></p>", subtype="html")
    one = digest(message.as_bytes())
    assert one.text.strip() == "plain words"
    assert one.html.strip() == "<p>rich <b>words</b></p>"
    assert one.attachments() == ()


def test_html_alone_gives_text_to_read_and_to_search() -> None:
    one = digest(HEAD + b"Content-Type: text/html\r\n\r\n<h1>Offer</h1><p>Only&nbsp;today<br>and tomorrow</p>")
    assert one.text == "Offer\n\nOnly\xa0today\nand tomorrow"
    assert one.preview == "Offer Only today and tomorrow"


def test_a_stub_of_plain_text_does_not_hide_the_words_of_the_html() -> None:
    message = EmailMessage()
    message.set_content("See the HTML part")
    message.add_alternative(f"<p>{'the invoice is overdue ' * 20}</p>", subtype="html")
    one = digest(message.as_bytes())
    assert one.text.strip() == "See the HTML part"
    assert "overdue" in one.words


def test_an_attachment_is_listed_and_comes_out_as_it_went_in() -> None:
    content = bytes(range(256)) * 40
    message = EmailMessage()
    message["Subject"] = "files"
    message.set_content("see attached")
    message.add_attachment(content, maintype="application", subtype="pdf", filename="Übersicht März.pdf")
    message.add_attachment("inner text", subtype="plain", filename="notes.txt")
    raw = message.as_bytes()
    one = digest(raw)
    listed = [(node.number, node.file_name, node.content_type, node.size) for node in one.attachments()]
    assert listed[0] == ("2", "Übersicht März.pdf", "application/pdf", len(content))
    assert listed[1][:3] == ("3", "notes.txt", "text/plain")
    assert one.text.strip() == "see attached"
    taken = part(raw, "2")
    assert isinstance(taken, PartAnswer)
    assert (taken.file_name, taken.content) == ("Übersicht März.pdf", content)


def test_a_message_inside_the_message_comes_out_byte_for_byte() -> None:
    inner = b"Subject:   inner \r\nX-Odd:value\r\n\r\nbody\r\n\r\n"
    raw = (
        HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nlook\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--b--\r\n"
    )
    one = digest(raw)
    assert [(node.number, node.content_type, node.octets) for node in one.attachments()] == [
        ("2", "message/rfc822", len(inner))
    ]
    taken = part(raw, "2")
    assert isinstance(taken, PartAnswer)
    assert taken.content == inner


@pytest.mark.parametrize("number", ["0", "3", "1.1", "", "x", "-1", "1" * 400, "2.2.2", "²"])
def test_a_part_that_is_not_there_is_refused(number: str) -> None:
    raw = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    assert part(raw, number) == Refusal("There is no such part")


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\evil.dll", "evil.dll"),
        ("a\r\n\tb.txt", "a b.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("...", "part-1.pdf"),
        ("x" * 400 + ".pdf", "x" * 116 + ".pdf"),
        ("what?<is>|this*.doc", "what__is__this_.doc"),
    ],
)
def test_a_file_name_can_only_name_a_file(given: str, saved: str) -> None:
    word = "=?utf-8?B?" + base64.b64encode(given.encode()).decode() + "?="
    raw = HEAD + f'Content-Type: application/pdf; name="{word}"\r\n\r\nx'.encode()
    assert digest(raw).attachments()[0].file_name == saved


def test_the_body_structure_counts_parts_as_imap_does() -> None:
    message = EmailMessage()
    message.set_content("plain")
    message.add_alternative("<p>rich</p>", subtype="html")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="x.png")
    structure = digest(message.as_bytes()).structure
    assert structure is not None
    assert [node.number for node in structure.parts] == ["1", "2"]
    assert [node.number for node in structure.parts[0].parts] == ["1.1", "1.2"]
    assert structure.parts[0].parts[0].content_type == "text/plain"
    single = digest(HEAD + b"\r\nline\r\nline\r\n").structure
    assert single is not None
    assert (single.number, single.octets, single.lines) == ("1", 12, 2)


def test_a_list_of_blind_recipients_is_not_shown() -> None:
    one = digest(HEAD + b"Bcc: secret@example.com\r\n\r\ntext")
    assert "secret" not in str(one.headers)


BOMBS = {
    "ten thousand multiparts in each other": b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (number, number) for number in range(10_000)
    ),
    "ten thousand messages in each other": b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
    "a hundred thousand parts": b"Content-Type: multipart/mixed; boundary=q\r\n\r\n" + b"--q\r\n\r\n\r\n" * 100_000,
    "fifty thousand fields": b"X-Field: value\r\n" * 50_000 + b"\r\ntext",
    "a flood of encoded words": b"X: y\r\nSubject: " + b"=?utf-8?q?a?= " * 100_000 + b"\r\n\r\ntext",
    "a field of many lines": b"X: y" + b"\r\n z" * 200_000 + b"\r\n\r\ntext",
    "a hundred thousand addresses": b"To: " + b"a@b.example, " * 100_000 + b"\r\n\r\ntext",
    "brackets in brackets in an address": b"To: " + b"(" * 100_000 + b"\r\n\r\ntext",
    "parameters without end": b"Content-Type: multipart/mixed; " + b'a="; ' * 50_000 + b"\r\n\r\ntext",
    "continued parameters": b"Content-Type: text/plain; " + b"a*0*=x;" * 50_000 + b"\r\n\r\ntext",
    "a multipart without boundary": b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\ntext",
    "a boundary that never comes": b"Content-Type: multipart/mixed; boundary=q\r\n\r\n--x\r\n\r\ntext",
    "sixty thousand divs": b"Content-Type: text/html\r\n\r\n" + b"<div>" * 60_000 + b"text",
    "divs closed only in a quoted attribute": b"Content-Type: text/html\r\n\r\n"
    + b'<div "></div "><div>' * 19_000
    + b"text",
    "styles that never end": b"Content-Type: text/html\r\n\r\n" + b"<style>" * 100_000,
    "every octet there is": bytes(range(256)) * 1_000,
    "nothing": b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gives_a_digest_quickly(name: str) -> None:
    started = time.monotonic()
    one = digest(HEAD + BOMBS[name])
    assert time.monotonic() - started < 10
    assert one.authors[0].address == "olga@elsewhere.example"
    assert one.subject.startswith("hello")
    assert len(one.text) <= 512 * 1024


def test_what_could_not_be_read_is_said() -> None:
    assert "5000 header fields" in digest(HEAD + BOMBS["fifty thousand fields"]).problem
    assert "1000 parts" in digest(HEAD + BOMBS["a hundred thousand parts"]).problem
    assert "nested too deeply" in digest(HEAD + BOMBS["sixty thousand divs"]).problem
    nested = digest(HEAD + BOMBS["ten thousand multiparts in each other"])
    assert "could not be taken apart" in nested.problem
    assert nested.structure is None


def test_a_scan_reads_the_header_without_the_parser() -> None:
    answer = Digester().answer(Request(Task.SCAN, memoryview(HEAD + b"To: Ann\r\n <ann@example.com>\r\n\r\nthe text")))
    assert isinstance(answer, Digest)
    assert (answer.subject, answer.to[0].address, answer.text) == ("hello", "ann@example.com", "the text")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"Content-Type: ",
                b"multipart/mixed",
                b"; boundary=q",
                b"\r\n",
                b"\r\n\r\n",
                b"--q",
                b"--q--",
                b"=?utf-8?b?",
            ]
            + [b"?=", b'"', b"=E", b"=\r\n", b"\xff\xfe", b"text/html", b"<a href='", b"<!--", b"charset=utf-16", b"\0"]
            + [b"Content-Transfer-Encoding: base64\r\n", b"message/rfc822", b"From: a b <", b";", b"*0*=x'y'%zz"]
        ),
        max_size=60,
    )
)
def test_no_mixture_of_mail_syntax_is_too_much(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    one = digest(content)
    assert not any("\x00" in text for text in texts_of(one))
    part(content, "1")


MESSAGES = corpus()


@pytest.mark.skipif(not MESSAGES, reason="the corpus of difficult messages is not here; STORMSAIL_CORPUS may name it")
def test_every_message_of_the_corpus_is_taken_apart() -> None:
    digester = Digester()
    for path in MESSAGES:
        answer = digester.answer(Request(Task.DIGEST, memoryview(path.read_bytes())))
        assert isinstance(answer, Digest), path.name
        assert answer.problem == "", path.name
        encode_answer(answer)
        for node in answer.attachments():
            taken = digester.answer(Request(Task.PART, memoryview(path.read_bytes()), node.number))
            assert isinstance(taken, PartAnswer), (path.name, node.number)
            assert len(taken.content) == node.size or node.encoding == "base64", (path.name, node.number)
