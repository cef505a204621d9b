"""The HTTP application: routes, sign-in, errors, OpenAPI, put together from the parts (DESIGN §4, CONTRACT).

In: `ApiParts`. Out: an ASGI app for `HttpServer`. It holds nothing of its own but counters.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.types import ASGIApp

from stormsail import __version__
from stormsail.domain.errors import StormsailError

from .entrance import Entrance
from .metrics import Metrics
from .parts import ApiParts
from .problems import on_http_error, on_recursion, on_stormsail_error, on_unknown_error
from .routes import API_ROUTES, OPEN_ROUTES
from .routes.given import provide_principal
from .sign_in import COOKIE, OPEN, make_sign_in
from .status_feed import StatusFeed

API_PATH = "/api/v1"
SCHEMA_NAME = "/openapi.json"
BODY_LIMIT = 1 << 20


def make_http_app(parts: ApiParts) -> ASGIApp:
    """The application over these parts."""
    metrics, feed = Metrics(), StatusFeed(parts)
    app = Litestar(
        [*OPEN_ROUTES, Router(API_PATH, route_handlers=API_ROUTES)],
        dependencies={
            "parts": Provide(lambda: parts, sync_to_thread=False),
            "metrics": Provide(lambda: metrics, sync_to_thread=False),
            "feed": Provide(lambda: feed, sync_to_thread=False),
            "principal": Provide(provide_principal, sync_to_thread=False),
        },
        middleware=[make_sign_in(parts)],
        exception_handlers={
            StormsailError: on_stormsail_error,
            HTTPException: on_http_error,
            RecursionError: on_recursion,
            Exception: on_unknown_error,
        },
        openapi_config=_openapi(),
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
        debug=False,
    )
    return Entrance(app, metrics)


def _only_the_schema(request: Request[Any, Any, Any]) -> None:
    """The framework's router for the schema would answer every unknown path below it with a page of its own."""
    if request.scope["path"] != API_PATH + SCHEMA_NAME:
        raise NotFoundException


def _openapi() -> OpenAPIConfig:
    schemes: dict[str, SecurityScheme | Reference] = {
        "bearer": SecurityScheme(type="http", scheme="bearer", description="The token of POST /api/v1/session"),
        "cookie": SecurityScheme(type="apiKey", name=COOKIE, security_scheme_in="cookie"),
    }
    return OpenAPIConfig(
        title="Stormsail",
        version=__version__,
        description="Errors are application/problem+json (RFC 9457) with a stable `code`.",
        openapi_router=Router(
            API_PATH, route_handlers=[], include_in_schema=False, opt={OPEN: True}, before_request=_only_the_schema
        ),
        render_plugins=[JsonRenderPlugin(path=SCHEMA_NAME)],
        components=Components(security_schemes=schemes),
        security=[{"bearer": []}, {"cookie": []}],
        use_handler_docstrings=True,
    )
