"""The parameter block: cell text to parameters. Pure but for evaluating the expressions the user wrote.

A block whose first character below comments is ``{`` is JSON and is sent as written. Any other block is Python assignments, one
parameter each; a key gets the ``$`` the service expects and a value becomes a string by the table at `values.render`.
``name = each(...)``, ``a, b = zipped(...)`` and ``a, b = rows(...)`` make a sweep: one combination of values per run.
``secret(...)`` in a block always calls `values.secret`, even where the notebook has another function of that name: that
one might let the value be shown.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from dataflow_magic.cell.json_block import parse_json_block
from dataflow_magic.cell.sweep import EACH, MOST_RUNS, TUPLES, sweep_rows, sweep_word, values_of
from dataflow_magic.cell.values import check_name, check_text, code_point, is_written_out, parameter, secret
from dataflow_magic.errors import CellError, suggestion
from dataflow_magic.models.secret import Parameter, Secret
from dataflow_magic.models.wire import JobCondition

__all__ = ["Block", "near_names", "parse_block", "parse_mapping"]

BYTE_ORDER_MARK = re.compile(r"\A\s*\ufeff")
ABOVE = re.compile(r"(?:\s+|(?:#|//)[^\n]*)*")
"""Blank lines and comments above a block."""
NO_CHARACTER = re.compile(r"invalid (?:non-printable )?character .*?U\+([0-9A-F]+)")
"""CPython's message for a character that no Python text has outside strings."""
USE_JSON = "write the block as JSON to use this name"


@dataclass(frozen=True, slots=True)
class Block:
    """What a parameter block contains.

    Parameters
    ----------
    parameters
        In the order written; keys as on the wire.
    condition
        The job condition if the block is a whole request body, else empty.
    warnings
        One line each, for what is sent all the same.
    swept
        Keys of the parameters with several values, in the order written; empty without a sweep.
    combinations
        The parameters of each run of a sweep, the last written name varying fastest; ``parameters`` is the first. Empty
        also where a swept name has no values.
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
        The notebook's names; never changed, not even by assignments in the block.
    first_line
        The number of the block's first line in the cell, for messages.

    Raises
    ------
    CellError
        With the cell's line, for anything that is not a block.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = BYTE_ORDER_MARK.sub("", text)
    above = ABOVE.match(text)
    start = above.end() if above else 0
    if text.startswith("{", start):
        return Block(*parse_json_block("\n" * text.count("\n", 0, start) + text[start:], first_line))
    return _parse_assignments(text, namespace, first_line)


def parse_mapping(parameters: Mapping[Any, Any]) -> dict[str, Parameter]:
    """Return parameters given in Python as an assignment block sends them: a ``$`` on every key, values rendered.

    Raises
    ------
    CellError
        With the name of the parameter, for a key that is not text or a value that has no string form.
    """
    if not hasattr(parameters, "items"):
        raise CellError(f"parameters must be a mapping of names to values, not {type(parameters).__name__}")
    wire: dict[str, Parameter] = {}
    for name, value in parameters.items():
        if not isinstance(name, str) or not name.strip("$"):
            raise CellError(f"a parameter name must be text, not {name!r}")
        key = "$" + name.removeprefix("$")
        if key in wire:
            raise CellError(f"the parameter {key} is given twice")
        try:
            check_name(check_text(key, "has a name that"))
            wire[key] = parameter(value)
        except ValueError as error:
            raise CellError(f"the parameter {key if key.isprintable() else ascii(key)} {error}") from None
    _check_none_is_shown(wire)
    return wire


def near_names(job: str, given: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a line for each parameter that no earlier run of a job had but that resembles one of theirs.

    Parameters
    ----------
    given
        Names of the new run, with or without their ``$``.
    known
        Names of earlier runs, without it.
    """
    names = [name.removeprefix("$") for name in given]
    others = [name for name in known if name not in names]
    return [
        f"no earlier run of {job} has a parameter {name!r}{near}"
        for name in names
        if name not in known and (near := suggestion(name, others))
    ]


# Assignments


@dataclass(frozen=True, slots=True)
class _Line:
    """One assignment: to one name, or to several names of a word of a sweep."""

    names: tuple[str, ...]
    word: str
    """The word of a sweep; empty for one value."""
    expression: ast.expr
    number: int

    def uses(self, names: set[str]) -> bool:
        return any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(self.expression))


Values = dict[str, tuple[Any, Parameter]]
"""By name: the value for the lines below, and the value that is sent."""


def _parse_assignments(text: str, namespace: Mapping[str, Any], first_line: int) -> Block:
    combinations: list[Values] = [{}]
    swept: list[str] = []
    varying: set[str] = set()  # names whose value depends on the combination
    for line in _lines(text, first_line - 1):
        if not combinations:  # a sweep over nothing: there is no value to evaluate the rest with
            swept += line.names if line.word else ()
            continue
        if line.uses(varying):
            choices = [_choices(line, namespace, known, swept) for known in combinations]
        else:  # evaluated once for all: an iterator that yields its items only once serves every combination
            choices = [_choices(line, namespace, combinations[0])] * len(combinations)
        if sum(map(len, choices)) > MOST_RUNS:
            raise CellError(
                f"the values of {', '.join(line.names)} make more than {MOST_RUNS:,} runs, the limit of a cell; "
                "split the sweep",
                line=line.number,
            )
        if line.word or line.uses(varying):
            varying.update(line.names)
        if line.word:
            swept += line.names
        combinations = [
            known | values for known, rows in zip(combinations, choices, strict=True) for values in rows
        ]
    wires = tuple({f"${name}": wire for name, (_, wire) in each.items()} for each in combinations)
    for wire in wires:
        _check_none_is_shown(wire)
    if not swept:
        return Block(wires[0])
    keys = tuple(f"${name}" for name in swept)
    first = wires[0] if wires else {}
    return Block(first, swept=keys, combinations=wires, warnings=_repeats(wires, keys))


def _repeats(wires: Collection[Mapping[str, Parameter]], swept: Iterable[str]) -> tuple[str, ...]:
    """Return a warning if runs of a sweep are sent the same parameters; empty without one."""
    seen: set[frozenset[tuple[str, Parameter]]] = set()
    repeated = []
    for wire in wires:
        if (content := frozenset(wire.items())) in seen:
            repeated.append(wire)
        seen.add(content)
    if not repeated:
        return ()
    values = ", ".join(f"{key[1:]}={repeated[0][key]!s:.40}" for key in swept)
    what = "1 run of the sweep repeats" if len(repeated) == 1 else f"{len(repeated)} runs of the sweep repeat"
    return (f"{what} the parameters of an earlier one (the first: {values}); all are started",)


def _lines(text: str, offset: int) -> Iterator[_Line]:
    seen: set[str] = set()
    for statement in _statements(text, offset):
        line = _assignment(statement, statement.lineno + offset)
        for name in line.names:
            if name in seen:
                raise CellError(f"{name} is assigned twice; each parameter has one value", line=line.number)
            seen.add(name)
        yield line


def _choices(
    line: _Line, namespace: Mapping[str, Any], known: Values, swept: Iterable[str] = ()
) -> list[Values]:
    """Return the values of a line's names in one combination of the values above it."""
    scope = {**namespace, **{name: value for name, (value, _) in known.items()}}
    where = ", ".join(f"{name} is {known[name][1]!s:.40}" for name in swept)
    target = ", ".join(line.names) + (f" (where {where})" if where else "")
    try:
        return [
            {name: (value, _parameter(value)) for name, value in zip(line.names, row, strict=True)}
            for row in _rows(line, scope, target)
        ]
    except ValueError as error:
        raise CellError(f"{target} {error}", line=line.number) from None


def _parameter(value: Any) -> Parameter:
    """Return the value that is sent; the message for a list shows how to sweep over it."""
    if isinstance(value, list | tuple | set | frozenset | range):
        raise ValueError(  # noqa: TRY004 - as `values.parameter` raises
            f"is a {type(value).__name__}, and a run takes one value; write {EACH}(...) around it for a run per item, or "
            '",".join(...) for one text'
        )
    return parameter(value)


def _rows(line: _Line, scope: dict[str, Any], target: str) -> list[tuple[Any, ...]]:
    if not (line.word and isinstance(line.expression, ast.Call)):
        return [(_evaluate(line.expression, scope, line.number, target),)]
    given = _evaluate(values_of(line.expression), scope, line.number, target)
    return sweep_rows(line.word, given, line.names)


def _statements(text: str, offset: int) -> list[ast.stmt]:
    """Return the statements of a block, whose lines may all be indented alike."""
    # Blank and commented lines have no indentation of their own, for Python neither.
    is_indented = re.match(r"(?:[ \t\f]*(?:#.*)?\n)*[ \t]+[^\s#]", text) is not None
    header = "if 1:\n" if is_indented else ""
    offset -= header.count("\n")
    text = header + text
    try:
        source = _without_dollars(text)
        statements = ast.parse(source).body
    except SyntaxError as error:
        number = error.lineno or 1
        lines = text.split("\n")  # not splitlines: Python does not end a line at U+2028 and its like
        wrong = lines[number - 1].strip() if 0 < number <= len(lines) else ""
        raise CellError(_explain(wrong, error), line=number + offset) from None
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, surrogates, absurd nesting
        raise CellError(f"Python cannot read the block ({error})", line=1 + offset) from None
    if is_indented and isinstance(statements[0], ast.If):
        if len(statements) > 1:
            raise CellError(
                "this line is indented less than the first one; indent all lines alike",
                line=statements[1].lineno + offset,
            )
        statements = statements[0].body
    _check_names(statements, source, offset)
    return [ast.increment_lineno(statement, -header.count("\n")) for statement in statements]


def _check_names(statements: Iterable[ast.stmt], source: str, offset: int) -> None:
    """Refuse names that Python normalises (PEP 3131): the parameter would be sent under another name than written."""
    targets = [target for each in statements if isinstance(each, ast.Assign) for target in each.targets]
    for name in (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)):
        written = ast.get_source_segment(source, name) or name.id
        if written != name.id:
            differing = next((a for a, b in zip(written, name.id, strict=False) if a != b), written[-1])
            raise CellError(
                f"Python reads the name {written!r} as {name.id!r} because of {code_point(differing)}; "
                f"write {name.id}, or {USE_JSON}",
                line=name.lineno + offset,
            )


def _explain(wrong: str, error: SyntaxError) -> str:
    if found := NO_CHARACTER.match(error.msg or ""):
        return f"the line contains {code_point(chr(int(found[1], 16)))}, which Python does not accept there; replace it"
    if "secret" in wrong:  # the line may contain one
        return f"the line that contains secret is not a valid assignment ({error.msg})"
    if wrong.startswith(("!", "%")):
        return f"{wrong!r} is a command; a parameter block takes only assignments, name = value"
    if re.match(r"\$?[^\s=]+\s*=(?!=)", wrong) and not re.match(r"\$?[^\W\d]\w*\s*=", wrong):
        return f"{wrong.split('=')[0].strip()!r} is not a Python name; {USE_JSON}"
    name = wrong.split("=")[0].strip().lstrip("$")
    if keyword.iskeyword(name):
        return f"{name!r} is a Python keyword; {USE_JSON}"
    message = (error.msg or "invalid syntax").strip()
    return f"{wrong!r} is not a valid assignment ({message})"


def _without_dollars(text: str) -> str:
    """Drop each ``$`` that begins a statement; keep those inside strings and expressions."""
    lines = text.split("\n")
    at_start = True
    drops: list[tuple[int, int]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE or (token.type == tokenize.OP and token.string == ";"):
                at_start = True
            elif token.type not in _LAYOUT and not token.string.isspace():
                # Before 3.12 a $ and the blanks before it are error tokens; since 3.12 it is an operator.
                row, column = token.start
                if at_start and token.string == "$" and lines[row - 1][column + 1 :][:1].isidentifier():
                    drops.append(token.start)
                at_start = False
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser reports it, with its line
    for row, column in reversed(drops):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + line[column + 1 :]
    return "\n".join(lines)


_LAYOUT = frozenset({tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT})


def _assignment(statement: ast.stmt, line: int) -> _Line:
    if not isinstance(statement, ast.Assign):
        kinds = {
            ast.AnnAssign: "this is an annotated assignment",
            ast.AugAssign: "this is an augmented assignment",
        }
        kind = kinds.get(type(statement), "this is not an assignment")
        raise CellError(f"{kind}; each line of a parameter block is name = value", line=line)
    if len(statement.targets) > 1:
        raise CellError("a = b = value assigns two names; write one name per line", line=line)
    word = sweep_word(statement.value)
    for node in ast.walk(statement.value):
        if node is not statement.value and (inner := sweep_word(node)):
            raise CellError(
                f"{inner}(...) is part of an expression; assign it on a line of its own, name = {inner}(...), "
                "and use the name",
                line=line,
            )
    return _Line(_names(statement.targets[0], word, line), word, statement.value, line)


def _names(target: ast.expr, word: str, line: int) -> tuple[str, ...]:
    names = target.elts if word in TUPLES and isinstance(target, ast.Tuple) else [target]
    for each in names:
        if not isinstance(each, ast.Name):
            more = f"; use {'(...) or '.join(TUPLES)}(...) for several names" if word == EACH else ""
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
        # The message may quote the secret. That of a missing key is only the key.
        hides = calls and not isinstance(error, KeyError)
        message = " (message hidden because of secret(...))" if hides else f": {error}"
        raise CellError(f"{name}: {type(error).__name__}{message}", line=line) from None


# Secrets


def _secret_calls(expression: ast.expr, scope: Mapping[str, Any], line: int) -> list[ast.Call]:
    """Return the calls of ``secret`` in an expression; refuse a secret that the cell itself contains."""
    calls = [
        node
        for node in ast.walk(expression)
        if isinstance(node, ast.Call) and _named(node.func, scope) is secret
    ]
    called = [call.func for call in calls]
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id == "secret" and node not in called:
            raise CellError(
                "in a parameter block secret(...) masks a value; rename the notebook's variable secret",
                line=line,
            )
    for call in calls:
        if any(map(is_written_out, [*call.args, *(each.value for each in call.keywords)])):
            raise CellError(
                "the secret is written in the cell, so the notebook and its history contain it; replace it, and read "
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
                "wrap it in secret(...) as well"
            )
