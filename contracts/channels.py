"""The ways by which what happens to a set is told: to its owner, and to a program."""

MAIL, WEBHOOK = "mail", "webhook"
CHANNELS = (MAIL, WEBHOOK)
