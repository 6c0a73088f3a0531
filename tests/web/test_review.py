import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from command_line import limner
from limner.data.images import read_mask
from review_server import ANNA, BEN
from service import Served, Start, problem


@pytest.fixture
def team(folder: Path, tmp_path: Path, start: Start) -> Served:
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\nben = "{BEN}"\n')
    return start(folder, "--reviewers", tmp_path / "reviewers.toml", verb="review")


def mask_of(served: Served, place: int, **headers: str) -> tuple[np.ndarray, str]:
    answer = served.client.get(f"/api/tasks/{place}/mask", headers=headers)
    assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip"
    shape = int(answer.headers["x-height"]), int(answer.headers["x-width"])
    return np.frombuffer(answer.content, np.uint8).reshape(shape), answer.headers["etag"]


def etag_of(served: Served, version: int, place: int = 0) -> str:
    return f'{mask_of(served, place)[1].rpartition("-")[0]}-{version}"'


def tile(mask: np.ndarray, index: int = 0) -> bytes:
    return zlib.compress(index.to_bytes(4, "little") + mask.tobytes())


def test_a_mask_is_drawn_and_accepted(review: Served, folder: Path) -> None:
    state = review.client.get("/api/review").json()
    assert (state["reviewer"], state["letters"]) == ("mira", "......")
    assert (state["progress"]["left"], len(state["identity"])) == (6, 16)
    classes = [(item["name"], item["scored"]) for item in state["classes"]]
    assert classes == [("background", False), ("lesion", True)]
    place = review.client.get("/api/next").json()["place"]
    task = review.client.get(f"/api/tasks/{place}").json()
    mask, etag = mask_of(review, place)
    assert (
        read_mask(folder / task["name"].replace(".jpg", ".png")).values == mask * np.uint8(255)
    ).all()
    after = review.client.put(
        f"/api/tasks/{place}/draft", content=tile(mask ^ np.uint8(1)), headers={"If-Match": etag}
    )
    assert (after.status_code, after.headers["etag"], after.json()["letters"]) == (
        200,
        etag_of(review, 1),
        "d.....",
    )
    assert (mask_of(review, place)[0] == mask ^ np.uint8(1)).all()
    state = review.client.post(
        f"/api/tasks/{place}/verdict",
        json={"verdict": "accept", "seconds": 6},
        headers={"If-Match": etag_of(review, 1)},
    ).json()
    assert (state["version"], state["letters"]) == (2, "m.....")
    progress = state["progress"]
    assert (progress["mended"], progress["minutes_per_image"]) == (1, 0.1)
    review.client.post(
        "/api/tasks/1/verdict",
        json={"verdict": "reject", "reason": "border is off"},
        headers={"If-Match": etag_of(review, 0, 1)},
    )
    assert review.client.get("/api/tasks/1").json()["reason"] == "border is off"
    assert review.client.get("/api/next", params={"after": 0}).json()["place"] == 2


def test_images_are_upright_and_have_the_masks_size(review: Served) -> None:
    from limner.data.images import decode_image

    for place in range(6):
        mask, _ = mask_of(review, place)
        image = review.client.get(f"/api/tasks/{place}/image")
        small = review.client.get(f"/api/tasks/{place}/thumbnail")
        assert decode_image(image.content, "the image", 10**6).shape[:2] == mask.shape
        assert max(decode_image(small.content, "the picture", 10**6).shape) == 112


def test_a_stale_write_is_refused_and_says_by_whom(review: Served) -> None:
    mask, etag = mask_of(review, 0)
    assert (
        review.client.put(
            "/api/tasks/0/draft", content=tile(mask), headers={"If-Match": etag}
        ).status_code
        == 200
    )
    for method, path, more in (
        ("PUT", "draft", {"content": tile(mask)}),
        ("POST", "verdict", {"json": {"verdict": "accept"}}),
    ):
        stale = review.client.request(
            method, f"/api/tasks/0/{path}", headers={"If-Match": etag}, **more
        )
        assert (
            stale.status_code,
            stale.json()["by"],
            stale.json()["version"],
            stale.headers["etag"],
        ) == (412, "mira", 1, etag_of(review, 1))
        bare = review.client.request(method, f"/api/tasks/0/{path}", **more)
        assert bare.status_code == 428 and "If-Match" in problem(bare)
        malformed = review.client.request(
            method, f"/api/tasks/0/{path}", headers={"If-Match": "soon"}, **more
        )
        assert malformed.status_code == 400


def test_a_page_of_another_order_writes_nothing(folder: Path, start: Start) -> None:
    before = start(folder, "--no-open", verb="review")
    _, etag = mask_of(before, 0)
    assert before.stop() == 0
    review = start(folder, "--no-open", "--order", "random", verb="review")
    for method, path, more in (
        ("PUT", "draft", {"content": tile(mask_of(review, 0)[0])}),
        ("POST", "verdict", {"json": {"verdict": "accept"}}),
        ("POST", "lease", {"json": {}}),
    ):
        answer = review.client.request(
            method, f"/api/tasks/0/{path}", headers={"If-Match": etag}, **more
        )
        assert answer.status_code == 409 and "Load the page again" in problem(answer)
    assert review.client.get("/api/review").json()["letters"] == "......"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/api/tasks/6", None, 404, "6 tasks"),
        ("GET", "/api/tasks/-1", None, 422, "greater than or equal"),
        ("GET", "/api/tasks/6/mask", None, 404, "6 tasks"),
        ("GET", "/api/tasks/6/image", None, 404, "6 tasks"),
        ("GET", "/api/tasks/6/thumbnail", None, 404, "6 tasks"),
        ("GET", "/static/..%2f..%2fcli.py", None, 404, ""),
        ("GET", "/static/review.html", None, 404, "no such file"),
        ("PUT", "/api/tasks/0/draft", b"", 422, "empty"),
        ("PUT", "/api/tasks/0/draft", b"no tiles", 422, "not deflated"),
        ("PUT", "/api/tasks/0/draft", zlib.compress(bytes(10**8)), 422, "twice|middle"),
        ("POST", "/api/tasks/0/verdict", b'{"verdict": "perhaps"}', 422, "accept"),
        ("POST", "/api/tasks/0/verdict", b"{", 422, "JSON"),
        ("POST", "/api/tasks/0/verdict", b'{"verdict": "accept", "seconds": -1}', 422, "greater"),
    ],
)
def test_invalid_requests_are_refused_and_change_nothing(
    review: Served, method: str, path: str, body: bytes | None, status: int, message: str
) -> None:
    import re

    headers = {"If-Match": etag_of(review, 0), "Content-Type": "application/json"}
    answer = review.client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status and re.search(message, problem(answer))
    assert review.client.get("/api/review").json()["letters"] == "......"


def test_each_reviewer_is_known_by_a_token(team: Served) -> None:
    assert team.client.get("/api/review").status_code == 401
    sign_in = team.client.get("/", params={"token": BEN})
    assert sign_in.status_code == 303 and "token" not in sign_in.headers["location"]
    as_anna = {"Authorization": f"Bearer {ANNA}"}
    assert team.client.get("/api/review", headers=as_anna).json()["reviewer"] == "anna"
    cookie = sign_in.headers["set-cookie"].split(";")[0]
    assert team.client.get("/api/review", headers={"Cookie": cookie}).json()["reviewer"] == "ben"
    assert (
        team.client.put(
            "/api/tasks/0/draft",
            content=b"x",
            headers={**as_anna, "Origin": "http://elsewhere.example"},
        ).status_code
        == 403
    )


def test_the_address_that_is_printed_lets_a_colleague_in(
    folder: Path, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\n')
    served = start(
        folder, "--host", "0.0.0.0", "--reviewers", tmp_path / "reviewers.toml", verb="review"
    )
    assert "0.0.0.0" not in served.address and served.client.get("/api/review").status_code == 401
    sign_in = served.client.get("/", params={"token": ANNA})
    assert (
        sign_in.status_code == 303 and served.client.get("/api/review").json()["reviewer"] == "anna"
    )
    port = served.address.rsplit(":", 1)[1].strip("/")
    assert sign_in.headers["set-cookie"].startswith(f"limner-token-{port}=")


def test_two_people_are_not_sent_to_one_image_and_one_may_take_over(team: Served) -> None:
    anna, ben = ({"Authorization": f"Bearer {token}"} for token in (ANNA, BEN))
    etag = team.client.get("/api/tasks/0/mask", headers=anna).headers["etag"]
    anna, ben = {**anna, "If-Match": etag}, {**ben, "If-Match": etag}
    assert team.client.post("/api/tasks/0/lease", json={}, headers=anna).json()["owner"] is None
    assert (
        team.client.get("/api/next", headers=anna).json()["place"] == 0
        and team.client.get("/api/next", headers=ben).json()["place"] == 1
    )
    assert team.client.post("/api/tasks/0/lease", json={}, headers=ben).json()["owner"] == "anna"
    assert (
        team.client.post("/api/tasks/0/lease", json={"over": True}, headers=ben).json()["owner"]
        is None
    )
    assert team.client.get("/api/tasks/0", headers=anna).json()["owner"] == "ben"
    team.client.request("DELETE", "/api/tasks/0/lease", headers=ben)
    assert team.client.get("/api/tasks/0", headers=anna).json()["owner"] is None


def test_a_missing_image_is_an_error_and_the_others_are_served(folder: Path, start: Start) -> None:
    record = json.loads((folder / "predictions.json").read_text())
    record["predictions"][0]["image"] = str(folder / "gone.jpg")
    (folder / "predictions.json").write_text(json.dumps(record))
    review = start(folder, "--no-open", verb="review")
    gone = review.client.get("/api/tasks/0/image")
    assert (
        gone.status_code == 422
        and "gone.jpg does not exist" in gone.json()["error"]
        and str(folder) not in gone.text
    )
    assert review.client.get("/api/tasks/1/image").status_code == 200


def test_a_verdict_on_another_image_than_was_shown_is_refused(review: Served, folder: Path) -> None:
    _, etag = mask_of(review, 0)
    (folder / review.client.get("/api/tasks/0").json()["key"]).touch()
    answer = review.client.post(
        "/api/tasks/0/verdict", json={"verdict": "accept"}, headers={"If-Match": etag}
    )
    assert answer.status_code == 410 and "was changed since it was shown" in problem(answer)
    assert (
        review.client.post(
            "/api/tasks/0/verdict",
            json={"verdict": "accept"},
            headers={"If-Match": mask_of(review, 0)[1]},
        ).status_code
        == 200
    )


def test_a_mask_is_sent_as_gzip(review: Served) -> None:
    with review.client.stream("GET", "/api/tasks/0/mask") as answer:
        raw = b"".join(answer.iter_raw())
    mask, _ = mask_of(review, 0)
    assert gzip.decompress(raw) == mask.tobytes()


def test_a_team_shares_a_database(folder: Path, postgresql: str, start: Start) -> None:
    """Two servers over one PostgreSQL: what one writes the other sees, and a stale write is refused
    across them.
    """
    first, second = (
        start(folder, "--no-open", "--store", postgresql, "--reviewer", name, verb="review")
        for name in ("anna", "ben")
    )
    mask, etag = mask_of(first, 0)
    assert (
        first.client.put(
            "/api/tasks/0/draft", content=tile(mask ^ np.uint8(1)), headers={"If-Match": etag}
        ).status_code
        == 200
    )
    assert (mask_of(second, 0)[0] == mask ^ np.uint8(1)).all() and second.client.get(
        "/api/review"
    ).json()["letters"] == "d....."
    stale = second.client.post(
        "/api/tasks/0/verdict", json={"verdict": "accept"}, headers={"If-Match": etag}
    )
    assert (stale.status_code, stale.json()["by"]) == (412, "anna")
    assert (
        second.client.post(
            "/api/tasks/0/verdict",
            json={"verdict": "accept"},
            headers={"If-Match": etag_of(first, 1)},
        ).status_code
        == 200
    )
    assert first.client.get("/api/progress").json()["letters"] == "m....."
    assert not (folder / "review").exists()


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["--host", "0.0.0.0"], "", "nobody has a token"),
        (["--reviewers", "{file}"], "", "holds something else"),
        (["--reviewers", "{file}"], "anna = 3", "holds something else"),
        (["--reviewers", "{file}"], "anna = ", "cannot be read"),
        (["--reviewers", "{file}"], 'anna = "short"', "too short"),
        (
            ["--reviewers", "{file}"],
            f'anna = "{ANNA}"\nben = "{ANNA}"',
            "two callers have the same",
        ),
        (["--store", "nonsense"], "", "names no database"),
    ],
)
def test_an_open_or_unusable_configuration_does_not_start(
    arguments: list[str], content: str, message: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "reviewers.toml").write_text(content)
    command = [part.format(file=tmp_path / "reviewers.toml") for part in arguments]
    done = limner("review", folder, *command)
    assert done.returncode == 1 and message in " ".join(done.stderr.split())


def test_merging_and_exporting_what_was_not_reviewed_is_an_error(
    folder: Path, tmp_path: Path
) -> None:
    for command in (
        ["merge", folder, tmp_path, "-o", tmp_path / "x"],
        ["masks", folder, "-o", tmp_path / "x"],
    ):
        done = limner(*command)
        assert done.returncode == 1 and "was not reviewed. Begin with: limner review" in " ".join(
            done.stderr.split()
        )


def test_a_port_in_use_is_an_error(review: Served, folder: Path) -> None:
    port = review.address.rsplit(":", 1)[1].strip("/")
    done = limner("review", folder, "--no-open", "--port", port)
    assert (
        done.returncode == 1
        and "cannot be listened on: Address already in use. Take another --port"
        in " ".join(done.stderr.split())
    )
