"""From the policy's channels to ports that deliver."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.adapters.channels.smtp import Smtp
from stanch.adapters.channels.terminal import Terminal
from stanch.adapters.channels.webhook import Webhook
from stanch.model.ids import ChannelName
from stanch.model.ports.channels import ChannelPort
from stanch.policy.policy import Channel, Policy, SmtpChannel, WebhookChannel


def build_channel(channel: Channel) -> ChannelPort:
    """The port behind one channel; nothing is connected yet."""
    if isinstance(channel, SmtpChannel):
        return Smtp(channel)
    if isinstance(channel, WebhookChannel):
        return Webhook(channel)
    return Terminal()


def build_channels(policy: Policy) -> Mapping[ChannelName, ChannelPort]:
    """Every channel of the policy by name."""
    return {channel.name: build_channel(channel) for channel in policy.channels}
