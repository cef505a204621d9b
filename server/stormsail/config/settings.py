"""The settings as structs. Names, defaults and units are what the configuration file says; nothing is computed here."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from stormsail.domain.errors import ConfigError

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; unknown keys are refused."""


class TlsMode(StrEnum):
    REQUIRE = "require"
    """STARTTLS with a certificate that is valid for the next hop's name, or no delivery."""
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS where offered, whatever the certificate (RFC 7435)."""
    NONE = "none"


class UnknownRecipients(StrEnum):
    VERIFY = "verify"
    REFUSE = "refuse"
    ACCEPT = "accept"


class Secret(_Table, frozen=True):
    """`{ file = "…" }` or `{ env = "…" }`: where a secret stands, never the secret."""

    file: str | None = None
    env: str | None = None

    def read(self, base: Path) -> str:
        """The secret itself; `base` is the folder that relative files are found from. Raises ConfigError."""
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigError(f"The environment has no variable {self.env}")
            return value
        if self.file is None:
            raise ConfigError("A secret is { file = … } or { env = … }")
        try:
            return (base / self.file).read_text("utf-8").rstrip("\n")
        except OSError as error:
            raise ConfigError(f"The secret in {self.file} cannot be read: {error.strerror}") from error


class Listener(msgspec.Struct, frozen=True):
    """An address to listen on or to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listener(text: str) -> Listener:
    """`HOST:PORT` or `[IPV6]:PORT`. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{text!r} is not HOST:PORT")
    return Listener(host.removeprefix("[").removesuffix("]"), int(port))


class ServerSettings(_Table, frozen=True):
    hostname: Name
    data_dir: Name = "/var/lib/stormsail"
    operators_group: str = "stormsail-operators"


class ListenSettings(_Table, frozen=True):
    mx: list[str] = []
    connector: list[str] = []
    submission: list[str] = []
    submissions: list[str] = []
    imaps: list[str] = []
    imap: list[str] = []
    http: list[str] = []


class HttpSettings(_Table, frozen=True):
    public_url: str | None = None
    trusted_proxies: list[str] = []


class TlsSettings(_Table, frozen=True):
    certificate: str
    key: str


class StoreSettings(_Table, frozen=True):
    database: str = "sqlite"
    bodies: str = "files"


class LimitSettings(_Table, frozen=True):
    """Sizes in bytes, times in seconds."""

    message_size: Positive = 52_428_800
    connections: Positive = 1000
    connections_per_address: Positive = 50
    recipients: Positive = 1000
    data_memory: Positive = 268_435_456
    line_length: Positive = 1_048_576
    """Octets in one line of a message: far above RFC 5321 §4.5.3.1.6, as real mail is."""
    commands: Positive = 10_000
    """Commands in one session between two messages."""
    junk: Positive = 20
    """Unknown or malformed commands in one session."""
    read_timeout_s: Seconds = 300.0
    """How long a peer may be silent (RFC 5321 §4.5.3.2.7); counts from its last byte, not from the message's start."""
    disk_reserve: NotNegative = 268_435_456
    """Free bytes below which no mail is taken."""
    digest_children: Positive = 1
    digest_seconds: Seconds = 20.0
    digest_memory: Positive = 536_870_912


class ConnectorMark(_Table, frozen=True):
    header: Name
    values: Annotated[list[str], Meta(min_length=1)]


class DrainSettings(_Table, frozen=True):
    messages_per_mailbox_hour: NotNegative = 3000
    connections: Positive = 20


class PrimarySettings(_Table, frozen=True):
    name: Name
    next_hops: Annotated[list[str], Meta(min_length=1)]
    tls: TlsMode = TlsMode.REQUIRE
    tls_ca: str | None = None
    """A PEM file of certificate authorities to believe instead of the system's."""
    connections: Positive = 10
    connector_networks: list[str] = []
    connector_trust: Literal["shared", "dedicated"] = "shared"
    connector_mark: ConnectorMark | None = None
    drain: DrainSettings = field(default_factory=DrainSettings)


class DomainSettings(_Table, frozen=True):
    name: Name
    primary: Name
    unknown_recipients: UnknownRecipients = UnknownRecipients.VERIFY


class DirectorySettings(_Table, frozen=True):
    mailboxes: str | None = None
    plus_addressing: bool = True
    plus_delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = "+"


class DeliverySettings(_Table, frozen=True):
    route: Literal["mx", "smarthost"] = "mx"
    smarthost: str | None = None
    smarthost_tls: TlsMode = TlsMode.OPPORTUNISTIC
    smarthost_user: str | None = None
    smarthost_password: Secret | None = None
    mx_tls: TlsMode = TlsMode.OPPORTUNISTIC
    mx_port: Annotated[int, Meta(ge=1, le=65535)] = 25
    resolvers: list[str] = []
    """`HOST` or `HOST:PORT` of name servers; none: the system's."""
    connections_per_domain: Positive = 4
    retry_first_s: Seconds = 15.0
    retry_max_s: Seconds = 3600.0
    connect_timeout_s: Seconds = 30.0
    reply_timeout_s: Seconds = 300.0
    dot_timeout_s: Seconds = 600.0


class FilterSettings(_Table, frozen=True):
    rspamd: str | None = None


class RetentionSettings(_Table, frozen=True):
    days: Positive = 58


class PeopleSettings(_Table, frozen=True):
    sending: Literal["event_only", "always"] = "event_only"
    """When staff may send from here: only while an event covers them, or at any time."""


class Settings(_Table, frozen=True):
    """The whole file."""

    server: ServerSettings
    listen: ListenSettings = field(default_factory=ListenSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    tls: TlsSettings | None = None
    store: StoreSettings = field(default_factory=StoreSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    primary: list[PrimarySettings] = []
    domain: list[DomainSettings] = []
    directory: DirectorySettings = field(default_factory=DirectorySettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    filter: FilterSettings = field(default_factory=FilterSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    people: PeopleSettings = field(default_factory=PeopleSettings)
