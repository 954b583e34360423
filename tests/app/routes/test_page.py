"""GET / and GET /page/…: the page's files as the service sends them."""

import re

import pytest
from fastapi.testclient import TestClient

from app.routes.page import FOLDER
from tests.problems import assert_problem


def test_home_is_the_page_under_a_strict_policy(client: TestClient) -> None:
    answer = client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.content == (FOLDER / "index.html").read_bytes()
    assert policy["default-src"] == "'self'"
    assert policy["img-src"] == "'self' data: blob:"
    assert not {"script-src", "style-src"} & policy.keys() and "unsafe" not in str(policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("file", "media_type"),
    [
        ("main.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("samples/seven.png", "image/png"),
        ("samples/three-on-paper.jpg", "image/jpeg"),
    ],
)
def test_files_have_their_types_and_bytes(client: TestClient, file: str, media_type: str) -> None:
    answer = client.get(f"/page/{file}")

    assert answer.headers["Content-Type"] == media_type
    assert answer.content == (FOLDER / file).read_bytes()


def test_texts_are_packed_for_who_can_unpack_them_and_pictures_never(client: TestClient) -> None:
    lengths, tags = {}, {}
    for accepted in ("gzip, br", "identity", "gzip;q=0"):
        answer = client.get("/page/style.css", headers={"Accept-Encoding": accepted})
        assert answer.content == (FOLDER / "style.css").read_bytes()
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers.get("Content-Encoding") == ("gzip" if accepted == "gzip, br" else None)
        lengths[accepted], tags[accepted] = int(answer.headers["Content-Length"]), answer.headers["ETag"]
    picture = client.get("/page/samples/seven.png", headers={"Accept-Encoding": "gzip"})

    assert lengths["gzip, br"] < lengths["identity"] / 3
    assert tags["gzip, br"] != tags["identity"] == tags["gzip;q=0"]
    assert "Content-Encoding" not in picture.headers


def test_who_has_a_file_already_does_not_get_it_again(client: TestClient) -> None:
    tag = client.get("/page/main.js").headers["ETag"]
    again = client.get("/page/main.js", headers={"If-None-Match": f'"other", W/{tag}'})
    other = client.get("/page/main.js", headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert other.status_code == 200


def test_head_tells_the_length_alone(client: TestClient) -> None:
    answer = client.head("/page/style.css", headers={"Accept-Encoding": "identity"})

    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == (FOLDER / "style.css").stat().st_size


def test_the_page_works_wherever_a_proxy_has_mounted_the_service(client: TestClient) -> None:
    """It is sent there, and nothing in it is addressed from a host's root."""
    proxied = TestClient(client.app, root_path="/percept")
    with proxied:
        assert proxied.get("/percept/").content == (FOLDER / "index.html").read_bytes()
        assert proxied.get("/percept/page/main.js").status_code == 200
    for path in FOLDER.iterdir():
        if path.suffix in {".html", ".js", ".css"}:
            assert not re.search(r"""["'`(=]/[a-z]""", path.read_text("utf-8")), path.name


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/none.js", "/page/main.js/", "/page/%2e%2e/main.py", "/page/..%2f..%2fREADME.md", "/page/samples"],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404)
