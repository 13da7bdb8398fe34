"""A machine named on a command line: the policy's own notation, and no second one."""

from __future__ import annotations

import pytest

from stanch.model.errors import SetupError
from stanch.policy.host_text import read_host
from stanch.policy.hosts import DockerHost, HostPolicy, KubernetesHost, PrometheusHost, SshHost


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("auto", "auto"),
        (" none ", "none"),
        ("managed", "managed"),
        ("ssh: {host: db1.example.com}", SshHost(host="db1.example.com")),
        ("{ssh: {host: db1, port: 2222}}", SshHost(host="db1", port=2222)),
        ("ssh:\n  host: db1\n  user: stanch", SshHost(host="db1", user="stanch")),
        ("docker: {container: orders-db}", DockerHost(container="orders-db")),
        (
            "docker: {compose_project: shop, compose_service: db}",
            DockerHost(compose_project="shop", compose_service="db"),
        ),
        ("kubernetes: {namespace: shop, pod: db-0}", KubernetesHost(namespace="shop", pod="db-0")),
        (
            'prometheus: {url: "http://p.example.com:9090", instance: "db1:9100"}',
            PrometheusHost(url="http://p.example.com:9090", instance="db1:9100"),
        ),
    ],
)
def test_it_is_written_as_in_a_policy(written: str, meant: HostPolicy) -> None:
    assert read_host(written, option="--host") == meant


@pytest.mark.parametrize(
    ("written", "what", "hint"),
    [
        ("remote", "not a known value", "'ssh: {host: db1.example.com, user: stanch}'"),
        ("ssh://stanch@db1.example.com", "not a known value", "as under `host` in a policy"),
        ("docker://orders-db", "not a known value", "docker: {container: orders-db}"),
        ("prometheus=http://p.example.com", "not a known value", "prometheus: {url"),
        ("shh: {host: db1}", 'unknown key "shh"', "Did you mean `ssh`?"),
        ("ssh: {hots: db1}", "unknown key", "`host`"),
        ("ssh: {user: stanch}", "host is missing", "Add `host`"),
        ("ssh: {host: db1, port: many}", "port", ""),
        ("ssh: db1", "not a ssh host", "key: value"),
        ("docker: {}", "names no container", "`container`"),
        ("docker: {container: a, compose_service: b}", "names the container twice", "one of them"),
        ("kubernetes: {namespace: shop}", "names no pod", "`selector`"),
        ("{ssh: {host: a}, docker: {container: b}}", "2 keys in place of one", "Give one of"),
        ("ssh: {host: db1", "is not YAML", "as under `host`"),
        ("ssh: {host: db1, password: x}", "secrets do not belong", ""),
        ("auto\nfoo: bar", "is not YAML", ""),
        ("\x1b[2J", "YAML", ""),
        ("", "", ""),
        ("!!python/object:os.system x", "tag", ""),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(written: str, what: str, hint: str) -> None:
    with pytest.raises(SetupError) as caught:
        read_host(written, option="--host")
    assert str(caught.value).startswith("--host: ")
    assert what in str(caught.value)
    assert hint in caught.value.hint
    assert "\x1b" not in str(caught.value)
