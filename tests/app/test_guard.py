"""Keys, rights, rates and other pages' origins, over HTTP and sockets: what is refused, to whom, in which words."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.guard import network_of, right_for
from app.keys import line_of, new_key
from app.main import create_app, paths
from app.settings import Settings
from tests.conftest import SAMPLES
from tests.onnx_models import write_brightness
from tests.served import Server

SEVEN = (SAMPLES / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
ALICE, OPS = new_key(), new_key()
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(f"{line_of('alice', ['predict'], ALICE)}\n{line_of('ops', ['admin'], OPS)}\n")
    return path


@pytest.fixture(scope="module")
def client(keys: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(keys=str(keys), model_control=True)), raise_server_exceptions=False) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "headers",
    [bearer(ALICE), {"X-API-Key": ALICE}, {"authorization": f"bearer  {ALICE}"}],
    ids=["bearer", "key", "lower"],
)
def test_a_key_opens_what_it_has_a_right_to(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/predict/digits", content=SEVEN, headers=PNG | headers)

    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["label"] == "7"


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "this needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"),
        (bearer("wrong"), "this API key is not known: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"),
        ({"Authorization": f"Basic {ALICE}"}, "this needs an API key: send"),
    ],
)
def test_without_one_that_is_known_nothing_is_answered(
    client: TestClient, headers: dict[str, str], detail: str
) -> None:
    answer = client.post("/predict/digits", content=SEVEN, headers=PNG | headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="percept"'
    assert answer.json()["type"] == "urn:percept:problem:unauthorized"
    assert answer.json()["detail"].startswith(detail)


def test_rights_are_separate(client: TestClient) -> None:
    assert client.get("/metrics", headers=bearer(OPS)).status_code == 200
    assert client.post("/v2/repository/models/toy-network/unload", headers=bearer(OPS)).status_code == 200
    assert client.post("/v2/repository/models/toy-network/load", headers=bearer(OPS)).status_code == 200
    for method, path, key in (
        ("GET", "/metrics", ALICE),
        ("GET", "/metrics%0A", ALICE),
        ("POST", "/v2/repository/models/toy-network/unload", ALICE),
        ("POST", "/v2/repository/any/models/toy-network/load", ALICE),
        ("POST", "/predict/digits", OPS),
        ("GET", "/models", OPS),
    ):
        answer = client.request(method, path, headers=bearer(key))
        assert answer.status_code == 403, path
        told = answer.json()
        assert "has no right to" in (told["error"] if path.startswith("/v2") else told["detail"])


def test_under_v2_refusals_have_the_protocols_shape(client: TestClient) -> None:
    answer = client.get("/v2/models/digits")

    assert (answer.status_code, list(answer.json())) == (401, ["error"])


OPEN = {
    *("/", "/docs", "/redoc", "/openapi.json", "/health/live", "/health/ready"),
    *("/v2", "/v2/health/live", "/v2/health/ready", *("/page/{file:path}", "/docs/assets/{file:path}")),
}


def test_only_what_stands_here_is_open(client: TestClient) -> None:
    """Of all routes that the application has: one that is added is closed."""
    assert {path for path in paths() if right_for(path) is None} == OPEN
    for path in ("/", "/docs", "/openapi.json", "/health/ready", "/page/main.js", "/docs/assets/swagger-ui.css"):
        assert client.get(path).status_code == 200, path


@pytest.fixture(scope="module")
def served(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real one: the test client, like browsers, makes `/models` of `/docs/../models` before it asks."""
    server = Server(tmp_path_factory.mktemp("served") / "log", PERCEPT_WORKERS="1", PERCEPT_KEYS=str(keys))
    yield server
    server.stop()


def get(server: Server, path: str) -> tuple[int, str]:
    """The path as it is written here."""
    with server.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), str(json.loads(body).get("detail", ""))


@pytest.mark.parametrize(
    "path",
    [
        *("/%2fdocs", "/docs/../models", "/docs/..", "/docs/%2e%2e/models", "/docs%00", "/health/live/x"),
        *(
            "/./models",
            "//models",
            "/health/../models",
            "/health/live/../../models",
            "/redoc/../metrics",
            "/DOCS/assets",
        ),
        *("/v2/repository/models/index/unload", "/v2//models", "/v2/../models", "/PAGE/main.js", "/models/"),
        *("/v2/repository/models/a/load/", "http://x/docs/../models", "/models?/../docs", "/models;/docs"),
    ],
)
def test_no_spelling_of_a_path_goes_round_it(served: Server, path: str) -> None:
    """What is none of the open paths, letter for letter, needs a right."""
    assert get(served, path)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        *("/page/../models", "/page/..%2fmodels", "/page/%2e%2e/models", "/page//models", "/page/../main.py"),
        *(
            "/page/%2fetc%2fpasswd",
            "/docs/assets/../models",
            "/docs/assets/../../models",
            "/docs/assets/../__init__.py",
        ),
        *("/docs/assets/..%2f__init__.py", "/docs/assets/%2e%2e/%2e%2e/models", "/docs/assets//etc/passwd"),
        *("/docs/assets/%2fetc%2fpasswd", "/docs/assets/..%5c__init__.py", "/docs/assets/./swagger-ui.css"),
        *(
            "/docs/assets/",
            "/docs/assets/swagger-ui.css%00",
            "/docs/assets/swagger-ui.css/",
            f"/docs/assets/{'a/' * 2_000}",
        ),
    ],
)
def test_behind_an_open_folder_there_are_its_files_and_nothing_else(served: Server, path: str) -> None:
    """They are found by their names, letter for letter."""
    status, detail = get(served, path)

    assert status == 404
    assert detail.startswith(("the page has no file ", "the documentation has no file "))


def test_the_documentation_says_what_is_needed(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    predict, live = document["paths"]["/predict/{model}"]["post"], document["paths"]["/health/live"]["get"]

    assert document["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert predict["security"] == [{"bearer": []}, {"key": []}]
    assert {"401", "403"} <= set(predict["responses"])
    assert predict["responses"]["429"]["description"].startswith("More is waiting than may wait")
    assert "may send" not in predict["responses"]["429"]["description"]
    assert "security" not in live
    assert set(live["responses"]) == {"200"}


def test_the_documentation_tells_who_has_no_key_nothing_of_the_models(client: TestClient) -> None:
    """It is open to all; which models there are is not."""
    paths = client.get("/openapi.json").json()["paths"]
    listed = paths["/models"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    page = paths["/models/{model}"]["get"]["responses"]["200"]["content"]["application/json"]
    predicted = paths["/predict/{model}"]["post"]["responses"]["200"]["content"]["application/json"]

    assert (listed["models"], listed["refused"]) == ([], [])
    assert "example" not in page and "example" not in predicted
    assert "example" in paths["/gradients/expression"]["post"]["responses"]["200"]["content"]["application/json"]


def test_the_documentation_has_both_reasons_to_come_again_later() -> None:
    with TestClient(create_app(Settings(rate_limit=5))) as client:
        paths = client.get("/openapi.json").json()["paths"]
    queued = paths["/predict/{model}"]["post"]["responses"]["429"]
    listed = paths["/models"]["get"]["responses"]["429"]

    assert queued["description"] == (
        "More is waiting than may wait; Retry-After says when to come again. "
        "More requests than one may send; Retry-After says when to come again."
    )
    assert queued["content"]["application/problem+json"]["example"]["title"] == "Overloaded"
    assert listed["description"] == "More requests than one may send; Retry-After says when to come again."


def test_more_than_the_rate_is_refused_with_the_time_to_come_again(keys: Path) -> None:
    settings = Settings(keys=str(keys), rate_limit=0.01, rate_burst=3)
    with TestClient(create_app(settings)) as client:
        answers = [client.post("/predict/digits", content=SEVEN, headers=PNG | bearer(ALICE)) for _ in range(4)]
        anonymous = [client.get("/models").status_code for _ in range(4)]
        probes = {client.get("/health/ready").status_code for _ in range(10)}

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert 50 < int(answers[3].headers["Retry-After"]) <= 100
    assert answers[3].json()["type"] == "urn:percept:problem:too-many-requests"
    assert answers[3].json()["detail"].startswith("this key alice has asked more than 0.01 times a second")
    # Whoever has no key is slowed down by the address, apart from those who have.
    assert anonymous == [401, 401, 401, 429]
    assert probes == {200}


def test_without_keys_addresses_have_rates(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(rate_limit=0.1, rate_burst=2)), client=("192.0.2.7", 1)) as client:
        answers = [client.get("/models") for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert "this address 192.0.2.7 " in answers[2].json()["detail"]


@pytest.mark.parametrize("path", ["/predict/iris-mlp", "/models/iris-mlp"])
def test_each_request_counts_once(tmp_path: Path, path: str) -> None:
    """Rows are looked at by the connection, which hands them to the application: it has been asked by then. In one
    piece their head is known the second time."""
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_RATE_LIMIT="0.01", PERCEPT_RATE_BURST="3")
    rows = json.dumps({"rows": [[5.1, 3.5, 1.4, 0.2]]}).encode() if "predict" in path else b""
    statuses = []
    head = f"{'POST' if rows else 'GET'} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    asked = f"{head}Content-Length: {len(rows)}\r\n\r\n".encode() + rows
    try:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                connection.sendall(asked)
                response = HTTPResponse(connection)
                response.begin()
                statuses.append(response.status)
    finally:
        server.stop()

    assert statuses == [200, 200, 200, 429, 429]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_networks_are_what_one_caller_has(address: str, network: str) -> None:
    assert network_of(address) == network


def test_on_the_short_way_the_same_is_refused(keys: Path, tmp_path: Path) -> None:
    """Over sockets, where a small picture does not come to the application; by two workers that count together."""
    server = Server(tmp_path / "log", PERCEPT_KEYS=str(keys), PERCEPT_RATE_LIMIT="0.05", PERCEPT_RATE_BURST="6")
    answers: list[tuple[int, str]] = []

    def ask(headers: dict[str, str]) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/predict/digits", SEVEN, PNG | headers)
        response = connection.getresponse()
        document = json.loads(response.read())
        connection.close()
        return response.status, document.get("detail", "")

    try:
        refused = [ask({}), ask(bearer("wrong")), ask(bearer(OPS))]
        threads = [threading.Thread(target=lambda: answers.append(ask(bearer(ALICE)))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert urllib.request.urlopen(f"{server.url}/health/live").status == 200
    finally:
        server.stop()

    assert [status for status, _ in refused] == [401, 401, 403]
    statuses = sorted(status for status, _ in answers)
    # Two workers that write at one moment may lose a request.
    assert statuses.count(200) in (6, 7)
    assert set(statuses) == {200, 429}


def test_a_trusted_proxys_caller_has_the_rate_and_not_the_proxy(tmp_path: Path) -> None:
    """Of this machine's addresses one is a proxy. uvicorn's own variables have no effect."""
    proxy, stranger = "127.0.0.3", "127.0.0.1"
    server = Server(
        tmp_path / "log",
        PERCEPT_WORKERS="1",
        PERCEPT_RATE_LIMIT="0.01",
        PERCEPT_RATE_BURST="1",
        PERCEPT_TRUSTED_PROXIES="192.0.2.200, 127.0.0.2/31",
        FORWARDED_ALLOW_IPS="*",
        WEB_CONCURRENCY="many",
    )

    def ask(peer: str, forwarded: str, path: str = "/predict/digits") -> int:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20, source_address=(peer, 0))
        connection.request("POST", path, SEVEN, PNG | {"X-Forwarded-For": forwarded})
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        # On the short way, and on the application's.
        assert [ask(proxy, "192.0.2.1"), ask(proxy, "192.0.2.1"), ask(proxy, "192.0.2.2")] == [200, 429, 200]
        assert [ask(proxy, caller, "/predict/digits?top=1") for caller in ("192.0.2.3", "192.0.2.3")] == [200, 429]
        # What the caller wrote himself stands before what proxies have added.
        assert [ask(proxy, "192.0.2.99, 192.0.2.1"), ask(proxy, "192.0.2.4, 192.0.2.200")] == [429, 200]
        assert [ask(stranger, "192.0.2.5"), ask(stranger, "192.0.2.6"), ask(stranger, "127.0.0.3")] == [200, 429, 429]
    finally:
        server.stop()


def test_without_a_word_a_proxy_of_this_machine_is_trusted(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_RATE_LIMIT="0.01", PERCEPT_RATE_BURST="1")

    def ask(peer: str, forwarded: str) -> int:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20, source_address=(peer, 0))
        connection.request("GET", "/models", headers={"X-Forwarded-For": forwarded})
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        assert [ask("127.0.0.1", "192.0.2.1"), ask("127.0.0.1", "192.0.2.2")] == [200, 200]
        assert [ask("127.0.0.2", "192.0.2.3"), ask("127.0.0.2", "192.0.2.4")] == [200, 429]
    finally:
        server.stop()


def test_pages_of_the_named_origins_may_ask_and_read_and_no_others(keys: Path) -> None:
    friend = "https://friend.example"
    settings = Settings(keys=str(keys), cors_origins=f"{friend}, http://localhost:3000")
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    with TestClient(create_app(settings)) as client:
        preflight = client.options("/predict/digits", headers={"Origin": friend} | asking)
        answered = client.post("/predict/digits", content=SEVEN, headers=PNG | bearer(ALICE) | {"Origin": friend})
        refused = client.post("/predict/digits", content=SEVEN, headers=PNG | {"Origin": friend})
        others = client.options("/predict/digits", headers={"Origin": EVIL} | asking)
        stranger = client.post("/predict/digits", content=SEVEN, headers=PNG | bearer(ALICE) | {"Origin": EVIL})

    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, friend)
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert answered.headers["access-control-allow-origin"] == friend
    assert "X-Request-ID" in answered.headers["access-control-expose-headers"]
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, friend)
    assert others.status_code == 400
    assert "access-control-allow-origin" not in stranger.headers


def test_over_sockets_too(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", PERCEPT_CORS_ORIGINS="*")
    try:
        request = urllib.request.Request(f"{server.url}/predict/digits", SEVEN, PNG | {"Origin": EVIL})
        assert urllib.request.urlopen(request).headers["access-control-allow-origin"] == "*"
    finally:
        server.stop()


def test_without_the_setting_no_other_page_may_read(client: TestClient) -> None:
    answer = client.get("/health/live", headers={"Origin": EVIL})

    assert "access-control-allow-origin" not in answer.headers


def test_every_response_says_that_its_type_is_meant(client: TestClient) -> None:
    for path in ("/", "/health/live", "/models", "/nothing"):
        assert client.get(path).headers["X-Content-Type-Options"] == "nosniff", path


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (EVIL, 403),
        ("null", 403),
        ("http://testserver", 200),
        ("https://lab.example", 200),
        (None, 200),
    ],
)
def test_page_of_another_site_changes_no_models(tmp_path: Path, origin: str | None, status: int) -> None:
    """An empty body needs no preflight: the browser sends it, and only keeps the answer back."""
    write_brightness(tmp_path)
    settings = Settings(artifacts=tmp_path, model_control=True, cors_origins="https://lab.example")
    with TestClient(create_app(settings)) as client:
        headers = {"Origin": origin} if origin else {}
        answer = client.post("/v2/repository/models/brightness/unload", headers=headers)
        served = client.get("/v2/models/brightness/ready").status_code == 200

    assert answer.status_code == status
    assert served is (status == 403)
    if status == 403:
        assert f"a page of '{origin}' may not load or unload models" in answer.json()["error"]
