"""Commands as processes of their own, at a real port: what outlives them, interrupts, closed pipes, and shells' completion."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.helpers import ACCESS_KEY, SECRET_KEY, ScriptedService, at_a_port, eventually, is_ready
from tests.local_service import no_credentials

COMMAND = Path(sys.executable).with_name("dataflow-magic")
PATIENCE = 120.0


class World:
    """The scripted service at a port, and a terminal whose runs go there."""

    def __init__(self, folder: Path) -> None:
        self.service = ScriptedService(folder / "service")
        self.folder = self.service.folder
        self.starts = 0
        self.killed: subprocess.Popen[str] | None = None
        """A command that is killed when its start is answered."""
        self._home = folder / "home"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["method"] != "POST" or not scope["path"].endswith("/executions"):
            await self.service(scope, receive, send)
            return
        self.starts += 1
        killed = self.killed

        async def answer(message: Message) -> None:
            if killed:
                killed.kill()
            await send(message)

        await self.service(scope, receive, answer)

    def serve_at(self, address: str) -> None:
        """Let commands find the service there."""
        kept = {name: value for name, value in os.environ.items() if name not in no_credentials()}
        self.environment = {
            **kept,
            "PATH": f"{COMMAND.parent}{os.pathsep}{kept['PATH']}",
            "DATAFLOW_MAGIC_HOME": str(self._home),
            "DATAFLOW_TARGET": address,
            "DATAFLOW_LOCAL_ACCESS_KEY": ACCESS_KEY,
            "DATAFLOW_LOCAL_SECRET_KEY": SECRET_KEY,
        }

    def call(self, *words: str, stdin: str = "") -> SimpleNamespace:
        """Run a command to its end."""
        done = subprocess.run(
            [COMMAND, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            input=stdin,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    def shape(self, *words: str) -> dict[str, object]:
        """Return the JSON that a command prints."""
        shape: dict[str, object] = json.loads(self.call(*words, "--json").out)
        return shape

    @contextmanager
    def begin(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; it is killed if it still runs at the end."""
        process = subprocess.Popen(
            [COMMAND, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    with at_a_port(world) as address:
        world.serve_at(address)
        yield world
        world.service.finish.set()


def test_a_run_outlives_the_command_and_the_next_commands_show_what_became_of_it(world):
    started = world.call("run", "slow", "day=1")
    run_id = started.out.strip()
    assert started.code == 0
    assert world.shape("status", run_id)["status"] in {"READY", "RUNNING"}

    world.service.finish.set()
    eventually(lambda: world.service.store.run(run_id).status == "COMPLETED", "the run completes")
    listed = json.loads(world.call("runs", "--json").out)

    assert [(each["id"], each["status"], each["is_done"]) for each in listed] == [(run_id, "COMPLETED", True)]
    assert world.call("wait").err == "No run of this machine is active.\n"


def test_a_wait_without_names_waits_for_every_active_run_of_the_machine(world):
    for _ in range(2):
        world.call("run", "slow")
    with world.begin("wait", "--json") as waiting:
        world.service.finish.set()
        out, _ = waiting.communicate(timeout=PATIENCE)

    assert waiting.returncode == 0
    assert [shape["status"] for shape in json.loads(out)] == ["COMPLETED", "COMPLETED"]


def test_an_interrupt_ends_the_wait_with_one_line_and_code_130_and_the_run_continues(world):
    with world.begin("run", "slow", "--wait") as waiting:
        assert waiting.stdout
        assert waiting.stderr
        run_id = waiting.stdout.readline().strip()
        assert "slow" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=PATIENCE)

    assert (waiting.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"stopped waiting; run {run_id} continues: dataflow-magic wait {run_id} waits again, "
        f"dataflow-magic status {run_id} shows it, dataflow-magic cancel {run_id} cancels it"
    )
    assert "Traceback" not in err
    assert world.shape("status", run_id)["is_done"] is False


@pytest.mark.parametrize("moment", range(0, 300, 60))
def test_an_interrupt_at_any_moment_leaves_no_traceback(world, moment):
    with world.begin("runs", "--remote", "slow") as process:
        try:
            process.wait(moment / 1000)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)

    # Until the command is loaded, Python itself reports the interrupt.
    assert not re.search(r'cli/main\.py", line \d+, in main\n', err)


@pytest.mark.parametrize(
    "words", [("runs", "--all"), ("jobs",), ("--help",), ("run", "--help"), ("completion", "bash")]
)
def test_a_closed_pipe_leaves_no_traceback(world, words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [COMMAND, *words],
        env=world.environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    os.close(writer)

    assert done.stderr in {"", "\n"}
    assert done.returncode in {0, 141}


def test_a_start_of_a_command_that_is_killed_before_its_answer_is_found_and_sent_once(world):
    # Loading takes the command far longer than the assignment. Its marker makes the match certain at once.
    with world.begin("run", "slow", "day=1", "--marker", "parameter") as process:
        world.killed = process
        process.wait(PATIENCE)
    world.killed = None
    world.service.finish.set()
    key = json.loads(world.call("runs", "--json").out)[0]["key"]
    ended = world.call("wait", key, "--json")

    assert ended.code == 0
    assert [(shape["job"], shape["parameters"]["day"]) for shape in json.loads(ended.out)] == [("slow", "1")]
    assert world.starts == 1


def test_a_value_comes_from_standard_input(world):
    done = world.call("run", "slow", "token=@-", stdin="t0k3n-from-a-pipe\n")

    assert done.code == 0
    assert world.service.store.run(done.out.strip()).parameters == {"$token": "t0k3n-from-a-pipe"}
    assert "t0k3n" not in done.out + done.err + world.call("status", "@last").out


def test_a_value_is_asked_for_at_a_terminal_without_an_echo(world):
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "run", "slow", "token=@-"],
        env=world.environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    ) as process:
        os.close(terminal)
        seen = b""
        while b"token: " not in seen:
            seen += os.read(controller, 1 << 12)
        os.write(controller, b"t0k3n-typed\n")
        try:
            while chunk := os.read(controller, 1 << 12):
                seen += chunk
        except OSError:  # the terminal is closed
            pass
        assert process.wait(PATIENCE) == 0
    os.close(controller)

    assert b"t0k3n" not in seen
    run_id = seen.decode().split("\n")[-3].strip()
    assert world.service.store.run(run_id).parameters == {"$token": "t0k3n-typed"}


# Completion


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dataflow-magic stat", ["status"]),
        ("dataflow-magic run dai", ["daily_sales"]),
        ("dataflow-magic run daily_sales d", ["day="]),
        ("dataflow-magic run daily_sales --wa", ["--wait", "--wait-timeout"]),
        ("dataflow-magic wait @l", ["@last"]),
        ("dataflow-magic runs --status FA", ["FAILED"]),
        ("dataflow-magic completion f", ["fish"]),
        ("dataflow-magic local sta", ["status"]),
        ("dataflow-magic local stop --t", ["--timeout"]),
        ("dataflow-magic run 'dai", []),
    ],
)
def test_words_are_offered_for_a_line(world, line, offered):
    world.call("run", "daily_sales", "day=1")

    assert world.call("--complete", line).out.splitlines() == offered


SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'dataflow-magic() { [ "$1" = --complete ] && command dataflow-magic "$@" || printf "<%s>" "$@"; }',
        'eval "$(command dataflow-magic completion bash)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'dataflow-magic() { [ "$1" = --complete ] && command dataflow-magic "$@" || printf "<%s>" "$@"; }',
        'autoload -Uz compinit; compinit -u -D; eval "$(command dataflow-magic completion zsh)"',
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "function dataflow-magic; test $argv[1] = --complete"
        ' && command dataflow-magic $argv || printf "<%s>" $argv; end',
        "command dataflow-magic completion fish | source",
    ),
}
"""How to start each shell, a function that prints the words it is called with, and the line of the document."""


TYPED = {
    "stat\t": "<status>",
    "wait @l\t": "<wait><@last>",
    "run dai\t": "<run><daily_sales>",
    "run daily_sales da\t7": "<run><daily_sales><day=7>",
    "run daily_sales token=@pa\t": "<run><daily_sales><token=@pass word.txt>",
    "run daily_sales token=@fol\tpass\t": "<run><daily_sales><token=@folder/password>",
}
"""What is typed after the command, and the words it is called with."""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_what_is_typed(world, tmp_path, shell):
    command, function, setting = SHELLS[shell]
    if not shutil.which(command[0]):
        pytest.skip(f"{shell} is not installed")
    place = tmp_path / "place"
    (place / "folder").mkdir(parents=True)
    (place / "pass word.txt").touch()
    (place / "folder" / "password").touch()
    world.call("run", "daily_sales", "day=1")
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), str(tmp_path))
    # What stands before a command is no part of its line.
    lines = [function, setting, *(f"echo; FOO=1 dataflow-magic {typed}" for typed in TYPED), "exit"]

    shown = typed_into(command, lines, {**world.environment, **homes, "TERM": "xterm"}, place)

    assert [words for words in TYPED.values() if words not in shown] == []


def typed_into(command: list[str], lines: list[str], environment: dict[str, str], place: Path) -> str:
    """Return what a shell shows at a terminal while lines are typed, until it ends."""
    controller, terminal = pty.openpty()
    shown = b""
    with subprocess.Popen(
        command,
        env=environment,
        cwd=place,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    ) as process:
        os.close(terminal)
        try:
            os.write(controller, "".join(f"{line}\n" for line in lines).encode())
            while is_ready(controller, PATIENCE):
                shown += os.read(controller, 1 << 12)
        except OSError:  # the terminal is closed
            pass
        finally:
            process.kill()
    os.close(controller)
    return shown.decode(errors="replace")
