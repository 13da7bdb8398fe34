"""How the policy says where a server's machine is seen."""

from __future__ import annotations

import json

import pytest

from stanch.policy.canonical import canonical_text
from stanch.policy.hosts import DockerHost, HostPolicy, KubernetesHost, PrometheusHost, SshHost
from stanch.policy.parse import Parsed, parse_policy, read_policy
from stanch.policy.schema import json_schema

HEAD = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {console: {type: terminal}}
targets:
  orders:
    dsn: service=orders
"""


def read(host: str, *, more: str = "") -> Parsed:
    return read_policy(f"{HEAD}    host: {host}\n{more}", file="p")


def errors(host: str, *, more: str = "") -> list[tuple[str, str]]:
    return [(f.path, f.what) for f in read(host, more=more).errors]


@pytest.mark.parametrize("word", ["auto", "local", "none"])
def test_a_word_says_whether_it_is_this_machine(word: str) -> None:
    parsed = read(word)
    assert parsed.policy is not None
    assert parsed.policy.targets[0].host == word


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "{ssh: {host: db1.example.com, user: stanch, service: postgresql@16-main}}",
            SshHost(host="db1.example.com", user="stanch", service="postgresql@16-main"),
        ),
        ("{docker: {container: orders-db-1}}", DockerHost(container="orders-db-1")),
        (
            "{docker: {compose_project: shop, compose_service: db, socket: /run/docker.sock}}",
            DockerHost(compose_project="shop", compose_service="db", socket="/run/docker.sock"),
        ),
        (
            "{docker: {compose_service: db, memory_max: 8GiB, services: [app, worker]}}",
            DockerHost(compose_service="db", memory_max_bytes=8 << 30, services=("app", "worker")),
        ),
        (
            '{kubernetes: {namespace: shop, selector: "cluster=orders,role in (primary)"}}',
            KubernetesHost(namespace="shop", selector="cluster=orders,role in (primary)"),
        ),
        (
            '{prometheus: {url: "http://prom.example.com:9090", instance: "db1:9100"}}',
            PrometheusHost(url="http://prom.example.com:9090", instance="db1:9100"),
        ),
    ],
)
def test_a_mapping_with_one_key_says_how_the_machine_is_seen(
    written: str, meant: HostPolicy
) -> None:
    parsed = read(written)
    assert parsed.policy is not None, parsed.findings
    assert parsed.policy.targets[0].host == meant
    again = parse_policy(canonical_text(parsed.policy), file="again")
    assert again == parsed.policy


@pytest.mark.parametrize(
    ("written", "path", "what"),
    [
        ("sshd", "targets.orders.host", '"sshd" is not a known value'),
        ("{}", "targets.orders.host", "has 0 keys in place of one"),
        ("[ssh]", "targets.orders.host", "is a list, not a choice"),
        ("{shh: {host: x}}", "targets.orders.host.shh", 'unknown key "shh"'),
        ("{ssh: local}", "targets.orders.host.ssh", "is a single value, not a ssh host"),
        ("{ssh: {user: x}}", "targets.orders.host.ssh", "host is missing"),
        ("{ssh: {host: 'a; b'}}", "targets.orders.host.ssh.host", '"a; b" is not a host name'),
        (
            "{ssh: {host: a}, docker: {container: b}}",
            "targets.orders.host",
            "has 2 keys in place of one",
        ),
        (
            "{docker: {socket: /run/docker.sock}}",
            "targets.orders.host.docker",
            "names no container",
        ),
        (
            "{docker: {container: a, compose_service: b}}",
            "targets.orders.host.docker",
            "names the container twice",
        ),
        (
            "{docker: {container: a, compose_project: b}}",
            "targets.orders.host.docker",
            "a project without a service",
        ),
        (
            "{docker: {compose_service: db, services: [app, db]}}",
            "targets.orders.host.docker",
            "lets the server's own service be restarted as one beside it",
        ),
        (
            "{kubernetes: {namespace: a}}",
            "targets.orders.host.kubernetes",
            "names no pod",
        ),
        (
            "{kubernetes: {namespace: a, pod: b, selector: c=d}}",
            "targets.orders.host.kubernetes",
            "names the pod twice",
        ),
    ],
)
def test_what_is_wrong_with_a_host_is_said_at_its_place(written: str, path: str, what: str) -> None:
    assert (path, what) in errors(written)


@pytest.mark.parametrize(
    "unit", ["--help", "a b", "x;reboot", "$(reboot)", "`id`", "a\nb", "-p", ""]
)
def test_a_unit_that_is_no_unit_name_is_refused(unit: str) -> None:
    found = errors(f"{{ssh: {{host: a, service: {json.dumps(unit)}}}}}")
    assert [path for path, _ in found] == ["targets.orders.host.ssh.service"]


def test_a_machine_that_is_only_watched_starts_no_server() -> None:
    act = "    actions: {start_server: act}\n"
    path = "targets.orders.actions.start_server"
    far = errors("{ssh: {host: db1.example.com}}", more=act)
    assert far == [(path, "act: needs the server's machine, which is only watched")]
    assert errors("local", more=act) == []


def test_the_schema_knows_words_and_mappings() -> None:
    text = json.dumps(json_schema())
    for key in ('"ssh"', '"compose_service"', '"selector"', '"instance"'):
        assert key in text


@pytest.mark.parametrize(
    ("action", "host", "what"),
    [
        ("start_server", "{docker: {container: db}}", ""),
        ("restart_container", "{docker: {container: db}}", ""),
        ("raise_container_memory", "{docker: {container: db, memory_max: 1GB}}", ""),
        ("restart_compose_service", "{docker: {compose_service: db, services: [app]}}", ""),
        ("restart_container", "auto", "needs the engine of the server's container"),
        ("raise_container_memory", "{docker: {container: db}}", "how much it may have"),
        ("restart_compose_service", "{docker: {container: db}}", "there is no service"),
        ("free_space", "{docker: {container: db}}", "which is only watched"),
    ],
)
def test_an_act_on_a_container_needs_its_engine_and_what_it_may_do(
    action: str, host: str, what: str
) -> None:
    found = errors(host, more=f"    actions: {{{action}: advise}}\n")
    if what:
        assert [(path, what in said) for path, said in found] == [
            (f"targets.orders.actions.{action}", True)
        ]
    else:
        assert found == []
