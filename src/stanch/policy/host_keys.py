"""The keys under `host` of a target, where its machine is not the one that Stanch runs on."""

from __future__ import annotations

from stanch.policy.hosts import DockerHost, KubernetesHost, PrometheusHost, SshHost
from stanch.policy.kinds import HOST, HTTP_URL, Choice, Integer, Path, Text
from stanch.policy.quantities import Size
from stanch.policy.shapes import Key, ListOf, OneOf, Section

UNIT = Text(
    word="unit name", pattern=r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,254}", like="postgresql@16-main"
)
USER = Text(word="user name", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}\$?", like="stanch")
CONTAINER = Text(
    word="container name", pattern=r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", like="orders-db"
)
OBJECT = Text(word="object name", pattern=r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", like="db-0")
SELECTOR = Text(
    word="label selector",
    pattern=r"[A-Za-z0-9_./=!, ()-]{1,1000}",
    like='"cnpg.io/cluster=orders,role=primary"',
)
WORKLOAD = Text(
    word="workload",
    pattern=r"(?:deployment|statefulset)/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?",
    like="deployment/checkout",
)
INSTANCE = Text(word="instance", pattern=r"[^\s\x00-\x1f\x7f]{1,255}", like="db1.example.com:9100")

SSH = Section(
    title="ssh host",
    make=SshHost,
    keys=(
        Key(
            name="host",
            field="host",
            holds=HOST,
            doc="The machine's name or address.",
            example="db1.example.com",
        ),
        Key(name="port", field="port", holds=Integer(low=1, high=65535), doc="Its ssh port."),
        Key(
            name="user",
            field="user",
            holds=USER,
            doc="Who logs in there; an ordinary user will do. Left out: the OS user of Stanch.",
            example="stanch",
        ),
        Key(
            name="key_file",
            field="key_file",
            holds=Path(),
            doc="The private key. Left out: the keys of the ssh agent, and ~/.ssh/id_*.",
            example="/etc/stanch/id_ed25519",
        ),
        Key(
            name="known_hosts",
            field="known_hosts",
            holds=Path(),
            doc="Must hold the machine's key; `ssh-keyscan` shows it. "
            "Left out: ~/.ssh/known_hosts.",
            example="/etc/stanch/known_hosts",
        ),
        Key(
            name="service",
            field="service",
            holds=UNIT,
            doc="The server's systemd unit. Left out: told from `data_directory`, "
            "where that may be read.",
            example="postgresql@16-main",
        ),
    ),
)

DOCKER = Section(
    title="docker host",
    make=DockerHost,
    keys=(
        Key(
            name="container",
            field="container",
            holds=CONTAINER,
            doc="The server's container. Instead of it: `compose_service`.",
            example="orders-db-1",
        ),
        Key(
            name="compose_project",
            field="compose_project",
            holds=CONTAINER,
            doc="The Compose project, where several have a service of that name.",
            example="shop",
        ),
        Key(
            name="compose_service",
            field="compose_service",
            holds=CONTAINER,
            doc="The server's service in a Compose file, whatever its container is called today.",
            example="db",
        ),
        Key(
            name="socket",
            field="socket",
            holds=Path(),
            doc="The daemon's socket. Whoever may use it is root there.",
        ),
        Key(
            name="memory_max",
            field="memory_max_bytes",
            holds=Size(),
            doc="The most that `raise_container_memory` may set. Left out: it sets nothing.",
            example="8GiB",
        ),
        Key(
            name="services",
            field="services",
            holds=ListOf(item=CONTAINER, noun="service"),
            doc="Services of the same Compose project that `restart_compose_service` may restart. "
            "Left out: none.",
            example="[app]",
        ),
    ),
)

KUBERNETES = Section(
    title="kubernetes host",
    make=KubernetesHost,
    keys=(
        Key(
            name="namespace",
            field="namespace",
            holds=OBJECT,
            doc="The server's namespace.",
            example="shop",
        ),
        Key(
            name="pod",
            field="pod",
            holds=OBJECT,
            doc="The server's pod. Instead of it: `selector`.",
            example="orders-db-0",
        ),
        Key(
            name="selector",
            field="selector",
            holds=SELECTOR,
            doc="Labels that one pod at a time has.",
            example='"cnpg.io/cluster=orders,role=primary"',
        ),
        Key(
            name="container",
            field="container",
            holds=OBJECT,
            doc="The server's container. Left out: the pod's first.",
            example="postgres",
        ),
        Key(
            name="kubeconfig",
            field="kubeconfig",
            holds=Path(),
            doc="How to log in. Left out: the service account inside a cluster, "
            "else ~/.kube/config.",
            example="/etc/stanch/kubeconfig",
        ),
        Key(
            name="context",
            field="context",
            holds=Text(),
            doc="Which context of that file. Left out: its current one.",
            example="production",
        ),
        Key(
            name="rollouts",
            field="rollouts",
            holds=ListOf(item=WORKLOAD, noun="workload"),
            doc="Workloads of the namespace whose new revisions are told as changes.",
            example="[deployment/checkout, statefulset/orders-db]",
        ),
    ),
)

PROMETHEUS_TOKEN = Key(
    name="token_file",
    field="token_file",
    holds=Path(),
    doc="A file with a bearer token for that Prometheus. Left out: no login.",
    example="/etc/stanch/prometheus-token",
)

PROMETHEUS = Section(
    title="prometheus host",
    make=PrometheusHost,
    keys=(
        Key(
            name="url",
            field="url",
            holds=HTTP_URL,
            doc="The Prometheus that scrapes the machine's node_exporter.",
            example="http://prometheus.example.com:9090",
        ),
        Key(
            name="instance",
            field="instance",
            holds=INSTANCE,
            doc="The machine's `instance` label there.",
            example='"db1.example.com:9100"',
        ),
        Key(
            name="service",
            field="service",
            holds=UNIT,
            doc="The server's systemd unit, where the exporter runs with --collector.systemd.",
            example="postgresql@16-main",
        ),
        PROMETHEUS_TOKEN,
    ),
)

HOST_POLICY = OneOf(
    words=Choice(values=("auto", "local", "none", "managed")),
    by_key={"ssh": SSH, "docker": DOCKER, "kubernetes": KUBERNETES, "prometheus": PROMETHEUS},
)
