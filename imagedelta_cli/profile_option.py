"""The option that names a form of patches: apart, because it loads the engine, which most commands do without."""

from __future__ import annotations

import click

from imagedelta.delta import DEFAULT_PROFILE, PROFILES

profile_option = click.option(
    "--profile",
    type=click.Choice(sorted(PROFILES)),
    default=DEFAULT_PROFILE.name,
    show_default=True,
    help="Form of the patch, one that the device reads. Modules from before the second format read v1-64m.",
)
