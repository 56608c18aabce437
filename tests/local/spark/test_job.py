import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from dataflow_magic.local.spark.parameters import fill_script
from dataflow_magic.local.spark.programs import job

JOB = Path(job.__file__)


def run(
    script: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(JOB), str(script), *arguments]
    environment = {**os.environ, "DATAFLOW_MAGIC_LAST_WORDS": str(last_words(script)), **(variables or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def last_words(script: Path) -> Path:
    return script.parent / "last_words"


@pytest.fixture
def script(tmp_path):
    return tmp_path / "daily.py"


def test_the_script_runs_as_python_itself_would_run_it(script):
    (script.parent / "helper.py").write_text("VALUE = 7\n")
    script.write_text(
        "import sys, __main__, helper\n"
        "print(__name__, __file__ == sys.argv[0], sys.argv[1:], __main__.helper.VALUE)\n"
    )

    ended = run(script, "--day=2026-11-01", "--note=a b")

    assert (ended.stdout, ended.stderr) == ("__main__ True ['--day=2026-11-01', '--note=a b'] 7\n", "")
    assert ended.returncode == 0


def test_the_code_with_parameters_runs_in_place_of_the_text(script):
    script.write_text("print('$day', 1 / 0)\n")
    filled = fill_script(script.read_text(), {"$day": "2026-11-01"}, path=str(script))
    code = script.parent / "code"
    code.write_bytes(marshal.dumps(filled.code))

    ended = run(script, variables={"DATAFLOW_MAGIC_CODE": str(code)})

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{script}", line 1, in <module>',
        "    print('$day', 1 / 0)",
        "ZeroDivisionError: division by zero",
    ]


def test_modules_beside_the_program_do_not_hide_others(script):
    script.write_text("import importlib.util\nprint(importlib.util.find_spec('spark'))\n")

    assert run(script).stdout == "None\n"


def test_functions_of_the_script_are_pickled_by_value(script):
    script.write_text(
        "import pickle, subprocess, sys\n"
        "from pyspark import cloudpickle\n"
        "FACTOR = 3\n"
        "def times(x): return x * FACTOR\n"
        "load = 'import pickle, sys; print(pickle.load(sys.stdin.buffer)(14))'\n"
        "subprocess.run([sys.executable, '-c', load], input=cloudpickle.dumps(times))\n"
    )

    assert run(script).stdout == "42\n"


def test_pyspark_converts_values_of_numpy_and_imports_no_pandas_for_others(script):
    script.write_text(
        "import sys\n"
        "from pyspark.sql.types import NumpyArrayConverter, NumpyScalarConverter\n"
        "def converted(value): return NumpyScalarConverter().can_convert(value), NumpyArrayConverter().can_convert(value)\n"
        "def imported(): return [name for name in ('numpy', 'pandas') if name in sys.modules]\n"
        "print(converted(1), converted([1]), imported())\n"
        "import numpy\n"
        "print(converted(1), imported())\n"
        "print(converted(numpy.int64(1)), converted(numpy.array([1])), converted(numpy.array([[1]])))\n"
    )

    assert run(script).stdout.splitlines() == [
        "(False, False) (False, False) []",
        "(False, False) ['numpy']",
        "(True, False) (False, True) (False, False)",
    ]


def test_the_server_of_accumulators_ends_as_soon_as_a_script_stops_spark(script):
    script.write_text(
        "import time\n"
        "from pyspark.accumulators import _start_update_server\n"
        "waits = []\n"
        "for _ in range(10):\n"
        "    server = _start_update_server('token', False)\n"
        "    time.sleep(0.01)\n"
        "    begin = time.monotonic()\n"
        "    server.shutdown()\n"
        "    waits.append(time.monotonic() - begin)\n"
        "print(min(waits) < 0.2)\n"
    )

    assert run(script).stdout == "True\n"


def test_a_traceback_shows_only_the_scripts_frames(script):
    script.write_text(
        "def load(table):\n    raise ValueError(f'no table {table}')\n\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n"
        "    load('test.sales')\n"
    )

    ended = run(script)

    assert "job.py" not in ended.stderr
    assert ended.stderr.count(f'File "{script}", line') == 3
    assert ended.stderr.splitlines()[-1] == "ValueError: no table test.sales"
    assert ended.returncode == 1


def test_a_syntax_error_names_the_scripts_line(script):
    script.write_text("x = 1\nif x\n    pass\n")

    ended = run(script)

    assert "job.py" not in ended.stderr
    assert f'File "{script}", line 2' in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("SyntaxError: ")
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("statement", "code", "output"),
    [("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('no data')", 1, "no data\n")],
    ids=["code", "none", "message"],
)
def test_the_script_sets_the_exit_code(script, statement, code, output):
    script.write_text(f"import sys\n{statement}\n")

    ended = run(script)

    assert (ended.returncode, ended.stderr) == (code, output)


CAUGHT = "import sys, traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("raise ValueError('no rows\\nin test.sales')", "ValueError: no rows\nin test.sales"),
        ("sys.exit('no rows for this date')", "no rows for this date"),
        ("def", '  File "SCRIPT", line 6\n    def\n       ^\nSyntaxError: invalid syntax'),
        ("raise ValueError('x' * 20000)", "ValueError: " + "x" * 7988 + "\n…\n" + "x" * 8000),
        ("raise ValueError('\\ud800')", "ValueError: \\ud800"),
        ("sys.exit(1)", None),
        ("sys.exit(0)", None),
        ("print(input.__name__)", None),
    ],
    ids=[
        "an exception",
        "a message to exit with",
        "a syntax error",
        "a long one",
        "a lone surrogate",
        "an exit code",
        "exit code 0",
        "no error",
    ],
)
def test_the_uncaught_error_is_written_and_a_caught_one_is_not(script, statement, words):
    script.write_text(CAUGHT + statement + "\n")

    run(script)

    written = last_words(script).read_text() if last_words(script).exists() else None
    assert written == (words and words.replace("SCRIPT", str(script)))


def test_the_group_dies_when_the_lifeline_breaks(script):
    """The script keeps its interpreter in a loop and has a child in the group."""
    script.write_text(
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('up', flush=True)\n"
        "while True: pass\n"
    )
    held, lifeline = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-P", str(JOB), str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, job.LIFELINE: str(held)},
        pass_fds=(held,),
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"

        os.close(lifeline)

        assert process.stdout.read() == b""  # the child has the same pipe: it has ended too
        assert process.wait(60) == -signal.SIGKILL
    os.close(held)


def test_a_script_that_the_service_ends_shows_where_it_was(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time\n\ndef load():\n    print('up', flush=True); time.sleep(600)\nload()\n")
    held, lifeline = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-P", str(JOB), str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, job.LIFELINE: str(held)},
        pass_fds=(held,),
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"up\n"

        process.terminate()

        shown = process.stderr.read().decode()
        assert f'  File "{script}", line 4 in load\n  File "{script}", line 5 in <module>\n' in shown
        assert process.wait(60) == -signal.SIGTERM
    os.close(held)
    os.close(lifeline)


# Settings of a script


SPARK = """
class Settings(dict):
    contains = dict.__contains__

    def toDebugString(self):
        return "\\n".join(f"{{name}}={{value}}" for name, value in sorted(self.items()))


class SparkContext:
    class _jvm:
        class java:
            class lang:
                class System:
                    @staticmethod
                    def getProperty(name):
                        return {given}.get(name)

    def __init__(self, **settings):
        self._initialize_context(Settings({given} | {{name.replace("_", "."): value for name, value in settings.items()}}))

    def _initialize_context(self, settings):
        print("started", settings.get("spark.master"))
"""


@pytest.fixture
def spark(script):
    """Return a function that puts a PySpark beside the script; the service gave its JVM these settings."""

    def make(**given: str) -> None:
        core = script.parent / "pyspark" / "core"
        core.mkdir(parents=True)
        for package in (core.parent, core):
            (package / "__init__.py").write_text("")
        properties = {name.replace("_", "."): value for name, value in given.items()}
        (core / "context.py").write_text(SPARK.format(given=properties))

    return make


@pytest.mark.parametrize("master", ["local[2]", "local[*]", "local", "local-cluster[1,1,1024]"])
def test_a_script_may_set_the_services_master_or_this_machine(script, spark, master):
    spark(spark_master="local[2]")
    script.write_text(f"from pyspark.core.context import SparkContext\nSparkContext(spark_master='{master}')")

    ended = run(script)

    assert (ended.stdout, ended.stderr) == (f"started {master}\n", "")


@pytest.mark.parametrize("master", ["yarn", "spark://h:7077", "k8s://https://h"])
def test_a_script_with_another_master_is_told_who_decides_it(script, spark, master):
    spark(spark_master="local[2]")
    script.write_text(f"from pyspark.core.context import SparkContext\nSparkContext(spark_master='{master}')")

    assert run(script).returncode == 1
    assert last_words(script).read_text() == (
        f"ValueError: the script sets the master {master}, which the local service decides: leave it out of the script, "
        f"or start the service with --master {master}"
    )


def test_settings_that_come_too_late_are_named_without_their_values(script, spark):
    spark(spark_master="local[2]", spark_driver_memory="2g")
    script.write_text(
        "from pyspark.core.context import SparkContext\n"
        "SparkContext(spark_driver_memory='2g', spark_jars='a secret', spark_driver_extraJavaOptions='-Da=b')"
    )

    ended = run(script)

    assert ended.stdout == "started local[2]\n"
    assert ended.stderr == (
        "dataflow-magic: without effect, because the script's JVM runs already: spark.driver.extraJavaOptions, spark.jars. "
        "Give them to the service: dataflow-magic local --memory, --jars or --conf\n"
    )


def test_pandas_on_spark_shows_pysparks_warning_about_pandas_once(script, spark):
    spark()
    folder = script.parent / "pyspark" / "pandas"
    folder.mkdir()
    warn = "import warnings\nwarnings.warn('PySpark does not yet fully support pandas >= 3.0.0. Use 2.', FutureWarning)\n"
    (folder / "__init__.py").write_text(
        f"{warn.splitlines()[0]}\nfor _ in range(2):\n    {warn.splitlines()[1]}\n"
    )
    hidden = {"PYTHONWARNINGS": "ignore:PySpark does not yet fully support pandas:FutureWarning"}
    script.write_text(f"{warn}import pyspark.pandas\n{warn}")

    ended = run(script, variables=hidden)

    assert (
        ended.stderr.count(": FutureWarning: PySpark does not yet fully support pandas >= 3.0.0. Use 2.") == 1
    )
    assert f"{folder / '__init__.py'}:3: FutureWarning" in ended.stderr


class Member:
    """A method of a Java object, as py4j has them."""

    sent: ClassVar[list[object]] = []

    def __init__(self, name: str, target_id: str = "o1") -> None:
        self.name = name
        self.target_id = target_id

    def _build_args(self, *arguments: object) -> str:
        self.sent.append((self.name, *arguments))
        return "built"


@pytest.fixture
def sent(monkeypatch):
    """Give what is sent to Java from now on; the call sites are set by the service's job."""

    class Known(Member):
        sent: ClassVar[list[object]] = []

    context = SimpleNamespace(
        _jsc=SimpleNamespace(setCallSite=lambda site: Known("setCallSite")._build_args(site))
    )
    sync = SimpleNamespace(_spark_stack_depth=0)
    spark = SimpleNamespace(SparkContext=SimpleNamespace(_active_spark_context=context))
    monkeypatch.setitem(sys.modules, "pyspark.core.context", spark)
    monkeypatch.setitem(sys.modules, "pyspark.traceback_utils", SimpleNamespace(SCCallSiteSync=sync))
    job._CallSites(SimpleNamespace(JavaMember=Known, __file__="/lib/py4j/java_gateway.py"))
    return SimpleNamespace(calls=Known.sent, member=Known, sync=sync, context=context)


def test_an_action_has_the_line_of_the_script_and_the_next_call_takes_it_back(sent):
    assert sent.member("parquet")._build_args("out") == "built"
    line = sys._getframe().f_lineno - 1
    sent.member("schema")._build_args()
    sent.member("schema")._build_args()

    assert sent.calls == [
        ("setCallSite", f"parquet at {__file__}:{line}"),
        ("parquet", "out"),
        ("setCallSite", None),
        ("schema",),
        ("schema",),
    ]


def test_the_name_of_an_action_is_that_of_python(sent):
    sent.member("showString")._build_args(20)

    assert sent.calls[0][1].startswith("show at ")


def test_a_function_of_sql_is_no_action(sent):
    sent.member("count", "z:org.apache.spark.sql.functions")._build_args("id")

    assert sent.calls == [("count", "id")]


def test_a_call_whose_line_pyspark_has_set_keeps_it(sent):
    sent.sync._spark_stack_depth = 1
    sent.member("count")._build_args()

    assert sent.calls == [("count",)]


def test_a_call_site_that_cannot_be_set_costs_nothing_else(sent):
    def broken(_: object) -> None:
        raise ConnectionError("the JVM is gone")

    sent.context._jsc.setCallSite = broken

    assert sent.member("count")._build_args() == "built"
    assert sent.calls == [("count",)]
