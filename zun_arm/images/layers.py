"""One layer, read once from beginning to end: checked, measured, and at the same time copied and hashed."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Protocol, cast

from zun_arm.errors import BadImage
from zun_arm.images.limits import CHUNK, Budget
from zun_arm.images.measure import Tally
from zun_arm.images.members import walk
from zun_arm.images.safety import LayerGuard

#: Members whose presence decides what a userland without a configuration starts.
_NOTED = frozenset({"bin", "bin/sh", "usr/bin/sh", "sbin", "sbin/init", "usr/sbin/init", "init"})


class Writable(Protocol):
    """Something bytes can be written to."""

    def write(self, data: bytes, /) -> object: ...


class Tee:
    """A forward stream that hashes what passes through it and writes it on; ``out`` None: only hashes."""

    def __init__(self, stream: BinaryIO, out: Writable | None = None, *, algorithm: str = "sha256") -> None:
        self._stream = stream
        self._out = out
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm

    def read(self, size: int = CHUNK) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        data = self._stream.read(size)
        self._hash.update(data)
        if self._out is not None:
            self._out.write(data)
        return data

    def seekable(self) -> bool:
        """Never: everything has to pass."""
        return False

    def drain(self) -> None:
        """Let the rest pass."""
        while self.read(CHUNK):
            pass

    @property
    def digest(self) -> str:
        """Of all that passed so far, as ``sha256:...``."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def check(self, expected: str, what: str) -> None:
        """:class:`BadImage` unless what passed has the ``expected`` digest."""
        if self.digest != expected:
            raise BadImage(
                f"{what} has the digest {self.digest}, its manifest says {expected[:80]}",
                hint="it is damaged or was tampered with: get it again",
            )


class Inspection:
    """What the layers of one userland hold; feed it layer by layer, lowest first."""

    def __init__(self, budget: Budget, tally: Tally) -> None:
        self._budget = budget
        self.tally = tally
        self.members = 0
        self._noted: set[str] = set()

    def layer(self, stream: Tee, *, what: str, need_end: bool = False) -> None:
        """Read one uncompressed layer to its end; :class:`BadImage` if it is unsound or hostile."""
        guard = LayerGuard()
        for member in walk(cast(BinaryIO, stream), what=what, need_end=need_end):
            path = guard.check(member.header)
            self._budget.spend(path, member.header.size)
            self.members += 1
            if path in _NOTED:
                self._noted.add(path)
            self.tally.add(path, member)
        stream.drain()

    def default_command(self) -> list[str]:
        """What to start in a userland that does not say it itself: a shell, else an init, else nothing."""
        for path in ("bin/sh", "usr/bin/sh", "sbin/init", "usr/sbin/init", "init"):
            if path in self._noted:
                merged = path.startswith("usr/") and path.split("/")[1] in self._noted
                return [f"/{path.removeprefix('usr/') if merged else path}"]
        return []
