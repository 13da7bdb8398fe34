"""From the policy's channels to ports that deliver."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stanch.adapters.channels.smtp import Smtp
from stanch.adapters.channels.terminal import Terminal
from stanch.adapters.channels.webhook import Webhook, load_client
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
    """Every channel of the policy by name; what they need for the first page loads beside."""
    if any(isinstance(channel, WebhookChannel) for channel in policy.channels):
        threading.Thread(target=load_client, name="stanch-webhook-load", daemon=True).start()
    return {channel.name: build_channel(channel) for channel in policy.channels}
