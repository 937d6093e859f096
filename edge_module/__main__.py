"""``python -m edge_module``."""

import sys

from edge_module.main import main

sys.exit(main())
