"""The client against real sockets: proxies, certificates and transfers that break. All on loopback.

Each test of the environment starts a process with one. No name is resolved: only the proxies of this module know
`dataflow.test`, and 127.1 is a number of this machine.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflow_magic import errors
from dataflow_magic.client.client import Client
from dataflow_magic.client.sending import certificates

pytestmark = pytest.mark.anyio

ACCESS, SECRET = "ACCESSKEY0000000EXAM", "hunter2hunter2hunter2"
RUN = b'{"jobExecutionId": "p4Y5Pk000000", "jobId": "gqigvH000000", "status": "READY"}'
STARTED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(RUN), RUN)
POST = "POST /api/v1/jobs/gqigvH000000/executions HTTP/1.1"
NOT_TRUSTED = "its certificate is not trusted; name the certificates to trust in SSL_CERT_FILE"

START = """
import asyncio, sys
import stamina
from dataflow_magic import errors
from dataflow_magic.client.client import Client

async def start(endpoint, access, secret):
    async with Client(access, secret, endpoint) as client:
        return (await client.execute_job("gqigvH000000")).job_execution_id

stamina.set_testing(True, attempts=100, cap=True)
try:
    print(asyncio.run(start(*sys.argv[1:])))
except errors.DataflowError as error:
    print(type(error).__name__, error, sep=": ")
"""

CA = """
[req]
distinguished_name = subject
prompt = no
x509_extensions = authority
[subject]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:dataflow.test, IP:127.0.0.1
"""


@dataclass(frozen=True)
class Authority:
    """A private certificate authority, and its certificate for `dataflow.test` and 127.0.0.1."""

    file: Path
    folder: Path
    leaf: Path
    leaf_key: Path


def make_authority(home: Path, name: str) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")

    def openssl(*words: str) -> str:
        return subprocess.run(
            ["openssl", *words], cwd=home, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    (home / "ca.cnf").write_text(CA.format(name=name))
    new_key = "-newkey", "rsa:2048", "-nodes", "-config", "ca.cnf"
    openssl("req", "-x509", *new_key, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new_key, "-subj", "/CN=dataflow.test", "-keyout", "leaf.key", "-out", "leaf.csr")
    issuer = (
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        "2",
        "-extfile",
        "ca.cnf",
        "-extensions",
        "leaf",
    )
    openssl("x509", "-req", "-in", "leaf.csr", *issuer, "-days", "2", "-out", "leaf.pem")
    # OpenSSL finds a certificate in a folder by the hash of its subject.
    hashed = openssl("x509", "-hash", "-noout", "-in", "ca.pem").strip()
    (home / "folder").mkdir()
    (home / "folder" / f"{hashed}.0").write_bytes((home / "ca.pem").read_bytes())
    return Authority(home / "ca.pem", home / "folder", home / "leaf.pem", home / "leaf.key")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority"), "an authority")


@pytest.fixture(scope="module")
def another(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("another"), "another authority")


@dataclass
class Listener:
    """The port of a server, and the first line of each request it received."""

    port: int = 0
    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def service(
    answer: bytes | None = STARTED, authority: Authority | None = None
) -> AsyncIterator[Listener]:
    """Send these bytes for each request and close the connection; with None only close it."""
    tls = None
    if authority:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(authority.leaf, authority.leaf_key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.lines.append(await first_line(reader))
        if answer is None:
            writer.transport.abort()
            return
        writer.write(answer)
        await writer.drain()
        writer.close()

    listener = Listener()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener


@asynccontextmanager
async def proxy(to: Listener | None = None) -> AsyncIterator[Listener]:
    """Open tunnels to `dataflow.test`, which lead to the given service, and refuse all others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await first_line(reader)
        listener.lines.append(line)
        if to is None or not line.startswith("CONNECT dataflow.test:"):
            writer.write(b"HTTP/1.1 403 Not here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", to.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        async with asyncio.timeout(60):
            await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    listener = Listener()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        listener.port = server.sockets[0].getsockname()[1]
        yield listener


async def first_line(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def start(endpoint: str, **environment: str | Path) -> str:
    """Start a run in a process with this environment; return its id, or the name and message of the error."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("SSL_CERT_")
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", START, endpoint, ACCESS, SECRET),
        env=ours | {name: str(value) for name, value in environment.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            said, trouble = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert trouble.decode() == ""
    return said.decode().strip()


# Proxies


async def test_a_start_goes_through_a_proxy_to_a_service_with_a_certificate_of_ssl_cert_file(authority):
    async with service(authority=authority) as behind, proxy(behind) as tunnel:
        said = await start(
            "https://dataflow.test",
            HTTPS_PROXY=f"http://127.0.0.1:{tunnel.port}",
            SSL_CERT_FILE=authority.file,
        )

    assert said == "p4Y5Pk000000"
    assert tunnel.lines == ["CONNECT dataflow.test:443 HTTP/1.1"]
    assert behind.lines == [POST]


async def test_a_start_is_retried_where_a_proxy_opens_no_tunnel():
    async with proxy() as closed:
        said = await start("https://dataflow.test", HTTPS_PROXY=f"http://127.0.0.1:{closed.port}")

    assert said == (
        "Unreachable: no answer from https://dataflow.test (ProxyError: 403 Not here); the proxy refused; "
        "check HTTPS_PROXY and NO_PROXY, and what the proxy allows"
    )
    assert closed.lines == ["CONNECT dataflow.test:443 HTTP/1.1"] * 4


async def test_a_forwarding_proxy_gets_the_whole_address():
    async with service() as forwards:
        said = await start("http://dataflow.test", HTTP_PROXY=f"http://127.0.0.1:{forwards.port}")

    assert said == "p4Y5Pk000000"
    assert forwards.lines == ["POST http://dataflow.test/api/v1/jobs/gqigvH000000/executions HTTP/1.1"]


async def test_a_502_of_a_forwarding_proxy_leaves_the_outcome_unknown():
    async with service(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as forwards:
        said = await start("http://dataflow.test", HTTP_PROXY=f"http://127.0.0.1:{forwards.port}")

    assert said.startswith("OutcomeUnknown: the response from http://dataflow.test was lost")
    assert len(forwards.lines) == 1


async def test_no_proxy_is_used_for_an_address_of_no_proxy():
    async with service() as behind, proxy() as closed:
        said = await start(
            f"http://127.1:{behind.port}", HTTP_PROXY=f"http://127.0.0.1:{closed.port}", NO_PROXY="127.1"
        )

    assert said == "p4Y5Pk000000"
    assert closed.lines == []


@pytest.mark.parametrize(
    "entries", ["[::1]", "fd00::/8", "::1,[::1]:80", "http://[::1", "%%%, ,,*.", "[" * 50]
)
async def test_an_entry_of_no_proxy_that_names_nothing_leaves_the_service_in_reach(entries):
    async with service() as forwards:
        said = await start(
            "http://dataflow.test", HTTP_PROXY=f"http://127.0.0.1:{forwards.port}", NO_PROXY=entries
        )

    assert said == "p4Y5Pk000000"


async def test_no_proxy_is_used_for_this_machine():
    async with service() as here, proxy() as closed:
        address = f"http://127.0.0.1:{closed.port}"
        said = await start(f"http://127.0.0.1:{here.port}", HTTP_PROXY=address, ALL_PROXY=address)

    assert said == "p4Y5Pk000000"
    assert closed.lines == []


@pytest.mark.parametrize(
    "address", ["ftp://user:hunter2@x", "http://user:hunter2@x:port"], ids=["of a strange kind", "no address"]
)
async def test_an_unusable_proxy_is_reported_without_its_password(address):
    said = await start("https://dataflow.test", HTTPS_PROXY=address)

    assert said == (
        "ConfigError: the proxy in the environment cannot be used; check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY "
        "(a SOCKS proxy also needs the package socksio)"
    )


# Certificates


async def test_certificates_of_ssl_cert_dir_are_trusted(authority):
    async with service(authority=authority) as behind, proxy(behind) as tunnel:
        said = await start(
            "https://dataflow.test",
            HTTPS_PROXY=f"http://127.0.0.1:{tunnel.port}",
            SSL_CERT_DIR=authority.folder,
        )

    assert said == "p4Y5Pk000000"


async def test_file_and_folder_are_both_trusted(authority, another):
    async with service(authority=authority) as behind, proxy(behind) as tunnel:
        said = await start(
            "https://dataflow.test",
            HTTPS_PROXY=f"http://127.0.0.1:{tunnel.port}",
            SSL_CERT_FILE=another.file,
            SSL_CERT_DIR=authority.folder,
        )

    assert said == "p4Y5Pk000000"


async def test_certificates_of_the_environment_are_trusted_on_loopback_too(authority):
    async with service(authority=authority) as here:
        said = await start(f"https://127.0.0.1:{here.port}", SSL_CERT_FILE=authority.file)

    assert said == "p4Y5Pk000000"


async def test_plain_http_reads_no_certificates():
    async with service() as here:
        said = await start(f"http://127.0.0.1:{here.port}", SSL_CERT_FILE="/no/such.pem")

    assert said == "p4Y5Pk000000"


async def test_nothing_is_sent_to_a_service_with_an_unknown_certificate(authority):
    async with service(authority=authority) as behind, proxy(behind) as tunnel:
        said = await start("https://dataflow.test", HTTPS_PROXY=f"http://127.0.0.1:{tunnel.port}")

    assert said.startswith("Unreachable: no answer from https://dataflow.test (ConnectError: ")
    assert said.endswith(NOT_TRUSTED)
    assert behind.lines == []


async def test_nothing_is_sent_to_a_service_with_a_certificate_of_another_name(authority):
    async with service(authority=authority) as behind:
        said = await start(f"https://127.1:{behind.port}", SSL_CERT_FILE=authority.file)

    assert said.endswith(NOT_TRUSTED)
    assert behind.lines == []


def test_an_unreadable_file_of_certificates_is_reported(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")

    with pytest.raises(errors.ConfigError) as absent:
        certificates({"SSL_CERT_FILE": "/no/such.pem"})
    with pytest.raises(errors.ConfigError, match=r"SSL_CERT_FILE=.*empty\.pem \("):
        certificates({"SSL_CERT_FILE": str(tmp_path / "empty.pem")})

    assert str(absent.value) == (
        "cannot read the certificates of SSL_CERT_FILE=/no/such.pem (No such file or directory)"
    )


@pytest.mark.parametrize(
    "environment", [{}, {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}], ids=["none", "empty"]
)
def test_an_empty_environment_trusts_the_system_s_certificates(environment):
    assert certificates(environment) is True


def test_host_names_are_always_verified(authority):
    for environment in {"SSL_CERT_FILE": str(authority.file)}, {"SSL_CERT_DIR": str(authority.folder)}:
        context = certificates(environment)

        assert isinstance(context, ssl.SSLContext)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


# Transfers that break


BROKEN = {
    "hung up": None,
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + RUN,
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + RUN,
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + RUN,
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" + RUN,
    "not packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n{}{}",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
}


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_response_leaves_the_outcome_of_a_start_unknown(answer):
    async with service(answer) as broken, Client(ACCESS, SECRET, f"http://127.0.0.1:{broken.port}") as client:
        with pytest.raises(errors.OutcomeUnknown):
            await client.execute_job("gqigvH000000")

    assert broken.lines == [POST]


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_read_with_a_broken_response_is_tried_four_times(answer):
    async with service(answer) as broken, Client(ACCESS, SECRET, f"http://127.0.0.1:{broken.port}") as client:
        with pytest.raises(errors.Unreachable):
            await client.get_execution("J", "R")

    assert broken.lines == ["GET /api/v1/jobs/J/executions/R HTTP/1.1"] * 4


async def test_nothing_is_sent_to_the_address_of_a_redirect():
    async with service() as elsewhere:
        redirect = f"HTTP/1.1 307 Over There\r\nLocation: http://127.0.0.1:{elsewhere.port}/x\r\nContent-Length: 0\r\n\r\n"
        async with (
            service(redirect.encode()) as here,
            Client(ACCESS, SECRET, f"http://127.0.0.1:{here.port}") as client,
        ):
            with pytest.raises(errors.OutcomeUnknown, match=r"redirected to 127\.0\.0\.1 \(307\)"):
                await client.execute_job("gqigvH000000")

    assert here.lines == [POST]
    assert elsewhere.lines == []
