"""Who is let in: every route but the probes wants a known token."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from skyward.client.objects import ObjectClient
from skyward.errors import OperatorUnreachable, UserError
from skyward.system.keys import Keys
from tests.apiserver.standins import NODE_TOKEN, TOKEN, World, make_keys, raw_client

GROUP = "/apis/skyward.dev/v1alpha1"
ROUTES = [
    ("GET", "/version"),
    ("GET", "/api"),
    ("GET", "/api/v1"),
    ("GET", "/apis"),
    ("GET", "/apis/"),
    ("GET", "/apis/skyward.dev"),
    ("GET", GROUP),
    ("GET", "/openapi/v3"),
    ("GET", "/openapi/v3/apis/skyward.dev/v1alpha1"),
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/default"),
    ("GET", "/api/v1/namespaces/default/events"),
    *(("GET", f"{GROUP}/{plural}") for plural in ("pools", "nodes", "tasks", "sources", "events")),
    *(("GET", f"{GROUP}/namespaces/default/{plural}") for plural in ("pools", "nodes", "tasks", "sources", "events")),
    *(
        (method, f"{GROUP}/namespaces/default/{plural}/x{sub}")
        for plural in ("pools", "nodes", "tasks", "sources", "events")
        for method in ("GET", "PUT", "PATCH", "DELETE")
        for sub in ("", "/status", "/scale", "/revisions", "/offerings", "/log", "/why")
    ),
    ("POST", f"{GROUP}/namespaces/default/pools"),
    ("GET", f"{GROUP}/offerings"),
    ("POST", f"{GROUP}/offerings"),
    ("GET", "/no/such/path"),
    ("OPTIONS", f"{GROUP}/pools"),
]


@pytest.mark.parametrize("token", [None, "wrong", NODE_TOKEN, "x" * 5000], ids=["none", "bad", "node", "long"])
def test_without_a_known_token_every_route_is_unauthorized(world: World, token: str | None) -> None:
    with raw_client(world, token) as http:
        answers = {(method, path): http.request(method, path).status_code for method, path in ROUTES}

    assert set(answers.values()) == {401}


def test_with_a_known_token_no_route_is_unauthorized(world: World) -> None:
    with raw_client(world, TOKEN) as http:
        answers = [http.request(method, path) for method, path in ROUTES]

    assert {answer.status_code for answer in answers} <= {200, 400, 404, 405, 415}
    for answer in answers:
        assert answer.json()["kind"] if answer.status_code != 200 else answer.content


def test_a_token_in_the_url_is_not_looked_at(world: World) -> None:
    with raw_client(world, None) as http:
        assert http.get("/version", params={"token": TOKEN, "access_token": TOKEN}).status_code == 401


def test_an_unauthorized_answer_is_a_status(world: World) -> None:
    with raw_client(world, "wrong") as http:
        answer = http.get("/version")

    assert (answer.json()["kind"], answer.json()["reason"]) == ("Status", "Unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_probes_are_open(world: World, path: str) -> None:
    with raw_client(world, None) as http:
        assert http.get(path).text == "ok"


def test_the_client_refuses_a_server_of_another_installation(world: World, tmp_path: Path, keys: Keys) -> None:
    other = make_keys(tmp_path / "other")
    config = world.config(tmp_path / "config")
    foreign = type(config)(**{**{name: getattr(config, name) for name in config.__slots__}, "ca_pem": other.ca_pem})

    with ObjectClient(foreign) as client, pytest.raises(OperatorUnreachable, match="another operator") as caught:
        client.version()

    assert "\n" not in str(caught.value)


def test_the_client_says_what_to_do_when_nobody_listens(world: World, tmp_path: Path) -> None:
    config = world.config(tmp_path / "config")
    nowhere = type(config)(
        **{**{name: getattr(config, name) for name in config.__slots__}, "server": "https://127.0.0.1:1"}
    )

    with ObjectClient(nowhere) as client, pytest.raises(OperatorUnreachable, match="skyctl up"):
        client.version()


def test_the_client_sends_no_token_over_plain_http(world: World, tmp_path: Path) -> None:
    config = world.config(tmp_path / "config")
    plain = type(config)(
        **{**{name: getattr(config, name) for name in config.__slots__}, "server": "http://127.0.0.1:1"}
    )

    with pytest.raises(UserError, match="https://"):
        ObjectClient(plain)


def test_a_wrong_token_is_one_clear_error(world: World, tmp_path: Path) -> None:
    with (
        ObjectClient(world.config(tmp_path / "config", token="wrong")) as client,
        pytest.raises(UserError, match="token"),
    ):
        client.version()


def test_old_tls_is_refused(world: World) -> None:
    context = ssl.create_default_context(cadata=world.keys.ca_pem)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with httpx.Client(verify=context, trust_env=False) as http, pytest.raises(httpx.ConnectError):
        http.get(world.url.replace("127.0.0.1", "localhost"))

    with raw_client(world, None) as http:  # the server has dealt with the refused one before it is stopped
        assert http.get("/healthz").text == "ok"
