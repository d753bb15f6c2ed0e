#!/usr/bin/env python3
"""The checks of the harness fail when they should."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.kernel import main
from harness.netns import sh, v4
from harness.tap import Failure, check, has, test


def fails(check_of, part):
    try:
        check_of()
    except Failure as failure:
        has(str(failure), part)
        return
    raise Failure("did not fail: %s" % part)


@test
def unencrypted_packets_on_the_wire_are_detected(w):
    w.expect_clear = True
    u = w.udp(rate=200)
    time.sleep(0.5)
    u.no_loss(least=50)
    c = w.wire()
    check(c["others"] >= 200 and "proto 17" in c["other"][0] and c["esp"] == 0, "watch: %s" % c)


@test
def a_lost_packet_is_counted(w):
    a, b = w.pair()
    u = w.udp(rate=500)
    time.sleep(0.3)
    spi = a.peer("beta")["out"]["spi"]
    b.signal(signal.SIGSTOP)  # it would repair this before the next packet
    sh("ip", "xfrm", "state", "delete", "dst", v4("beta"), "proto", "esp", "spi", "0x" + spi, host="beta")
    time.sleep(0.3)
    b.signal(signal.SIGCONT)
    fails(lambda: u.no_loss(), "packets were lost")
    check(u.lost[0] > 0, "alpha's packets for a missing SA arrived: %s" % (u.lost,))
    fails(lambda: w.no_errors(), "XfrmInNoStates")


@test
def a_policy_flush_is_noticed(w):
    w.expect_clear = True
    w.pair()
    sh("ip", "xfrm", "policy", "flush", host="alpha")
    sh("python3", "-c",
       "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
       "for i in range(50): s.sendto(b'x', ('%s', 9))" % v4("beta"), host="alpha", ok=False)
    # The agent restores its policies at once: the test is that it reports the flush.
    agents = [x for x in w.agents if x.name == "alpha"]
    agents[0].wait_log("somebody else removed")


@test
def a_damaged_stream_is_detected(w):
    w.pair()
    t = w.tcp()
    time.sleep(0.3)
    w.cut("beta")
    time.sleep(0.3)
    fails(lambda: t.whole(), "the stream is damaged")


@test
def lost_segments_of_a_stream_are_counted(w):
    w.pair()
    t = w.tcp()
    sh("tc", "qdisc", "add", "dev", "e", "root", "netem", "loss", "5%", host="alpha")
    time.sleep(3)
    sh("tc", "qdisc", "del", "dev", "e", "root", host="alpha")
    time.sleep(0.5)
    fails(lambda: t.whole(lost=3), "segments were lost")


if __name__ == "__main__":
    main()
