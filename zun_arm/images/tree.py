"""A root file system as a tar's members, edited without ever being unpacked on the host, written reproducibly.

Nothing here needs root: foreign owners, device nodes and capabilities stay tar headers from beginning to end.
"""

from __future__ import annotations

import fnmatch
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from zun_arm.images.layers import Writable
from zun_arm.images.limits import CHUNK
from zun_arm.images.members import BLOCK

_XATTR = "SCHILY.xattr."
_MOST_HOPS = 40


@dataclass(slots=True)
class _Node:
    """A member: its header, where its content is (``offset`` in the source, or ``data``), and its inode's key."""

    header: tarfile.TarInfo
    offset: int = 0
    data: bytes | None = None
    inode: str | None = None


class Tree:
    """The members of a tar archive by clean path, to be edited and written out again."""

    def __init__(self, source: BinaryIO) -> None:
        """Read the headers of an uncompressed, seekable tar (mmdebstrap's); ``source`` must stay open."""
        self._source = source
        self._nodes: dict[str, _Node] = {}
        with tarfile.open(fileobj=source, mode="r:") as archive:
            for header in archive:
                path = "/".join(part for part in header.name.split("/") if part not in ("", "."))
                if header.islnk():
                    self._nodes[path] = self._linked(header)
                else:
                    self._nodes[path] = _Node(header, header.offset_data, None, path if header.isreg() else None)
        self._nodes.pop("", None)

    def __contains__(self, path: str) -> bool:
        return self._resolve(path) in self._nodes

    def paths(self) -> list[str]:
        """All paths, sorted."""
        return sorted(self._nodes)

    def text(self, path: str) -> str:
        """The content of a file, which must exist."""
        return self._content(self._nodes[self._resolve(path)]).decode()

    def drop(self, patterns: Iterable[str], keep: Iterable[str] = ()) -> None:
        """Remove what matches, with all below it, except what ``keep`` matches (and its parents)."""
        gone, kept = _any_of(patterns, below=True), _any_of(keep, below=False)
        before = self._nodes
        self._nodes = {path: node for path, node in before.items() if not gone.match(path) or kept.match(path)}
        for path in list(self._nodes):
            for parent in _parents(path):
                if parent in before:
                    self._nodes[parent] = before[parent]

    def drop_files(self, patterns: Iterable[str]) -> None:
        """Remove what matches, but no directories."""
        gone = _any_of(patterns, below=True)
        self._nodes = {path: node for path, node in self._nodes.items() if node.header.isdir() or not gone.match(path)}

    def put_directory(self, path: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """Make a directory with its parents, or set an existing one's mode and owner (a uid, also used as gid)."""
        self._put(path, tarfile.DIRTYPE, mode, owner)

    def put_file(self, path: str, data: bytes, *, mode: int = 0o644, owner: int = 0) -> None:
        """Put in a file, in place of what is there."""
        node = self._put(path, tarfile.REGTYPE, mode, owner)
        node.data, node.header.size = data, len(data)

    def put_link(self, path: str, target: str) -> None:
        """Put in a symbolic link, unless something is there."""
        if path not in self:
            self._put(path, tarfile.SYMTYPE, 0o777, 0).header.linkname = target

    def append(self, path: str, line: str) -> None:
        """Add a line to a text file, which must exist."""
        node = self._nodes[self._resolve(path)]
        node.data = self._content(node) + f"{line}\n".encode()
        node.header.size, node.inode = len(node.data), None

    def copy(self, source: str, target: str, *, owner: int) -> None:
        """Copy the files of a directory (without those below) to another, with a new owner."""
        for path in self.paths():
            node = self._nodes[path]
            if path.rpartition("/")[0] == source and node.header.isreg():
                name = path.rpartition("/")[2]
                self.put_file(f"{target}/{name}", self._content(node), mode=node.header.mode, owner=owner)

    def write(self, out: Writable, *, newest: int) -> None:
        """Write all as a tar: sorted, numeric owners, no time after ``newest`` (Unix seconds), xattrs kept."""
        written: dict[str, str] = {}
        for path in self.paths():
            node = self._nodes[path]
            twin = written.get(node.inode) if node.inode is not None else None
            if node.inode is not None:
                written.setdefault(node.inode, path)
            out.write(_header(path, node.header, newest, twin))
            if twin is None and node.header.isreg():
                self._copy_content(node, out)
        out.write(bytes(2 * BLOCK))

    def _linked(self, header: tarfile.TarInfo) -> _Node:
        """A hard link as a file of its own that shares its target's content; which comes first is decided later."""
        target = self._nodes["/".join(part for part in header.linkname.split("/") if part not in ("", "."))]
        header.type, header.size = tarfile.REGTYPE, target.header.size
        header.pax_headers = target.header.pax_headers
        return _Node(header, target.offset, target.data, target.inode)

    def _put(self, path: str, kind: bytes, mode: int, owner: int) -> _Node:
        path = self._resolve(path.strip("/"))
        for parent in _parents(path):
            if parent not in self._nodes:
                self._nodes[parent] = _new_node(parent, tarfile.DIRTYPE, 0o755, 0)
        node = self._nodes[path] = _new_node(path, kind, mode, owner)
        return node

    def _resolve(self, path: str) -> str:
        """The path with symbolic links among its parents followed, inside this tree."""
        for _ in range(_MOST_HOPS):
            for parent in _parents(path):
                node = self._nodes.get(parent)
                if node is not None and node.header.issym():
                    target, rest = node.header.linkname, path[len(parent) :]
                    base = "" if target.startswith("/") else parent.rpartition("/")[0]
                    path = _join(base, target) + rest
                    break
            else:
                return path
        return path

    def _content(self, node: _Node) -> bytes:
        if node.data is not None:
            return node.data
        self._source.seek(node.offset)
        return self._source.read(node.header.size)

    def _copy_content(self, node: _Node, out: Writable) -> None:
        left = node.header.size
        if node.data is not None:
            out.write(node.data)
        else:
            self._source.seek(node.offset)
            while left > 0 and (block := self._source.read(min(CHUNK, left))):
                out.write(block)
                left -= len(block)
        out.write(bytes(-node.header.size % BLOCK))


def _new_node(path: str, kind: bytes, mode: int, owner: int) -> _Node:
    header = tarfile.TarInfo(path)
    header.type, header.mode, header.uid, header.gid, header.mtime = kind, mode, owner, owner, 1 << 60
    return _Node(header)


def _header(path: str, old: tarfile.TarInfo, newest: int, twin: str | None) -> bytes:
    """A header with nothing in it that differs from build to build."""
    new = tarfile.TarInfo(f"{path}/" if old.isdir() else path)
    new.type, new.mode, new.uid, new.gid = old.type, old.mode & 0o7777, old.uid, old.gid
    new.mtime = min(int(old.mtime), newest)
    new.linkname = old.linkname if old.issym() else ""
    new.devmajor, new.devminor = old.devmajor, old.devminor
    attributes: Mapping[str, str] = old.pax_headers
    new.pax_headers = {key: attributes[key] for key in sorted(attributes) if key.startswith(_XATTR)}
    if twin is not None:
        new.type, new.linkname, new.pax_headers = tarfile.LNKTYPE, twin, {}
    elif old.isreg():
        new.size = old.size
    return new.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _join(base: str, target: str) -> str:
    parts = [part for part in base.split("/") if part]
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _any_of(patterns: Iterable[str], *, below: bool) -> re.Pattern[str]:
    listed = [pattern.strip("/") for pattern in patterns]
    listed += [f"{pattern}/*" for pattern in listed] if below else []
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in listed) or r"(?!)")
