"""The HTTP door: the JSON API, the live stream, the control socket, and the server that runs them in our loop."""

from .app import make_http_app
from .parts import ApiParts
from .server import CONTROL_SOCKET, HttpServer
from .status import make_status, show_event
from .stream_hub import EVERYBODY, Audience, Reader, StreamHub

__all__ = [
    "CONTROL_SOCKET",
    "EVERYBODY",
    "ApiParts",
    "Audience",
    "HttpServer",
    "Reader",
    "StreamHub",
    "make_http_app",
    "make_status",
    "show_event",
]
