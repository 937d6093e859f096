"""``python -m edge_module``."""

import sys

if sys.argv[1:] == ["healthy"]:
    from edge_module.healthy import main as say_whether_healthy

    sys.exit(say_whether_healthy())

if sys.argv[1:2] == ["rebuild"]:
    from edge_module.background import settle

    settle(sys.argv)

from edge_module.main import main

sys.exit(main())
