"""From files to a Config: what is in force, what is told, and where."""

from __future__ import annotations

import dataclasses
import re

import pytest

from dispatcher.config import API, Access, DriverChoice, Listen, Logs, Runner, Source, StatePlaces, load
from dispatcher.config.keys import CLUSTER_KEYS, KEYS, OWN_KEYS
from dispatcher.config.values import STRUCTURE
from dispatcher.core.settings import Settings
from tests.config.configuration import CLUSTER, HERE, TOKEN, place_of, read, with_line, without


def texts(notes) -> list[str]:
    """Without the folder of the test."""
    return [re.sub(r"^\S*/", "", str(note)) for note in notes]


# ------------------------------------------------------------------------------------------------------------- good files


def test_a_good_file_has_nothing_to_tell(tmp_path):
    """Everything that is needed is there: no problem, no warning."""
    loaded = read(tmp_path)
    assert (loaded.problems, loaded.warnings) == ((), ())
    assert loaded.config is not None


def test_what_the_other_rooms_get(tmp_path):
    """Each group of the Config, from the file or by default."""
    config = read(tmp_path).config
    assert config.cluster_id == config.settings.cluster_id == "zzzzz"
    assert config.api == API(url="https://api.example.org:8443", host="api.example.org:8443", token=TOKEN)
    assert config.listen == Listen(host="here.example.org", port=9006, url="http://here.example.org:9006")
    assert config.management_token == "markedmanagementtoken"
    assert config.logs == Logs(level="info", format="json")
    assert config.runner == Runner(binary=None)
    assert config.access == Access(private_key=config.access.private_key, ssh_port="22")
    assert config.driver == DriverChoice(name="stub", parameters={})
    assert config.state == StatePlaces(folder="/var/lib/cloud-dispatcher", lock_file="/var/lib/cloud-dispatcher/lock")
    assert config.settings.instance_set_id == "zzzzz-gj3su-077z32aux8dg2s1"
    assert list(config.settings.instance_types) == ["small"]


def test_postgresql_parameters_are_libpqs(tmp_path):
    """Names in small letters, values as text."""
    assert read(tmp_path).config.postgresql.parameters == {
        "host": "db.example.org",
        "dbname": "arvados",
        "user": "arvados",
        "password": "markeddatabasepassword",
        "port": "5433",
    }


def test_defaults_of_the_table_are_those_of_the_settings(tmp_path):
    """One truth: an absent key gives what a planner's test gets from Settings()."""
    config = read(tmp_path).config
    ours = dataclasses.replace(
        config.settings, instance_types={}, instance_set_id="", cluster_id=Settings().cluster_id
    )
    assert ours == Settings()
    assert config.runner == Runner(binary=None)


UPSTREAM = {
    # key → upstream's default, collected by hand from its documentation of keys
    "API.MaxItemsPerResponse": "1000",
    "API.MaxConcurrentRequests": "64",
    "API.MaxQueuedRequests": "128",
    "API.MaxConcurrentRailsRequests": "16",
    "API.MaxQueueTimeForLockRequests": "2s",
    "API.RequestTimeout": "5m",
    "PostgreSQL.ConnectionPool": "32",
    "SystemLogs.LogLevel": "info",
    "SystemLogs.Format": "json",
    "Containers.StaleLockTimeout": "1m",
    "Containers.CrunchRunCommand": "crunch-run",
    "Containers.ReserveExtraRAM": "550MiB",
    "Containers.RuntimeEngine": "docker",
    "Containers.LocalKeepBlobBuffersPerVCPU": "1",
    "Containers.MaxDispatchAttempts": "10",
    "Containers.MaxRetryAttempts": "3",
    "Containers.PreemptiblePriceFactor": "0",
    "Containers.MaximumPriceFactor": "1.5",
    "Containers.CloudVMs.SSHPort": '"22"',
    "Containers.CloudVMs.PollInterval": "10s",
    "Containers.CloudVMs.BootProbeCommand": "systemctl is-system-running",
    "Containers.CloudVMs.ProbeInterval": "10s",
    "Containers.CloudVMs.MaxProbesPerSecond": "10",
    "Containers.CloudVMs.TimeoutSignal": "5s",
    "Containers.CloudVMs.TimeoutStaleRunLock": "5s",
    "Containers.CloudVMs.TimeoutTERM": "2m",
    "Containers.CloudVMs.MaxCloudOpsPerSecond": "10",
    "Containers.CloudVMs.MaxConcurrentInstanceCreateOps": "1",
    "Containers.CloudVMs.MaxInstances": "64",
    "Containers.CloudVMs.MaxRunningContainersPerInstance": "0",
    "Containers.CloudVMs.InitialQuotaEstimate": "0",
    "Containers.CloudVMs.SupervisorFraction": "0.5",
    "Containers.CloudVMs.SyncInterval": "1m",
    "Containers.CloudVMs.TimeoutIdle": "1m",
    "Containers.CloudVMs.TimeoutBooting": "10m",
    "Containers.CloudVMs.TimeoutProbe": "10m",
    "Containers.CloudVMs.TimeoutShutdown": "10s",
    "Containers.CloudVMs.DeployRunnerBinary": "/proc/self/exe",
    "Containers.CloudVMs.DeployRunnerDirectory": "/tmp/arvados-crunch-run",
    "Containers.CloudVMs.DeployPublicKey": "true",
    "Containers.CloudVMs.TagKeyPrefix": "Arvados",
    "Containers.CloudVMs.Driver": "ec2",
}


@pytest.mark.parametrize(("path", "default"), UPSTREAM.items())
def test_upstreams_defaults(path, default):
    """The table knows each key of upstream's dispatcher and its default."""
    key = {each.path: each for each in CLUSTER_KEYS}[path]
    assert key.upstream == default
    assert key.default in (default, None)


PACES = {
    "PollInterval": ("3s", "poll_interval_s", 3.0),
    "MaxProbesPerSecond": ("7", "max_probes_per_second", 7.0),
    "MaxCloudOpsPerSecond": ("0.5", "max_cloud_ops_per_second", 0.5),
    "MaxConcurrentInstanceCreateOps": ("3", "max_concurrent_creates", 3),
}


@pytest.mark.parametrize(("name", "row"), PACES.items())
def test_a_pace_is_chosen_by_us_until_it_is_named(tmp_path, name, row):
    """Absent: None, and shown as chosen by us. Present: exactly that, with its line."""
    text, field, value = row
    path = f"Containers.CloudVMs.{name}"
    absent, present = read(tmp_path), read(tmp_path, with_line(name, text))
    assert getattr(absent.config.settings, field) is None
    assert getattr(present.config.settings, field) == value
    origins = [next(each.origin for each in loaded.in_force if each.path == path) for loaded in (absent, present)]
    assert origins[0].source is Source.CHOSEN
    assert origins[1].line == place_of(with_line(name, text), name)


@pytest.mark.parametrize("value", ["0", "0s", "-5s"])
def test_timeouts_of_zero_or_less_count_as_absent(tmp_path, value):
    """As upstream does it, with a word about it."""
    loaded = read(tmp_path, with_line("TimeoutIdle", value))
    assert loaded.config.settings.timeout_idle_s == 60.0
    assert "counts as absent: 1m" in loaded.warnings[0].text


def test_a_rate_of_zero_is_no_ceiling(tmp_path):
    """MaxCloudOpsPerSecond: 0 means none of the site's own, as upstream has it."""
    assert read(tmp_path, with_line("MaxCloudOpsPerSecond", "0")).config.settings.max_cloud_ops_per_second is None


def test_null_is_absent(tmp_path):
    """A key without a value takes its default, a section without one is empty."""
    loaded = read(tmp_path, with_line("MaxInstances", "") + "    TLS:\n    SystemLogs: ~\n")
    assert loaded.problems == ()
    assert loaded.config.settings.max_instances == 64


def test_our_own_file(tmp_path):
    """Its keys stand at the top level; the lock file follows the state folder."""
    loaded = read(tmp_path, own="TimeoutKILL: 7s\nStateFolder: /srv/state/\nAuditLog: /srv/audit.jsonl\n")
    assert loaded.config.settings.timeout_kill_s == 7.0
    assert loaded.config.logs.audit_file == "/srv/audit.jsonl"
    assert loaded.config.state == StatePlaces(folder="/srv/state/", lock_file="/srv/state/lock")
    assert read(tmp_path, own="LockFile: /run/x\n").config.state.lock_file == "/run/x"


def test_the_certificates_that_the_api_may_be_signed_by(tmp_path):
    """Absent: the system's store."""
    assert read(tmp_path).config.api.certificate_file == ""
    assert read(tmp_path, own="APICertificateFile: /etc/site.pem\n").config.api.certificate_file == "/etc/site.pem"


def test_aliases_and_merges_work(tmp_path):
    """A site may share properties between its types."""
    text = CLUSTER.replace("      small: {", "      small: &small {") + "      large:\n        <<: *small\n        VCPUs: 8\n"
    types = read(tmp_path, text).config.settings.instance_types
    assert (types["large"].vcpus, types["large"].ram_bytes) == (8, types["small"].ram_bytes)


def test_the_cluster_as_it_stands_in_the_file(tmp_path):
    """Runners with a local storage server get the cluster's own mapping."""
    cluster = read(tmp_path).config.cluster
    assert cluster["SystemRootToken"] == TOKEN
    assert cluster["InstanceTypes"] == {"small": {"VCPUs": 2, "RAM": "4GiB", "IncludedScratch": "20GB", "Price": 0.1}}


def test_every_key_that_has_an_effect_is_shown(tmp_path):
    """What is in force is complete, and in the order of the table."""
    shown = [each.path for each in read(tmp_path).in_force]
    for key in KEYS:
        assert any(path == key.path or path.startswith(f"{key.path}.") for path in shown) or key.default == "{}"
    assert shown.index("SystemRootToken") < shown.index("InstanceTypes.small") < shown.index("TimeoutKILL")


# ---------------------------------------------------------------------------------------------------------------- cluster


def test_several_clusters_need_a_choice(tmp_path):
    """Without --cluster the problem names them; with it the one is read."""
    text = CLUSTER + "  yyyyy: {}\n"
    (told,) = texts(read(tmp_path, text).problems)
    assert told == "config.yml:1: Clusters: holds several (zzzzz, yyyyy): say which one by --cluster"
    assert read(tmp_path, text, wanted="zzzzz").config.cluster_id == "zzzzz"


NO_CLUSTERS = [
    ("", None, "Clusters: is missing or empty"),
    ("Clusters:\n", None, "Clusters: is missing or empty"),
    ("Clusters: {SAMPLE: {}}\n", None, "is missing or empty"),
    ("Clusters: [a]\n", None, "config.yml:1: Clusters: has to be a mapping, not a list"),
    ("Clusters: x\n", None, "has to be a mapping, not a single value"),
    ("Clusters: {a: x}\n", None, "config.yml:1: Clusters.a: has to be a mapping"),
    ("[]\n", None, "config.yml:1: has to be a mapping, not a list"),
    ("x\n", None, "config.yml:1: has to be a mapping, not a single value"),
    (CLUSTER, "yyyyy", "config.yml:1: Clusters: does not hold yyyyy, which --cluster asks for, only zzzzz"),
]


@pytest.mark.parametrize(("text", "wanted", "words"), NO_CLUSTERS)
def test_no_cluster(tmp_path, text, wanted, words):
    """A file without the cluster is told as such."""
    loaded = read(tmp_path, text, wanted=wanted)
    assert loaded.config is None
    assert any(words in each for each in texts(loaded.problems))


# --------------------------------------------------------------------------------------------------------------- problems

MISTAKES = [
    # (name, value, what is said)
    ("TimeoutIdle", "5", "has to be a duration with its units, like 10s or 1m30s, not '5'"),
    ("MaxInstances", "-1", "has to be a whole number of 0 or more without quotes, not '-1'"),
    ("MaxInstances", "1.5", "has to be a whole number"),
    ("MaxInstances", "[1]", "has to be a whole number, not a list"),
    ("SupervisorFraction", "half", "has to be a number of 0 or more"),
    ("DeployPublicKey", "'yes'", "has to be true or false without quotes, not 'yes'"),
    ("ResourceTags", "[a]", "has to be a mapping of names to texts"),
    ("BootProbeCommand", "{a: b}", "has to be text, not a mapping"),
    ("DeployRunnerDirectory", "tmp", "has to be an absolute path"),
    ("DriverParameters", "x", "has to be a mapping, not a single value"),
]


@pytest.mark.parametrize(("name", "value", "words"), MISTAKES)
def test_a_wrong_value_is_told_with_its_place(tmp_path, name, value, words):
    """File, line, whole path and what to write instead; nothing starts with it."""
    text = with_line(name, value)
    loaded = read(tmp_path, text)
    assert loaded.config is None
    (told,) = texts(loaded.problems)
    assert told.startswith(f"config.yml:{place_of(text, name + ':')}: Clusters.zzzzz.Containers.CloudVMs.{name}: ")
    assert words in told


def test_all_problems_are_told_at_once(tmp_path):
    """In the order of the files, also those of our own."""
    text = with_line("TimeoutIdle", "5", with_line("MaxInstances", "x", CLUSTER.replace("VCPUs: 2", "VCPUs: two")))
    loaded = read(tmp_path, text.replace("https://api", "ftp://api"), own="TimeoutKILL: 9\nStateFolder: here\n")
    assert [each.partition(": ")[2].partition(":")[0].removeprefix("Clusters.zzzzz.") for each in texts(loaded.problems)] == [
        "Services.Controller.ExternalURL",
        "Containers.CloudVMs.MaxInstances",
        "Containers.CloudVMs.TimeoutIdle",
        "InstanceTypes.small.VCPUs",
        "TimeoutKILL",
        "StateFolder",
    ]


def test_a_section_that_is_no_mapping_is_told_once(tmp_path):
    """Not once for each key that could stand in it."""
    text = CLUSTER + "    API: [1]\n"
    (told,) = texts(read(tmp_path, text).problems)
    assert told == f"config.yml:{place_of(text, 'API:')}: Clusters.zzzzz.API: has to be a mapping, not a list"


MISSING = [
    ("SystemRootToken", "Clusters.zzzzz.SystemRootToken: is missing"),
    ("ExternalURL", "Clusters.zzzzz.Services.Controller.ExternalURL: is missing"),
    ("DispatchPrivateKey", "Clusters.zzzzz.Containers.DispatchPrivateKey: is empty"),
    ("small:", "Clusters.zzzzz.InstanceTypes: is empty: no container could run"),
]


@pytest.mark.parametrize(("line", "words"), MISSING)
def test_what_cannot_be_missing(tmp_path, line, words):
    """Without these nothing works, so nothing starts."""
    loaded = read(tmp_path, without(line))
    assert loaded.config is None
    assert any(words in each for each in texts(loaded.problems))


SUSPICIOUS = [
    (without("ManagementToken"), "ManagementToken: is missing: the management API refuses everybody"),
    (without("PostgreSQL", without("Connection:")), "PostgreSQL.Connection: names no database: a lock file is used"),
    (CLUSTER + "    TLS: {Insecure: true}\n", "TLS.Insecure: is on"),
    (CLUSTER.replace("https://api", "http://api"), "Services.Controller.ExternalURL: is not https"),
    (CLUSTER.replace("http://here", "http://there"), "InternalURLs: no entry names this host, so 127.0.0.1:9006 is used"),
    (CLUSTER + "    TLS: {}\n    TLS: {}\n", "TLS: stands twice"),
]


@pytest.mark.parametrize(("text", "words"), SUSPICIOUS)
def test_warnings_stop_nothing(tmp_path, text, words):
    """What somebody should look at is told, and the dispatcher starts."""
    loaded = read(tmp_path, text)
    assert loaded.config is not None
    assert [each for each in texts(loaded.warnings) if words in each]


UNKNOWN = [
    (with_line("PolInterval", "1s"), "", "CloudVMs.PolInterval: is not known and has no effect: did you mean PollInterval?"),
    (with_line("maxinstances", "1"), "", "did you mean MaxInstances?"),
    (with_line("Zebra", "1"), "", "Containers.CloudVMs.Zebra: is not known and has no effect"),
    (with_line("TimeoutKILL", "1s"), "", "it belongs into our own settings file"),
    (CLUSTER.replace("VCPUs", "VCPU"), "", "InstanceTypes.small.VCPU: is not known and has no effect: did you mean VCPUs?"),
    (CLUSTER, "TimeoutKill: 1s\n", "settings.yml:1: TimeoutKill: is not known and has no effect: did you mean TimeoutKILL?"),
    (CLUSTER, "MaxInstances: 1\n", "it belongs into the cluster's file, as Containers.CloudVMs.MaxInstances"),
]


@pytest.mark.parametrize(("text", "own", "words"), UNKNOWN)
def test_unknown_keys_are_warned_of(tmp_path, text, own, words):
    """With the nearest known name, or the file that they belong into."""
    loaded = read(tmp_path, text, own)
    assert loaded.config is not None
    assert [each for each in texts(loaded.warnings) if words in each]


def test_other_programs_keys_are_their_business(tmp_path):
    """The rest of the cluster's file is not ours to judge."""
    assert read(tmp_path, CLUSTER + "    Collections: {BlobSigning: true}\n").warnings == ()


# ------------------------------------------------------------------------------------------------------------------ files


def test_files_that_cannot_be_had(tmp_path):
    """An absent file is told, ours too when it was named; both at once."""
    loaded = load(tmp_path / "none.yml", tmp_path / "nothing.yml", machine=HERE)
    missing = "cannot be read: No such file or directory"
    assert texts(loaded.problems) == [f"none.yml: {missing}", f"nothing.yml: {missing}"]
    assert loaded.unreadable


def test_a_folder_is_no_file(tmp_path):
    """And says so."""
    assert "Is a directory" in load(tmp_path, machine=HERE).problems[0].text


def test_the_default_own_file_may_be_absent(tmp_path):
    """Only a file that was named has to exist."""
    (tmp_path / "config.yml").write_text(CLUSTER, encoding="utf-8")
    assert load(tmp_path / "config.yml", machine=HERE).config is not None


BAD_FILES = [
    (b"\xff\xfe\n", "is not UTF-8 text: see line 1"),
    (b"a: 1\nb: \xe4\n", "see line 2"),
    (b"#" * (4 << 20) + b"#", "larger than 4 MiB"),
]


@pytest.mark.parametrize(("content", "words"), BAD_FILES, ids=["line 1", "line 2", "size"])
def test_files_that_are_no_text(tmp_path, content, words):
    """A wrong encoding and a giant are refused before they are parsed."""
    (tmp_path / "config.yml").write_bytes(content)
    loaded = load(tmp_path / "config.yml", machine=HERE)
    assert words in loaded.problems[0].text
    assert loaded.unreadable


def test_a_byte_order_mark_is_no_problem(tmp_path):
    """Some editors leave one."""
    (tmp_path / "config.yml").write_bytes(b"\xef\xbb\xbf" + CLUSTER.encode())
    assert load(tmp_path / "config.yml", machine=HERE).config is not None


# ---------------------------------------------------------------------------------------------------------------- secrets

LEAKS = [
    CLUSTER,
    CLUSTER.replace(TOKEN, "marked root token"),
    CLUSTER.replace(TOKEN, "[markedroottoken]"),
    CLUSTER.replace("markedmanagementtoken", "marked managementtoken"),
    CLUSTER.replace("https://api", "https://user:markedpassword@api"),
    CLUSTER.replace("http://here", "http://user:markedpassword@here"),
    CLUSTER.replace("password: markeddatabasepassword", "password: [markeddatabasepassword]"),
    CLUSTER.replace("-----BEGIN OPENSSH PRIVATE KEY-----", "markedkey"),
    CLUSTER.replace("BEGIN OPENSSH", "BEGIN ENCRYPTED"),
    with_line("DriverParameters", "{ClientSecret: markedsecret, Deep: {Password: [markedsecret]}}"),
    with_line("DriverParameters", "markedsecret"),
    with_line("InstanceInitCommand", "echo markedsecret"),
    with_line("InstanceInitCommand", "[markedsecret]"),
    CLUSTER.replace(TOKEN, "*marked"),
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_secret_is_told_shown_or_printed(tmp_path, text):
    """Whatever is wrong, no value that may be secret is in a problem, a warning, a shown value or a repr."""
    loaded = read(tmp_path, text)
    told = [*map(str, loaded.problems), *map(str, loaded.warnings)]
    everything = repr((loaded, loaded.in_force, loaded.config, told))
    assert "marked" not in everything
    assert "bWFya2Vk" not in everything


# ------------------------------------------------------------------------------------------------------------------ table


def test_every_key_is_written_once():
    """Two rows for one key would disagree some day."""
    paths = [key.path for key in KEYS]
    assert len(paths) == len(set(paths))


WITH_DEFAULT = [key for key in KEYS if key.default is not None and key.kind is not STRUCTURE]


@pytest.mark.parametrize("key", WITH_DEFAULT, ids=lambda key: key.path)
def test_every_default_is_a_good_value(key):
    """A default could stand in the file as it is written."""
    assert key.value_by_default is not None


@pytest.mark.parametrize("key", [key for key in KEYS if key.target.startswith("settings.")], ids=lambda key: key.path)
def test_every_setting_has_a_field(key):
    """What a row sets exists in the core's Settings."""
    assert key.target.removeprefix("settings.") in {field.name for field in dataclasses.fields(Settings)}


def test_our_own_keys_have_no_upstream_default():
    """And the others all have one."""
    assert all(key.upstream is None for key in OWN_KEYS)
    assert all(key.upstream is not None for key in CLUSTER_KEYS)


LIMITS = """\
MaxCreatesPerSecond: 2
MaxListsPerSecond: 0.5
MaxDestroysPerSecond: 0
CloudOpsBurst: 7
MaxPricePerHour: 12.5
MaxPricePerDay: 100
SpendingSoftShare: 0.5
AllowedImages: [gpu-*, "test-[0-9]"]
"""


def test_the_limits_of_our_own_file_reach_the_planners(tmp_path):
    """Paces of 0 count as absent, prices of 0 as no limit."""
    settings = read(tmp_path, own=LIMITS).config.settings
    assert (settings.max_creates_per_second, settings.max_lists_per_second, settings.max_destroys_per_second) == (2.0, 0.5, None)
    assert (settings.max_tag_updates_per_second, settings.cloud_ops_burst) == (None, 7)
    assert (settings.max_price_per_hour, settings.max_price_per_day, settings.spending_soft_share) == (12.5, 100.0, 0.5)
    assert settings.allowed_images == ("gpu-*", "test-[0-9]")


@pytest.mark.parametrize("line", ["MaxPricePerDay: -1", "MaxPricePerHour: a lot", "AllowedImages: gpu-*", "CloudOpsBurst: 1.5"])
def test_a_limit_that_makes_no_sense_is_a_problem(tmp_path, line):
    """Named with its line: a limit that is misread is worse than none."""
    loaded = read(tmp_path, own=line + "\n")
    assert loaded.config is None
    assert [line.partition(":")[0] in text for text in texts(loaded.problems)] == [True]
