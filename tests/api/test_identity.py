"""What the hub says of a token, and what becomes of it."""

from __future__ import annotations

import pytest

from nvlhub.errors import NotAllowedError
from nvlhub.portal.identity import Hub, LoginNeededError, visitor_of
from nvlhub.visitor import ADMIN_SCOPE, HUB_SCOPE

ACCESS = frozenset({"access:services!service=portal", "access:services"})


def test_a_server_token_names_its_server() -> None:
    model = {"name": "ann", "scopes": ["access:services!service=portal", "access:servers!server=ann/big"]}
    assert visitor_of(model, ACCESS).server == "ann/big"


def test_without_the_scope_nobody_comes_in() -> None:
    with pytest.raises(NotAllowedError):
        visitor_of({"name": "ann", "scopes": ["access:services!service=other"]}, ACCESS)


def test_admins_and_the_hub_are_known_by_scope_not_by_name() -> None:
    assert not visitor_of({"name": "admin", "admin": True, "scopes": list(ACCESS)}, ACCESS).admin
    assert visitor_of({"name": "x", "scopes": [*ACCESS, ADMIN_SCOPE]}, ACCESS).admin
    assert visitor_of({"name": "x", "scopes": [HUB_SCOPE]}, ACCESS).hub


@pytest.mark.parametrize("token", ["", "x" * 201, "a\nb", "tökén"])
def test_what_cannot_be_a_token_is_not_asked_about(token: str) -> None:
    with pytest.raises(LoginNeededError):
        Hub("http://127.0.0.1:9").visitor(token)
