"""TLS for tests: a server's context with a good, an expired, a foreign or a misnamed certificate, and a client's."""

from __future__ import annotations

import ssl
from pathlib import Path

from stormsail.demo.certificates import Authority, CertificateFiles

__all__ = ["Authority", "CertificateFiles", "client_context", "server_context"]


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """What a server presents these files with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def client_context(authority: Path) -> ssl.SSLContext:
    """A client that believes only this authority and checks the name."""
    return ssl.create_default_context(cafile=authority)
