"""Whether a value is written out in the cell that uses it. Pure: looks at the expression, evaluates nothing."""

from __future__ import annotations

import ast
import builtins

__all__ = ["is_written_out"]

READERS = frozenset({"__import__", "eval", "exec", "getattr", "globals", "input", "locals", "open", "vars"})
PURE = frozenset(dir(builtins)) - READERS
"""What of Python's own makes nothing but what it is given."""
LOOKUPS = frozenset({"get", "getenv", "pop", "setdefault"})
"""Whose second argument is what they give where there is nothing else."""


def is_written_out(value: ast.expr) -> bool:
    """Say whether an expression's value is, or may be, text or a number that stands there itself.

    ``"x"``, ``f"x"``, ``"x".upper()``, ``token or "x"`` and ``os.environ.get("X", "x")`` are; ``os.environ["X"]``,
    ``input()`` and ``f"{user}:{password}"`` are not.
    """
    match value:
        case ast.Constant():
            return bool(value.value)
        case ast.BoolOp():
            return any(map(is_written_out, value.values))
        case ast.IfExp():
            return is_written_out(value.body) or is_written_out(value.orelse)
        case ast.NamedExpr():
            return is_written_out(value.value)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in LOOKUPS:
            defaults = [*value.args[1:], *(keyword.value for keyword in value.keywords)]
            return any(map(is_written_out, defaults))
    return all(name.id in PURE for name in ast.walk(value) if isinstance(name, ast.Name))
