"""A Kubernetes API server: reading only, bounded, logged in as a kubeconfig says.

Needs the extra `hosts` (kubernetes_asyncio).
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import yaml

from stanch.adapters.channels.threads import in_own_thread
from stanch.facts.machines.json_values import Object, as_object, read_json, text
from stanch.facts.machines.pods import Pod, chosen, parse_pod
from stanch.model.diagnosis import Missing
from stanch.policy.hosts import KubernetesHost

ANSWER_BYTES_MAX = 8 * 1024 * 1024
REQUEST_S = 5.0
NOT_FOUND = "not found"
BAD_FILE = (yaml.YAMLError, TypeError, AttributeError, KeyError, AssertionError)
"""What the library raises for a kubeconfig that is none."""
CACHED = "0"
"""This resourceVersion is answered from the API server's memory, without a question to etcd."""


class KubernetesLink:
    """Asks one cluster about one pod."""

    def __init__(self, host: KubernetesHost) -> None:
        self.host = host
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._errors: tuple[type[Exception], ...] = (OSError, TimeoutError)

    @property
    def source(self) -> str:
        return f"kubernetes {self.host.namespace}/{self.host.pod or self.host.selector}"

    async def pod(self) -> Pod | Missing | None:
        """The pod as it is now; None: there is none. Privilege: get or list pods."""
        host = self.host
        names = {"namespace": host.namespace, "pod": host.pod}
        if host.pod:
            found = await self.get(
                "/api/v1/namespaces/{namespace}/pods/{pod}", names, {"resourceVersion": CACHED}
            )
            if isinstance(found, Missing):
                return None if found.what == NOT_FOUND else found
            return parse_pod(found, container=host.container)
        listed = await self.get(
            "/api/v1/namespaces/{namespace}/pods",
            {"namespace": host.namespace},
            {"labelSelector": host.selector, "resourceVersion": CACHED},
        )
        one = listed if isinstance(listed, Missing) else chosen(listed, host.selector)
        if one is None or isinstance(one, Missing):
            return one
        return parse_pod(one, container=host.container)

    async def get(
        self, path: str, names: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Object | Missing:
        """One object."""
        answer = bytearray()
        try:
            async with asyncio.timeout(REQUEST_S), self.stream(path, names, query) as said:
                if isinstance(said, Missing):
                    return said
                async for piece in said.content.iter_any():
                    answer += piece
                    if len(answer) > ANSWER_BYTES_MAX:
                        return Missing(what="kubernetes", reason=f"{path}: it does not end")
        except self._errors as error:
            return self.failed(error)
        return as_object(read_json(bytes(answer)))

    @asynccontextmanager
    async def stream(
        self, path: str, names: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Any]:
        """An answer read piece by piece (aiohttp's), or why there is none.

        Raises what `errors` names.
        """
        client = await self._connected()
        if isinstance(client, Missing):
            yield client
            return
        said = await client.call_api(
            path,
            "GET",
            path_params=dict(names),
            query_params=list((query or {}).items()),
            header_params={"Accept": "*/*"},
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=REQUEST_S,
        )
        try:
            yield said if said.status < 400 else await self._refused(said)
        finally:
            said.close()

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a broken connection raises."""
        return self._errors

    async def _refused(self, said: Any) -> Missing:
        """What the Status object says."""
        told = text(as_object(read_json(await said.content.read(65536))), "message")
        if said.status == 401:
            # The next look logs in anew: tokens expire.
            await self.close()
        what = NOT_FOUND if said.status == 404 else "kubernetes"
        reason = f"{self.source}: {told[:300] or f'HTTP {said.status}'}"
        return Missing(what=what, reason=reason)

    def failed(self, error: Exception) -> Missing:
        told = str(error).splitlines()
        reason = told[0][:200] if told else type(error).__name__
        return Missing(what="kubernetes", reason=f"{self.source}: {reason}")

    async def _connected(self) -> Any:
        async with self._opening:
            if self._client is None:
                try:
                    # Hundreds of modules, which take longer than the loop may stand still.
                    library, http = await in_own_thread(_libraries, name="stanch-kubernetes")
                except ImportError:
                    reason = "needs stanch[hosts]: pip install 'stanch[hosts]'"
                    return Missing(what="kubernetes", reason=f"{self.source}: {reason}")
                self._errors = (OSError, TimeoutError, ValueError, http.ClientError)
                opened = await self._open(library)
                if isinstance(opened, Missing):
                    return opened
                self._client = opened
            return self._client

    async def _open(self, library: Any) -> Any:
        configuration = library.client.Configuration()
        host = self.host
        try:
            if not host.kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
                library.config.load_incluster_config(client_configuration=configuration)
            else:
                await library.config.load_kube_config(
                    config_file=host.kubeconfig or None,
                    context=host.context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
            return library.client.ApiClient(configuration)
        except (library.config.ConfigException, *BAD_FILE, *self._errors) as error:
            return self.failed(error)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _libraries() -> tuple[Any, Any]:
    """Raises: ImportError where the extra is missing."""
    return importlib.import_module("kubernetes_asyncio"), importlib.import_module("aiohttp")
