"""The ways out: each makes its message of a story, and has it delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from activities.notices.event import event_json
from activities.notices.html import html_text
from activities.notices.kinds import Facts
from activities.notices.story import Story
from activities.notices.text import plain_text
from contracts.channels import MAIL, WEBHOOK
from contracts.records import Notification
from services.deps import Deps
from services.ports import Event, Mail


class Channel(Protocol):
    service: str
    """Who delivers: left alone for a while when it does not answer."""

    def compose(self, deps: Deps, notification: Notification, facts: Facts, story: Story) -> Any:
        """A message with ``subject`` and ``text``, by which it is kept."""
        ...

    def deliver(self, deps: Deps, message: Any) -> None:
        """Raises: as Mailer and Webhook do."""
        ...


class MailChannel:
    service = "mail server"

    def compose(self, deps: Deps, notification: Notification, facts: Facts, story: Story) -> Mail:
        settings, of = deps.settings.mail, facts.of
        recipient = notification.recipient or of.owner_email
        copies = [copy for copy in settings.copies_of(of.workstream) if copy.lower() != recipient.lower()]
        return Mail(
            message_id=f"<{notification.notification_id}@{settings.domain}>",
            recipient=recipient,
            recipient_name=story.owner,
            copies=tuple(copies),
            subject=story.subject,
            text=plain_text(story),
            html=html_text(story),
            thread=of.set_id,
            topic=story.name,
            workstream=of.workstream,
        )

    def deliver(self, deps: Deps, message: Mail) -> None:
        deps.mailer.send(message)


class WebhookChannel:
    service = "webhook"

    def compose(self, deps: Deps, notification: Notification, facts: Facts, story: Story) -> Event:
        return Event(notification.notification_id, story.subject, event_json(notification, facts, story))

    def deliver(self, deps: Deps, message: Event) -> None:
        if deps.webhook is not None:  # the setting was taken away since, and ``send`` has dropped what was due
            deps.webhook.post(message)


CHANNELS: Mapping[str, Channel] = {MAIL: MailChannel(), WEBHOOK: WebhookChannel()}
