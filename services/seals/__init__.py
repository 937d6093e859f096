"""Keys that seal bundles: files, secrets, and keys that never leave Key Vault."""
