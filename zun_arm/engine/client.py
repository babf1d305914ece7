"""The connection to Docker Engine: the SDK's low-level client over one kept-open socket, its errors translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zun_arm.errors import EngineFailed, HostNotReady, NameInUse, NotFound, WrongState, ZunArmError

if TYPE_CHECKING:
    from docker import APIClient


#: Docker 20.10, the Engine of Debian 11 and 12; older ones ignore what we rely on.
OLDEST_API = (1, 41)


class Connection:
    """Opens the client when it is first needed, and negotiates the API's version once."""

    def __init__(self, host: str, timeout_s: int) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._client: APIClient | None = None

    @property
    def api(self) -> APIClient:
        """The client; :class:`HostNotReady` when no engine answers, or one that is too old."""
        if self._client is None:
            self._client = self._open()
        return self._client

    def _open(self) -> APIClient:
        import docker

        with translated(f"Docker at {self.host}"):
            # "auto" asks the engine for its version and uses that: from 1.41 (20.10) to whatever it speaks today.
            client = docker.APIClient(base_url=self.host, version="auto", timeout=self._timeout_s)
        client.trust_env = False
        _keep_one_pool(client, self.host, self._timeout_s)
        version = tuple(int(part) for part in client.api_version.split("."))
        if version < OLDEST_API:
            client.close()
            raise HostNotReady(
                f"Docker at {self.host} is too old: it speaks API {client.api_version}, zun-arm needs 1.41",
                hint="install Docker Engine 20.10 or newer (apt-get install docker.io)",
            )
        return client


def _keep_one_pool(client: APIClient, host: str, timeout_s: int) -> None:
    """Let all requests share their connections: the SDK keeps a pool for each address asked, so none is ever used again."""
    if not host.startswith("unix://"):
        return
    from docker.transport import UnixHTTPAdapter

    class OnePool(UnixHTTPAdapter):
        def get_connection(self, url: object, proxies: object = None) -> Any:
            return super().get_connection("http+docker://localhost", proxies)

    client.get_adapter("http+docker://localhost").close()
    client.mount("http+docker://", OnePool(f"http+{host}", timeout_s))


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the SDK's and the transport's errors into ours; ``what`` is the subject of the message."""
    import docker.errors
    import requests.exceptions

    try:
        yield
    except ZunArmError:
        raise
    except docker.errors.APIError as err:
        raise _from_status(what, err) from err
    except docker.errors.DockerException as err:
        raise _not_answering(what, err) from err
    except requests.exceptions.ReadTimeout as err:
        raise EngineFailed(f"{what}: Docker did not answer in time", hint="see the log of dockerd") from err
    except (requests.exceptions.RequestException, OSError) as err:
        raise _not_answering(what, err) from err


def _from_status(what: str, err: object) -> ZunArmError:
    status = getattr(err, "status_code", None)
    told = str(getattr(err, "explanation", None) or err).strip()
    message = f"{what}: {told}"
    if status == 404:
        return NotFound(message)
    if status == 409 and "already in use" in told:
        return NameInUse(message)
    if status in (304, 409):
        return WrongState(message)
    if "no space left on device" in told:
        return EngineFailed(message, hint="the disk is full: delete sandboxes or images (zun-arm image delete)")
    if "exec format error" in told:
        return EngineFailed(message, hint="the program is for another instruction set: zun-arm image verify")
    return EngineFailed(message)


def _not_answering(what: str, err: Exception) -> HostNotReady:
    reason = str(err)
    if "Permission denied" in reason:
        return HostNotReady(f"{what}: permission denied", hint="run as root, as in sudo zun-arm")
    if "timed out" in reason:
        return HostNotReady(f"{what}: Docker did not answer in time", hint="see the log of dockerd, or restart it")
    return HostNotReady(
        f"{what}: the engine does not answer ({_short(reason)})",
        hint="start it (systemctl start docker, or dockerd &), or install it: apt-get install docker.io",
    )


def _short(reason: str) -> str:
    for known in ("No such file or directory", "Connection refused", "Connection aborted", "Remote end closed"):
        if known in reason:
            return known.lower()
    return reason.splitlines()[0][:200] if reason else "no reason given"
