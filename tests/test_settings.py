from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.errors import ConfigError
from dataflow_magic.settings import (
    CLOUD_ENDPOINT,
    LOCAL_ACCESS_KEY,
    LOCAL_SECRET_KEY,
    Place,
    Target,
    check_place,
    is_loopback,
    language,
    mask,
    resolve_target,
    waits,
)

NOWHERE = Path("/nowhere/configure")
ENVIRONMENT = {"NCLOUD_ACCESS_KEY": "ENVACCESS", "NCLOUD_SECRET_KEY": "env-secret"}
CONFIGURE = """\
[DEFAULT]
ncloud_access_key_id = FILEACCESS
ncloud_secret_access_key = file-secret
ncloud_api_url = https://ncloud.apigw.ntruss.com

[dev]
ncloud_access_key_id = DEVACCESS
ncloud_secret_access_key = dev%secret$
"""


@pytest.fixture
def configure(tmp_path):
    file = tmp_path / "configure"
    file.write_text(CONFIGURE)
    return file


def facts(target: Target) -> tuple[str, str, str, str]:
    return target.name, target.kind, target.access_key, target.secret_key.get_secret_value()


def complaint(
    *, choice: str | None = None, profile: str | None = None, env: Any = None, file: Path = NOWHERE
) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve_target(choice, profile, env or {}, file)
    return str(caught.value)


LOCAL = ("local", "local", "", "")
CLOUD = ("cloud", "cloud", "ENVACCESS", "env-secret")
FILE = ("cloud", "cloud", "FILEACCESS", "file-secret")
DEV = ("dev", "cloud", "DEVACCESS", "dev%secret$")


@pytest.mark.parametrize(
    ("choice", "profile", "env", "expected"),
    [
        (None, None, {}, FILE),
        (None, None, ENVIRONMENT, CLOUD),
        ("cloud", None, ENVIRONMENT, CLOUD),
        ("local", None, ENVIRONMENT, LOCAL),
        (None, None, {**ENVIRONMENT, "DATAFLOW_TARGET": "local"}, LOCAL),
        ("cloud", None, {**ENVIRONMENT, "DATAFLOW_TARGET": "local"}, CLOUD),
        ("dev", None, {**ENVIRONMENT, "DATAFLOW_TARGET": "local"}, DEV),
        (None, "dev", {**ENVIRONMENT, "DATAFLOW_TARGET": "local"}, DEV),
        ("cloud", "dev", ENVIRONMENT, DEV),
        ("dev", "dev", ENVIRONMENT, DEV),
        (None, None, {"DATAFLOW_TARGET": "dev"}, DEV),
        (None, None, {**ENVIRONMENT, "DATAFLOW_TARGET": ""}, CLOUD),
        ("", None, ENVIRONMENT, CLOUD),
        (None, "DEFAULT", ENVIRONMENT, ("DEFAULT", "cloud", "FILEACCESS", "file-secret")),
        (None, None, {"NCLOUD_ACCESS_KEY": "", "NCLOUD_SECRET_KEY": " "}, FILE),
        (None, None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, DEV),
        ("cloud", None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, CLOUD),
        ("local", None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, LOCAL),
    ],
    ids=[
        "the file when nothing else says",
        "the environment before the file",
        "the cloud asked for",
        "local asked for in spite of credentials",
        "local by the environment",
        "the cell before the environment",
        "a profile as target before the environment",
        "a profile before the environment",
        "the cloud by a profile",
        "a profile named twice alike",
        "a profile by the environment",
        "an empty variable says nothing",
        "an empty target says nothing",
        "the default profile by its name",
        "empty keys say nothing",
        "a profile by its own variable",
        "the cloud before a profile of the environment",
        "local before a profile of the environment",
    ],
)
def test_the_first_that_says_something_wins(configure, choice, profile, env, expected):
    assert facts(resolve_target(choice, profile, env, configure)) == expected


def test_without_any_credentials_runs_are_local():
    target = resolve_target(None, None, {}, NOWHERE)

    assert facts(target) == LOCAL
    assert (target.endpoint, target.source) == ("", "no credentials found")


def test_a_target_tells_where_its_keys_came_from(configure):
    file = str(configure)

    assert (
        resolve_target(None, None, ENVIRONMENT, NOWHERE).source == "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY"
    )
    assert resolve_target(None, None, {}, configure).source == f"profile 'DEFAULT' of {file}"
    assert resolve_target("local", None, {}, configure).source == "asked for"


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (
            {"choice": "cloud"},
            "no credentials for the cloud: set NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY, or write them to "
            "/nowhere/configure; --target local needs none",
        ),
        (
            {"env": {"NCLOUD_ACCESS_KEY": "x"}},
            "NCLOUD_ACCESS_KEY is set and NCLOUD_SECRET_KEY is not; set both or neither",
        ),
        (
            {"env": {"NCLOUD_SECRET_KEY": "x"}},
            "NCLOUD_SECRET_KEY is set and NCLOUD_ACCESS_KEY is not; set both or neither",
        ),
        ({"choice": "dev"}, "no profile 'dev' in /nowhere/configure (profiles: none)"),
        ({"profile": "dev"}, "no profile 'dev' in /nowhere/configure (profiles: none)"),
        ({"env": {"DATAFLOW_TARGET": "dev"}}, "no profile 'dev' in /nowhere/configure (profiles: none)"),
        ({"profile": "DEFAULT"}, "no profile 'DEFAULT' in /nowhere/configure (profiles: none)"),
        (
            {"choice": "local", "profile": "dev"},
            "--target local takes no --profile ('dev'); leave one of them out",
        ),
        (
            {"choice": "a", "profile": "b"},
            "--target 'a' and --profile 'b' name two profiles; leave one of them out",
        ),
        (
            {"choice": "https://gw.example.com"},
            "no credentials for https://gw.example.com: set NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY",
        ),
    ],
    ids=[
        "the cloud without keys",
        "half a pair, the secret missing",
        "half a pair, the access key missing",
        "a profile as target",
        "a profile",
        "a profile by the environment",
        "the default profile by its name",
        "local with a profile",
        "two profiles",
        "an address without keys",
    ],
)
def test_who_names_the_cloud_never_gets_the_local_service(given_, said):
    assert complaint(**given_) == said


@pytest.mark.parametrize(
    ("choice", "profile", "said"),
    [("dve", None, "; did you mean 'dev'?"), ("clod", None, "; did you mean 'cloud'?"), (None, "zzz", "")],
)
def test_a_profile_that_is_not_there_is_answered_with_the_nearest(configure, choice, profile, said):
    message = complaint(choice=choice, profile=profile, file=configure)

    assert message == f"no profile {choice or profile!r} in {configure} (profiles: DEFAULT, dev){said}"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place("cloud"), None),
        (Place("local"), None),
        (Place("dev"), None),
        (Place("https://gw.example.com"), None),
        (Place(None, "dev"), None),
        (Place("", ""), None),
        (Place("dve"), "no profile 'dve'"),
        (Place(None, "cloud"), "no profile 'cloud'"),
        (Place("http://gw.example.com"), "plain http to another machine"),
        (Place("https://u:p@x"), "holds a user name or password"),
    ],
)
def test_what_can_be_no_place_is_refused_before_there_are_credentials(configure, place, said):
    if said is None:
        check_place(place, configure)
    else:
        with pytest.raises(ConfigError, match=said):
            check_place(place, configure)


@pytest.mark.parametrize(
    ("upper", "lower", "counts"),
    [
        (Place(), Place("local", None), Place("local", None)),
        (Place("cloud"), Place("local", None), Place("cloud", None)),
        (Place("cloud"), Place(None, "dev"), Place("cloud", None)),
        (Place(None, "dev"), Place("local", None), Place(None, "dev")),
    ],
    ids=["nothing named", "a target", "a target over a profile", "a profile over a target"],
)
def test_what_is_named_nearer_replaces_both(upper, lower, counts):
    assert upper.over(lower) == counts


@pytest.mark.parametrize(
    ("choice", "env", "answer"),
    [
        ("auto", {}, None),
        ("yes", {}, True),
        ("no", {"DATAFLOW_WAIT": "yes"}, False),
        ("auto", {"DATAFLOW_WAIT": "yes"}, True),
        ("auto", {"DATAFLOW_WAIT": " No "}, False),
        ("auto", {"DATAFLOW_WAIT": "auto"}, None),
        ("auto", {"DATAFLOW_WAIT": ""}, None),
    ],
)
def test_whether_to_wait_is_said_by_the_nearest_layer(choice, env, answer):
    assert waits(choice, env) is answer


@pytest.mark.parametrize(
    ("choice", "env", "answer"),
    [
        ("auto", {}, "en"),
        ("ja", {"DATAFLOW_LANGUAGE": "ko"}, "ja"),
        ("auto", {"DATAFLOW_LANGUAGE": "ko", "LANG": "ja_JP.UTF-8"}, "ko"),
        ("auto", {"LANG": "ko_KR.UTF-8"}, "ko"),
        ("auto", {"LANG": "ko_KR.UTF-8", "LC_MESSAGES": "ja_JP"}, "ja"),
        ("auto", {"LANG": "ko_KR.UTF-8", "LC_ALL": "C.UTF-8", "LC_MESSAGES": "ja_JP"}, "en"),
        ("auto", {"LANG": "ko", "LC_ALL": ""}, "ko"),
        ("auto", {"LANG": "kok_IN"}, "en"),
        ("auto", {"DATAFLOW_LANGUAGE": "auto", "LANG": "ja"}, "ja"),
        ("auto", {"LANG": "de_DE@euro"}, "en"),
    ],
)
def test_the_language_is_said_by_the_nearest_layer_and_else_by_the_locale(choice, env, answer):
    assert language(choice, env) == answer


def test_a_word_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"^DATAFLOW_WAIT says 'maybe', which is none of auto, yes, no$"):
        waits("yes", {"DATAFLOW_WAIT": "maybe"})
    with pytest.raises(
        ConfigError, match=r"^DATAFLOW_LANGUAGE says 'de', which is none of auto, en, ko, ja$"
    ):
        language("auto", {"DATAFLOW_LANGUAGE": "de"})


def test_a_missing_profile_is_answered_with_those_there_are(configure):
    assert (
        complaint(profile="prod", file=configure)
        == f"no profile 'prod' in {configure} (profiles: DEFAULT, dev)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "ncloud_access_key_id = K1\nncloud_secret_access_key = S1\n",
        "\n# mine\n; too\nncloud_access_key_id=K1\nncloud_secret_access_key=S1\n[dev]\nx = 1\n",
        "[DEFAULT]\nncloud_access_key_id = K1\nncloud_secret_access_key = S1",
        "\ufeff[DEFAULT]\r\nncloud_access_key_id = K1\r\nncloud_secret_access_key = S1\r\n",
        "[DEFAULT]\nNCLOUD_ACCESS_KEY_ID = K1\nNCLOUD_SECRET_ACCESS_KEY = S1",
        "[dev]\nx = 1\n[DEFAULT]\nncloud_access_key_id = K1\nncloud_secret_access_key = S1",
        "[DEFAULT]\nncloud_access_key_id = old\nncloud_access_key_id = K1\nncloud_secret_access_key = S1",
    ],
    ids=[
        "no section line",
        "comments first and no section line",
        "a section line",
        "as Windows writes it",
        "capitals",
        "the default last",
        "a key written twice",
    ],
)
def test_a_configure_file_is_read_with_or_without_a_section_line(tmp_path, text):
    (tmp_path / "configure").write_bytes(text.encode())

    target = resolve_target(None, None, {}, tmp_path / "configure")

    assert facts(target) == ("cloud", "cloud", "K1", "S1")


def test_a_profile_takes_nothing_from_the_default_one(tmp_path):
    file = tmp_path / "configure"
    file.write_text(CONFIGURE + "\n[half]\nncloud_access_key_id = HALF\n")

    assert complaint(profile="half", file=file) == f"profile 'half' of {file} has no ncloud_secret_access_key"


@pytest.mark.parametrize(
    "text", ["", "[DEFAULT]\n", "# nothing\n", "[DEFAULT]\nregion = KR\n", "[dev]\nx = 1\n"]
)
def test_a_file_without_keys_says_nothing(tmp_path, text):
    (tmp_path / "configure").write_text(text)

    assert facts(resolve_target(None, None, {}, tmp_path / "configure")) == LOCAL


def test_half_a_pair_in_the_file_is_no_reason_to_run_locally(tmp_path):
    file = tmp_path / "configure"
    file.write_text("ncloud_secret_access_key = S1\n")

    assert complaint(file=file) == f"profile 'DEFAULT' of {file} has no ncloud_access_key_id"


@pytest.mark.parametrize(
    "content",
    [
        b"[DEFAULT]\nSECRETSECRET\n",
        b"[DEFAULT\nncloud_secret_access_key = SECRETSECRET",
        b"\xff\xfeSECRETSECRET",
    ],
    ids=["a line that is no setting", "a broken section line", "not text"],
)
def test_a_file_that_cannot_be_understood_is_named_and_not_quoted(tmp_path, content):
    file = tmp_path / "configure"
    file.write_bytes(content)

    said = complaint(file=file)

    assert said.startswith(str(file))
    assert "SECRET" not in said


def test_a_file_that_cannot_be_read_is_no_reason_to_run_locally(tmp_path):
    assert complaint(file=tmp_path) == f"{tmp_path} cannot be read: IsADirectoryError"


def test_a_file_of_the_home_folder_is_named_from_there():
    file = Path.home() / ".ncloud" / "no-such-file-configure"

    assert "in ~/.ncloud/no-such-file-configure (" in complaint(profile="x", file=file)


def test_keys_are_taken_without_the_line_end_they_were_pasted_with():
    env = {"NCLOUD_ACCESS_KEY": " ENVACCESS\n", "NCLOUD_SECRET_KEY": "env-secret\r\n"}

    assert facts(resolve_target(None, None, env, NOWHERE)) == CLOUD


# Addresses


def test_the_cloud_s_address_is_the_vendor_s_unless_said():
    env = {**ENVIRONMENT, "DATAFLOW_ENDPOINT": "https://gw.example.com:8443/"}

    assert resolve_target(None, None, ENVIRONMENT, NOWHERE).endpoint == CLOUD_ENDPOINT
    assert resolve_target(None, None, env, NOWHERE).endpoint == "https://gw.example.com:8443"


def test_an_address_takes_the_credentials_of_the_cloud(configure):
    by_env = resolve_target("https://gw.example.com", None, ENVIRONMENT, configure)
    by_profile = resolve_target("https://gw.example.com", "dev", ENVIRONMENT, configure)

    assert facts(by_env) == ("https://gw.example.com", "address", "ENVACCESS", "env-secret")
    assert facts(by_profile) == ("https://gw.example.com", "address", "DEVACCESS", "dev%secret$")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_an_address_on_this_machine_gets_the_local_keys_and_not_the_cloud_s(url):
    mine = {**ENVIRONMENT, "DATAFLOW_LOCAL_ACCESS_KEY": "MINE", "DATAFLOW_LOCAL_SECRET_KEY": "my-secret"}

    assert facts(resolve_target(url, None, ENVIRONMENT, NOWHERE)) == (
        url,
        "address",
        LOCAL_ACCESS_KEY,
        LOCAL_SECRET_KEY,
    )
    assert facts(resolve_target(url, None, mine, NOWHERE)) == (url, "address", "MINE", "my-secret")


def test_an_address_on_this_machine_gets_a_profile_s_keys_when_asked(configure):
    assert facts(resolve_target("http://127.0.0.1:8000", "dev", {}, configure))[2:] == (
        "DEVACCESS",
        "dev%secret$",
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://gw.example.com", "'http://gw.example.com' is plain http to another machine; use https"),
        ("http://127.example.com", "'http://127.example.com' is plain http to another machine; use https"),
        ("http://127.0.0.1.example.com", "'http://127.0.0.1.example.com' is plain http to another machine; use https"),
        ("http://localhost.example.com", "'http://localhost.example.com' is plain http to another machine; use https"),
        ("http://0.0.0.0:80", "'http://0.0.0.0:80' is plain http to another machine; use https"),
        ("ftp://gw.example.com", "'ftp://gw.example.com' is not an http or https address"),
        ("https://", "'https://' is not an http or https address"),
        ("https://gw example.com", "'https://gw example.com' is not an http or https address"),
        ("https://gw.example.com:x", "'https://gw.example.com:x' is not an address: "),
        ("https://[::1", "'https://[::1' is not an address: "),
        ("https://gw.example.com/api/v1", "'https://gw.example.com/api/v1' has a path; give only scheme, host and port"),
        ("https://gw.example.com/?x=1", "'https://gw.example.com/?x=1' has a path; give only scheme, host and port"),
        ("https://gw.example.com#x", "'https://gw.example.com#x' has a path; give only scheme, host and port"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_safe_or_not_one_is_refused(url, said):
    env = {**ENVIRONMENT, "DATAFLOW_ENDPOINT": url}

    assert complaint(choice=url, env=ENVIRONMENT).startswith(f"--target {said}")
    assert complaint(env=env).startswith(f"DATAFLOW_ENDPOINT {said}")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@gw.example.com",
        "https://hunter2@gw.example.com",
        "ftp://user:hunter2@gw.example.com",
        "https://user:hunter2@gw.example.com:x",
        "https://user:hunter2@[::1",
        "https://gw.example.com/hunter2@x",
    ],
)
def test_an_address_with_a_password_is_refused_without_quoting_it(url):
    said = "holds a user name or password; keys come from the environment or a profile"

    assert complaint(choice=url, env=ENVIRONMENT) == f"--target {said}"
    assert complaint(env={**ENVIRONMENT, "DATAFLOW_ENDPOINT": url}) == f"DATAFLOW_ENDPOINT {said}"


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.8.8.8", True),
        ("http://LOCALHOST", True),
        ("http://[::1]:1", True),
        ("https://dataflow.apigw.ntruss.com", False),
        ("http://127.example.com", False),
        ("http://10.0.0.1", False),
        ("", False),
    ],
)
def test_an_address_on_this_machine_is_known(endpoint, here):
    assert is_loopback(endpoint) is here


# Secrets


def test_a_target_s_text_holds_no_secret():
    target = resolve_target(None, None, ENVIRONMENT, NOWHERE)

    assert target.secret_key.get_secret_value() == "env-secret"
    assert "env-secret" not in f"{target!r} {target} {target.secret_key}"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("ACCESSKEY0000000EXAM", "ACCE****"), ("ABCDEFGHI", "ABCD****"), ("ABCDEFGH", "****"), ("", "****")],
)
def test_an_access_key_is_shown_by_its_beginning(key, shown):
    assert mask(key) == shown


@given(st.text(), st.none() | st.text(), st.booleans())
def test_no_choice_puts_a_secret_into_a_message(choice, profile, both):
    env = {**ENVIRONMENT, "NCLOUD_SECRET_KEY": "hunter2hunter2"}
    if not both:
        del env["NCLOUD_ACCESS_KEY"]

    try:
        said = repr(resolve_target(choice, profile, env, NOWHERE))
    except ConfigError as error:
        said = f"{error!r}"

    assert "hunter2" not in said
