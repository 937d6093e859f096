"""Building a patch, and proving it; nothing here runs on a device."""
