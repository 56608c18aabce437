from dataclasses import dataclass, field

import pytest

from dataflow_magic import errors
from dataflow_magic.cell.line import parse_job_ref
from dataflow_magic.models.request import JobRef
from dataflow_magic.models.wire import Job, JobCondition, Page
from dataflow_magic.session.jobs import find_job

pytestmark = pytest.mark.anyio


@dataclass
class FakeJobs:
    """A service with these jobs; ``narrows`` is how it takes the name it is asked for."""

    jobs: list[Job]
    narrows: str = "prefix"
    page_size: int = 1000
    calls: list[str] = field(default_factory=list)

    async def get_job(self, job_id: str) -> Job:
        self.calls.append(f"get {job_id}")
        for job in self.jobs:
            if job.job_id == job_id:
                return job
        raise errors.NotFound(f"not found (404: {job_id})", status=404, code="not-found")

    async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
        self.calls.append(f"list {name} {page}")
        size = min(self.page_size, limit)
        kept = [job for job in self.jobs if name is None or self.narrows == "no" or job.name.startswith(name)]
        # A list's items are shorter than the jobs themselves.
        items = [Job(job_id=job.job_id, name=job.name) for job in kept[page * size : (page + 1) * size]]
        return Page(list=items, page=page, limit=size)


def job(job_id: str, name: str) -> Job:
    return Job(job_id=job_id, name=name, run_condition=JobCondition(timeout=60))


SALES, STOCK, TWIN, OTHER_TWIN = (
    job("sales0000001", "daily_sales"),
    job("stock0000001", "daily_sales_stock"),
    job("twin00000001", "twin"),
    job("twin00000002", "twin"),
)
LIKE_AN_ID = job("likeanid0001", "twelvechars1")
ALL = [SALES, STOCK, TWIN, OTHER_TWIN, LIKE_AN_ID]


@pytest.mark.parametrize(
    ("text", "found", "calls"),
    [
        ("sales0000001", SALES, ["get sales0000001"]),
        ("id:sales0000001", SALES, ["get sales0000001"]),
        ("daily_sales", SALES, ["list daily_sales 0", "get sales0000001"]),
        ("name:daily_sales", SALES, ["list daily_sales 0", "get sales0000001"]),
        ("twelvechars1", LIKE_AN_ID, ["get twelvechars1", "list twelvechars1 0", "get likeanid0001"]),
        ("name:twelvechars1", LIKE_AN_ID, ["list twelvechars1 0", "get likeanid0001"]),
        ("id:twin00000002", OTHER_TWIN, ["get twin00000002"]),
    ],
    ids=[
        "an id",
        "an id said to be one",
        "a name",
        "a name said to be one",
        "a name that looks like an id",
        "one that does, said to be a name",
        "one of twins",
    ],
)
async def test_a_job_is_found_whole_by_its_id_or_its_exact_name(text, found, calls):
    service = FakeJobs(ALL)

    assert await find_job(service, parse_job_ref(text)) == found
    assert service.calls == calls


async def test_every_page_is_searched_for_a_name():
    service = FakeJobs(
        [*(job(f"x{number}", f"x{number}") for number in range(5)), SALES], narrows="no", page_size=2
    )

    assert await find_job(service, JobRef("daily_sales")) == SALES
    assert service.calls == [
        "list daily_sales 0",
        "list daily_sales 1",
        "list daily_sales 2",
        "list daily_sales 3",
        "get sales0000001",
    ]


async def test_an_endless_list_of_jobs_is_read_for_twenty_pages():
    class Endless(FakeJobs):
        async def list_jobs(self, *, name: str | None = None, page: int = 0, limit: int = 1000) -> Page[Job]:
            return await super().list_jobs(name=name, page=page * 0, limit=limit)

    service = Endless([SALES], narrows="no", page_size=1)

    with pytest.raises(errors.NotFound):
        await find_job(service, JobRef("nobody"))

    assert service.calls == [*["list nobody 0"] * 20, "list None 0"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "daily_sale",
            "no job is named 'daily_sale'; did you mean 'daily_sales'?; %dataflow_jobs lists them",
        ),
        ("name:sales0000001", "no job is named 'sales0000001'; %dataflow_jobs lists them"),
        ("zzz", "no job is named 'zzz'; %dataflow_jobs lists them"),
        ("Twin", "no job is named 'Twin'; did you mean 'twin'?; %dataflow_jobs lists them"),
        ("zzzzzzzzzzzz", "no job is named 'zzzzzzzzzzzz'; %dataflow_jobs lists them"),
        ("id:zzz", "not found (404: zzz)"),
    ],
    ids=[
        "nearly",
        "an id said to be a name",
        "nothing near",
        "another case",
        "neither id nor name",
        "no such id",
    ],
)
async def test_a_missing_job_is_reported_with_the_nearest_name(text, said):
    with pytest.raises(errors.NotFound) as caught:
        await find_job(FakeJobs(ALL), parse_job_ref(text))

    assert (str(caught.value), caught.value.status) == (said, 404)


async def test_of_several_jobs_of_one_name_none_is_guessed():
    with pytest.raises(errors.CellError) as caught:
        await find_job(FakeJobs(ALL), JobRef("twin"))

    assert str(caught.value) == "2 jobs are named 'twin'; choose one by id:... (twin00000001, twin00000002)"


async def test_a_refusal_does_not_count_as_a_missing_job():
    class Forbidden(FakeJobs):
        async def get_job(self, job_id: str) -> Job:
            raise errors.NotAllowed(f"not allowed: {job_id}", status=403)

    with pytest.raises(errors.NotAllowed):
        await find_job(Forbidden(ALL), JobRef("sales0000001"))
