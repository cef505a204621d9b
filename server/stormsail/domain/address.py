"""Mail addresses by RFC 5321 §4.1.2: parsed, checked and brought into the form that the directory compares.

A local part is a dot-atom or a quoted string; a domain is a host name (IDNA: kept as A-labels, RFC 5891) or an
address literal. A source route before the mailbox (RFC 5321 appendix C) is ignored. Everything else is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from .errors import BadAddress

ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
DOT_ATOM = re.compile(rf"{ATOM}(?:\.{ATOM})*")
QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*)"')
LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
LITERAL = re.compile(r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]+)\]")
ROUTE = re.compile(r"@[^\s<>:@,]+(?:,@[^\s<>:@,]+)*:")
LOCAL_LIMIT = 64
DOMAIN_LIMIT = 255
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Address(msgspec.Struct, frozen=True):
    """One mailbox address; `local` is unquoted and as written, `domain` lower case A-labels or a literal."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{quote_local(self.local)}@{self.domain}"

    @property
    def key(self) -> str:
        """The form in which addresses of ours are compared: the local part in lower case."""
        return f"{quote_local(self.local.lower())}@{self.domain}"

    @property
    def ascii(self) -> bool:
        return self.local.isascii()

    def without_tag(self, delimiter: str = "+") -> Address:
        """`ann+news@x` as `ann@x`; unchanged where there is no tag."""
        base, found, _ = self.local.partition(delimiter)
        return Address(base, self.domain) if found and base else self


def quote_local(local: str) -> str:
    """The local part as it stands in a path: quoted only where it must be."""
    if DOT_ATOM.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=8192)
def parse_address(text: str) -> Address:
    """The address in `text` (no angle brackets). Raises BadAddress."""
    if CONTROL.search(text):
        raise BadAddress("The address contains control characters")
    route = ROUTE.match(text)
    if route is not None:
        text = text[route.end() :]
    local_text, at, domain = text.rpartition("@")
    if not at:
        raise BadAddress("The address has no domain")
    if len(local_text.encode("utf-8", "surrogatepass")) > LOCAL_LIMIT + 2:
        raise BadAddress("The local part of the address is too long")
    quoted = QUOTED.fullmatch(local_text)
    if quoted is not None:
        local = re.sub(r"\\(.)", r"\1", quoted.group(1))
    elif DOT_ATOM.fullmatch(local_text):
        local = local_text
    else:
        raise BadAddress("The local part of the address is malformed")
    return Address(local, normal_domain(domain))


@lru_cache(maxsize=8192)
def normal_domain(text: str) -> str:
    """A domain in the form used everywhere here: lower case, A-labels, no final dot. Raises BadAddress."""
    if text.startswith("["):
        if LITERAL.fullmatch(text):
            return text
        raise BadAddress("The address literal is malformed")
    domain = text.lower().removesuffix(".")
    if not domain.isascii():
        domain = _to_a_labels(domain)
    if not domain or len(domain) > DOMAIN_LIMIT:
        raise BadAddress("The domain of the address is malformed")
    for label in domain.split("."):
        if len(label) > 63 or not LABEL.fullmatch(label):
            raise BadAddress("The domain of the address is malformed")
    return domain


def _to_a_labels(domain: str) -> str:
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise BadAddress("The domain of the address is malformed") from error


def show_domain(domain: str) -> str:
    """A domain for people: U-labels where it has A-labels that decode."""
    if "xn--" not in domain:
        return domain
    try:
        return domain.encode("ascii").decode("idna")
    except UnicodeError:
        return domain
