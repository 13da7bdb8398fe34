from dataclasses import replace

from stanch.adapters.channels.build import build_channels
from stanch.model.ids import ChannelName
from stanch.model.messages import Dedup
from stanch.policy.policy import SmtpChannel, TerminalChannel, WebhookChannel
from timelines import POLICY


def test_every_channel_of_the_policy_gets_its_port_and_says_how_it_treats_repeats() -> None:
    policy = replace(
        POLICY,
        channels=(
            SmtpChannel(name=ChannelName("mail"), host="127.0.0.1"),
            WebhookChannel(name=ChannelName("hook"), url="http://127.0.0.1/"),
            TerminalChannel(name=ChannelName("screen")),
        ),
    )
    ports = build_channels(policy)
    assert {name: port.dedup for name, port in ports.items()} == {
        "mail": Dedup.NONE,
        "hook": Dedup.KEY,
        "screen": Dedup.NONE,
    }
