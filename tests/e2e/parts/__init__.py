"""Starters of real parts that several suites lean on: registry, blob storage, mail server, brokers, dockerd."""
