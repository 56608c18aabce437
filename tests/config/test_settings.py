from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow_magic.config.credentials import mask
from dataflow_magic.config.settings import (
    CLOUD_ENDPOINT,
    Place,
    Target,
    check_place,
    is_loopback,
    language,
    marker,
    resolve_target,
    waits,
)
from dataflow_magic.errors import ConfigError
from dataflow_magic.local.folder import Address
from dataflow_magic.models.marker import MARKERS

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


def refusal(
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
        (None, None, {**ENVIRONMENT, "DATAFLOW_TARGET": "LOCAL "}, LOCAL),
        (None, None, {**ENVIRONMENT, "DATAFLOW_TARGET": " Cloud\n"}, CLOUD),
        (" Local", None, ENVIRONMENT, LOCAL),
        (None, None, {"DATAFLOW_PROFILE": " dev\n"}, DEV),
        (None, "DEV", ENVIRONMENT, DEV),
        ("default", None, ENVIRONMENT, ("DEFAULT", "cloud", "FILEACCESS", "file-secret")),
        (None, None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, DEV),
        ("cloud", None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, CLOUD),
        ("local", None, {**ENVIRONMENT, "DATAFLOW_PROFILE": "dev"}, LOCAL),
        (None, None, {"DATAFLOW_TARGET": "local", "DATAFLOW_PROFILE": "dev"}, LOCAL),
    ],
    ids=[
        "the file without other layers",
        "the environment before the file",
        "the cloud by its name",
        "local in spite of credentials",
        "local by the environment",
        "the cell before the environment",
        "a profile as target before the environment",
        "a profile before the environment",
        "the cloud by a profile",
        "a profile named twice alike",
        "a profile by the environment",
        "an empty variable",
        "an empty target",
        "the default profile by its name",
        "empty keys",
        "local in capitals and with a blank",
        "the cloud with a capital and white space",
        "local with a capital on the line",
        "a profile with white space",
        "a profile in other capitals",
        "the default profile in other capitals",
        "a profile by its own variable",
        "the cloud before a profile of the environment",
        "local before a profile of the environment",
        "local beside a profile, all of the environment",
    ],
)
def test_the_nearest_layer_with_a_value_wins(configure, choice, profile, env, expected):
    assert facts(resolve_target(choice, profile, env, configure)) == expected


def test_without_any_credentials_runs_are_local():
    target = resolve_target(None, None, {}, NOWHERE)

    assert facts(target) == LOCAL
    assert (target.endpoint, target.source) == ("", "no credentials found")


def test_a_target_names_the_origin_of_its_keys(configure):
    file = str(configure)

    assert (
        resolve_target(None, None, ENVIRONMENT, NOWHERE).source == "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY"
    )
    assert resolve_target(None, None, {}, configure).source == f"profile 'DEFAULT' of {file}"
    assert resolve_target("local", None, {}, configure).source == "chosen"


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
            "NCLOUD_ACCESS_KEY is set and neither NCLOUD_SECRET_KEY nor NCLOUD_SECRET_ACCESS_KEY is; set both or "
            "neither",
        ),
        (
            {"env": {"NCLOUD_SECRET_KEY": "x"}},
            "NCLOUD_SECRET_KEY is set and neither NCLOUD_ACCESS_KEY nor NCLOUD_ACCESS_KEY_ID is; set both or neither",
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
def test_a_named_cloud_or_profile_never_falls_back_to_the_local_service(given_, said):
    assert refusal(**given_) == said


@pytest.mark.parametrize(
    ("choice", "profile", "said"),
    [("dve", None, "; did you mean 'dev'?"), ("clod", None, "; did you mean 'cloud'?"), (None, "zzz", "")],
)
def test_an_unknown_profile_is_refused_with_the_nearest_name(configure, choice, profile, said):
    message = refusal(choice=choice, profile=profile, file=configure)

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
def test_an_invalid_place_is_refused_without_credentials(configure, place, said):
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
def test_a_nearer_layer_replaces_target_and_profile(upper, lower, counts):
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
def test_the_nearest_layer_decides_whether_to_wait(choice, env, answer):
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
def test_the_nearest_layer_or_else_the_locale_decides_the_language(choice, env, answer):
    assert language(choice, env) == answer


@pytest.mark.parametrize(
    ("choice", "env", "answer"),
    [
        ("", "", "off"),
        ("", "log-path", "log-path"),
        ("", " Log-Path , ", "log-path"),
        ("", "off, daily=parameter", "parameter"),
        ("", "daily=parameter, off", "parameter"),
        ("", "other=parameter", "off"),
        ("", "@cloud=log-path", "log-path"),
        ("", "@local=log-path", "off"),
        ("", "@cloud=log-path, daily=parameter", "parameter"),
        ("", "daily=parameter, daily@cloud=off, log-path", "off"),
        ("", "daily@local=parameter, log-path", "log-path"),
        ("", " daily @ cloud = parameter ", "parameter"),
        ("parameter", "log-path", "parameter"),
        ("other=parameter", "log-path", "off"),
        (" ", "log-path", "log-path"),
    ],
)
def test_the_rule_that_names_most_decides_where_the_marker_is_sent(choice, env, answer):
    assert marker(choice, {"DATAFLOW_MARKER": env}, job="daily", target="cloud") == answer


NAMES = st.text("abz019_-", min_size=1, max_size=5)


@given(
    st.dictionaries(st.tuples(NAMES | st.just(""), NAMES | st.just("")), st.sampled_from(MARKERS)),
    NAMES,
    NAMES,
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_rules_of_the_marker_means_nothing(rules, job, target, random):
    written = [
        f"{name}{'@' * bool(place)}{place}{'=' * bool(name or place)}{word}"
        for (name, place), word in rules.items()
    ]
    random.shuffle(written)
    places = [(job, target), (job, ""), ("", target), ("", "")]
    expected = [rules[place] for place in places if place in rules] or ["off"]

    said = marker("", {"DATAFLOW_MARKER": ",".join(written)}, job=job, target=target)

    assert said == expected[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on", "'on', which is none of off, log-path, parameter"),
        ("log_path", "'log_path', which is none of off, log-path, parameter"),
        ("daily=", "'', which is none of off, log-path, parameter"),
        ("log-path, daily=yes", "'yes', which is none of off, log-path, parameter"),
        ("off daily=log-path@cloud", "'log-path@cloud', which is none of off, log-path, parameter"),
        ("=off", "'=off', which names no job: write JOB=off or @TARGET=off"),
        ("@ = parameter", "'@ = parameter', which names no job: write JOB=parameter or @TARGET=parameter"),
    ],
)
@pytest.mark.parametrize("layer", ["%config", "DATAFLOW_MARKER"])
def test_a_wrong_rule_of_any_layer_is_refused_with_what_to_write(text, message, layer):
    choice, variable = (text, "") if layer == "%config" else ("log-path", text)
    environment = {"DATAFLOW_MARKER": variable}

    with pytest.raises(ConfigError) as refused:
        marker(choice, environment, job="other", target="other")

    assert str(refused.value) == f"{layer} says {message}"


@pytest.mark.parametrize(
    ("text", "named"), [("off,off", "all jobs"), ("a=off, a = log-path", "a"), ("@x=off,@x=off", "@x")]
)
def test_two_rules_for_the_same_are_refused(text, named):
    with pytest.raises(ConfigError, match=f"^%config has two words for {named}; remove one$"):
        marker(text, {}, job="", target="")


def test_an_unknown_word_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"^DATAFLOW_WAIT says 'maybe', which is none of auto, yes, no$"):
        waits("yes", {"DATAFLOW_WAIT": "maybe"})
    with pytest.raises(
        ConfigError, match=r"^DATAFLOW_LANGUAGE says 'de', which is none of auto, en, ko, ja$"
    ):
        language("auto", {"DATAFLOW_LANGUAGE": "de"})


def test_an_unknown_profile_is_refused_with_the_known_ones(configure):
    assert (
        refusal(profile="prod", file=configure)
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


def test_a_profile_inherits_nothing_from_default(tmp_path):
    file = tmp_path / "configure"
    file.write_text(CONFIGURE + "\n[half]\nncloud_access_key_id = HALF\n")

    assert refusal(profile="half", file=file) == f"profile 'half' of {file} has no ncloud_secret_access_key"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "none"),
        ("[DEFAULT]\n", "DEFAULT"),
        ("# nothing\n", "none"),
        ("[DEFAULT]\nregion = KR\n", "DEFAULT"),
        ("[dev]\nncloud_access_key_id = K1\nncloud_secret_access_key = S1\n", "dev"),
        ("[DEFAULT]\nSECRETSECRET\n", "DEFAULT"),
        ("ncloud_secret_access_ke = SECRETSECRET\n", "DEFAULT"),
    ],
)
def test_a_file_without_keys_is_named_and_never_sends_runs_to_the_local_service(tmp_path, text, names):
    file = tmp_path / "configure"
    file.write_text(text)

    assert refusal(file=file) == (
        f"{file} has no keys in its profile 'DEFAULT' (profiles: {names}); add ncloud_access_key_id and "
        "ncloud_secret_access_key, choose a profile with --profile, or write --target local"
    )
    assert facts(resolve_target("local", None, {}, file)) == LOCAL
    assert facts(resolve_target(None, None, ENVIRONMENT, file)) == CLOUD


def test_half_a_pair_in_the_file_is_refused(tmp_path):
    file = tmp_path / "configure"
    file.write_text("ncloud_secret_access_key = S1\n")

    assert refusal(file=file) == f"profile 'DEFAULT' of {file} has no ncloud_access_key_id"


@pytest.mark.parametrize(
    "content",
    [
        b"[DEFAULT\nncloud_secret_access_key = SECRETSECRET",
        b"\xff\xfeSECRETSECRET",
    ],
    ids=["a broken section line", "not text"],
)
def test_an_invalid_file_is_named_and_not_quoted(tmp_path, content):
    file = tmp_path / "configure"
    file.write_bytes(content)

    said = refusal(file=file)

    assert said.startswith(str(file))
    assert "SECRET" not in said


def test_an_unreadable_file_is_refused(tmp_path):
    assert refusal(file=tmp_path) == (
        f"{tmp_path} cannot be read (IsADirectoryError); make it readable, or set NCLOUD_ACCESS_KEY and "
        "NCLOUD_SECRET_KEY; --target local needs no keys"
    )


def test_a_file_of_the_home_folder_is_named_with_a_tilde():
    file = Path.home() / ".ncloud" / "no-such-file-configure"

    assert "in ~/.ncloud/no-such-file-configure (" in refusal(profile="x", file=file)


def test_white_space_around_keys_is_removed():
    env = {"NCLOUD_ACCESS_KEY": " ENVACCESS\n", "NCLOUD_SECRET_KEY": "env-secret\r\n"}

    assert facts(resolve_target(None, None, env, NOWHERE)) == CLOUD


# Addresses


def test_a_variable_replaces_the_cloud_s_address():
    env = {**ENVIRONMENT, "DATAFLOW_ENDPOINT": "https://gw.example.com:8443/"}

    assert resolve_target(None, None, ENVIRONMENT, NOWHERE).endpoint == CLOUD_ENDPOINT
    assert resolve_target(None, None, env, NOWHERE).endpoint == "https://gw.example.com:8443"


def test_an_address_has_the_credentials_of_the_cloud(configure):
    by_env = resolve_target("https://gw.example.com", None, ENVIRONMENT, configure)
    by_profile = resolve_target("https://gw.example.com", "dev", ENVIRONMENT, configure)

    assert facts(by_env) == ("https://gw.example.com", "address", "ENVACCESS", "env-secret")
    assert facts(by_profile) == ("https://gw.example.com", "address", "DEVACCESS", "dev%secret$")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_an_address_on_this_machine_has_the_local_keys_of_the_environment(url):
    mine = {**ENVIRONMENT, "DATAFLOW_LOCAL_ACCESS_KEY": "MINE", "DATAFLOW_LOCAL_SECRET_KEY": "my-secret"}

    assert facts(resolve_target(url, None, mine, NOWHERE)) == (url, "address", "MINE", "my-secret")


def test_without_them_an_address_on_this_machine_has_the_keys_of_the_service_found_there():
    found = Address("http://127.0.0.1:8000", "KEPT", "kept-secret", 1)

    target = resolve_target("http://localhost:8000", None, {}, NOWHERE, find_local=lambda _: found)

    assert (target.name, target.endpoint) == ("http://localhost:8000", "http://127.0.0.1:8000")
    assert (target.access_key, target.secret_key.get_secret_value()) == ("KEPT", "kept-secret")


def test_an_address_on_this_machine_without_a_known_service_has_no_keys():
    with pytest.raises(ConfigError, match=r"no keys for http://127\.0\.0\.1:8000: .* start it with"):
        resolve_target("http://127.0.0.1:8000", None, ENVIRONMENT, NOWHERE)


@pytest.mark.parametrize("present", ["DATAFLOW_LOCAL_ACCESS_KEY", "DATAFLOW_LOCAL_SECRET_KEY"])
def test_one_local_key_alone_is_refused(present):
    with pytest.raises(ConfigError, match=f"{present} is set and .* is not; set both or neither"):
        resolve_target("http://127.0.0.1:8000", None, {present: "x"}, NOWHERE)


def test_an_address_on_this_machine_has_the_keys_of_a_named_profile(configure):
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
def test_an_unsafe_or_invalid_address_is_refused(url, said):
    env = {**ENVIRONMENT, "DATAFLOW_ENDPOINT": url}

    assert refusal(choice=url, env=ENVIRONMENT).startswith(f"--target {said}")
    assert refusal(env=env).startswith(f"DATAFLOW_ENDPOINT {said}")


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

    assert refusal(choice=url, env=ENVIRONMENT) == f"--target {said}"
    assert refusal(env={**ENVIRONMENT, "DATAFLOW_ENDPOINT": url}) == f"DATAFLOW_ENDPOINT {said}"


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
def test_loopback_is_recognised(endpoint, here):
    assert is_loopback(endpoint) is here


# Secrets


def test_no_text_of_a_target_holds_the_secret():
    target = resolve_target(None, None, ENVIRONMENT, NOWHERE)

    assert target.secret_key.get_secret_value() == "env-secret"
    assert "env-secret" not in f"{target!r} {target} {target.secret_key}"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("ACCESSKEY0000000EXAM", "ACCE****"), ("ABCDEFGHI", "ABCD****"), ("ABCDEFGH", "****"), ("", "****")],
)
def test_a_masked_key_shows_its_beginning(key, shown):
    assert mask(key) == shown


@given(st.text(), st.none() | st.text(), st.booleans())
def test_no_message_holds_the_secret(choice, profile, both):
    env = {**ENVIRONMENT, "NCLOUD_SECRET_KEY": "hunter2hunter2"}
    if not both:
        del env["NCLOUD_ACCESS_KEY"]

    try:
        said = repr(resolve_target(choice, profile, env, NOWHERE))
    except ConfigError as error:
        said = f"{error!r}"

    assert "hunter2" not in said
