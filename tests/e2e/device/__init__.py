"""The device's module beside the real parts of a device: dockerd, a registry, brokers."""
