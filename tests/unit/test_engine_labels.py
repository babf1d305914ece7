"""What zun-arm writes into Docker's labels comes back; what others wrote there harms nobody. And the request to create."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fakes.board import QEMU
from fakes.engine import FakeEngine
from fakes.samples import plan, record
from hypothesis import given
from hypothesis import strategies as st

from zun_arm.core.model import Emulator, Execution, Image, Limits, Port, Publish, Record
from zun_arm.core.platforms import ARM_V7, PLATFORMS, Isa
from zun_arm.core.seams import ContainerPlan, Mount
from zun_arm.engine.plans import CAPABILITIES, body, container_name
from zun_arm.engine.records import RECORD_LABEL, SANDBOX_LABEL, from_labels, to_labels

words = st.text(st.characters(codec="utf-8"), max_size=30)
emulators = st.builds(
    Emulator,
    name=words,
    isa=st.sampled_from(Isa),
    interpreter=words,
    flags=words,
    version=st.none() | words,
    cpu=st.none() | words,
)
records = st.builds(
    Record,
    id=st.uuids().map(str),
    image=words,
    platform=st.sampled_from(PLATFORMS),
    execution=st.sampled_from(Execution),
    emulator=st.none() | emulators,
    limits=st.builds(
        Limits,
        memory_mib=st.integers(6, 10**6),
        vcpus=st.floats(0.01, 1024),
        pids=st.integers(4, 10**6),
        disk_mib=st.none() | st.integers(1, 10**6),
    ),
    port=st.builds(
        Port, address=words, prefix=st.integers(8, 29), gateway=words, mac=words, mtu=st.integers(576, 65535)
    ),
    publish=st.lists(
        st.builds(
            Publish,
            host_port=st.integers(1, 65535),
            sandbox_port=st.integers(1, 65535),
            protocol=st.sampled_from(["tcp", "udp"]),
        ),
        max_size=3,
    ).map(tuple),
    ssh_keys=st.lists(words, max_size=3).map(tuple),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    env=st.dictionaries(words, words, max_size=3),
    command=st.lists(words, max_size=3).map(tuple),
    tty=st.booleans(),
)


class TestRecords:
    @given(records)
    def test_a_record_comes_back_as_it_was(self, one: Record) -> None:
        labels = to_labels(one)
        assert all(isinstance(value, str) for value in labels.values())
        assert from_labels(json.loads(json.dumps(labels))) == one

    def test_labels_of_others_beside_ours_change_nothing(self) -> None:
        one = record()
        assert from_labels({"maintainer": "x", **to_labels(one), "zun-arm.isa": "y"}) == one

    @pytest.mark.parametrize(
        "labels", [{}, {"maintainer": "x"}, {SANDBOX_LABEL: ""}, {SANDBOX_LABEL: "", RECORD_LABEL: ""}]
    )
    def test_a_container_of_somebody_else(self, labels: dict[str, str]) -> None:
        assert from_labels(labels) is None

    @pytest.mark.parametrize(
        "change",
        [
            {"format": 2},
            {"format": None},
            {"execution": "magic"},
            {"port": None},
            {"port": {"address": "10.0.0.1"}},
            {"publish": [[1, 2]]},
            {"publish": 7},
            {"expires_at": "soon"},
            {"emulator": {"name": "x"}},
            {"emulator": "qemu"},
            {"memory_mib": "much"},
            {"memory_mib": 1},
            {"vcpus": 0},
            {"pids": None},
        ],
        ids=str,
    )
    def test_a_record_that_cannot_be_read_is_none(self, change: dict[str, Any]) -> None:
        labels = to_labels(record())
        told = {**json.loads(labels[RECORD_LABEL]), **change}
        assert from_labels({**labels, RECORD_LABEL: json.dumps(told)}) is None

    @pytest.mark.parametrize("text", ["", "{", "null", "[]", "7", '"x"', "{}"])
    def test_a_record_that_is_none_at_all(self, text: str) -> None:
        assert from_labels({SANDBOX_LABEL: "x", RECORD_LABEL: text}) is None
        assert from_labels({SANDBOX_LABEL: "x"}) is None

    @pytest.mark.parametrize("key", list(json.loads(to_labels(record(emulator=QEMU))[RECORD_LABEL])))
    def test_a_record_that_lacks_something(self, key: str) -> None:
        labels = to_labels(record())
        told = json.loads(labels[RECORD_LABEL])
        told.pop(key, None)
        expected = None if key != "emulator" else from_labels(labels)
        assert from_labels({**labels, RECORD_LABEL: json.dumps(told)}) == expected

    def test_a_moment_keeps_its_instant_whatever_its_zone(self) -> None:
        moment = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
        found = from_labels(to_labels(record(expires_at=moment)))
        assert found is not None and found.expires_at == moment


@pytest.fixture
def image() -> Image:
    return FakeEngine().add_image("tiny", labelled=ARM_V7, command=("/sbin/init",))


@pytest.fixture
def gated(image: Image) -> ContainerPlan:
    return replace(
        plan(image, "ana", env={"A": "1", "B": "x=y"}, publish=(Publish(host_port=2222, sandbox_port=22),)),
        entrypoint=("/.zun-arm/busybox", "sh", "/.zun-arm/start"),
        mounts=(Mount(source=Path("/var/lib/zun-arm/sandboxes/x"), target="/.zun-arm"),),
        log_max_mib=3,
    )


class TestPlans:
    def test_limits_are_always_set(self, image: Image) -> None:
        limits = Limits(memory_mib=64, vcpus=0.25, pids=17)
        host = body(plan(image, "ana", limits=limits))["HostConfig"]
        assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 * 1024 * 1024, 250_000_000, 17)
        assert "StorageOpt" not in host

    def test_a_disk_limit_counts_the_image_on_top(self, image: Image) -> None:
        host = body(plan(replace(image, size_mib=10.4), "ana", limits=Limits(disk_mib=100)))["HostConfig"]
        assert host["StorageOpt"] == {"size": "111M"}

    def test_less_rights_than_dockers_own_default(self, gated: ContainerPlan) -> None:
        host = body(gated)["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["CapAdd"] == list(CAPABILITIES)
        assert not {"NET_RAW", "NET_ADMIN", "SYS_ADMIN", "MKNOD", "SETFCAP", "SYS_PTRACE", "SYS_MODULE"} & set(
            CAPABILITIES
        )
        assert not host.get("Privileged") and not host.get("Devices")
        assert not {"PidMode", "IpcMode", "UsernsMode", "CgroupnsMode"} & set(host)

    @pytest.mark.parametrize(("wanted", "options"), [(True, ["no-new-privileges"]), (False, [])])
    def test_no_new_privileges_unless_the_image_says_otherwise(
        self, gated: ContainerPlan, wanted: bool, options: list[str]
    ) -> None:
        assert body(replace(gated, no_new_privileges=wanted))["HostConfig"]["SecurityOpt"] == options

    def test_every_mount_is_read_only_and_none_is_dockers_socket(self, gated: ContainerPlan) -> None:
        mounts = body(gated)["HostConfig"]["Mounts"]
        assert [(mount["Source"], mount["Target"], mount["ReadOnly"]) for mount in mounts] == [
            ("/var/lib/zun-arm/sandboxes/x", "/.zun-arm", True)
        ]
        assert "docker.sock" not in json.dumps(body(gated))

    def test_dockers_network_and_restarts_stay_out(self, gated: ContainerPlan) -> None:
        told = body(gated)
        assert (told["NetworkDisabled"], told["HostConfig"]["NetworkMode"]) == (True, "none")
        assert "PortBindings" not in told["HostConfig"] and "ExposedPorts" not in told
        assert "RestartPolicy" not in told["HostConfig"]

    def test_the_log_is_bounded(self, gated: ContainerPlan) -> None:
        assert body(gated)["HostConfig"]["LogConfig"] == {
            "Type": "local",
            "Config": {"max-size": "3m", "max-file": "1", "compress": "false"},
        }

    def test_what_runs_and_as_what(self, gated: ContainerPlan) -> None:
        told = body(gated)
        assert told["Entrypoint"] == ["/.zun-arm/busybox", "sh", "/.zun-arm/start"]
        assert told["Cmd"] == ["/bin/sleep", "1000"]
        assert (told["Hostname"], told["Image"]) == ("ana", gated.image.id)
        assert told["Env"] == ["A=1", "B=x=y"]
        assert told["HostConfig"]["Init"] is True
        assert from_labels(told["Labels"]) == gated.record
        assert container_name("ana") == "zun-arm-ana"

    @pytest.mark.parametrize("tty", [True, False])
    def test_a_terminal_has_an_input(self, gated: ContainerPlan, tty: bool) -> None:
        told = body(replace(gated, record=replace(gated.record, tty=tty)))
        assert (told["Tty"], told["OpenStdin"]) == (tty, tty)
