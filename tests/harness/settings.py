"""The path of the program, the addresses of the hosts, time limits.

    SAPAIR=build/linux/sapair    the program
    SAPAIR_SAN=1                 a sanitizer build: more time, smaller numbers
    SAPAIR_WRAP="valgrind -q"    a command that runs each agent
"""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAPAIR = os.path.abspath(os.environ.get("SAPAIR", os.path.join(ROOT, "build", "linux", "sapair")))
TEST_SAPAIR = os.path.join(os.path.dirname(SAPAIR) + "-test", "sapair")  # with fault injection
SAN = os.environ.get("SAPAIR_SAN") == "1"
WRAP = os.environ.get("SAPAIR_WRAP", "").split()
SLOW = 4 if SAN else 1  # factor on all times
LIMIT = 15 * SLOW  # seconds for an operation that takes about one

ALPHA, BETA, GAMMA, DELTA = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
ADDRESS = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "delta": DELTA}
