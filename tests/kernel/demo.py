#!/usr/bin/env python3
"""make demo-kernel: scripts/demo.sh in user-mode Linux, whose kernel has ESP."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import enter
from harness.settings import ROOT

enter()

os.execv("/bin/sh", ["sh", os.path.join(ROOT, "scripts", "demo.sh"), "xfrm"])
