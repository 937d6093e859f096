"""Codes of the outside systems, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "hub.budget": "Nothing to do: it goes on as fast as the hub's units allow. Add units to the hub and to "
    "IMAGEDELTA_HUB_<NAME>_UNITS if that is too slow.",
    "outbox.denied": "Nothing to do: the device takes the fresh access from its twin. Check it was written.",
    "blob.changed": "Nothing to do: the outbox is listed again, and what is here already is kept.",
    "blob.missing": "Nothing to do if it was withdrawn. Else look who removes blobs from the outbox.",
    "link.odd_answer": "Look what is between device and store: a portal that wants a login, or a proxy that repacks. "
    "The device asks again by itself.",
    "link.range_ignored": "Let the proxy before the store pass Range requests: without them a broken download starts "
    "from its first byte, so the device tries only a few times a day.",
    "link.silent": "Nothing to do: the device asks again and goes on where it was. Look at the link if this lasts.",
    "request.unknown_registry": "Name an image of a configured registry, or have IMAGEDELTA_REGISTRIES name this one.",
    "request.blob_name": "Use a name of letters, digits, dots, dashes and underscores.",
    "dependency.blobs": "Nothing to do: it is tried again. Look at the storage and its free space if this lasts.",
    "dependency.blobs_denied": "Give the app's identity the role Storage Blob Data Contributor on the account "
    "(minutes pass until it counts), or correct the key; look at the network's rules, too.",
    "dependency.identity": "Give the function app a managed identity and name it in AZURE_CLIENT_ID; a program outside "
    "of Azure signs in, e.g. by `az login`.",
    "dependency.mail": "Nothing to do: the mail is tried again. Look at the mail server and its login if this lasts.",
    "dependency.vault": "Nothing to do if it was busy. Else give the app's identity the role Key Vault Crypto User on "
    "the key, look whether the key is enabled and not expired, and whether the vault's network lets the app in.",
    "dependency.webhook": "Nothing to do: the event is tried again. Look at the receiver if this lasts.",
    "hub.changed": "Nothing to do: the deployment is read again and judged anew.",
    "hub.deployment_exists": "Give the deployment an id of its own, or delete the one that has it.",
    "hub.unknown_device": "Create the device and its module in the hub, or correct the hub it is enrolled with.",
    "mail.deferred": "Nothing to do: the mail server takes it later. Ask its operator why if this lasts.",
    "mail.refused": "Correct the owner's mail address; the mail server does not take it.",
    "webhook.gone": "The receiver wants no more events: correct or take away IMAGEDELTA_WEBHOOK_URL.",
    "webhook.rejected": "Nothing to do: the event is tried again. Look into the receiver's log: URL, secret, format.",
}
explain(REMEDIES)
