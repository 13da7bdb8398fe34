"""A Docker daemon on its local socket: a few requests of its HTTP API, each bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import httpx

from stanch.facts.machines.json_values import Object, as_object, objects, part, read_json, text
from stanch.model.diagnosis import Missing
from stanch.policy.hosts import DockerHost

ANSWER_BYTES_MAX = 4 * 1024 * 1024
REQUEST_S = 5.0


class DockerLink:
    """Asks one daemon about one container."""

    def __init__(self, host: DockerHost) -> None:
        self._host = host
        self._client: httpx.AsyncClient | None = None

    @property
    def name(self) -> str:
        """The container as the policy names it."""
        host = self._host
        return host.container or "/".join(
            filter(None, (host.compose_project, host.compose_service))
        )

    @property
    def source(self) -> str:
        return f"docker {self.name}"

    async def container(self) -> Object | Missing | None:
        """Everything the daemon knows about the container; None: there is none of this name.

        It is looked up each time: a container that was made anew has another id.
        """
        name: str | Missing | None = self._host.container or await self._of_compose()
        if name is None or isinstance(name, Missing):
            return name
        found = await self.get(f"/containers/{name}/json")
        return None if isinstance(found, Missing) and found.what == NOT_FOUND else found

    async def _of_compose(self) -> str | Missing | None:
        labels = [f"com.docker.compose.service={self._host.compose_service}"]
        if self._host.compose_project:
            labels.append(f"com.docker.compose.project={self._host.compose_project}")
        filters = json.dumps({"label": labels})
        answer = await self.get("/containers/json", {"all": "1", "filters": filters})
        if isinstance(answer, Missing):
            return answer
        found = [c for c in objects(answer, LISTED) if text(part(c, "Labels"), ONE_OFF) != "True"]
        running = [c for c in found if text(c, "State") == "running"]
        if len(running or found) > 1:
            reason = f"{len(running or found)} containers belong to {self.name}; one must be named"
            return Missing(what="host", reason=reason)
        return next((text(c, "Id") for c in running or found), None)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object | Missing:
        """One answer; a list comes as an object with `LISTED`."""
        return await self._asked("GET", path, params=params)

    async def post(self, path: str, body: object) -> Object | Missing:
        return await self._asked("POST", path, body=body)

    async def _asked(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Object | Missing:
        answer = bytearray()
        try:
            async with asyncio.timeout(REQUEST_S), self.stream(method, path, params, body) as said:
                async for piece in said.aiter_bytes():
                    answer += piece
                    if len(answer) > ANSWER_BYTES_MAX:
                        return Missing(what="docker", reason=f"{path}: the answer does not end")
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            return self._failed(error)
        value = read_json(bytes(answer))
        if said.status_code >= 400:
            told = text(as_object(value), "message") or f"HTTP {said.status_code}"
            what = NOT_FOUND if said.status_code == 404 else "docker"
            return Missing(what=what, reason=f"{self.source}: {told[:200]}")
        wrapped: object = {LISTED: value}
        return as_object(wrapped if isinstance(value, list) else value)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: object = None,
        *,
        timeout: httpx.Timeout | None = None,
    ) -> AsyncGenerator[httpx.Response]:
        """An answer that is read piece by piece; `timeout`: of one that takes longer.

        Raises httpx.HTTPError, OSError.
        """
        if self._client is None:
            transport = httpx.AsyncHTTPTransport(uds=self._host.socket, verify=False)
            self._client = httpx.AsyncClient(
                transport=transport, base_url="http://docker", timeout=REQUEST_S, trust_env=False
            )
        sent = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json"} if sent is not None else None
        async with self._client.stream(
            method,
            path,
            params=params,
            content=sent,
            headers=head,
            timeout=timeout or httpx.USE_CLIENT_DEFAULT,
        ) as said:
            yield said

    def failed(self, error: Exception) -> Missing:
        return self._failed(error)

    def _failed(self, error: Exception) -> Missing:
        told = str(error) or type(error).__name__
        hint = ""
        if "Permission denied" in told:
            hint = "; the OS user of Stanch must be in the socket's group"
        reason = f"{self._host.socket} does not answer ({told[:200]}){hint}"
        return Missing(what="docker", reason=reason)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


LISTED = "listed"
NOT_FOUND = "not found"
ONE_OFF = "com.docker.compose.oneoff"
"""The label of what `docker compose run` starts beside a service."""
