"""Errors with a stable code: what went wrong, whether trying again can help, what to do.

Codes are stored in SQL, sent in reports and alerted on, so a code is never reused for another meaning.
``REMEDIES`` holds every code with the sentence that tells its reader what to do; a test holds it complete.
"""

from __future__ import annotations


class ImageDeltaError(Exception):
    """Base of everything this project raises on purpose."""

    code = "internal"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Args:
        message: Names what is wrong, with the offending name or number.
        code: A key of ``REMEDIES``; the class's own code when omitted.
        """
        super().__init__(message)
        self.code = code or type(self).code

    @property
    def remedy(self) -> str:
        """What the reader of this error can do about it."""
        return REMEDIES.get(self.code, REMEDIES["internal"])


class RequestError(ImageDeltaError):
    """The caller asked for something impossible.

    ``status`` is the HTTP status it becomes. 422 unless said otherwise: the request is well-formed, yet what it
    asks for cannot be; 400 is only for what contradicts the OpenAPI document.
    """

    code = "request.invalid"

    def __init__(self, message: str, *, code: str | None = None, status: int = 422) -> None:
        super().__init__(message, code=code)
        self.status = status


class ContentError(ImageDeltaError):
    """Bytes are wrong, and will be wrong again: never retried."""

    code = "content.invalid"


class Truncated(ContentError):
    """The bytes end before the structure they hold does."""

    code = "content.truncated"


class LimitExceeded(ContentError):
    """A declared or real size is over its limit; nothing was allocated for it."""

    code = "content.limit_exceeded"


class DigestMismatch(ContentError):
    """Bytes do not have the digest they were promised to have."""

    code = "content.digest_mismatch"


class UnsafePath(ContentError):
    """A name inside an archive or bundle would leave its folder."""

    code = "content.unsafe_path"


class UnsupportedFormat(ContentError):
    """A version, coder or form that this reader does not know."""

    code = "content.unsupported"


class SourceMissing(ContentError):
    """A layer that a patch starts from is not on this device: the cloud plans anew with another source."""

    code = "source.missing"


class SealError(ContentError):
    """A bundle is unsealed, sealed by an unknown key, or its seal does not fit its content."""

    code = "seal.invalid"


class DependencyError(ImageDeltaError):
    """Storage, SQL, registry, hub or mail server did not answer; trying again can help."""

    code = "dependency.unavailable"
    retryable = True


REMEDIES: dict[str, str] = {
    "internal": "This is a defect of imagedelta: report it with the log around it.",
    "request.invalid": "Correct the named field and send the request again.",
    "content.invalid": "The message says what is wrong with the file: make or fetch it again.",
    "content.truncated": "The file was cut short: transfer or save it again.",
    "content.limit_exceeded": "Check that it is what you meant to send. A limit that the message names can be raised: "
    "--limit NAME=NUMBER on the command line, IMAGEDELTA_LIMITS in the cloud's settings.",
    "content.digest_mismatch": "The bytes were damaged or exchanged on the way: fetch or build them again.",
    "content.unsafe_path": "The archive names a path outside its folder: do not trust where it came from.",
    "content.blob_missing": "The archive is incomplete: save the image again, with all its layers.",
    "content.duplicate_member": "The archive holds one name twice, so readers could disagree: save it again.",
    "content.not_an_image": "Give a docker save tar, an OCI archive or an OCI layout folder.",
    "content.packed": "Unpack it, or pack it with gzip or zstd: this packing is not read here.",
    "content.encrypted": "Decrypt the image first, e.g. with `skopeo copy --decryption-key`.",
    "content.old_form": "Push or save the image again with a tool of the last years (Docker 1.10 or later).",
    "content.unsupported": "Use a newer imagedelta to read it, or an older one to write it.",
    "source.missing": "Give the image the patch starts from, or ask for a bundle from a source that is there.",
    "source.different": "The device's copy of the source is damaged: remove it, or take a bundle from another source.",
    "patch.memory": "Raise the device's memory setting, or build the patch for a smaller memory class.",
    "patch.deflate": "Build the patch with a profile that ends in -nofold, or use a Python with the original zlib.",
    "seal.invalid": "Seal the bundle with a key that the device trusts, and check who made it.",
    "seal.missing": "Seal the bundle (imagedelta diff --key), or take one that the cloud composed.",
    "seal.unknown_key": "Give the device the public key the bundle is sealed with, or seal with one it trusts.",
    "keys.invalid": "Make a key pair with `imagedelta keys new`, and give the file it wrote.",
    "keys.exists": "Choose another name: a seal key is never overwritten.",
    "request.image_name": "Write it as [HOST[:PORT]/]PATH[:TAG], e.g. app:1 or fleet.example/team/app:1, in lower case "
    "but for the tag.",
    "request.platform": "Write it as os/architecture[/variant], e.g. linux/arm64 or linux/arm/v7.",
    "request.no_platform": "Say what the image is for with --platform os/architecture[/variant], e.g. linux/arm64.",
    "request.no_reference": "Give the image a name with --reference NAME:TAG.",
    "request.ambiguous_id": "Give more digits of the image ID.",
    "request.scratch_full": "Free room there, or name another folder with --scratch. In the cloud send the archive as "
    "a plain tar: only one that is packed as a whole is unpacked to disk.",
    "request.no_image": "Correct the name: a docker-save tar, OCI archive or layout folder (PATH#NAME chooses one of "
    "several), docker://NAME or registry://HOST/REPOSITORY:TAG.",
    "registry.denied": "Log in with `docker login HOST`, and check the name: to a registry, absent and forbidden are "
    "often the same.",
    "registry.credentials": "Correct config.json in ~/.docker or DOCKER_CONFIG, or `docker login HOST` anew.",
    "registry.protocol": "Check that the address is a registry's; one without TLS needs --insecure-registry HOST, one "
    "with a private certificate SSL_CERT_FILE.",
    "dependency.registry": "Try again: look at the link and the registry if this lasts (`imagedelta doctor`).",
    "dependency.moved": "Try again: the name was given to another image meanwhile.",
    "dependency.daemon": "Start Docker, or name its daemon with DOCKER_HOST (`imagedelta doctor` tells what is wrong).",
    "cli.library_missing": "Install it with this project's extras, e.g. pip install 'imagedelta[host]'.",
    "disk.full": "Free disk on the device: the bundle is kept and the device goes on by itself.",
    "disk.failing": "Look at the disk of the device and its file system; the module tries again by itself.",
    "device.busy": "Wait until the other process ends, or stop it: one works in a folder at a time.",
    "device.settings": "Correct the named setting of the module and start it again.",
    "device.unknown_image": "List the images of the device with `python -m edge_module images`.",
    "device.image_kept": "Take the image out of keepImages, or leave it: the cloud plans with it.",
    "hub.refused": "Nothing to do on the device: the next inventory tells the cloud what it missed.",
    "outbox.denied": "Nothing to do: the device takes the fresh access from its twin. Check it was written.",
    "blob.changed": "Nothing to do: it is fetched anew from the start.",
    "bundle.other_device": "Take the bundle to the device it is sealed for: one for any device into its inbox folder.",
    "bundle.below_floor": "An old bundle came back: order the image again if it is wanted.",
    "bundle.replayed": "A used bundle came back under another transfer: find out who sent it.",
    "bundle.revoked": "The cloud withdrew it: order the image again if it is wanted.",
    "bundle.platform": "Set IMAGEDELTA_PLATFORM of the module to what the device runs, several with commas, or "
    "register the image with its real --platform; then order it again.",
    "bundle.memory": "Raise the memory setting of the device, or build for a smaller memory class.",
    "bundle.damaged": "The bytes in the outbox differ from what was sealed: retry, so that it is published anew.",
    "content.malformed_message": "It breaks docs/formats/messages.md: update the older of device and cloud.",
    "content.missing": "It was withdrawn or never stored: look at who should have put it there.",
    "dependency.scratch": "Nothing to do: it is tried again. Look at the temporary folder's disk if this lasts.",
    "dependency.unavailable": "Nothing to do: it is tried again by itself. Look at the service if this lasts.",
    "request.not_found": "Check the id; list what there is with a GET of the collection.",
    "request.method": "Use one of the methods that the Allow header names.",
    "request.media_type": "Send the body as application/json.",
    "request.too_large": "Send less: request bodies are small, archives go to the URL that POST /api/uploads gives.",
    "request.unsupported": "This version cannot do it; the message says what it can do instead.",
    "request.idempotency_mismatch": "Use a new Idempotency-Key for another request.",
    "request.unknown_upload": "Send the archive to the URL that POST /api/uploads gives, then register it.",
    "request.unknown_hub": "Name one of the hubs that the function app is configured with (IMAGEDELTA_HUBS).",
    "request.unknown_image": "Register the image first (POST /api/images), or correct its name and tag.",
    "request.not_in_hub": "Create the device in its hub, or correct the hub it is enrolled with.",
    "request.no_previous": "Start an ordinary set with the images and manifest you want to go back to.",
    "request.blob_name": "Use a name of letters, digits, dots, dashes and underscores.",
    "settings.invalid": "Correct the named application setting and start again.",
    "message.unknown_sender": "Give the module that reports the identity that IMAGEDELTA_MODULE_ID names.",
    "message.unknown_kind": "Update the function app: the device speaks a newer language, or something else sends.",
    "dependency.blobs": "Nothing to do: it is tried again. Look at the storage and its free space if this lasts.",
    "dependency.mail": "Nothing to do: the mail is tried again. Look at the mail server and its login if this lasts.",
    "dependency.hub": "Nothing to do: it is tried again. Look at the IoT Hub and its connection string if this lasts.",
    "dependency.host": "Look whether the host runs and can be reached, then try again.",
    "hub.unknown_device": "Create the device and its module in the hub, or correct the hub it is enrolled with.",
    "mail.refused": "Correct the owner's mail address; the mail server does not take it.",
    "cli.no_host": "Start one here with `imagedelta host start`, or name it with --url and --key.",
    "cli.wrong_key": "Give a function key of the host with --key or IMAGEDELTA_KEY.",
    "cli.hub_elsewhere": "Run this where the host runs; for Azure take the connection from the IoT Hub: az iot hub "
    "module-identity connection-string show.",
    "cli.output_exists": "Choose another name, or replace the file with --force.",
    "cli.output_is_input": "Choose another name: what a command reads it never replaces.",
    "cli.output_unfit": "Name a file to write, a pipe, or - with stdout sent to a file or another program.",
    "cli.timeout": "It goes on without you: look again later, or wait longer with --timeout.",
    "set.not_completed": "Look at the set's members and events: each failed member has a code and what to do.",
    "host.start": "Read the message: it names what keeps the embedded host from starting.",
    "host.app_invalid": "Correct function_app.py; the message and the traceback name the place.",
    "host.binding_unsupported": "Use a trigger that the embedded host serves, or disable the function on this machine.",
    "host.setting_invalid": "Correct the named setting in host.json, local.settings.json or the environment.",
    "host.state_in_use": "Stop the other host, or choose another folder with --state.",
    "host.state_damaged": "Put back a copy of the state folder, or do what the message says to go on without.",
    "host.port_taken": "Choose another port with --port, or 0 for any free one.",
    "host.function_missing": "Correct the name, or add the function to the app.",
    "host.instance_exists": "Wait until the instance has ended, terminate it, or use another id.",
    "host.non_deterministic": "Start the work anew; orchestrators may change only when none of their instances runs.",
    "request.unknown_device": "Enrol the device first (PUT /api/devices/{id}), or correct its id.",
    "request.no_device": "Correct the tag query; GET /api/devices shows the tags that devices have.",
    "request.retired_device": "Leave it out: a retired device does not come back. Enrol new hardware under a new id.",
    "request.state": "Look at its present state: what was asked fits only the states that the message allows.",
    "request.not_ready": "Wait for the named devices, retry or exclude them, then ask for the release again.",
    "set.no_member_left": "Retry the devices that failed, or start a new set for those that are to have the images.",
    "transfer.failed": "Look at the history of the transfer, then retry the device.",
    "device.retired": "Nothing to do: the device was taken out of service.",
    "request.manifest": "Correct the named place of the deployment manifest; docs/manifests.md shows a whole one.",
    "request.unresolved_placeholder": "Give the named ${NAME} under values, or take it out of the manifest.",
    "request.many_images": "Register the images of the archive one by one, each under a reference of its own.",
    "settings.priorities": "Correct the priorities file; priorities.yaml in this project explains its form.",
    "plan.impossible": "Read the message: it names what this device lacks.",
    "plan.no_platform": "Register the image for that platform (images register --platform where its config is wrong), "
    "or correct what the device says it runs: IMAGEDELTA_PLATFORM takes several.",
    "plan.no_profile": "Update the module on the device: it reads none of the patch profiles built here.",
    "plan.retired_device": "Leave the device out of the set.",
    "plan.needs_approval": "Look at the plan; approve the set, or cancel it and raise its limits.",
    "seal.no_trusted_key": "Give the device the public half of a key that the cloud seals with, then retry.",
    "release.module_clash": "Rename the module in one of the two workstreams.",
    "release.conflict": "Look who changed the device's deployment, then rebase the member or skip it.",
    "release.image_missing": "Nothing to do: the image is sent again and the release follows.",
    "release.overtaken": "Nothing to do if a newer set or a person put it there; else release the images again.",
    "release.unhealthy": "Look at the modules on the device; POST …/rollback brings back what ran before.",
    "request.in_progress": "Send the same request again a little later: it is answered as the first one was.",
}
