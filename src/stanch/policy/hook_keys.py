"""The keys of `hooks` of a target."""

from __future__ import annotations

from stanch.model.hooks import Hook
from stanch.policy.http_keys import CA_FILE, url_key
from stanch.policy.kinds import HTTP_URL, NAME, Choice, Path, Text
from stanch.policy.pool_keys import JSON_PATH_KIND
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, Named, Section

HOOK = Section(
    title="hook",
    make=Hook,
    keys=(
        url_key(
            "Where the request goes, over https unless that is this machine. Redirects are not "
            "followed.",
            "https://flags.example.com/api/flags/read_only",
        ),
        Key(
            name="method",
            field="method",
            holds=Choice(values=("POST", "PUT")),
            doc="How it is sent.",
        ),
        Key(
            name="body",
            field="body",
            holds=Text(word="JSON object"),
            doc="What is sent, as it stands; nothing is filled in.",
            example="'{\"enabled\": true}'",
        ),
        Key(
            name="secret_file",
            field="secret_file",
            holds=Path(),
            doc="A file with the secret that signs it, as for the webhook channel. Left out: it is "
            "not signed.",
            example="/etc/stanch/flags-secret",
        ),
        CA_FILE,
        Key(
            name="timeout",
            field="timeout_s",
            holds=Duration(min_s=0.1, max_s=15.0),
            doc="An answer that takes longer leaves it in doubt, and it is looked for.",
        ),
        Key(
            name="verify_url",
            field="verify_url",
            holds=HTTP_URL,
            doc="Asked with GET before and after whether it is so already.",
            example="https://flags.example.com/api/flags/read_only",
        ),
        Key(
            name="json",
            field="json",
            holds=JSON_PATH_KIND,
            doc="The path to the value of that answer which the request changes.",
            example=".enabled",
        ),
        Key(
            name="equals",
            field="equals",
            holds=Text(may_be_empty=True),
            doc="The value it has once that is done; numbers, true, false and null as JSON writes "
            "them.",
            example='"true"',
        ),
        Key(
            name="undo",
            field="undo",
            holds=NAME,
            doc="The hook of this target that takes it back. Left out: nothing does.",
            example="read_only_off",
        ),
    ),
)
HOOKS = Named(entry=HOOK, name=NAME, field="name", noun="hook")
