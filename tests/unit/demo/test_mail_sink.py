from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path

from demo.mail_sink import MailSink


def a_mail(subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "cloud@example.org", "ada@example.org", subject
    mail["Message-ID"] = f"<{subject}@example.org>"
    mail.set_content("All images are on all devices.\n")
    return mail


def test_every_delivery_is_kept_in_order_and_repeated_ones_are_kept_twice(tmp_path: Path) -> None:
    with MailSink(tmp_path / "mail") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            for subject in ("first", "second", "second"):
                client.send_message(a_mail(subject))

        mails = sink.mails()

    assert [mail.message_id for mail in mails] == [
        "<first@example.org>",
        "<second@example.org>",
        "<second@example.org>",
    ]
    assert mails[0].recipient == "ada@example.org"
    assert mails[0].body == "All images are on all devices.\n"
