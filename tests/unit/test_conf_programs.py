"""The option table, what it refuses, its sample; and the one door to other programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zun_arm import conf
from zun_arm.errors import BadInput, HostNotReady, TimedOut
from zun_arm.programs import ProgramFailed, find, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OS_") or name in ("DOCKER_HOST", "ZUN_ARM_CONF"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(conf, "CONF_FILE", Path("/nonexistent/zun-arm.conf"))


def load(tmp_path: Path, text: str) -> conf.Settings:
    file = tmp_path / "zun-arm.conf"
    file.write_text(text)
    return conf.load([file])


class TestSample:
    def test_the_file_in_the_repository_is_the_table(self) -> None:
        assert (ROOT / "etc" / "zun-arm.conf.sample").read_text() == conf.sample()

    def test_it_does_not_depend_on_who_makes_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "tcp://somewhere:2375")
        assert "somewhere" not in conf.sample()

    def test_it_changes_nothing_as_it_is(self, tmp_path: Path) -> None:
        assert load(tmp_path, conf.sample()) == conf.load()

    def test_its_defaults_are_the_defaults(self, tmp_path: Path) -> None:
        lines = conf.sample().splitlines()
        uncommented = [line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in lines]
        set_ones = [line for line in uncommented if not line.endswith("=")]
        assert len([line for line in uncommented if " =" in line and not line.startswith("# ")]) >= 17
        assert load(tmp_path, "\n".join(set_ones)) == conf.load()

    def test_every_option_has_a_help_and_every_number_a_range(self) -> None:
        for group, options in conf.option_table().items():
            for option in options:
                assert option.help and option.help.endswith((".", "?")), f"{group}.{option.name}"
                if type(option).__name__ in ("IntOpt", "FloatOpt"):
                    assert option.type.min is not None, f"{group}.{option.name}"


class TestLoad:
    def test_a_value_of_each_kind(self, tmp_path: Path) -> None:
        settings = load(
            tmp_path,
            "[DEFAULT]\nstate_dir = /srv/z\n[docker]\ntimeout = 30\n[network]\nsubnet = 10.99.0.0/24\n"
            "dns = 192.0.2.53,198.51.100.53\nplug_timeout = 2.5\n[limits]\nvcpus = 0.5\nunenforced = warn\n",
        )
        assert (settings.state_dir, settings.docker_timeout_s, settings.subnet) == (Path("/srv/z"), 30, "10.99.0.0/24")
        assert settings.dns == ("192.0.2.53", "198.51.100.53")
        assert (settings.plug_timeout_s, settings.vcpus, settings.unenforced) == (2.5, 0.5, "warn")

    def test_the_environment_comes_after_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OS_DEFAULT__STATE_DIR", "/from/env")
        monkeypatch.setenv("DOCKER_HOST", "unix:///run/d.sock")
        settings = load(tmp_path, "[DEFAULT]\nstate_dir = /from/file\n")
        assert (settings.state_dir, settings.docker_host) == (Path("/from/env"), "unix:///run/d.sock")

    def test_the_file_named_in_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "mine.conf").write_text("[limits]\npids = 99\n")
        monkeypatch.setenv("ZUN_ARM_CONF", str(tmp_path / "mine.conf"))
        assert conf.load().pids == 99
        monkeypatch.setenv("ZUN_ARM_CONF", str(tmp_path / "none.conf"))
        with pytest.raises(BadInput, match=r"none\.conf"):
            conf.load()

    @pytest.mark.parametrize(
        "text",
        [
            "[docker]\ntimeout = soon",
            "[docker]\ntimeout = 1",
            "[docker]\ntimeout = 99999",
            "[network]\nmtu = 100",
            "[network]\nbridge = a-name-that-is-too-long",
            "[network]\nplug_timeout = 0",
            "[limits]\nmemory = 5",
            "[limits]\nvcpus = 0",
            "[limits]\npids = -1",
            "[limits]\nunenforced = maybe",
            "no section",
            "[limits\nmemory = 7",
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(BadInput, match="the configuration is refused") as told:
            load(tmp_path, text)
        assert "zun-arm.conf" in str(told.value.hint)
        assert told.value.exit_code == 2

    @pytest.mark.parametrize(("name", "value"), [("OS_LIMITS__MEMORY", "lots"), ("OS_LIMITS__UNENFORCED", "perhaps")])
    def test_what_is_refused_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(BadInput, match=value) as told:
            conf.load()
        assert "OS_" in str(told.value.hint)


class TestPrograms:
    def test_output_input_and_environment(self) -> None:
        assert run(["cat"], stdin=b"armv7") == "armv7"
        assert run(["sh", "-c", "echo $X"], env={"X": "1"}) == "1\n"

    def test_a_failure_tells_code_and_last_words(self) -> None:
        with pytest.raises(ProgramFailed) as told:
            run(["sh", "-c", "echo first >&2; echo last >&2; exit 3"])
        assert (told.value.code, told.value.stderr) == (3, "first\nlast")
        assert told.value.message == "sh ended with code 3: last"
        with pytest.raises(ProgramFailed, match="it printed no reason"):
            run(["false"])

    def test_a_deadline(self) -> None:
        with pytest.raises(TimedOut, match=r"sleep did not end within 0\.1 s"):
            run(["sleep", "9"], timeout_s=0.1)

    @pytest.mark.parametrize(("package", "hint"), [(None, "no-such-program"), ("some-package", "some-package")])
    def test_a_missing_one_names_its_package(self, package: str | None, hint: str) -> None:
        for look in (
            lambda: find("no-such-program", package=package),
            lambda: run(["no-such-program"], package=package),
        ):
            with pytest.raises(HostNotReady, match="no-such-program is not installed") as told:
                look()
            assert told.value.hint == f"apt-get install {hint}"

    def test_administration_programs_are_found_without_a_path_to_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        assert find("sh") in ("/bin/sh", "/usr/bin/sh")
