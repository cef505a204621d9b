"""One gateway for the tests of its API; each test keeps to words of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.api_gateway import PEOPLE, ApiGateway, api_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiGateway]:
    with api_gateway(tmp_path_factory.mktemp("gateway")) as running:
        for address in PEOPLE:
            running.add_account(address)
        yield running
