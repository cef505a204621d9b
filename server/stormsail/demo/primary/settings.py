"""What the sandbox primary is told when it starts: a JSON file that the demo writes."""

from __future__ import annotations

from pathlib import Path

import msgspec


class SandboxSettings(msgspec.Struct, frozen=True):
    """Ports on `host`; paths as text. `connector` is where it hands its outgoing mail to."""

    directory_csv: str
    mail_dir: str
    certificate: str
    key: str
    smtp_port: int
    submission_port: int
    imap_port: int
    connector_port: int
    host: str = "127.0.0.1"


def read_settings(path: Path) -> SandboxSettings:
    return msgspec.json.decode(path.read_bytes(), type=SandboxSettings)
