"""Each sentence of docs/security.md has a test; security_page.txt says which."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
TABLE = ROOT / "tests" / "security_page.txt"
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"^\|.*\|\n\|[-| ]+\|$", re.MULTILINE)
ABOUT_ITSELF = "Tests hold each sentence of this page; `tests/security_page.txt` names them."


def sentences(page: str) -> list[str]:
    """Return the sentences of a page; a row of a table is one."""
    found = []
    for block in re.split(r"\n\s*\n|\n(?=- )|\n(?=\|)", HEADER.sub("", CODE.sub("", page))):
        text = " ".join(block.split()).removeprefix("- ")
        if text.startswith("|"):
            found.append(text.strip("| ").replace(" | ", ": "))
        elif text and not text.startswith("#"):
            found += re.split(r"(?<=[.?!*]) (?=[A-Z`*])", text)
    return found


def entries() -> dict[str, list[str]]:
    """Return the tests of each sentence."""
    found: dict[str, list[str]] = {}
    sentence = ""
    for line in TABLE.read_text("utf-8").partition("\n\n")[2].splitlines():
        if line.startswith(" "):
            found[sentence].append(line.strip())
        else:
            sentence = line
            found[sentence] = []
    return found


def is_a_test(node: str) -> bool:
    file, _, name = node.partition("::")
    path = ROOT / file
    names = {
        each.name
        for each in ast.walk(ast.parse(path.read_text("utf-8") if path.is_file() else ""))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return name.startswith("test_") and name in names


def test_the_sentences_of_a_page_are_found():
    page = "# Title\n\nOne `a.b` is. Two\nlines.\n\n```\nNo. Code.\n```\n- Three.\n  `x` four.\n\n| a | b |\n|---|---|\n| x | y |\n"

    assert sentences(page) == ["One `a.b` is.", "Two lines.", "Three.", "`x` four.", "x: y"]


def test_each_sentence_of_the_security_page_has_an_entry_and_each_entry_a_sentence():
    assert list(entries()) == [one for one in sentences(PAGE.read_text("utf-8")) if one != ABOUT_ITSELF]


def test_each_entry_names_tests_that_exist():
    assert [sentence for sentence, tests in entries().items() if not tests] == []
    assert [node for tests in entries().values() for node in tests if not is_a_test(node)] == []


def test_a_test_that_does_not_exist_is_noticed():
    assert is_a_test("tests/test_security_page.py::test_a_test_that_does_not_exist_is_noticed")
    assert not is_a_test("tests/test_security_page.py::test_of_another_name")
    assert not is_a_test("tests/test_security_page.py::sentences")
    assert not is_a_test("tests/no_such_file.py::test_x")
