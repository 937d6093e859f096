"""What runs while the module's container image is built; nothing of it runs on a device."""
