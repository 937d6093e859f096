"""The whole job tried from outside, by HTTP alone, on any running Functions host: ``make test-host URL=…``."""
