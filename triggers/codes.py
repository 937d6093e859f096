"""Codes of requests and messages, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "caller.unknown": "Sign in with Microsoft Entra ID, or send a token for this app as Authorization: Bearer.",
    "caller.secret": "Have the registry's webhook send the header X-ImageDelta-Secret with what IMAGEDELTA_HOOK_SECRET "
    "holds.",
    "caller.role": "Have an administrator of the app's enterprise application in Entra ID assign the role.",
    "caller.owner": "Leave the owner out: it is who signed in. An application needs the role deploy.onbehalf "
    "and names one.",
    "plan.unregistered_source": "Register the images that devices hold: patches of later sets then start from them.",
    "request.idempotency_mismatch": "Use a new Idempotency-Key for another request.",
    "request.method": "Use one of the methods that the Allow header names.",
    "request.media_type": "Send the body as application/json.",
    "request.unknown_upload": "Send the archive to the URL that POST /api/uploads gives, then register it.",
    "request.blob_container": "Upload the archive, or have IMAGEDELTA_IMAGE_CONTAINERS name the container it lies in.",
    "request.not_automatic": "Nothing to do, unless it should be registered: IMAGEDELTA_REGISTRY_<NAME>_AUTOMATIC "
    "names repositories, and only pushes of tagged images count.",
    "request.no_previous": "Start an ordinary set with the images and manifest you want to go back to.",
    "message.unknown_sender": "Give the module that reports the identity that IMAGEDELTA_MODULE_ID names.",
    "message.old_binding": "Nothing to do if the device was moved lately: what it sent before is dropped, and its next "
    "inventory tells all. Else look who still uses the old identity, and disable it in its hub.",
    "message.unknown_kind": "Update the function app: the device speaks a newer language, or something else sends.",
}
explain(REMEDIES)
