#!/usr/bin/env python3
"""Each check of the other tests, seen failing: what they call quiet would not be if it were not."""

import signal
import time

from kernel import *  # noqa: F403


def fails(check_of, part):
    try:
        check_of()
    except Failure as failure:
        has(str(failure), part)
        return
    raise Failure("nothing was found: %s" % part)


@test
def packets_in_clear_are_seen_on_the_wire(w):
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
    b.signal(signal.SIGSTOP)  # it would heal this before the next packet
    sh("ip", "xfrm", "state", "delete", "dst", v4("beta"), "proto", "esp", "spi", "0x" + spi, host="beta")
    time.sleep(0.3)
    b.signal(signal.SIGCONT)
    fails(lambda: u.no_loss(), "packets were lost")
    check(u.lost[0] > 0, "alpha's packets for a missing SA arrived: %s" % (u.lost,))
    fails(lambda: w.no_errors(), "XfrmInNoStates")


@test
def a_clear_packet_that_arrives_is_counted_by_the_kernel(w):
    w.expect_clear = True
    w.pair()
    sh("ip", "xfrm", "policy", "flush", host="alpha")
    sh("python3", "-c",
       "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
       "for i in range(50): s.sendto(b'x', ('%s', 9))" % v4("beta"), host="alpha", ok=False)
    # The agent puts its policies back at once: what counts is that the flush is not unseen.
    agents = [x for x in w.agents if x.name == "alpha"]
    agents[0].wait_log("somebody else removed")


@test
def a_hurt_stream_is_seen(w):
    w.pair()
    t = w.tcp()
    time.sleep(0.3)
    w.cut("beta")
    time.sleep(0.3)
    fails(lambda: t.whole(), "the stream was hurt")


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
