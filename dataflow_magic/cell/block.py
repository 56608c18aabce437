"""The parameter block: cell text to parameters. Pure but for evaluating the expressions the user wrote.

A block whose first character is ``{`` is JSON and is sent as written. Any other block is Python assignments, one
parameter each; a key gets the ``$`` the service expects and a value becomes a string by the table at `values.render`.
``name = each(...)`` and ``a, b = zipped(...)`` make a sweep: one combination of values per run.
``secret(...)`` there is always the one of `values`, whatever the notebook calls so: or a value might be sent in the clear.
"""

from __future__ import annotations

import ast
import io
import json
import keyword
import math
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from dataflow_magic.cell.literal import is_written_out
from dataflow_magic.cell.sweep import EACH, MOST_RUNS, ZIPPED, each_values, sweep_word, values_of, zipped_rows
from dataflow_magic.cell.values import check_text, parameter, secret
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.wire import JobCondition

__all__ = ["Block", "near_names", "parse_block", "parse_mapping"]

JSON_HINT = "a name Python cannot spell needs the JSON form of the block"


@dataclass(frozen=True, slots=True)
class Block:
    """What a parameter block said.

    Parameters
    ----------
    parameters
        In the order written; keys as they go on the wire.
    condition
        The job condition when the block was the page's whole request body, else empty.
    warnings
        One line each, for things that are sent all the same.
    swept
        Keys of the parameters that a sweep gives several values, in the order written; empty where there is no sweep.
    combinations
        The parameters of each run of a sweep, the last written name varying fastest; ``parameters`` are the first.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    condition: JobCondition = field(default_factory=JobCondition)
    warnings: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    combinations: tuple[Mapping[str, Parameter], ...] = ()


def parse_block(text: str, namespace: Mapping[str, Any], *, first_line: int = 2) -> Block:
    """Read a parameter block.

    Parameters
    ----------
    text
        The block, possibly empty.
    namespace
        The notebook's names; never changed, and nothing the block assigns reaches it.
    first_line
        The cell's own number of the block's first line, for messages.

    Raises
    ------
    CellError
        With the cell's line, for anything that is not a block.
    """
    if text.lstrip().startswith("{"):
        return _parse_json(text, first_line)
    return _parse_assignments(text, namespace, first_line)


def parse_mapping(parameters: Mapping[Any, Any]) -> dict[str, Parameter]:
    """Read parameters handed in from Python by the rule of assignments: a ``$`` on every key, values rendered.

    Raises
    ------
    CellError
        Naming the parameter, for a key that is not text or a value that has no string form.
    """
    if not hasattr(parameters, "items"):
        raise CellError(f"parameters are a mapping of names to values, not {type(parameters).__name__}")
    wire: dict[str, Parameter] = {}
    for name, value in parameters.items():
        if not isinstance(name, str) or not name.strip("$"):
            raise CellError(f"a parameter's name is text, not {name!r}")
        key = "$" + name.removeprefix("$")
        if key in wire:
            raise CellError(f"the parameter {key} is given twice")
        try:
            check_text(key, "has a name that")
            wire[key] = parameter(value)
        except ValueError as error:
            raise CellError(f"the parameter {key if key.isprintable() else ascii(key)} {error}") from None
    _check_none_is_shown(wire)
    return wire


def near_names(job: str, given: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a line for each parameter a job was never given before that is nearly one it was.

    Parameters
    ----------
    given, known
        Names, with or without their ``$``.
    """
    names = [name.removeprefix("$") for name in given]
    others = [name for name in known if name not in names]
    return [
        f"parameter {name!r} was never used with {job} before{near}"
        for name in names
        if name not in known and (near := suggestion(name, others))
    ]


# Assignments


@dataclass(frozen=True, slots=True)
class _Line:
    """One assignment: to one name, or to those that ``zipped`` pairs."""

    names: tuple[str, ...]
    word: str
    """``each`` or ``zipped``; empty where the line has one value."""
    expression: ast.expr
    number: int

    def uses(self, names: set[str]) -> bool:
        return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(self.expression))


Values = dict[str, tuple[Any, Parameter]]
"""The values of names: as they are, for the lines below, and as they are sent."""


def _parse_assignments(text: str, namespace: Mapping[str, Any], first_line: int) -> Block:
    combinations: list[Values] = [{}]
    swept: list[str] = []
    varying: set[str] = set()
    """Names whose value depends on the combination."""
    for line in _lines(text, first_line - 1):
        # What uses no such name is evaluated once for all: a list that is read only once serves every combination.
        uses = line.uses(varying)
        choices = (
            [_choices(line, namespace, each, _where(swept, each)) for each in combinations]
            if uses
            else [_choices(line, namespace, combinations[0], "")] * len(combinations)
        )
        if sum(map(len, choices)) > MOST_RUNS:
            raise CellError(
                f"with {', '.join(line.names)} these are more than {MOST_RUNS:,} runs, the most of one cell; split the sweep",
                line=line.number,
            )
        combinations = [
            each | values for each, some in zip(combinations, choices, strict=True) for values in some
        ]
        if line.word:
            swept += line.names
        if line.word or uses:
            varying.update(line.names)
    wires = tuple({f"${name}": wire for name, (_, wire) in each.items()} for each in combinations)
    for wire in wires:
        _check_none_is_shown(wire)
    if not swept:
        return Block(wires[0])
    return Block(wires[0], swept=tuple(f"${name}" for name in swept), combinations=wires)


def _lines(text: str, offset: int) -> Iterator[_Line]:
    seen: set[str] = set()
    for statement in _statements(text, offset):
        line = _assignment(statement, statement.lineno + offset)
        for name in line.names:
            if name in seen:
                raise CellError(f"{name} is assigned twice; each parameter has one value", line=line.number)
            seen.add(name)
        yield line


def _choices(line: _Line, namespace: Mapping[str, Any], known: Values, where: str) -> list[Values]:
    """Return what the line's names may be in one combination of those above it."""
    scope = {**namespace, **{name: value for name, (value, _) in known.items()}}
    target = ", ".join(line.names) + where
    try:
        return [
            {name: (value, parameter(value)) for name, value in zip(line.names, row, strict=True)}
            for row in _rows(line, scope, target)
        ]
    except ValueError as error:
        raise CellError(f"{target} {error}", line=line.number) from None


def _rows(line: _Line, scope: dict[str, Any], target: str) -> list[tuple[Any, ...]]:
    if not (line.word and isinstance(line.expression, ast.Call)):
        return [(_evaluate(line.expression, scope, line.number, target),)]
    given = _evaluate(values_of(line.expression), scope, line.number, target)
    return (
        zipped_rows(given, line.names) if line.word == ZIPPED else [(value,) for value in each_values(given)]
    )


def _where(swept: list[str], known: Values) -> str:
    return f" (where {', '.join(f'{name} is {known[name][1]!s:.40}' for name in swept)})"


def _statements(text: str, offset: int) -> list[ast.stmt]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        source = _without_dollars(text)
        return ast.parse(source).body
    except SyntaxError as error:
        number = error.lineno or 1
        lines = text.split("\n")  # not splitlines: Python does not end a line at U+2028 and its like
        wrong = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        raise CellError(_explain(wrong, error), line=number + offset) from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, surrogates, absurd nesting
        raise CellError(f"the block is not text Python can read ({error})", line=1 + offset) from None


def _explain(wrong: str, error: SyntaxError) -> str:
    if "secret" in wrong:  # and so perhaps with one written out
        return f"the line with secret cannot be read as an assignment ({error.msg})"
    if wrong.startswith(("!", "%")):
        return f"{wrong!r} is a command; a parameter block takes only assignments, name = value"
    if re.match(r"\$?[^\s=]+\s*=(?!=)", wrong) and not re.match(r"\$?[^\W\d]\w*\s*=", wrong):
        return f"{wrong.split('=')[0].strip()!r} is not a Python name; {JSON_HINT}"
    name = wrong.split("=")[0].strip().lstrip("$")
    if keyword.iskeyword(name):
        return f"{name!r} is a word of Python's own; {JSON_HINT}"
    message = (error.msg or "invalid syntax").strip()
    return f"{wrong!r} cannot be read as an assignment ({message})"


def _without_dollars(text: str) -> str:
    """Drop a ``$`` that opens a statement; one inside a string or an expression stays."""
    lines = text.split("\n")
    at_start = True
    drops: list[tuple[int, int]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE or (token.type == tokenize.OP and token.string == ";"):
                at_start = True
            elif token.type not in _LAYOUT and not token.string.isspace():
                # Before 3.12 a $ is an error token, and so are blanks before it; since then it is an operator.
                row, column = token.start
                if at_start and token.string == "$" and lines[row - 1][column + 1 :][:1].isidentifier():
                    drops.append(token.start)
                at_start = False
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser says it better, with its line
    for row, column in reversed(drops):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + line[column + 1 :]
    return "\n".join(lines)


_LAYOUT = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT})


def _assignment(statement: ast.stmt, line: int) -> _Line:
    if not isinstance(statement, ast.Assign):
        what = "a typed assignment" if isinstance(statement, ast.AnnAssign) else "not an assignment"
        if isinstance(statement, ast.AugAssign):
            what = "a change of a value"
        raise CellError(f"this is {what}; each line of a parameter block is name = value", line=line)
    if len(statement.targets) > 1:
        raise CellError("one name a line: a = b = value is two", line=line)
    word = sweep_word(statement.value)
    for node in ast.walk(statement.value):
        if node is not statement.value and (inner := sweep_word(node)):
            raise CellError(
                f"{inner}(...) stands inside an expression; give it a line of its own, name = {inner}(...), "
                "and use the name",
                line=line,
            )
    return _Line(_names(statement.targets[0], word, line), word, statement.value, line)


def _names(target: ast.expr, word: str, line: int) -> tuple[str, ...]:
    names = target.elts if word == ZIPPED and isinstance(target, ast.Tuple) else [target]
    for each in names:
        if not isinstance(each, ast.Name):
            more = f"; {ZIPPED}(...) gives values to several" if word == EACH else ""
            raise CellError(
                f"{ast.unparse(each)!r} is not a plain name; each line is name = value{more}", line=line
            )
    return tuple(each.id for each in names if isinstance(each, ast.Name))


def _evaluate(expression: ast.expr, scope: dict[str, Any], line: int, name: str) -> Any:
    scope = {**scope, "secret": secret}
    calls = _secret_calls(expression, scope, line)
    try:
        code = compile(ast.Expression(expression), "<parameter block>", "eval")
        return eval(code, scope)  # noqa: S307 - the user's own code, in the user's own kernel
    except CellError as error:
        raise CellError(f"{name}: {error}", line=line) from None
    except NameError as error:
        known = [n for n in scope if not n.startswith("_")]
        missing = getattr(error, "name", None) or ""
        raise CellError(f"{name}: {error}{suggestion(missing, known)}", line=line) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's expression raises
        # What was raised may quote the value; a missing key is its name alone.
        said = f": {error}" if not calls or isinstance(error, KeyError) else " beside secret(...)"
        raise CellError(f"{name}: {type(error).__name__}{said}", line=line) from None


# Secrets


def _secret_calls(expression: ast.expr, scope: Mapping[str, Any], line: int) -> list[ast.Call]:
    """Return where an expression makes a secret; one whose value is in the cell is none any more."""
    calls = [
        node
        for node in ast.walk(expression)
        if isinstance(node, ast.Call) and _named(node.func, scope) is secret
    ]
    called = [call.func for call in calls]
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id == "secret" and node not in called:
            raise CellError(
                "secret is the function that masks a value here: secret(...); give the notebook's own another name",
                line=line,
            )
    for call in calls:
        if any(map(is_written_out, [*call.args, *(each.value for each in call.keywords)])):
            raise CellError(
                "a secret that is written in the cell is in the notebook and its history already: change it, and take "
                'the new one from elsewhere, as in secret(os.environ["NAME"])',
                line=line,
            )
    return calls


def _named(function: ast.expr, scope: Mapping[str, Any]) -> object:
    if isinstance(function, ast.Name):
        return scope.get(function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        module = scope.get(function.value.id)
        return getattr(module, function.attr, None) if isinstance(module, ModuleType) else None
    return None


def _check_none_is_shown(parameters: Mapping[str, Parameter]) -> None:
    hidden = {value.reveal(): name for name, value in parameters.items() if isinstance(value, Secret)}
    for name, value in parameters.items():
        if isinstance(value, str) and value in hidden:
            raise CellError(
                f"{name[1:]} has the value of the secret {hidden[value][1:]} and would show it; "
                "make that one secret(...) as well, or take it from outside of the block"
            )


# JSON


def _parse_json(text: str, first_line: int) -> Block:
    document, lines = _read_json(text, first_line)
    if document and set(document) <= {"jobCondition", "parameters"}:
        for key, part in document.items():
            if not isinstance(part, dict):
                raise CellError(f'"{key}" is an object in the whole request body', line=lines[key,])
        condition = _condition(document.get("jobCondition", {}), lines)
        return _block(document.get("parameters", {}), condition, lines, "parameters")
    return _block(document, JobCondition(), lines)


def _block(parameters: dict[str, Any], condition: JobCondition, lines: Lines, *parents: str) -> Block:
    for key, value in parameters.items():
        if value is None or isinstance(value, dict | list):
            kind = "null" if value is None else "an object" if isinstance(value, dict) else "a list"
            raise CellError(
                f'"{key}" is {kind}; a parameter is text, a number, true or false', line=lines[*parents, key]
            )
    bare = [key for key in parameters if not key.startswith("$")]
    warnings = (
        (f"sent as written, without the $ the service's examples have: {', '.join(bare)}",) if bare else ()
    )
    return Block(parameters, condition, warnings)


def _condition(document: dict[str, Any], lines: Lines) -> JobCondition:
    try:
        return JobCondition.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise CellError(f"jobCondition.{key}: {first['msg']}", line=lines["jobCondition", key]) from None


Lines = Mapping[tuple[str | int, ...], int]
"""The cell's line of each key, by the path that leads to it."""

_JSON_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|([{}\[\],])|([-+.\w]+)')


def _read_json(text: str, first_line: int) -> tuple[dict[str, Any], Lines]:
    """Read one JSON object: strictly, without a key given twice and without what no request can carry."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise CellError(
            f"not JSON: {error.msg} (column {error.colno})", line=error.lineno + first_line - 1
        ) from None
    except (RecursionError, ValueError) as error:
        raise CellError(f"not JSON this can read ({error})", line=first_line) from None
    assert isinstance(document, dict)  # noqa: S101 - the text starts with a brace
    return document, _key_lines(text, first_line)


def _key_lines(text: str, first_line: int) -> Lines:
    """Walk through well-formed JSON for what ``json`` lets pass without a word, and for where things stand."""
    lines: dict[tuple[str | int, ...], int] = {}
    path: list[str | int] = []
    for token in _JSON_TOKEN.finditer(text):
        string, colon, sign, word = token.groups()
        line = first_line + text.count("\n", 0, token.start())
        value = _checked_string(string, line) if string else ""
        if colon:
            path[-1] = value
            if tuple(path) in lines:
                raise CellError(f'"{value}" is given twice; each parameter has one value', line=line)
            lines[tuple(path)] = line
        elif word and word not in {"true", "false", "null"} and not math.isfinite(float(word)):
            raise CellError(f"{word} is not a number a job can read", line=line)
        elif sign in {"{", "["}:
            path.append(0)
        elif sign in {"}", "]"}:
            path.pop()
        elif sign and isinstance(path[-1], int):
            path[-1] += 1
    return lines


def _checked_string(string: str, line: int) -> str:
    text = json.loads(string)
    try:
        return check_text(text, f"{string} is text that")
    except ValueError as error:
        raise CellError(str(error), line=line) from None
