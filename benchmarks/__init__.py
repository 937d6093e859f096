"""The benchmark: this engine and its peers, side by side in one run on one machine, on realistic images.

``python -m benchmarks images|run|report``; docs/benchmarks.md says how to run it and how to read it.
"""
