import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from pathlib import Path

import pytest
from pydantic import SecretStr

from dataflow_magic.client.objects import CloudObjects, FolderObjects, NoObject, folder_of_service
from dataflow_magic.errors import DataflowError
from dataflow_magic.files import try_lock

pytestmark = pytest.mark.anyio

ACCESS, SECRET = "ACCESSKEY0000000EXAM", "hunter2hunter2hunter2"
LOG = b"".join(b"line %d\n" % number for number in range(1000))


# A folder


@pytest.mark.parametrize(
    ("content", "most", "tail"),
    [
        (b"0123456789", 4, b"6789"),
        (b"0123456789", 10, b"0123456789"),
        (b"0123456789", 100, b"0123456789"),
        (b"0123456789", 0, b""),
        (b"", 10, b""),
        ("매출".encode(), 4, "매출".encode()[2:]),
    ],
    ids=[
        "the end",
        "exactly all",
        "a short file",
        "no byte",
        "empty",
        "bytes, not characters",
    ],
)
async def test_a_tail_is_the_end_of_a_file(tmp_path, content, most, tail):
    (tmp_path / "bucket" / "logs").mkdir(parents=True)
    (tmp_path / "bucket" / "logs" / "console.log").write_bytes(content)

    assert await FolderObjects(tmp_path).tail("bucket/logs/console.log", most) == tail


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("bucket/other.log", "FileNotFoundError"),
        ("other/console.log", "FileNotFoundError"),
        ("bucket", "IsADirectoryError"),
        ("bucket/", "IsADirectoryError"),
        ("bucket/console.log/x", "NotADirectoryError"),
    ],
    ids=["no such file", "no such bucket", "a bucket", "a folder", "below a file"],
)
async def test_a_path_without_a_file_has_no_tail(tmp_path, path, why):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "console.log").write_text("inside")

    with pytest.raises(NoObject) as caught:
        await FolderObjects(tmp_path).tail(path, 10)

    assert str(caught.value) == f"no object {path!r} ({why})"


@pytest.mark.parametrize(
    "path",
    ["", "bucket/con\0sole.log", "bucket/\ud800", "bucket/" + "x" * 300, "../outside.log", "bucket/../../outside.log",
     "/etc/hostname"],
    ids=["nothing", "NUL", "half a character", "a long name", "the folder above", "a detour", "an absolute path"],
)  # fmt: skip
async def test_a_path_that_no_object_can_have_is_refused(tmp_path, path):
    objects = FolderObjects(tmp_path / "objects")
    (tmp_path / "objects" / "bucket").mkdir(parents=True)
    (tmp_path / "outside.log").write_text("outside")
    refusal = (
        f"{path!r} is not a path in object storage: write bucket/key, without a scheme, .. or a leading slash"
    )

    with pytest.raises(NoObject) as no_tail:
        await objects.tail(path, 10)
    assert str(no_tail.value) == refusal
    for act in objects.read(path), objects.put(path, b"x"):
        with pytest.raises(DataflowError) as refused:
            await act
        assert str(refused.value) == refusal
    assert (tmp_path / "outside.log").read_text() == "outside"
    assert list((tmp_path / "objects" / "bucket").iterdir()) == []


@pytest.fixture
def locked(tmp_path):
    """The lock that the service of the folder ``data`` holds."""
    (tmp_path / "data").mkdir()
    lock = try_lock(tmp_path / "data" / "service.lock")
    assert lock is not None
    yield lock
    os.close(lock)


def published(folder: Path, endpoint: str = "http://127.0.0.1:8970") -> Path:
    (folder / "objects" / "bucket").mkdir(parents=True)
    (folder / "service.json").write_text(json.dumps({"endpoint": endpoint}))
    return folder / "objects"


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8970", "http://localhost:8970", "http://127.0.0.1:8970/"]
)
async def test_a_local_service_of_this_user_names_its_folder(tmp_path, endpoint):
    objects = folder_of_service(published(tmp_path / "data"), endpoint)

    await objects.put("bucket/x", b"x")
    assert (tmp_path / "data" / "objects" / "bucket" / "x").read_bytes() == b"x"


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(
    ("named", "content", "why"),
    [
        ("objects", '{"endpoint": "http://127.0.0.1:8971"}', "a service at another address has that folder"),
        ("objects", '{"endpoint": "http://127.0.0.2:8970"}', "a service at another address has that folder"),
        ("objects", "", r"that cannot be checked \(JSONDecodeError\)"),
        ("objects", "[]", r"that cannot be checked \(TypeError\)"),
        ("objects", "{}", r"that cannot be checked \(KeyError\)"),
        ("objects", '{"endpoint": 1}', r"that cannot be checked \(AttributeError\)"),
        ("objects/bucket", "{}", "that is no object folder of a running local service"),
        ("none/objects", "{}", "that is no object folder of a running local service"),
        (".", "{}", "that is no object folder of a running local service"),
        ("objects\0", "{}", "that is no object folder of a running local service"),
    ],
)
def test_a_folder_that_is_not_the_service_s_own_is_refused(tmp_path, named, content, why):
    published(tmp_path / "data")
    (tmp_path / "data" / "service.json").write_text(content)

    with pytest.raises(DataflowError, match=f"^the service at http://127.0.0.1:8970 names .*, but {why}; "):
        folder_of_service(tmp_path / "data" / named, "http://127.0.0.1:8970")


def test_the_folder_of_a_killed_service_is_refused(tmp_path):
    objects = published(tmp_path / "data")
    (tmp_path / "data" / "service.lock").touch()

    with pytest.raises(DataflowError, match="but that is no object folder of a running local service; "):
        folder_of_service(objects, "http://127.0.0.1:8970")


@pytest.mark.usefixtures("locked")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
@pytest.mark.parametrize("given", ["objects", "service.json", "."])
def test_a_folder_of_another_user_is_refused(tmp_path, given):
    objects = published(tmp_path / "data")
    os.chown(tmp_path / "data" / given, 12345, -1)

    with pytest.raises(DataflowError, match="but that belongs to another user; "):
        folder_of_service(objects, "http://127.0.0.1:8970")


IN_A_FORK = """
import asyncio, os, signal, sys
from pathlib import Path
from dataflow_magic.client.objects import FolderObjects

read = lambda: print(asyncio.run(FolderObjects(Path(sys.argv[1])).tail("bucket/x", 10)), flush=True)
read()
if os.fork() == 0:
    signal.alarm(30)
    read()
    os._exit(0)
os.wait()
"""


def test_a_forked_process_reads_files_too(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "x").write_text("whole")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_FORK, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout == "b'whole'\n" * 2


async def test_a_link_is_read_and_a_name_may_have_any_character_of_a_file(tmp_path):
    objects = FolderObjects(tmp_path)
    for name in ("매 출.py", "a#1", "a%20b", "tab\tand\nline", "a?b*c"):
        await objects.put(f"bucket/{name}", name.encode())
        assert await objects.read(f"bucket/{name}") == name.encode()
    (tmp_path / "bucket" / "link").symlink_to("a#1")

    assert await objects.tail("bucket/link", 10) == b"a#1"
    assert await objects.read("bucket/link") == b"a#1"


async def test_a_replaced_file_loses_the_checksum_of_its_old_content(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / ".job.py.crc").write_bytes(b"crc")

    await FolderObjects(tmp_path).put("bucket/job.py", b"new")

    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["job.py"]


async def test_a_script_larger_than_the_limit_is_refused_and_its_tail_is_read(tmp_path):
    (tmp_path / "bucket").mkdir()
    with (tmp_path / "bucket" / "endless.py").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of holes

    with pytest.raises(DataflowError) as caught:
        await FolderObjects(tmp_path).read("bucket/endless.py")
    assert str(caught.value) == "s3a://bucket/endless.py cannot be read: it is larger than 64 MiB, the limit"
    assert await FolderObjects(tmp_path).tail("bucket/endless.py", 3) == b"\0\0\0"


async def test_a_pipe_is_no_object(tmp_path):
    (tmp_path / "bucket").mkdir()
    os.mkfifo(tmp_path / "bucket" / "pipe")
    objects = FolderObjects(tmp_path)

    with pytest.raises(NoObject, match=r"^no object 'bucket/pipe' \(_NotAFile\)$"):
        await objects.tail("bucket/pipe", 3)
    with pytest.raises(DataflowError, match=r"^s3a://bucket/pipe cannot be read \(_NotAFile\)$"):
        await objects.read("bucket/pipe")


# The cloud


class FakeStorage(ThreadingHTTPServer):
    """Answers HEAD, PUT, and GET with ranges as S3 does, for one bucket of these objects; a number is an error."""

    daemon_threads = True

    def __init__(self, objects: dict[str, bytes | int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects = objects
        self.requests: list[tuple[str, str | None]] = []
        self.authorizations: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeStorage
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"" if isinstance(self._object(), int) else self._object(), body=False)

    def do_GET(self) -> None:
        self._answer(self._object(), body=True)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        if not isinstance(self._object(), int) or self._object() == 404:
            self.server.objects[self.path] = content
        self._answer(b"" if isinstance(self._object(), int) else self._object(), body=False)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _object(self) -> bytes | int:
        return self.server.objects.get(self.path, 404)

    def _answer(self, content: bytes | int, *, body: bool) -> None:
        wanted = self.headers["range"]
        self.server.requests.append((f"{self.command} {self.path}", wanted))
        self.server.authorizations.append(self.headers["authorization"] or "")
        found = self._object()
        if isinstance(found, int) or isinstance(content, int):
            self.send_response(found if isinstance(found, int) else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        bad = found if isinstance(found, Bad) else Bad(b"")
        if wanted:
            first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) + (bad.more if body else 0)))
        self.send_header("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        self.end_headers()
        if body:
            with suppress(OSError):  # the client has read enough
                for start in range(0, len(content), 10 if bad.pause else 1 << 20):
                    time.sleep(bad.pause)
                    self.wfile.write(content[start : start + (10 if bad.pause else 1 << 20)])
                for _ in range(bad.more >> 20):
                    self.wfile.write(bytes(1 << 20))


@contextmanager
def storage(**objects: bytes | int) -> Iterator[FakeStorage]:
    """Serve these objects as ``/bucket/logs/NAME`` until the test is over."""
    with FakeStorage({f"/bucket/logs/{name}": content for name, content in objects.items()}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def cloud(server: FakeStorage, seconds: float = 60) -> CloudObjects:
    return CloudObjects(ACCESS, SecretStr(SECRET), server.address, seconds=seconds)


class Bad(bytes):
    """An object whose storage says its size, and then sends more, or slowly."""

    def __new__(cls, content: bytes, *, more: int = 0, pause: float = 0.0) -> "Bad":
        made = super().__new__(cls, content)
        made.more, made.pause = more, pause
        return made

    more: int
    pause: float


@pytest.mark.parametrize(
    ("content", "seconds", "over"),
    [
        (Bad(b"x" * 1000, more=1 << 30), 60, "the storage sends more than the 500 bytes asked for"),
        (Bad(b"x" * 1000, pause=0.05), 2, "it takes longer than 2 s, the limit"),
    ],
    ids=["endless", "in drops"],
)
async def test_a_log_that_does_not_end_is_an_error_that_names_the_limit(content, seconds, over):
    with storage(console=content) as server, pytest.raises(DataflowError) as caught:
        await cloud(server, seconds).tail("bucket/logs/console", 500)

    assert str(caught.value) == f"s3a://bucket/logs/console cannot be read in {server.address}: {over}"


@pytest.mark.parametrize(
    ("content", "seconds", "over"),
    [
        (Bad(b"x", more=1 << 30), 60, "it is larger than 64 MiB, the limit"),
        (Bad(b"x" * 1000, pause=0.05), 2, "it takes longer than 2 s, the limit"),
    ],
    ids=["endless", "in drops"],
)
async def test_a_script_that_does_not_end_is_an_error_that_names_the_limit(content, seconds, over):
    with storage(script=content) as server, pytest.raises(DataflowError) as caught:
        await cloud(server, seconds).read("bucket/logs/script")

    assert str(caught.value) == f"s3a://bucket/logs/script cannot be read in {server.address}: {over}"


async def test_a_call_of_object_storage_may_take_sixty_seconds():
    assert signature(CloudObjects).parameters["seconds"].default == 60.0


async def test_a_tail_is_requested_as_a_range():
    with storage(console=LOG) as server:
        tail = await cloud(server).tail("bucket/logs/console", 9)

    assert tail == b"line 999\n"
    assert server.requests == [
        ("HEAD /bucket/logs/console", None),
        ("GET /bucket/logs/console", f"bytes={len(LOG) - 9}-{len(LOG) - 1}"),
    ]


async def test_the_tail_of_a_short_object_is_all_of_it():
    with storage(console=b"short") as server:
        assert await cloud(server).tail("bucket/logs/console", 1 << 18) == b"short"


async def test_the_tail_of_an_empty_object_is_empty():
    with storage(console=b"") as server:
        assert await cloud(server).tail("bucket/logs/console", 10) == b""

    assert server.requests == [("HEAD /bucket/logs/console", None)]


async def test_a_request_is_signed_for_the_storage_s_region():
    with storage(console=b"x") as server:
        await cloud(server).tail("bucket/logs/console", 10)

    assert len(server.authorizations) == 2
    for authorization in server.authorizations:
        assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS}/")
        assert "/kr-standard/s3/aws4_request" in authorization
        assert SECRET not in authorization


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("bucket/logs/forbidden", "PermissionDeniedError"),
        ("bucket/logs/absent", "FileNotFoundError"),
        ("bucket/매 출/logs", "FileNotFoundError"),
        ("bucket/../logs/absent", "ValueError"),
        ("bucket/x\0", "ValueError"),
        ("bucket/\ud800", "UnicodeEncodeError"),
    ],
    ids=["forbidden", "absent", "wide characters", "the folder above", "NUL", "half a character"],
)
async def test_a_missing_tail_names_the_path_and_not_the_request(path, why):
    with storage(forbidden=403) as server, pytest.raises(NoObject) as caught:
        await cloud(server).tail(path, 10)

    said = str(caught.value)
    assert said == f"no object {path!r} in {server.address} ({why})"
    assert SECRET not in said
    assert ACCESS not in said


@pytest.mark.parametrize("path", ["bucket", "buck et/logs/absent", "\ud800/logs", ""], ids=ascii)
async def test_a_path_without_bucket_and_key_is_refused_before_a_request(path):
    refusal = f"{path!r} is not a path in object storage: write bucket/key"

    with storage() as server:
        objects = cloud(server)
        with pytest.raises(NoObject) as no_tail:
            await objects.tail(path, 10)
        assert str(no_tail.value) == refusal
        for act in objects.read(path), objects.put(path, b"x"):
            with pytest.raises(DataflowError) as refused:
                await act
            assert str(refused.value) == refusal

    assert server.requests == []


async def test_a_storage_that_does_not_answer_has_no_tail():
    with storage() as server:
        pass

    with pytest.raises(NoObject, match="no object 'bucket/logs/console' in http://127"):
        await cloud(server).tail("bucket/logs/console", 10)


def test_no_text_of_a_storage_holds_the_secret():
    objects = CloudObjects(ACCESS, SecretStr(SECRET))

    assert SECRET not in f"{objects!r} {vars(objects)}"


THEN_ENDS = """
import asyncio, threading, obstore
from obstore.store import MemoryStore
from pydantic import SecretStr
from dataflow_magic.client.objects import CloudObjects

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
objects = CloudObjects("key", SecretStr("secret"))
objects._locate("bucket/key")
objects._stores["bucket"] = MemoryStore()  # answers so fast that the process ends right then
obstore.put(objects._stores["bucket"], "log", b"0123456789")
asyncio.run_coroutine_threadsafe(objects.size("bucket/log"), loop).result()
"""


def test_a_process_that_ends_right_after_a_read_ends_well():
    """Without the pause every second one is aborted, by a thread of obstore."""
    ends = [
        subprocess.run([sys.executable, "-c", THEN_ENDS], capture_output=True, text=True, timeout=60)
        for _ in range(8)
    ]

    assert [(each.returncode, each.stderr) for each in ends] == [(0, "")] * 8


# Whole objects


async def test_an_object_in_a_folder_is_written_whole_and_read(tmp_path):
    objects = FolderObjects(tmp_path)

    assert await objects.read("bucket/scripts/job.py") is None
    await objects.put("bucket/scripts/job.py", LOG)
    await objects.put("bucket/scripts/job.py", b"short\r\n")

    assert await objects.read("bucket/scripts/job.py") == b"short\r\n"
    assert [path.name for path in (tmp_path / "bucket" / "scripts").iterdir()] == ["job.py"]
    assert await objects.read("bucket/scripts/job.py/x") is None


async def test_a_folder_is_neither_read_nor_written(tmp_path):
    objects = FolderObjects(tmp_path)
    (tmp_path / "bucket").mkdir()

    for what, act in ("read", objects.read("bucket")), ("written", objects.put("bucket", b"x")):
        with pytest.raises(DataflowError) as refused:
            await act
        assert str(refused.value) == f"s3a://bucket cannot be {what} (IsADirectoryError)"
    assert [path.name for path in tmp_path.iterdir()] == ["bucket"]


async def test_an_object_in_the_cloud_is_written_and_read():
    with storage() as server:
        objects = cloud(server)
        assert await objects.read("bucket/logs/매 출.py") is None
        await objects.put("bucket/logs/매 출.py", b"print(1)\n")
        assert await objects.read("bucket/logs/매 출.py") == b"print(1)\n"

    assert [request for request, _ in server.requests] == [
        "GET /bucket/logs/%EB%A7%A4%20%EC%B6%9C.py",
        "PUT /bucket/logs/%EB%A7%A4%20%EC%B6%9C.py",
        "GET /bucket/logs/%EB%A7%A4%20%EC%B6%9C.py",
    ]
    for authorization in server.authorizations:
        assert authorization.startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS}/")
        assert "/kr-standard/s3/aws4_request" in authorization
        assert SECRET not in authorization


async def test_an_empty_object_exists():
    with storage(script=b"") as server:
        assert await cloud(server).read("bucket/logs/script") == b""


@pytest.mark.parametrize(
    ("path", "kind"), [("bucket/logs/forbidden", "PermissionDeniedError"), ("bucket/../x", "ValueError")]
)
async def test_an_error_of_the_cloud_names_the_path_and_not_the_request(path, kind):
    with storage(forbidden=403) as server:
        objects = cloud(server)
        for what, act in ("read", objects.read(path)), ("written", objects.put(path, b"x")):
            with pytest.raises(DataflowError) as refused:
                await act
            said = str(refused.value)
            assert said == (
                f"s3a://{path} cannot be {what} in {server.address} ({kind}); "
                "check that the bucket exists and that the key pair may access it"
            )
            assert SECRET not in said
            assert ACCESS not in said


async def test_a_storage_that_does_not_answer_can_neither_be_read_nor_written():
    with storage() as server:
        pass

    for act in cloud(server).read("bucket/x"), cloud(server).put("bucket/x", b"x"):
        with pytest.raises(DataflowError, match=r"^s3a://bucket/x cannot be (read|written) in http://127"):
            await act
