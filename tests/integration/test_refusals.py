"""What cannot be done is refused: with the right exit code, a reason, a way out, and nothing left behind."""

from __future__ import annotations

import io
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from unit.board.boards import BOARDS

FAILED, USAGE, NOT_READY = 1, 2, 3
V7, V64 = "zun-arm/tiny:arm-v7", "zun-arm/tiny:arm64"
Refused = Callable[..., str]


@pytest.fixture
def refused(cli: Any, left_over: Any, tiny: str) -> Refused:
    """Run a command that must fail with ``code``, say each of ``words``, and leave everything as it was."""

    def refuse(*args: str, code: int, words: tuple[str, ...] = (), hint: bool = True, **env: str) -> str:
        before = left_over()
        done = cli(*args, check=False, **env)
        said: str = done.stderr
        assert "Traceback" not in said, said
        assert done.returncode == code, f"{args} ended with {done.returncode}, not {code}: {said}{done.stdout}"
        assert done.stdout == ""
        for word in words:
            assert word in said, f"{args}: {word!r} is not in: {said}"
        assert not hint or "zun-arm: hint: " in said, f"{args} says nothing of what to do: {said}"
        assert left_over() == before, f"{args} left something behind"
        return said

    return refuse


# What the user typed


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--memory", ["12X", "0", "-5M", "5M", "much", "", "1M"]),
        ("--cpus", ["0", "-1", "nan", "many", "1e9"]),
        ("--pids", ["0", "3", "-1", "many"]),
        ("--disk", ["0", "big", "-1G"]),
        ("--ttl", ["0", "-1h", "soon", "9999w", ""]),
        ("--publish", ["80", "80:", ":80", "0:80", "80:0", "70000:80", "80:80/sctp", "a:b", "80:80:80", "", "-1:80"]),
        ("--env", ["NOVALUE", "=x", ""]),
        ("--name", ["Ana", "a_b", "-a", "a-", "a" * 64, "", "a.b", "../a", "a b", "ä"]),
        ("--platform", ["linux/mips", "windows/arm64", "ARM9", ""]),
    ],
)
def test_bad_values(refused: Refused, option: str, values: list[str]) -> None:
    for value in values:
        said = refused("launch", "tiny", f"{option}={value}", code=USAGE, hint=False)
        assert "hint: " in said or option in said, f"{option}={value!r}: {said}"


def test_keys_that_are_no_public_keys(refused: Refused, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    files = {
        "id": ("holds a private key", "id.pub"),
        "garbage": ("not a public SSH key",),
        "half": ("not a public SSH key",),
        "empty": ("holds no key", "ssh-keygen"),
        "bytes": ("cannot be read",),
        "missing": ("cannot be read",),
        ".": ("cannot be read",),
    }
    (tmp_path / "garbage").write_text("hello world\n")
    (tmp_path / "half").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1\n")
    (tmp_path / "empty").write_text("# no key here\n\n")
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    for name, words in files.items():
        refused("launch", "tiny", "--ssh-key", str(tmp_path / name), code=USAGE, words=words)


def test_a_port_published_twice_by_one_launch(refused: Refused) -> None:
    ports = ("--publish", "18080:80", "--publish", "18080:81")
    refused("launch", "tiny", *ports, code=USAGE, words=("18080",))


def test_bad_configuration(refused: Refused) -> None:
    refused("list", code=USAGE, words=("mtu",), OS_NETWORK__MTU="12")
    refused("launch", "tiny", code=USAGE, words=("subnet",), OS_NETWORK__SUBNET="10.1.2.3/33", OS_NETWORK__BRIDGE="zx1")


# Images


def test_unknown_image(refused: Refused) -> None:
    words = ("there is no image 'nosuch'", "zun-arm image build tiny", "zun-arm image list")
    refused("launch", "nosuch", code=FAILED, words=words)
    refused("launch", "nosuch/image:1", "--platform", "linux/arm64", code=FAILED, words=("nosuch/image:1",))
    refused("launch", "Not An Image", code=FAILED, words=("Not An Image",))


def test_an_image_that_is_for_another_platform(refused: Refused) -> None:
    words = ("is linux/arm64, not linux/arm/v7", "leave --platform out")
    refused("launch", V64, "--platform", "linux/arm/v7", code=FAILED, words=words)
    refused("launch", "tiny", "--platform", "linux/arm/v6", code=FAILED, words=("linux/arm/v6", "zun-arm image build"))


def test_an_image_that_names_no_program(refused: Refused, no_command: str, launched: Any, cli: Any) -> None:
    words = ("names no program to run", "-- PROGRAM")
    refused("launch", no_command, "--name", "ana", code=FAILED, words=words)
    launched("--name", "ana", image=no_command, program=("/bin/sleep", "1000"))
    assert cli("exec", "ana", "--", "uname", "-m").stdout == "armv7l\n"


def test_keys_for_an_image_without_a_home(refused: Refused, client: docker.DockerClient, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "id")], check=True)
    made = client.api.build(fileobj=_dockerfile(V7, 'RUN ["/bin/rmdir", "/root/.ssh", "/root"]'), rm=True, tag="nohome")
    assert any("Successfully" in line.decode() for line in made)
    key = ("--ssh-key", str(tmp_path / "id.pub"))
    try:
        refused("launch", "nohome", *key, code=FAILED, words=("no directory /root", "without --ssh-key"))
    finally:
        client.images.remove("nohome", force=True)


def _dockerfile(base: str, line: str) -> Any:
    return io.BytesIO(f"FROM {base}\n{line}\n".encode())


# Boards that cannot


@pytest.mark.parametrize(
    ("board", "image", "words"),
    [
        ("raspi-1b", V7, ("Raspberry Pi Model B Rev 2", "execute", "ARMv6, not ARMv7")),
        ("raspi-3b-32", V64, ("the kernel is 32-bit (armv7l)", "install a 64-bit OS")),
        ("apple-vm", V7, ("no AArch32 state", "cannot execute ARMv7")),
        ("raspi-5-16k", V7, ("16 KiB pages", "kernel8.img")),
        ("bpi-f3", V7, ("RISC-V, not ARMv7",)),
        ("laptop~", V7, ("x86-64, not ARMv7", "no emulator for ARMv7", "apt-get install qemu-user-static")),
        ("laptop-qemu-no-f~", V7, ("lacks flag F", "--reinstall qemu-user-static")),
        ("laptop~", "tiny", ("no emulator",)),
        ("bananapi-m1", V64, ("ARMv7, not 64-bit ARMv8",)),
    ],
)
def test_boards_that_cannot_run_it(
    refused: Refused, tmp_path: Path, board: str, image: str, words: tuple[str, ...]
) -> None:
    root = BOARDS[board].write(tmp_path / "board")
    said = refused("launch", image, code=FAILED, words=("cannot run the image", *words), OS_BOARD__ROOT=str(root))
    assert "zun-arm board shows" in said


# Names


def test_a_name_in_use(refused: Refused, launched: Any, cli: Any) -> None:
    told = launched("--name", "ana")
    refused("launch", "tiny", "--name", "ana", code=FAILED, words=("'ana' is in use", "choose another name"))
    cli("stop", "--timeout", "0", "ana")
    refused("launch", "tiny", "--name", "ana", code=FAILED, words=("'ana' is in use",))
    cli("start", "ana")
    assert told["id"] in cli("show", "ana").stdout


def test_a_name_taken_by_somebody_elses_container(refused: Refused, cli: Any, client: docker.DockerClient) -> None:
    foreign = client.containers.run(V7, ["/bin/sleep", "1000"], name="zun-arm-ana", detach=True)
    try:
        foreign.reload()
        before = foreign.attrs["State"]
        refused("launch", "tiny", "--name", "ana", code=FAILED, words=("'ana' is in use", "choose another name"))
        for command in ("show", "stop", "delete", "start", "rebuild", "restart", "pause"):
            refused(command, "ana", code=FAILED, words=("there is no sandbox 'ana'",))
        cli("delete", "--all")
        cli("reconcile")
        foreign.reload()
        assert foreign.attrs["State"] == before, "a container that is not ours was touched"
    finally:
        foreign.remove(force=True)


# Room


@pytest.fixture
def small_network(cli: Any, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A network with room for five sandboxes, and a state directory of its own."""
    env = {
        "OS_NETWORK__SUBNET": "10.99.7.0/29",
        "OS_NETWORK__BRIDGE": "zunsmall",
        "OS_DEFAULT__STATE_DIR": str(tmp_path / "state"),
    }
    yield env
    cli("delete", "--all", **env)
    cli("teardown", **env)
    assert subprocess.run(["ip", "link", "show", "zunsmall"], capture_output=True).returncode == 1
    assert not (tmp_path / "state").exists()


def test_no_free_address(cli: Any, tiny: str, small_network: dict[str, str], tmp_path: Path) -> None:
    for number in range(5):
        cli("launch", V7, "--name", f"s{number}", "--memory", "64M", "--", "sleep", "1000", **small_network)
    full = cli("launch", V7, "--name", "s5", check=False, **small_network)
    assert full.returncode == FAILED
    assert "no address is free: all 5 of 10.99.7.0/29" in full.stderr and "hint: delete sandboxes" in full.stderr
    assert len(list((tmp_path / "state/sandboxes").iterdir())) == 5
    assert len([file for file in (tmp_path / "state/leases").iterdir() if file.name[0] != "."]) == 5
    cli("delete", "s2", **small_network)
    told = cli("launch", V7, "--name", "s5", "--format", "json", "--", "sleep", "1000", **small_network).stdout
    assert '"address": "10.99.7.4"' in told
    assert "10.99.7.4" in cli("exec", "s5", "--", "ip", "addr", **small_network).stdout


def test_not_enough_memory(refused: Refused, launched: Any) -> None:
    much = {"OS_LIMITS__RESERVED_MEMORY": "100000000"}
    words = ("sandbox 'ana' needs 96 MiB, 0 MiB are free on", "free some memory")
    refused("launch", "tiny", "--name", "ana", "--memory", "96M", code=FAILED, words=words, **much)
    launched("--name", "ben")
    words = ("needs 128 MiB, 0 MiB are free", "stop one of: ben")
    refused("launch", "tiny", "--name", "ana", code=FAILED, words=words, **much)
    refused("launch", "tiny", "--memory", "100T", code=FAILED, words=("needs 104857600 MiB", "use --memory"))


def test_starting_again_needs_room_too(refused: Refused, launched: Any, cli: Any) -> None:
    launched("--name", "ana")
    cli("stop", "--timeout", "0", "ana")
    words = ("sandbox 'ana' needs 128 MiB, 0 MiB are free",)
    refused("start", "ana", code=FAILED, words=words, OS_LIMITS__RESERVED_MEMORY="100000000")
    assert "exited" in cli("show", "ana").stdout


def test_not_enough_disk(refused: Refused) -> None:
    words = ("MiB of disk, 0 MiB are free in", "kept for the board", "zun-arm image delete")
    refused("launch", "tiny", code=FAILED, words=words, OS_LIMITS__RESERVED_DISK="1000000000")


def test_a_disk_limit_that_would_not_hold(refused: Refused, client: docker.DockerClient) -> None:
    info = client.info()
    assert info["Driver"] == "overlay2" and ["Backing Filesystem", "xfs"] not in info["DriverStatus"], "wrong lab"
    words = ("the disk limit would not hold", "overlay2", "leave --disk out", "btrfs")
    refused("launch", "tiny", "--disk", "1G", code=NOT_READY, words=words)


def test_more_cpus_than_there_are(refused: Refused) -> None:
    refused("launch", "tiny", "--cpus", "1000", code=FAILED, hint=False)


# The host


def test_not_root(cli: Any, tiny: str, left_over: Any) -> None:
    # Every file may be read, so that Python finds zun-arm wherever it is installed; nothing else is allowed.
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    nobody += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]
    for command in (["launch", "tiny"], ["list"], ["delete", "--all"], ["reconcile"], ["image", "list"]):
        done = subprocess.run([*nobody, _zun_arm(cli), *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == NOT_READY, f"{command}: {done.stderr}"
        assert "run as root" in done.stderr and "Traceback" not in done.stderr
    done = subprocess.run([*nobody, _zun_arm(cli), "doctor"], capture_output=True, text=True, timeout=60)
    assert done.returncode == NOT_READY and "run as root" in done.stderr and "Traceback" not in done.stderr
    assert left_over() == []


def _zun_arm(cli: Any) -> str:
    command: str = cli("--version").args[0]
    return command


def test_no_engine(refused: Refused) -> None:
    words = ("does not answer", "no such file or directory", "systemctl start docker")
    for command in (("launch", "tiny"), ("list",), ("delete", "--all"), ("reconcile",), ("image", "list")):
        refused(*command, code=NOT_READY, words=words, DOCKER_HOST="unix:///nonexistent/docker.sock")


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_a_bridge_that_is_not_ours(refused: Refused, kind: str) -> None:
    subprocess.run(["ip", "link", "add", "brtheirs", "type", kind], check=True)
    try:
        before = subprocess.run(["ip", "-d", "addr", "show", "brtheirs"], check=True, capture_output=True).stdout
        words = ("a link brtheirs is there, but zun-arm did not make it", "ip link del brtheirs")
        refused("launch", "tiny", code=FAILED, words=words, OS_NETWORK__BRIDGE="brtheirs")
        after = subprocess.run(["ip", "-d", "addr", "show", "brtheirs"], check=True, capture_output=True).stdout
        assert after == before, "a link that is not ours was changed"
    finally:
        subprocess.run(["ip", "link", "del", "brtheirs"], check=True)


def test_a_subnet_that_overlaps(refused: Refused, tmp_path: Path) -> None:
    words = ("overlaps 198.51.100.0/24", "set another [network] subnet")
    env = {"OS_NETWORK__BRIDGE": "zunother", "OS_DEFAULT__STATE_DIR": str(tmp_path)}
    refused("launch", V7, code=FAILED, words=words, OS_NETWORK__SUBNET="198.51.0.0/16", **env)
    assert subprocess.run(["ip", "link", "show", "zunother"], capture_output=True).returncode == 1


# Published ports


def test_a_port_that_another_sandbox_publishes(refused: Refused, launched: Any, cli: Any) -> None:
    ana = launched("--name", "ana", "--publish", "18080:80", "--publish", "18081:81/udp")
    words = ("18080/tcp", ana["address"], "publish another port")
    refused("launch", "tiny", "--publish", "18080:8080", code=FAILED, words=words)
    refused("launch", "tiny", "--publish", "18081:53/udp", code=FAILED, words=("18081/udp",))
    cli("stop", "--timeout", "0", "ana")
    launched("--name", "ben", "--publish", "18080:8080", "--publish", "18082:81")
    refused("start", "ana", code=FAILED, words=("18080/tcp",))
    assert "exited" in cli("show", "ana").stdout
    cli("delete", "ben")
    cli("start", "ana")


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_on_which_a_program_listens(refused: Refused, protocol: str, kind: socket.SocketKind) -> None:
    for address in ("0.0.0.0", "127.0.0.1"):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind((address, 18090))
            if protocol == "tcp":
                taken.listen()
            words = (f"port 18090/{protocol} of this board is used by another program", "ss -lnp")
            refused("launch", "tiny", "--publish", f"18090:80/{protocol}", code=FAILED, words=words)
