"""Keys are read wherever one of the vendor's programs reads them, and what none can mean is refused unquoted."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.config.credentials import find_keys, key_sources, profiles
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.keys import given_keys

NOWHERE = Path("/nowhere/configure")
ACCESS = "NCLOUD_ACCESS_KEY", "NCLOUD_ACCESS_KEY_ID"
SECRET = "NCLOUD_SECRET_KEY", "NCLOUD_SECRET_ACCESS_KEY"

KEYS = st.text(string.ascii_letters + string.digits, min_size=4, max_size=40)
WHITE = st.text(" \t\r\n\u3000\ufeff\u200b", max_size=3)


@given(
    access=KEYS,
    secret=KEYS,
    around=st.tuples(WHITE, WHITE),
    access_names=st.sets(st.sampled_from(ACCESS), min_size=1),
    secret_names=st.sets(st.sampled_from(SECRET), min_size=1),
)
def test_either_name_of_each_variable_gives_the_key_with_white_space_around_it(
    access, secret, around, access_names, secret_names
):
    environment = {
        **{name: access.join(around) for name in access_names},
        **{name: secret.join(around) for name in secret_names},
    }

    keys = find_keys(None, environment, NOWHERE)

    assert keys is not None
    assert (keys.access_key, keys.secret_key.get_secret_value()) == (access, secret)
    assert keys.source == f"{min(access_names)} and {max(secret_names)}"
    assert key_sources(environment, NOWHERE) == [keys.source]


@given(
    st.dictionaries(st.sampled_from([*ACCESS, *SECRET]), st.sampled_from(["", " ", "hunter2A", "hunter2B"]))
)
def test_a_half_or_ambiguous_pair_names_its_variables_and_never_a_key(environment):
    given_ = {name: key for name, key in environment.items() if key.strip()}
    access, secret = ({given_[name] for name in names if name in given_} for names in (ACCESS, SECRET))
    if not given_:
        assert find_keys(None, environment, NOWHERE) is None
    elif len(access) == len(secret) == 1:
        assert find_keys(None, environment, NOWHERE) is not None
    else:
        with pytest.raises(ConfigError) as caught:
            find_keys(None, environment, NOWHERE)
        said = str(caught.value)
        assert "hunter2" not in said
        if len(access) > 1 or len(secret) > 1:
            assert said.endswith(" hold different keys; unset one of them")
        else:
            missing = SECRET if access else ACCESS
            assert said.startswith(f"{next(iter(given_))} is set") or len(given_) == 2
            assert said.endswith(f" is set and neither {' nor '.join(missing)} is; set both or neither")
        assert key_sources(environment, NOWHERE) == []


@given(
    where=st.sampled_from([ACCESS[0], SECRET[1]]),
    halves=st.tuples(st.just("hunter2"), st.just("HUNTER2")),
    fault=st.sampled_from(
        [
            (" ", "a blank"),
            ("\n", "a blank"),
            ('"', "a quotation mark"),
            ("\u2019", "a quotation mark"),
            ("é", "a character that no key has"),
            ("\u200b", "a character that no key has"),
        ]
    ),
)
def test_a_key_with_a_sign_that_no_key_has_is_refused_with_its_variable(where, halves, fault):
    sign, words = fault
    environment = {ACCESS[0]: "ACCESSKEY", SECRET[1]: "hunter2"} | {where: sign.join(halves)}

    with pytest.raises(ConfigError) as caught:
        find_keys(None, environment, NOWHERE)

    assert str(caught.value) == f"{where} holds {words}; copy the key again without it"


# The file

BLANKS = st.text(" \t", max_size=3)


@st.composite
def entries(draw: Any, names: tuple[str, ...], key: str) -> str:
    """A line of a file that one of the vendor's programs, or a shell, reads as this key."""
    name = draw(st.sampled_from(names))
    name = draw(st.sampled_from([name, name.upper(), name.title()]))
    export = draw(st.sampled_from(["", "", "export ", "export\t"]))
    quote = draw(st.sampled_from(["", "", '"', "'"]))
    comment = draw(st.sampled_from(["", "", " # mine", "\t; mine", ' ; it\'s "mine"']))
    equals = draw(BLANKS) + draw(st.sampled_from("==:")) + draw(BLANKS)
    before: str = draw(BLANKS)
    return f"{before}{export}{name}{equals}{quote}{key}{quote}{comment}"


@st.composite
def files(draw: Any) -> tuple[bytes, dict[str, tuple[str, str]]]:
    """A configure file, and the keys of each of its profiles."""
    names = draw(
        st.lists(
            st.sampled_from(["DEFAULT", "project", "dev-2", "my profile", "운영"]), unique=True, min_size=1
        )
    )
    expected: dict[str, tuple[str, str]] = {}
    lines = draw(st.lists(st.sampled_from(["", "# 주석", "; a comment = x", "\t"]), max_size=2))
    for place, name in enumerate(names):
        expected[name] = keys = draw(KEYS), draw(KEYS)
        if name != "DEFAULT" or place > 0 or draw(st.booleans()):
            written = draw(st.sampled_from([name, name.lower(), name.title()])) if name == "DEFAULT" else name
            lines.append(f"{draw(BLANKS)}[{draw(BLANKS)}{written}{draw(BLANKS)}]{draw(BLANKS)}")
        lines += draw(
            st.permutations(
                [
                    draw(entries(("ncloud_access_key_id", "ncloud_access_key"), keys[0])),
                    draw(entries(("ncloud_secret_access_key", "ncloud_secret_key"), keys[1])),
                    "ncloud_api_url = https://ncloud.apigw.ntruss.com",
                    draw(st.sampled_from(["", "# 주석", "a line without a value"])),
                ]
            )
        )
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "cp949", "utf-16", "utf-16-le", "utf-16-be"]))
    return text.encode(encoding), expected


@given(files())
def test_a_file_of_any_editor_gives_the_keys_of_its_profiles(tmp_path_factory, written):
    content, expected = written
    file = tmp_path_factory.mktemp("configure") / "configure"
    file.write_bytes(content)

    assert set(profiles(file)) == set(expected)
    for profile, pair in expected.items():
        keys = find_keys(profile, {}, file)
        assert keys is not None
        assert (keys.access_key, keys.secret_key.get_secret_value()) == pair
        assert keys.source == f"profile {profile!r} of {file}"
    if "DEFAULT" in expected:
        keys = find_keys(None, {}, file)
        assert keys is not None
        assert keys.access_key == expected["DEFAULT"][0]


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_a_file_of_any_bytes_gives_keys_or_one_sentence_that_names_it(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("configure") / "configure"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        find_keys(None, {}, file)

    assert str(file) in str(caught.value)
    assert profiles(file) is not None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("hun ter2", "a blank"),
        ("“hunter2”", "a quotation mark"),
        ("'hunter2", "a quotation mark"),
        ("hunter\u200b2", "a character that no key has"),
    ],
    ids=["a blank", "typographic quotes", "half a pair of quotes", "an invisible sign"],
)
def test_a_key_of_the_file_with_a_sign_that_no_key_has_is_refused_with_its_line_s_name(
    tmp_path, value, fault
):
    file = tmp_path / "configure"
    file.write_text(f"ncloud_access_key_id = K1\nncloud_secret_access_key = {value}\n")

    with pytest.raises(ConfigError) as caught:
        find_keys(None, {}, file)

    assert str(caught.value) == (
        f"ncloud_secret_access_key in profile 'DEFAULT' of {file} holds {fault}; copy the key again without it"
    )


def test_a_file_below_a_home_that_is_no_folder_is_no_file():
    assert find_keys(None, {}, Path("/dev/null/.ncloud/configure")) is None


# The local service


@given(KEYS, KEYS, st.tuples(st.text(" \t\n", max_size=2), st.text(" \t\n", max_size=2)))
def test_keys_of_the_local_service_are_read_without_the_white_space_around_them(access, secret, around):
    keys = given_keys(
        {
            "DATAFLOW_LOCAL_ACCESS_KEY": access.join(around),
            "DATAFLOW_LOCAL_SECRET_KEY": secret.join(around),
        }
    )

    assert keys is not None
    assert (keys.access_key, keys.secret_key) == (access, secret)


def test_a_key_of_the_local_service_with_a_quotation_mark_is_refused():
    with pytest.raises(ConfigError, match=r"^DATAFLOW_LOCAL_SECRET_KEY holds a quotation mark; copy the key"):
        given_keys({"DATAFLOW_LOCAL_ACCESS_KEY": "A", "DATAFLOW_LOCAL_SECRET_KEY": '"S"'})
