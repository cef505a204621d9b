"""What most stories begin with: a scripted primary, a scripted outside, and a gateway between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop


@pytest.fixture
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture
def outside() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture
def gateway(primary: NextHop, outside: NextHop) -> Iterator[Gateway]:
    with running_gateway(primary=primary.port, outside=outside.port) as running:
        yield running
