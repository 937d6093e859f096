"""What every image engine of the device does alike: the sentences of ``suite``, which each engine's tests inherit."""

import pytest

pytest.register_assert_rewrite("tests.engines.suite")
