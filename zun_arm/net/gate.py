"""The gate: a sandbox's first process waits at a FIFO until its network is complete, then becomes the user's program.

The container's entry point is the host's own static busybox, mounted read-only, so it works in an image FROM scratch,
for any USER and under emulation. It runs one shell line: read the FIFO, find the program, ``exec`` it. A container that
is started behind our back waits in the same way instead of running without its network.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from zun_arm.core.seams import Mount
from zun_arm.errors import HostNotReady, NetworkFailed, TimedOut

_INSIDE = "/.zun-arm"
_POLL_S = 0.0005

# Debian's busybox prefers its own applets to the image's programs unless the path has a slash: hence the search. argv[0]
# stays as given. Shells export PWD, OLDPWD and SHLVL; the program must not see ours.
_SCRIPT = """\
# zun-arm's gate: wait until the network is complete, then become the program. Variables may be the image's own.
read -r zun_arm </.zun-arm/gate || exit 125
zun_arm=$1
case $1 in
*/*) ;;
*)
    zun_arm=$(
        IFS=:
        for dir in $PATH; do
            [ -f "$dir/$1" ] && [ -x "$dir/$1" ] && echo "$dir/$1" && exit
        done
    )
    if [ -z "$zun_arm" ]; then
        echo "zun-arm: the program $1 is not in this image (PATH is $PATH)" >&2
        exit 127
    fi
    ;;
esac
zun_arm_name=$1
shift
unset OLDPWD SHLVL PWD
exec -a "$zun_arm_name" "$zun_arm" "$@"
"""


def find_busybox() -> Path:
    """The host's statically linked busybox; :class:`HostNotReady` names the package."""
    for name in ("/usr/bin/busybox", "/bin/busybox"):
        path = Path(name)
        if path.exists() and _is_static(path):
            return path
    raise HostNotReady("this host has no statically linked busybox", hint="apt-get install busybox-static")


def _is_static(path: Path) -> bool:
    """Whether an ELF program needs no loader: none of its segments is a PT_INTERP."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:4] != b"\x7fELF":
        return False
    wide = head[4] == 2
    order = "little" if head[5] == 1 else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], order)  # type: ignore[arg-type]

    table, entry, count = (
        (number(32, 8), number(54, 2), number(56, 2)) if wide else (number(28, 4), number(42, 2), number(44, 2))
    )
    return all(number(table + index * entry, 4) != 3 for index in range(count))


class Gates:
    """The directories that hold each sandbox's FIFO, hosts and resolver files: ``<state>/sandboxes/<id>``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def entrypoint(self) -> tuple[str, ...]:
        """What the container runs instead of the image's entry point; the program follows as arguments."""
        return (f"{_INSIDE}/busybox", "sh", f"{_INSIDE}/start")

    def prepare(self, sandbox_id: str, hosts: str, resolv_conf: str, hostname: str) -> tuple[Mount, ...]:
        """Make a sandbox's files and say where they belong inside."""
        busybox = find_busybox()
        place = self._directory / sandbox_id
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)
        for name, text in {"hosts": hosts, "hostname": hostname}.items():
            (place / name).write_text(text)
            (place / name).chmod(0o644)
        for name, text in {"resolv.conf": resolv_conf, "start": _SCRIPT, "busybox": ""}.items():
            self._link(self._shared(text), place / name)
        with suppress(FileExistsError):
            os.mkfifo(place / "gate", 0o644)
            (place / "gate").chmod(0o644)
        return (
            Mount(source=place, target=_INSIDE),
            Mount(source=busybox, target=f"{_INSIDE}/busybox"),
            Mount(source=place / "hosts", target="/etc/hosts"),
            Mount(source=place / "resolv.conf", target="/etc/resolv.conf"),
            Mount(source=place / "hostname", target="/etc/hostname"),
        )

    def _shared(self, text: str) -> Path:
        """The one file of this host that holds ``text``.

        Docker waits for the disk when it creates a container, and so for every new file of ours: sandboxes share theirs.
        """
        directory = self._directory.parent / "shared"
        file = directory / hashlib.sha256(text.encode()).hexdigest()[:16]
        if not file.exists():
            directory.mkdir(parents=True, exist_ok=True)
            part = directory / f".{file.name}.{os.getpid()}"
            try:
                part.write_text(text)
                part.chmod(0o644)
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
        return file

    @staticmethod
    def _link(file: Path, name: Path) -> None:
        with suppress(FileNotFoundError):
            if name.samefile(file):
                return
            name.unlink()
        name.hardlink_to(file)

    def discard(self, sandbox_id: str) -> None:
        """Remove a sandbox's files; none is no error."""
        shutil.rmtree(self._directory / sandbox_id, ignore_errors=True)

    def all(self) -> list[str]:
        """The ids of the sandboxes that have files here."""
        return [place.name for place in self._directory.iterdir()] if self._directory.is_dir() else []

    def open(self, sandbox_id: str, pid: int, timeout_s: float) -> None:
        """Let the first process ``pid`` go on, once it waits at the gate; one that was let already is left alone.

        :class:`TimedOut` after ``timeout_s`` seconds, :class:`NetworkFailed` when the process is gone.
        """
        process = _identity(pid)
        if process is not None and self.was_let(sandbox_id, pid):
            return
        writer = self._reach(self._directory / sandbox_id / "gate", sandbox_id, pid, timeout_s)
        try:
            # Noted first: whoever dies between the two leaves a process that ends, not one that waits for ever.
            self._opened(sandbox_id).write_text(process or "")
            os.write(writer, b"go\n")
        finally:
            os.close(writer)

    def note_earlier_run(self, sandbox_id: str) -> None:
        """A sandbox whose files were lost has run before: its gate is not one that nobody ever passed."""
        self._opened(sandbox_id).touch()

    def was_let(self, sandbox_id: str, pid: int) -> bool:
        """Whether the gate was opened for this very process."""
        with suppress(FileNotFoundError):
            return self._opened(sandbox_id).read_text() == _identity(pid)
        return False

    def never_let(self, sandbox_id: str) -> bool:
        """Whether there is a gate that was opened for no process yet."""
        return (self._directory / sandbox_id).is_dir() and not self._opened(sandbox_id).exists()

    def _opened(self, sandbox_id: str) -> Path:
        return self._directory / sandbox_id / "opened"

    def _reach(self, gate: Path, sandbox_id: str, pid: int, timeout_s: float) -> int:
        """The gate's writing end, as soon as somebody reads at it."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as err:
                if err.errno != errno.ENXIO:  # ENXIO: nobody reads yet
                    raise NetworkFailed(
                        f"the gate of sandbox {sandbox_id} cannot be opened: {err.strerror}", hint="zun-arm reconcile"
                    ) from err
            if _identity(pid) is None:
                raise NetworkFailed(
                    f"the first process of sandbox {sandbox_id} ended before its network was complete",
                    hint="zun-arm logs NAME shows its last words",
                )
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"the first process of sandbox {sandbox_id} did not reach its gate within {timeout_s:g} s",
                    hint="the board may be overloaded: try again, or raise [network] plug_timeout",
                )
            time.sleep(_POLL_S)


def _identity(pid: int) -> str | None:
    """A process, told apart from a later one with the same number: its pid and start time (proc(5), stat, field 22)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else f"{pid} {fields[19]}"
