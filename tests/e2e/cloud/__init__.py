"""The cloud side over its real services; `make test-cloud` runs this folder alone."""
