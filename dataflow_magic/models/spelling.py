"""How JSON, Python, URLs, HTML and base64 spell a text, at any depth. Pure; knows no secret and no service.

A pattern matches each character in all of its spellings, and not the text as each chain of encoders writes it: encoders may
differ within one text, and the text around a match does not change how it is read.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from html.entities import codepoint2name
from typing import Final

__all__ = ["any_spelling", "in_base64", "in_every_spelling", "unescaped_letters"]

# Encoded again, a percent sign gets another 25. The limit keeps a search linear.
_ROUNDS: Final = 6
_PERCENT: Final = f"%(?:25){{0,{_ROUNDS}}}"
_END: Final = f"(?:;|{_PERCENT}3[bB])"
_BACKSLASH: Final = rf"(?:\\|{_PERCENT}5[cC])"
# A search enters a run of backslashes only at its beginning, which keeps it linear.
_BEGINNING: Final = r"(?<!\\)" + "".join(f"(?<!%{'25' * each}5[cC])" for each in range(_ROUNDS + 1))
_ESCAPED: Final = r"(?<=[\\cC])"
"""Right behind a run of backslashes."""
_ENTITY: Final = f"(?:&|{_PERCENT}26|{_ESCAPED}(?:u00|x)26)(?:amp{_END})*"

_LETTERS: Final = {"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r"}
"""The letter behind the backslash of a control character."""
_NAMES: Final = {**codepoint2name, 39: "apos"}

_NEEDLESS: Final = re.compile(
    rf"(?:{_BEGINNING}{_BACKSLASH}++(?:u00|x)|{_PERCENT})(?P<hex>[3-7][0-9a-fA-F])"
    f"|(?:&|{_PERCENT}26)(?:amp{_END})*#(?:[xX]0{{0,6}}(?P<entity>[3-7][0-9a-fA-F])|0{{0,6}}(?P<number>[0-9]{{2,3}})){_END}"
)
_FROM_A_SIGN: Final = re.compile(r"[\\%&][^\n]*")


@lru_cache(maxsize=256)
def any_spelling(text: str) -> re.Pattern[str]:
    """Return a pattern that matches a text as it is, and escaped any number of times in any mixture of ways.

    ASCII letters and digits match only as they are; see `unescaped_letters`.
    """
    # Backslashes of the text and of the escape behind them are one run.
    first, *rest = re.findall(r"\\+|[^\\]", text, re.DOTALL)
    begin = "" if _is_letter(first) else f"(?:{_BEGINNING}{_BACKSLASH}++)?+"
    if first[0] == "\\":
        begin = _BEGINNING
    return re.compile(begin + _spelling(first) + "".join(map(_behind, rest)))


def in_every_spelling(text: str) -> str:
    """Return what each match of `any_spelling` has: the longest run of ASCII letters and digits. Looking for it is much faster."""
    return max((run[0] for run in re.finditer("[A-Za-z0-9]*", text)), key=len)


def unescaped_letters(text: str) -> str:
    """Return a text without the escapes of ASCII letters, digits and backslashes that no common encoder writes."""
    # A log has few of the signs that begin an escape: looking for these first is much faster.
    if not any(sign in text for sign in "\\%&"):
        return text
    return _FROM_A_SIGN.sub(lambda part: _NEEDLESS.sub(_letter, part[0]), text)


def in_base64(text: str) -> set[str]:
    """Return how a text looks inside base64, for each position in which it may begin; none below six bytes.

    The characters at both ends depend on the bytes around the text too, and are left out.
    """
    content = text.encode(errors="surrogatepass")
    found = set()
    for before in range(3) if len(content) >= 6 else ():
        start, stop = (8 * before + 5) // 6, 8 * (before + len(content)) // 6
        found.add(b64encode(bytes(before) + content).decode()[start:stop])
    return found | {each.translate({43: "-", 47: "_"}) for each in found}


def _behind(part: str) -> str:
    """Return what matches one character or a run of backslashes that is not the first."""
    return _spelling(part) if _is_letter(part) or part[0] == "\\" else f"{_BACKSLASH}*+{_spelling(part)}"


def _spelling(part: str) -> str:
    """Return what matches one character or a run of backslashes, behind backslashes that are read already."""
    if _is_letter(part):
        return part
    if part[0] == "\\":
        # A run's length says nothing after several rounds; a longer one matches too.
        return f"{_BACKSLASH}{{{len(part)},}}+"
    code, content = ord(part), part.encode(errors="surrogatepass")
    utf16 = part.encode("utf-16-be", "surrogatepass").hex()
    escapes = [
        rf"u\{{0{{0,6}}{code:x}\}}",
        f"U{code:08x}",
        f"{_BACKSLASH}++".join(f"u{each}" for each in re.findall("....", utf16)),
    ]
    escapes += [
        f"{_BACKSLASH}++".join(f"x{byte:02x}" for byte in content),
        *([f"x{code:02x}"] if code < 256 else []),
    ]
    name = f"{_NAMES[code]}|" if code in _NAMES else ""
    choices = [
        re.escape(part),
        f"{_ESCAPED}(?:{_LETTERS.get(part, '(?!)')}|(?i:{'|'.join(escapes)}))",
        "".join(f"{_PERCENT}(?i:{byte:02x})" for byte in content),
        f"{_ENTITY}(?:{name}(?:#|{_PERCENT}23)(?i:0{{0,6}}{code}|x0{{0,6}}{code:x})){_END}",
        *{"&": [_ENTITY], "%": [_PERCENT], " ": [rf"\+|{_PERCENT}2[bB]"]}.get(part, []),
    ]
    return f"(?:{'|'.join(choices)})"


def _is_letter(part: str) -> bool:
    return part.isascii() and part.isalnum()


def _letter(match: re.Match[str]) -> str:
    code = int(match["number"] or int(match["hex"] or match["entity"], 16))
    return chr(code) if code == ord("\\") or _is_letter(chr(code)) else match[0]
