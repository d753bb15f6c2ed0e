#!/usr/bin/env python3
"""A short round of `make soak-kernel`."""

import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.kernel_soak import Soak
from harness.tap import test


@test
def all_pairs_recover_after_each_fault_and_no_packet_is_unencrypted(w):
    seed = random.randrange(1 << 30)
    print("# SEED=%d" % seed)
    Soak(w, random.Random(seed)).each_once()


if __name__ == "__main__":
    main()
