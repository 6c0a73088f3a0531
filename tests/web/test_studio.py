"""The studio's routes, with a real server."""

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image

from command_line import TINY_TRAINING, limner, run_limner
from limner.data.synthetic import write_images
from limner.training.machine_use import occupy_machine
from limner.web.auth import Access
from limner.web.studio.app import create_studio_app
from limner.web.studio.context import StudioContext, require_owner
from service import Served, Start, png, problem
from shared_folder import shared_folder
from waiting import wait_until

OWNER, ANNA = "the owner's long token", "anna's token is long"
SETTINGS = [part for setting in TINY_TRAINING for part in ("--set", setting)]


@pytest.fixture(scope="module")
def made(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a dataset, its check, a run with a report, and masks of new images."""

    def make(work: Path) -> None:
        shutil.copytree(lesions, work / "lesions")
        write_images(work / "new-ones", count=4, size_px=32, seed=5)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(work)
            run_limner("check", "lesions")
            run_limner("train", "lesions", *SETTINGS)
            run_limner("test", "runs/lesions", "lesions")
            run_limner("predict", "runs/lesions", "new-ones", "-o", "new-ones-masks")
        shutil.copytree(work / "new-ones-masks", work / "others")

    return shared_folder(tmp_path_factory, "studio", make)


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """A copy, as if it had been made there."""
    copy = Path(shutil.copytree(made, tmp_path / "work"))
    for path in (copy / "runs/lesions/receipt.json", *copy.glob("*/predictions.json")):
        path.write_text(path.read_text().replace(str(made), str(copy)))
    return copy


@pytest.fixture
def studio(work: Path, start: Start) -> Served:
    return start("--no-open", verb="studio", HOME=str(work.parent))


@pytest.fixture
def path(studio: Served, work: Path) -> str:
    """The address of the project."""
    return open_project(studio.client, work / "lesions")


def open_project(client: httpx.Client, folder: Path) -> str:
    answer = client.post("/api/projects", json={"folder": str(folder)})
    assert answer.status_code == 200, answer.text
    return f"/api/projects/{answer.json()['id']}"


def wait_for_job(client: httpx.Client, path: str) -> dict[str, str]:
    """Wait until the newest job has ended."""

    def newest() -> dict[str, str]:
        return client.get(path).json()["jobs"][0]

    wait_until(lambda: newest()["state"] not in {"waiting", "running"})
    return newest()


def test_a_project_is_what_its_files_are(studio: Served, path: str, work: Path) -> None:
    project = studio.client.get(path).json()
    assert project["name"] == "lesions" and project["work"] == str(work)
    assert [step["state"] for step in project["steps"]][:6] == ["done"] * 6
    assert [each["name"] for each in project["runs"]] == ["lesions"]
    listed = studio.client.get("/api/projects").json()
    assert [each["folder"] for each in listed["projects"]] == [str(work / "lesions")]


def test_steps_are_jobs_that_do_what_the_command_does(
    studio: Served, path: str, work: Path
) -> None:
    shutil.rmtree(work / "checks")
    started = studio.client.post(f"{path}/jobs", json={"step": "check"}).json()
    assert started["command"] == "limner check lesions"
    assert wait_for_job(studio.client, path)["state"] == "done"
    assert (work / "checks" / "lesions" / "index.html").is_file()
    predict = {"step": "predict", "images": "new-ones"}
    assert studio.client.post(f"{path}/jobs", json=predict).json()["command"] == (
        "limner predict runs/lesions new-ones -o new-ones-masks-2"
    )
    assert wait_for_job(studio.client, path)["state"] == "done"
    measured = {"step": "measure", "predictions": "new-ones-masks-2"}
    assert studio.client.post(f"{path}/jobs", json=measured).status_code == 200
    assert wait_for_job(studio.client, path)["state"] == "done"
    page = studio.client.get(f"{path}/predictions/new-ones-masks-2/measures")
    assert "<html" in page.text and "sandbox" in page.headers["content-security-policy"]


def test_two_trainings_do_not_share_a_machine_without_a_word(
    studio: Served, path: str, work: Path
) -> None:
    train = {"step": "train", "minutes": 0.05, "encoder": "none", "size_px": 16}
    with occupy_machine() as is_alone:
        assert is_alone
        refused = studio.client.post(f"{path}/jobs", json=train)
        assert refused.status_code == 409 and refused.json()["beside"]
        assert "Two trainings at once take longer" in refused.json()["error"]
        started = studio.client.post(f"{path}/jobs", json={**train, "beside": True})
        assert started.status_code == 200
        assert wait_for_job(studio.client, path)["state"] == "done"
    assert (work / "runs" / "lesions-2" / "model.safetensors").is_file()
    with studio.client.stream("GET", f"{path}/events") as stream:
        lines = stream.iter_lines()
        while "another training runs on this machine" not in str(next_event(lines, "output")):
            pass


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"step": "next"}, "no mask was accepted or corrected yet"),
        ({"step": "predict", "images": "/nowhere"}, "/nowhere is not a folder"),
        ({"step": "predict", "images": "../work"}, "../work is not a folder"),
        ({"step": "merge"}, "no mask was drawn and accepted yet"),
        ({"step": "resume", "run": "../lesions"}, "there is no run ../lesions"),
        ({"step": "measure", "predictions": "checks"}, "there are no predictions checks"),
    ],
)
def test_what_cannot_be_done_is_said(
    studio: Served, path: str, step: dict[str, str], says: str
) -> None:
    assert says in problem(studio.client.post(f"{path}/jobs", json=step), 409)


def test_arguments_of_commands_are_none_that_people_could_smuggle_in(
    studio: Served, path: str
) -> None:
    for bad in ({"encoder": "--out=/x"}, {"encoder": "a b"}, {"minutes": -1}, {"size_px": 9}):
        answer = studio.client.post(f"{path}/jobs", json={"step": "train", **bad})
        assert answer.status_code == 422, bad


def test_pages_of_commands_are_shown_inside_and_may_do_nothing(studio: Served, path: str) -> None:
    for page in ("check", "runs/lesions/report"):
        answer = studio.client.get(f"{path}/{page}")
        policy = answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith("text/html")
        assert "sandbox" in policy and "frame-ancestors 'self'" in policy
        assert "script-src" not in policy and "default-src 'none'" in policy
    index = studio.client.get("/")
    assert "frame-src 'self'" in index.headers["content-security-policy"]
    assert index.headers["x-frame-options"] == "DENY"


def test_pictures(studio: Served, path: str) -> None:
    addresses = [
        *("images/0", "samples/23", "runs/lesions/validation"),
        *(f"predictions/new-ones-masks/3?what={what}" for what in ("overlay", "large", "image")),
    ]
    for address in addresses:
        answer = studio.client.get(f"{path}/{address}")
        assert Image.open(io.BytesIO(answer.content)).format == "JPEG", address
    for address in ("images/24", "samples/-1", "predictions/new-ones-masks/4", "predictions/x/0"):
        assert studio.client.get(f"{path}/{address}").status_code in {404, 422}, address


def test_the_map_of_probability_agrees_with_the_mask(studio: Served, path: str, work: Path) -> None:
    records = studio.client.get(f"{path}/predictions/new-ones-masks").json()
    assert records["has_threshold"] and records["count"] == 4
    for record in records["records"]:
        answer = studio.client.get(
            f"{path}/predictions/new-ones-masks/{record['index']}?what=probability"
        )
        probability = np.asarray(Image.open(io.BytesIO(answer.content)))
        name = Path(record["name"]).stem
        mask = np.asarray(Image.open(work / "new-ones-masks" / f"{name}.png"))
        assert ((probability > 127) == (mask > 0)).mean() > 0.99


def test_two_models_are_compared_image_by_image(studio: Served, path: str) -> None:
    query = {"beside": "others"}
    answer = studio.client.get(f"{path}/predictions/new-ones-masks", params=query).json()
    assert all(0 <= record["agreement"] <= 1 for record in answer["records"])
    assert {record["other"] for record in answer["records"]} == {0, 1, 2, 3}


def test_masks_as_a_zip(studio: Served, path: str, work: Path) -> None:
    answer = studio.client.get(f"{path}/predictions/new-ones-masks/masks.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == 5 and "new-ones-masks/predictions.json" in names
        mask = next(name for name in names if name.endswith(".png"))
        assert archive.read(mask) == (work / mask).read_bytes()


def test_new_images_are_taken_whole_and_once(studio: Served, path: str, work: Path) -> None:
    folder = studio.client.post(f"{path}/drops").json()["folder"]
    assert folder == "new-images"
    first, second = png(seed=1), png(seed=2)
    names = [
        studio.client.put(f"{path}/drops/{folder}/{name}", content=content).json()["name"]
        for name, content in (("a.png", first), ("a.png", first), ("a.png", second))
    ]
    assert names == ["a.png", "a.png", "a-2.png"]
    assert sorted(each.name for each in (work / folder).iterdir()) == ["a-2.png", "a.png"]
    assert (work / folder / "a-2.png").read_bytes() == second
    assert studio.client.post(f"{path}/drops").json()["folder"] == "new-images-2"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("drops/new-images/virus.exe", 415),
        ("drops/new-images/.hidden.png", 422),
        ("drops/new-images/..%2F..%2Fx.png", 404),
        ("drops/new-images/..%5C..%5Cx.png", 200),
        ("drops/lesions/x.png", 422),
        ("drops/..%2Fwork/x.png", 404),
        ("drops/new-images-9/x.png", 404),
    ],
)
def test_nothing_is_written_elsewhere(
    studio: Served, path: str, work: Path, address: str, status: int
) -> None:
    studio.client.post(f"{path}/drops")
    before = {each for each in work.parent.rglob("*.png") if "new-images" not in each.parts}
    answer = studio.client.put(f"{path}/{address}", content=png())
    assert answer.status_code == status, answer.text
    after = {each for each in work.parent.rglob("*.png") if "new-images" not in each.parts}
    assert before == after
    assert not list((work / "new-images").glob(".*"))


def test_an_empty_body_is_no_image(studio: Served, path: str, work: Path) -> None:
    studio.client.post(f"{path}/drops")
    answer = studio.client.put(f"{path}/drops/new-images/a.png", content=b"")
    assert problem(answer, 422) == "the file is empty."
    assert not list((work / "new-images").iterdir())


def test_changes_come_as_events(studio: Served, path: str, work: Path) -> None:
    with studio.client.stream("GET", f"{path}/events") as stream:
        lines = stream.iter_lines()
        project = next_event(lines, "project")
        assert project["check"] == {"error": 0, "warning": 0, "note": project["check"]["note"]}
        assert next_event(lines, "run")["validations"][-1]["epoch"] == 2
        shutil.rmtree(work / "checks")
        assert next_event(lines, "project")["check"] is None
        studio.client.post(f"{path}/jobs", json={"step": "check"})
        while "24 pairs" not in next_event(lines, "output")["text"]:
            pass


def next_event(lines: Iterator[str], kind: str) -> dict[str, object]:
    for line in lines:
        if line == f"event: {kind}":
            return json.loads(next(lines).removeprefix("data: "))
    raise AssertionError


def test_a_stream_does_not_keep_the_server_from_ending(studio: Served, path: str) -> None:
    with studio.client.stream("GET", f"{path}/events") as stream:
        next_event(stream.iter_lines(), "project")
        assert studio.stop() == 0


def test_folders_of_this_machine_are_browsed(studio: Served, work: Path) -> None:
    (work / ".hidden").mkdir()
    answer = studio.client.get("/api/folders").json()
    assert answer["folder"] == str(work.parent) and "work" in answer["folders"]
    inner = studio.client.get("/api/folders", params={"path": str(work)}).json()
    assert inner["parent"] == str(work.parent) and ".hidden" not in inner["folders"]
    assert "lesions" in inner["folders"]
    for bad in ("/nowhere", str(work / "cache" / "x"), "a\0b"):
        assert studio.client.get("/api/folders", params={"path": bad}).status_code == 404


def test_projects_that_were_not_opened_are_not_shown(studio: Served, work: Path) -> None:
    for id in ("0" * 16, "x", "..%2F.."):
        assert studio.client.get(f"/api/projects/{id}").status_code in {404, 422}
    for folder in ("/", "/nowhere", "relative", str(work / "lesions" / "labels.toml")):
        answer = studio.client.post("/api/projects", json={"folder": folder})
        assert answer.status_code in {404, 422}, folder


def test_a_project_whose_folder_is_gone_says_so(studio: Served, path: str, work: Path) -> None:
    (work / "lesions").rename(work / "moved")
    assert "was not opened here, or its folder is gone" in problem(studio.client.get(path), 404)


def test_the_review_is_a_part_of_the_studio(studio: Served, path: str) -> None:
    review = f"{path.replace('/api/projects', '/review')}/new-ones-masks"
    page = studio.client.get(f"{review}/")
    assert page.status_code == 200 and "static/review.js" in page.text
    assert studio.client.get(f"{review}/static/review.js").status_code == 200
    described = studio.client.get(f"{review}/api/review").json()
    assert described["progress"]["tasks"] == 4
    for name in ("checks", "..", "lesions", "nothing"):
        answer = studio.client.get(f"{path.replace('/api/projects', '/review')}/{name}/")
        assert answer.status_code == 404, name
    assert studio.client.get("/review/").status_code == 404


def test_the_sample_set_is_drawn_once(start: Start, tmp_path: Path) -> None:
    studio = start("--no-open", verb="studio", HOME=str(tmp_path))
    id = studio.client.post("/api/sample").json()["id"]
    assert studio.client.post("/api/sample").json()["id"] == id
    path = f"/api/projects/{id}"
    jobs = studio.client.get(path).json()["jobs"]
    assert [job["command"] for job in jobs] == [
        "limner sample new-lesions --count 12 --seed 1 --images-only",
        "limner sample lesions",
    ]
    # That it is drawn whole takes long, and is seen in benchmarks/studio.py
    wait_until(lambda: studio.client.get(path).json()["images"] > 0)
    studio.client.post(f"{path}/jobs/{jobs[1]['id']}/stop")
    assert wait_for_job(studio.client, path)["state"] == "done"
    project = studio.client.get(path).json()
    assert project["new_images"] == ["new-lesions"]
    assert studio.client.post("/api/sample").json()["id"] == id
    assert len(studio.client.get(path).json()["jobs"]) == 2


def test_who_may_do_what(work: Path, start: Start, tmp_path: Path) -> None:
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\n')
    alone = start("--no-open", verb="studio")
    open_project(alone.client, work / "new-ones")
    studio = start(
        *("--no-open", "--host", "0.0.0.0", "--token", OWNER),
        *("--reviewers", tmp_path / "reviewers.toml"),
        verb="studio",
    )
    base = re.sub(r"//[^:]+", "//127.0.0.1", studio.address)
    client = httpx.Client(base_url=base, timeout=30)
    owner = {"Authorization": f"Bearer {OWNER}"}
    opened = client.post("/api/projects", json={"folder": str(work / "lesions")}, headers=owner)
    id = opened.json()["id"]
    path = f"/api/projects/{id}"
    looks = [
        *("/", "/api/projects", path, f"{path}/check", f"{path}/images/0", f"{path}/runs/lesions"),
        *(f"{path}/predictions/new-ones-masks/0", f"/review/{id}/new-ones-masks/api/review"),
        f"{path}/predictions/new-ones-masks/masks.zip",
    ]
    changes = [
        ("POST", "/api/projects"),
        ("POST", "/api/sample"),
        ("GET", "/api/folders"),
        ("POST", f"{path}/jobs"),
        ("POST", f"{path}/jobs/000001/stop"),
        ("POST", f"{path}/drops"),
        ("PUT", f"{path}/drops/new-images/x.png"),
    ]
    anna = {"Authorization": f"Bearer {ANNA}"}
    listed = client.get("/api/projects", headers=anna).json()["projects"]
    assert [each["id"] for each in listed] == [id], "what the owner opened alone is shown"
    wrong = {"Authorization": "Bearer wrong wrong wrong"}
    other_site = {**owner, "Origin": "https://elsewhere.example"}
    other_name = {**owner, "Host": "elsewhere.example"}
    for address in looks:
        for headers, status in ((owner, 200), (anna, 200), (wrong, 401), ({}, 401)):
            assert client.get(address, headers=headers).status_code == status, address
        assert client.get(address, headers=other_name).status_code == 400
    for (method, address), (headers, status) in product(
        changes, ((anna, 403), (wrong, 401), ({}, 401))
    ):
        answer = client.request(method, address, headers=headers, content=b"{}")
        assert answer.status_code == status, (method, address)
    for method, address in changes:
        if method != "GET":
            answer = client.request(method, address, headers=other_site, content=b"{}")
            assert answer.status_code == 403
    told = problem(client.post(f"{path}/jobs", headers=anna, json={"step": "check"}))
    assert told == "anna may look and review here. Others start and stop jobs."
    assert (
        client.get(f"/review/{id}/new-ones-masks/api/review", headers=anna).json()["reviewer"]
        == "anna"
    )
    client.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "there is no token"),
        (("--reviewers", "reviewers.toml"), "--reviewers needs a --token too"),
        (("nowhere",), "nowhere is not a folder"),
        (("--token", "short"), "a token is too short"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\n')
    done = limner("studio", "--no-open", *arguments)
    assert done.returncode == 1 and says in done.stderr


def test_limner_alone_shows_the_help_where_nobody_looks_at_a_page() -> None:
    done = limner()
    assert done.returncode == 0 and "opens the studio" in " ".join(done.stdout.split())


def test_every_route_that_changes_something_is_for_the_owner_alone(tmp_path: Path) -> None:
    app = create_studio_app(StudioContext(tmp_path, "mira", Access()))
    checked = 0
    for route in app.routes:
        for inner in getattr(getattr(route, "original_router", None), "routes", [route]):
            if (getattr(inner, "methods", None) or set()) - {"GET", "HEAD"}:
                calls = [each.call for each in inner.dependant.dependencies]
                assert require_owner in calls, inner.path
                checked += 1
    assert checked == 6
