"""POST /cluster/fit: the caller's points, round by round, as scikit-learn has them; what is wrong is told."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as families
from sklearn.cluster import KMeans

from app.lab import fit_request
from tests.problems import assert_problem
from training.clusters import COURSE_ROUNDS, PLAYERS, course_start

FOUR = [[0, 0], [0, 2], [3, 0], [3, 2]]


def fitted(client: TestClient, **request: Any) -> Any:
    answer = client.post("/cluster/fit", json=request)

    assert answer.status_code == 200, answer.text
    return answer.json()


def points_of(seed: int, n: int, d: int) -> list[list[float]]:
    points: list[list[float]] = np.random.default_rng(seed).normal(size=(n, d)).tolist()
    return points


def slow() -> dict[str, Any]:
    """As much work as a request may ask for, about a tenth of a second."""
    return {"points": points_of(0, 1_000, 10), "k": 40, "tolerance": 0, "restarts": 5}


def test_course_players_are_fitted_as_by_scikit_learn(client: TestClient) -> None:
    points, start = PLAYERS.numpy(), course_start().numpy()
    answer = fitted(client, points=points.tolist(), start=start.tolist(), max_rounds=COURSE_ROUNDS, tolerance=0)
    centroids = np.array(answer["centroids"])

    assert [each["round"] for each in answer["rounds"]] == [1, 2, 3, 4, 5]
    assert answer["rounds"][0]["centroids"] == start.tolist()
    ends = [each["centroids"] for each in answer["rounds"][1:]] + [answer["centroids"]]
    for number, (told, end) in enumerate(zip(answer["rounds"], ends, strict=True), start=1):
        oracle = KMeans(2, init=start, n_init=1, tol=0, max_iter=number, algorithm="lloyd").fit(points)
        assert end == pytest.approx(oracle.cluster_centers_, rel=1e-9)
        squares = np.square(points[:, np.newaxis] - np.array(told["centroids"])).sum(2)
        assert told["assignments"] == squares.argmin(1).tolist()
        assert told["inertia"] == pytest.approx(squares.min(1).sum(), rel=1e-12)
        assert told["counts"] == np.bincount(squares.argmin(1), minlength=2).tolist()
        assert told["shifts"] == pytest.approx(np.linalg.norm(np.array(end) - told["centroids"], axis=1), rel=1e-12)
    assert (answer["assignments"], answer["inertia"]) == (oracle.labels_.tolist(), pytest.approx(oracle.inertia_))
    assert np.square(np.array([110, 3]) - centroids).sum(1).argmin() == 1  # where there are more of both
    assert centroids[1].tolist() > centroids[0].tolist()


def test_whole_answer_by_hand(client: TestClient) -> None:
    found = fitted(client, points=FOUR, start=[[0, 0], [0, 0]], tolerance=0.5)
    third = 2 / 3

    assert found.pop("rounds") == [
        {
            "round": 1,
            "centroids": [[0, 0], [0, 0]],
            "assignments": [0, 0, 0, 0],
            "counts": [4, 0],
            "inertia": 26,
            "shifts": [pytest.approx(np.hypot(1, third)), pytest.approx(np.hypot(3, 2))],
            "relocated": [{"cluster": 1, "point": 3}],
        },
        {
            "round": 2,
            "centroids": [[1, pytest.approx(third)], [3, 2]],
            "assignments": [0, 0, 1, 1],
            "counts": [2, 2],
            "inertia": pytest.approx(74 / 9),
            "shifts": [pytest.approx(np.hypot(1, 1 / 3)), 1],
            "relocated": [],
        },
        {
            "round": 3,
            "centroids": [[0, 1], [3, 1]],
            "assignments": [0, 0, 1, 1],
            "counts": [2, 2],
            "inertia": 4,
            "shifts": [0, 0],
            "relocated": [],
        },
    ]
    assert found == {
        "k": 2,
        "start": "given",
        "seed": 0,
        "max_rounds": 300,
        "tolerance": 0.5,
        "smallest_shift": 0.5 * (2.25 + 1) / 2,
        "converged": True,
        "stopped": {"code": "unchanged", "message": "No point changed its cluster in the last round."},
        "centroids": [[0, 1], [3, 1]],
        "assignments": [0, 0, 1, 1],
        "counts": [2, 2],
        "squared_distances": [1, 1, 1, 1],
        "inertia": 4,
        "total_inertia": 13,
        "run": 0,
        "runs": [{"rounds": 3, "inertia": 4, "converged": True}],
    }


@pytest.mark.parametrize("start", ["k-means++", "random"])
def test_starts_are_points_and_lead_where_scikit_learn_is_led(client: TestClient, start: str) -> None:
    points = points_of(3, 200, 3)
    answer = fitted(client, points=points, k=5, start=start, seed=7)
    drawn = answer["rounds"][0]["centroids"]
    oracle = KMeans(5, init=np.array(drawn), n_init=1, algorithm="lloyd").fit(points)

    assert all(centroid in points for centroid in drawn)
    assert len(answer["rounds"]) == oracle.n_iter_
    assert np.array(answer["centroids"]) == pytest.approx(oracle.cluster_centers_, rel=1e-9)
    assert answer["assignments"] == oracle.labels_.tolist()
    assert answer["inertia"] == pytest.approx(oracle.inertia_, rel=1e-9)


def test_same_seed_has_the_same_answer_and_another_another(client: TestClient) -> None:
    request = {"points": points_of(0, 60, 2), "k": 4, "restarts": 3}
    first, again, other = (client.post("/cluster/fit", json=request | {"seed": seed}).content for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_best_of_several_runs_is_told(client: TestClient) -> None:
    answer = fitted(client, points=points_of(1, 200, 2), k=8, start="random", restarts=5, tolerance=0)
    inertias = [run["inertia"] for run in answer["runs"]]

    assert len(set(inertias)) > 1
    assert answer["inertia"] == min(inertias) == inertias[answer["run"]]
    assert len(answer["rounds"]) == answer["runs"][answer["run"]]["rounds"]


def test_numbers_keep_all_their_digits(client: TestClient) -> None:
    points = points_of(5, 30, 2)
    answer = fitted(client, points=points, start=points[:3], max_rounds=1)
    members = np.array(points)[np.array(answer["rounds"][0]["assignments"]) == 0]

    assert answer["rounds"][0]["centroids"] == points[:3]
    assert answer["centroids"][0] == pytest.approx(members.mean(0), rel=1e-15)
    assert answer["stopped"]["code"] == "max_rounds" and not answer["converged"]


def test_one_point_is_a_cluster(client: TestClient) -> None:
    answer = fitted(client, points=[[-0.0, 1e100]], k=1)

    assert answer["centroids"] == [[0, 1e100]]
    assert (answer["inertia"], answer["total_inertia"], answer["converged"]) == (0, 0, True)


def test_work_is_bounded_and_a_start_without_k_means_plus_plus_leaves_more_rounds(client: TestClient) -> None:
    """100,000,000 units; a round has 2,000 × 24 × 28 and 20 × 2,500 of them, k-means++ as many as 10, and the last look
    1."""
    a_round = 2_000 * 24 * 28 + 20 * 2_500
    request = {"points": points_of(0, 2_000, 20), "k": 20, "tolerance": 1}
    drawn, random = (fitted(client, **request, start=start)["max_rounds"] for start in ("k-means++", "random"))

    assert (drawn, random) == (100_000_000 // a_round - 11, 100_000_000 // a_round - 1)


def test_rounds_are_as_many_as_are_allowed_unless_told(client: TestClient) -> None:
    small, large = (fitted(client, points=points_of(0, n, 2), k=3) for n in (100, 10_000))

    assert small["max_rounds"] == fit_request.MOST_ROUNDS
    assert large["max_rounds"] == fit_request.MOST_TOLD // (10_000 + 3 * 4) == 29


ROWS_OF_A_LENGTH = "allowed are rows of one length"


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ([1, 2], 422, "the body is [1,2]; allowed is an object with points and, if wanted, k, start, seed"),
        ({"k": 2}, 422, "the body has no points; allowed is an object with points"),
        ({"points": FOUR, "K": 2}, 422, 'the body has a member "K" that is not read here'),
        ({"points": [], "k": 1}, 422, "points is []; allowed is a list of rows of numbers, at least one"),
        ({"points": "many", "k": 1}, 422, 'points is "many"; allowed is a list of rows'),
        ({"points": [1, 2], "k": 1}, 422, "points: row 1 is 1; allowed is a list of numbers, at least one"),
        ({"points": [[]], "k": 1}, 422, "points: row 1 is []; allowed is a list of numbers"),
        ({"points": [[1, 2], [3]], "k": 1}, 422, "points: row 2 has 1 number, row 1 has 2; " + ROWS_OF_A_LENGTH),
        ({"points": [[1], [2, 3]], "k": 1}, 422, "points: row 2 has 2 numbers, row 1 has 1; " + ROWS_OF_A_LENGTH),
        ({"points": [[1, 2], [3, None]], "k": 1}, 422, "points: row 2, number 2 is null; allowed is a number of"),
        ({"points": [[True, 2]], "k": 1}, 422, "points: row 1, number 1 is true; allowed is a number of"),
        ({"points": [["1", 2]], "k": 1}, 422, 'points: row 1, number 1 is "1"; allowed is a number of'),
        ({"points": [[[1], 2]], "k": 1}, 422, "points: row 1, number 1 is [1]; allowed is a number of"),
        ({"points": [[0, 1.5e100]], "k": 1}, 422, "row 1, number 2 is 1.5e+100; allowed is a number of −1e+100 to"),
        ({"points": [[0]] * 10_001, "k": 1}, 413, "points has 10,001 rows; at most 10,000 are allowed"),
        ({"points": [[0] * 1_001], "k": 1}, 413, "points has 1 row of 1,001 numbers; allowed are at most 1,000 in"),
        ({"points": [[0] * 500] * 201, "k": 1}, 413, "201 rows of 500 numbers; allowed are at most 1,000 in a row and"),
        ({"points": FOUR}, 422, "the body has no k; allowed is a whole number of 1 to 100"),
        ({"points": FOUR, "k": 0}, 422, "k is 0; allowed is a whole number of 1 to 100"),
        ({"points": FOUR, "k": -1}, 422, "k is -1; allowed is"),
        ({"points": FOUR, "k": 2.0}, 422, "k is 2.0; allowed is a whole number"),
        ({"points": FOUR, "k": True}, 422, "k is true; allowed is a whole number"),
        ({"points": FOUR, "k": None}, 422, "k is null; allowed is a whole number"),
        ({"points": FOUR, "k": 101}, 422, "k is 101; allowed is a whole number of 1 to 100"),
        ({"points": FOUR, "k": 5}, 422, "k is 5; allowed are at most 4, since of 4 points 4 are different"),
        ({"points": [[1, 0], [1, -0.0]], "k": 2}, 422, "k is 2; allowed are at most 1, since of 2 points 1 is"),
        ({"points": FOUR[:1] * 2, "start": [[0, 0], [1, 1]]}, 422, "start has 2 centroids; allowed are at most 1"),
        ({"points": FOUR, "k": 2, "start": "farthest"}, 422, 'start is "farthest"; allowed is "k-means++", "random"'),
        ({"points": FOUR, "k": 2, "start": None}, 422, "start is null; allowed is"),
        ({"points": FOUR, "start": [[1], [2]]}, 422, "start has rows of 1 number; allowed are as many as the points"),
        ({"points": FOUR, "start": [[1, 2], [3]]}, 422, "start: row 2 has 1 number, row 1 has 2; " + ROWS_OF_A_LENGTH),
        ({"points": FOUR, "start": [[1, "x"]]}, 422, 'start: row 1, number 2 is "x"; allowed is a number'),
        ({"points": FOUR, "start": [[1, 2]], "k": 2}, 422, "k is 2; allowed is 1, as many as start has centroids"),
        ({"points": FOUR, "start": [[1, 2]] * 101}, 422, "start has 101 centroids; allowed are at most 100"),
        ({"points": FOUR, "start": [[1, 2]], "restarts": 2}, 422, "restarts is 2; allowed is 1, since start has the"),
        ({"points": FOUR, "k": 2, "restarts": 6}, 422, "restarts is 6; allowed is a whole number of 1 to 5"),
        ({"points": FOUR, "k": 2, "seed": -1}, 422, "seed is -1; allowed is a whole number of 0 to 4294967295"),
        ({"points": FOUR, "k": 2, "seed": 2**32}, 422, "seed is 4294967296; allowed is"),
        ({"points": FOUR, "k": 2, "max_rounds": 0}, 422, "max_rounds is 0; allowed is a whole number of 1 to 300"),
        ({"points": FOUR, "k": 2, "max_rounds": 301}, 422, "max_rounds is 301; allowed is"),
        ({"points": FOUR, "k": 2, "tolerance": -1}, 422, "tolerance is -1; allowed is a number of 0 to 1"),
        ({"points": FOUR, "k": 2, "tolerance": "0"}, 422, 'tolerance is "0"; allowed is a number of 0 to 1'),
        (
            {"points": [[0], [1]] * 5_000, "k": 2, "max_rounds": 30},
            422,
            "max_rounds is 30; allowed for 10,000 points of 1 dimension, 2 clusters and 1 restart is 1 to 29",
        ),
        (
            {"points": points_of(0, 10_000, 1), "k": 31},
            413,
            "10,000 points and 31 clusters have 310,000 distances; at most 300,000 are allowed",
        ),
        (
            {"points": points_of(0, 1_000, 100), "k": 100},
            413,
            "1,000 points of 100 dimensions, 100 clusters and 1 restart take more than is computed here; allowed are",
        ),
    ],
)
def test_what_cannot_be_fitted_is_told(client: TestClient, request_: Any, status: int, detail: str) -> None:
    assert detail in assert_problem(client.post("/cluster/fit", json=request_), status)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"", 422, "the body is not valid JSON"),
        (b'{"points": [[NaN]], "k": 1}', 422, "the body is not valid JSON"),
        (b'{"points": [[1e400]], "k": 1}', 422, "number is infinity"),
        (b'{"points": [[123456789012345678901234567890]], "k": 1}', 200, ""),
        (b'{"points": [[1]], "k": 1}' + b" " * fit_request.MOST_BYTES, 413, "at most 4,000,000 bytes are read of"),
        (b" " * 21_000_000, 413, "the body has 21,000,000 bytes; at most 4,000,000 bytes are read of points"),
    ],
    ids=["empty", "NaN", "infinite", "long integer", "long", "too long"],
)
def test_bytes_that_are_no_request_are_told(client: TestClient, body: bytes, status: int, detail: str) -> None:
    answer = client.post("/cluster/fit", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == status
    if status != 200:
        assert detail in assert_problem(answer, status)


def test_other_media_types_and_methods_are_told(client: TestClient) -> None:
    picture = client.post("/cluster/fit", files={"file": b"x"})

    assert "is not read here: send points as application/json" in assert_problem(picture, 415)
    assert client.post("/cluster/fit", content=orjson.dumps({"points": [[1]], "k": 1})).status_code == 415
    assert "allowed: POST" in assert_problem(client.get("/cluster/fit"), 405)


def test_deadline_ends_the_rounds(client: TestClient) -> None:
    started = time.perf_counter()
    answer = client.post("/cluster/fit", json=slow(), headers={"X-Request-Timeout-Ms": "1"})

    assert assert_problem(answer, 504) == "the time that the caller allows was over before the answer was computed"
    assert time.perf_counter() - started < 5
    assert client.post("/cluster/fit", json=slow(), headers={"X-Request-Timeout-Ms": "60000"}).status_code == 200


def test_bad_deadline_is_told(client: TestClient) -> None:
    answer = client.post("/cluster/fit", json={"points": FOUR, "k": 2}, headers={"X-Request-Timeout-Ms": "soon"})

    assert "X-Request-Timeout-Ms is 'soon'" in assert_problem(answer, 422)


def test_many_callers_at_once_get_what_each_gets_alone(client: TestClient) -> None:
    requests = [{"points": points_of(seed, 300, 2), "k": 2 + seed % 4, "seed": seed} for seed in range(32)]
    alone = [client.post("/cluster/fit", json=request).content for request in requests]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda request: client.post("/cluster/fit", json=request), requests))

    assert {answer.status_code for answer in answers} == {200}
    assert [answer.content for answer in answers] == alone


def test_stages_are_timed_and_requests_counted(client: TestClient) -> None:
    def count(name: str, **labels: str) -> float:
        [family] = [each for each in families(client.get("/metrics").text) if each.name == f"percept_{name}"]
        wanted = {"model": "cluster/fit", "version": "", **labels}
        return sum(each.value for each in family.samples if each.labels == wanted and each.name.endswith("_total"))

    def counts() -> list[float]:
        return [
            count("predictions"),
            *(count("rejections", reason=reason) for reason in ("deadline", "invalid", "queue_full", "internal")),
        ]

    client.post("/cluster/fit", json={"points": FOUR, "k": 2})
    before = counts()
    right = client.post("/cluster/fit", json={"points": FOUR, "k": 2})
    client.post("/cluster/fit", json=slow(), headers={"X-Request-Timeout-Ms": "1"})
    client.post("/cluster/fit", json={"points": FOUR, "k": 9})

    assert [stage.split(";")[0] for stage in right.headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "inference",
    ]
    assert np.subtract(counts(), before).tolist() == [1, 1, 1, 0, 0]
