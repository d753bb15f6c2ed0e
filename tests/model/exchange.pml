/*
 * tests/model/exchange.pml - the exchange of proto/exchange/exchange.c in Promela, for spin.
 *
 * Two hosts, the link between them, and an environment that cuts the link, kills agents, makes
 * system calls fail, loses their answers, delays replies beyond their limit, FAULTS times in all, and
 * requests REKEYS rekeys. Spin visits every order of these events. docs/model.md relates the model to
 * the code.
 *
 *     -DFAULTS=n -DREKEYS=n     budget of the environment
 *     -DSOFT                    SAs end with their agent (back end soft); else the kernel keeps them
 *     -DBREAK_I1 ... _I6        breaks the rule that keeps this invariant
 */

#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef REKEYS
#define REKEYS 1
#endif

/*
 * A run is one exchange: its number represents its xid, both SPIs and both keys; 0 is none. Newer
 * runs have greater numbers. Sets of runs are masks.
 */
#define RUNS 7
#define BIT(r) (1 << (r))
#define HAS(set, r) ((r) != 0 && ((set) & BIT(r)) != 0)
#define MAX(x, y) ((x) > (y) -> (x) : (y))

mtype = { HELLO, OFFER, ANSWER, CONFIRM, DONE, REJECT, REKEY };
#define NOT_NEWER 1 /* a reject's fault: epoch */
#define OTHER_FAULT 2

/* enum xstate; the agent may die between an IPsec call and its result */
#define IDLE 0
#define L_OFFERED 1
#define L_INSTALLING 2 /* inbound is installed */
#define L_OPENED 3     /* outbound too, selected; confirm is not sent yet */
#define L_CONFIRMED 4
#define F_INSTALLING 5 /* inbound is installed, answer is not sent yet */
#define F_ANSWERED 6
#define F_ACTIVATING 7 /* outbound is installed, done is not sent yet */
#define WAITS(h) (st[h] == IDLE || st[h] == L_OFFERED || st[h] == L_CONFIRMED || st[h] == F_ANSWERED)

/* ---- SAs of the system (tests/sim: struct sim_db); they survive the agent ------------------ */

byte in_[2], out_[2]; /* inbound, outbound SAs */
byte sel[2];          /* the run whose outbound SA is used; 0: none */
byte lost[2];         /* SOFT: inbound SAs that ended with their agent */

/* ---- state of an agent (struct exchange, struct gen) ----------------------------------- */

bool alive[2];
byte st[2];
byte mine[2], epoch[2]; /* of the running exchange */
byte cur[2], cur_epoch[2], former[2], former_epoch[2], last[2], peer_last[2];
byte held[2], retired[2]; /* older generations */
bool retry[2];

/* ---- the link ------------------------------------------------------------------------------ */

/* Messages: type, link, run, epoch, last. One queue for each direction: messages of an older link
 * are ignored, so their order relative to those of the newer one does not matter. */
chan to[2] = [8] of { mtype, byte, byte, byte, byte };
#define LINKS 5         /* numbers are reused: more than exist at one time */
byte newest;            /* link */
byte dialler;           /* of the newest: leads */
bool cut;               /* messages on the newest link are lost; each end will detect it */
byte greeting[2], bound[2]; /* link whose hello is awaited, or was taken; 0: none */
#define LEADS(h) (bound[h] != 0 && dialler == (h))

/* ---- for the invariants -------------------------------------------------------------------- */

byte faults = FAULTS, rekeys = REKEYS;
byte runs;                   /* started so far */
byte exposed[2], refused[2]; /* inbound SAs that the peer may send to (I6), or has refused */
byte committed[2];           /* greatest run that was in force */
byte used_in[2], used_out[2];

byte was[2], i, x, r, e, l, n; /* temporaries of one step: zero between steps */
bool excused[2];
byte t;

/* After every step. I1: a host sends only to an existing inbound SA. I5: a host that had a pair in
 * force has one, and not an older one. */
inline check() {
	i = 0;
	do
	:: i < 2 ->
		assert(sel[i] == 0 || HAS(in_[1 - i] | lost[1 - i], sel[i])); /* I1 */
		assert(excused[i] || sel[i] >= was[i]);                        /* I5 */
		i++
	:: else -> break
	od;
	i = 0; x = 0; r = 0; e = 0; l = 0; n = 0; t = 0;
	was[0] = 0; was[1] = 0; excused[0] = false; excused[1] = false
}

inline begin_step() { was[0] = sel[0]; was[1] = sel[1] }

/* ---- IPsec calls ------------------------------------------------------------------ */

inline install(h, q) {
	assert(!HAS(used_in[h], q)); /* I4 */
	used_in[h] = used_in[h] | BIT(q);
	in_[h] = in_[h] | BIT(q)
}

inline activate(h, q) {
	assert(!HAS(used_out[h], q)); /* I4 */
	used_out[h] = used_out[h] | BIT(q);
	out_[h] = out_[h] | BIT(q);
	sel[h] = q
}

/* Before the selected SA is removed, the newest other one is selected. */
inline remove_out(h, q) {
	out_[h] = out_[h] & ~BIT(q);
	if
	:: sel[h] == q ->
		sel[h] = RUNS;
		do
		:: sel[h] != 0 && !HAS(out_[h], sel[h]) -> sel[h]--
		:: else -> break
		od
	:: else
	fi
}

inline remove_in(h, q) {
	assert(!HAS(in_[h] & exposed[h] & ~refused[h], q) || (committed[0] > q && committed[1] > q)); /* I6 */
	in_[h] = in_[h] & ~BIT(q)
}

/* ---- actions (enum xaction_kind) --------------------------------------------------------------- */

inline send(h, type, q, ep, la) {
	if
	:: bound[h] == newest && !cut -> assert(nfull(to[1 - h])); to[1 - h]!type, newest, q, ep, la
	:: else /* lost */
	fi
}

inline end_run(h, failed) {
	st[h] = IDLE; mine[h] = 0; epoch[h] = 0; retry[h] = failed
}

inline remove(h) {
#ifndef BREAK_I3
	remove_in(h, mine[h]);
#endif
	remove_out(h, mine[h])
}

inline hold(h) {
#ifdef BREAK_I6
	remove_in(h, mine[h]);
#else
	held[h] = held[h] | BIT(mine[h]);
#endif
	remove_out(h, mine[h])
}

inline retire(h) { retired[h] = retired[h] | held[h]; held[h] = 0 }

inline commit(h) {
	former[h] = cur[h]; former_epoch[h] = cur_epoch[h];
	if
	:: cur[h] != 0 -> held[h] = held[h] | BIT(cur[h])
	:: else
	fi;
	cur[h] = mine[h]; cur_epoch[h] = epoch[h];
	committed[h] = MAX(committed[h], mine[h])
}

/* The follower failed to install. */
inline uncommit(h) {
	excused[h] = true;
	refused[h] = refused[h] | BIT(cur[h]);
	x = cur[h];
	cur[h] = former[h]; cur_epoch[h] = former_epoch[h];
	former[h] = 0; former_epoch[h] = 0;
	if
	:: HAS(held[h] & out_[h], cur[h]) -> held[h] = held[h] & ~BIT(cur[h]); sel[h] = cur[h]
	:: else -> cur[h] = 0; cur_epoch[h] = 0
	fi;
	remove_out(h, x);
	remove_in(h, x)
}

/* The table undo[] of the code. */
inline end_early(h, tells) {
	if
	:: st[h] == IDLE
	:: st[h] == L_CONFIRMED -> end_run(h, true)
	:: st[h] == L_OFFERED || st[h] == L_INSTALLING || st[h] == F_INSTALLING ->
		remove(h);
		if
		:: tells -> send(h, REJECT, mine[h], OTHER_FAULT, 0)
		:: else
		fi;
		end_run(h, true)
	:: st[h] == F_ANSWERED || st[h] == F_ACTIVATING ->
		hold(h);
		if
		:: tells -> send(h, REJECT, mine[h], OTHER_FAULT, 0)
		:: else
		fi;
		end_run(h, true)
	fi
}

inline lose_link(h) { end_early(h, false); bound[h] = 0; greeting[h] = 0; retry[h] = false }

/* XE_TIMEOUT, or XE_IPSEC_UNKNOWN: undoes the run and closes the link. */
inline close_run(h) {
	end_early(h, false);
	if
	:: bound[h] == newest -> cut = true
	:: else
	fi;
	lose_link(h)
}

/* XE_START. If the reservation fails, the peer never learns of the run. */
inline start(h) {
	retry[h] = false;
	if
	:: st[h] == IDLE && LEADS(h) ->
		assert(runs < RUNS); /* otherwise the hosts would never become idle */
		runs++;
		mine[h] = runs;
		epoch[h] = MAX(MAX(cur_epoch[h], last[h]), peer_last[h]) + 1;
		last[h] = epoch[h];
		st[h] = L_OFFERED;
		send(h, OFFER, mine[h], epoch[h], 0)
	:: else
	fi
}

/* The leader starts an exchange, a follower requests one. */
inline want(h) {
	if
	:: bound[h] != 0 && st[h] == IDLE && LEADS(h) -> start(h)
	:: bound[h] != 0 && st[h] == IDLE && !LEADS(h) -> send(h, REKEY, 0, 0, 0)
	:: else
	fi
}

/* ---- messages ------------------------------------------------------------------------------------ */

inline take_hello(h) {
	if
	:: l == newest && greeting[h] == l ->
		if
		:: bound[h] != 0 -> lose_link(h)
		:: else
		fi;
		greeting[h] = 0; bound[h] = l; retry[h] = false; peer_last[h] = n;
		if
#ifdef BREAK_I2
		:: true
#else
		:: r != 0 && r == cur[h] && e == cur_epoch[h] && n == e &&
		   MAX(last[h], cur_epoch[h]) == e -> retire(h)
		:: else -> want(h)
#endif
		fi
	:: else
	fi
}

inline take_offer(h) {
	if
	:: LEADS(h) -> cut = true; lose_link(h) /* a protocol error; never reached */
	:: !LEADS(h) && e <= MAX(last[h], cur_epoch[h]) ->
		x = MAX(last[h], cur_epoch[h]);
		send(h, REJECT, r, NOT_NEWER, x)
	:: !LEADS(h) && e > MAX(last[h], cur_epoch[h]) && st[h] != IDLE ->
		last[h] = e;
		send(h, REJECT, r, OTHER_FAULT, 0)
	:: else ->
		last[h] = e;
		mine[h] = r; epoch[h] = e;
		if
		:: faults > 0 -> faults--; send(h, REJECT, r, OTHER_FAULT, 0); end_run(h, true)
#ifndef BREAK_I1
		:: faults > 0 -> faults--; st[h] = F_INSTALLING; install(h, r); close_run(h)
#endif
		:: true -> st[h] = F_INSTALLING;
#ifndef BREAK_I1
			install(h, r)
#endif
		fi
	fi
}

inline take_answer(h) {
	if
	:: st[h] == L_OFFERED && r == mine[h] ->
		if
		:: faults > 0 -> faults--; end_early(h, true)
		:: faults > 0 -> faults--; install(h, r); close_run(h)
		:: true -> install(h, r); st[h] = L_INSTALLING
		fi
	:: else
	fi
}

inline take_confirm(h) {
	if
	:: st[h] == F_ANSWERED && r == mine[h] ->
		if
		:: faults > 0 -> faults--; end_early(h, true)
		:: faults > 0 -> faults--; activate(h, r); close_run(h)
		:: true -> activate(h, r); st[h] = F_ACTIVATING
		fi
	:: else
	fi
}

inline take_reject(h) {
	if
	:: r != mine[h] || st[h] == IDLE
	:: r == mine[h] && (st[h] == L_OFFERED || st[h] == F_ANSWERED) ->
		refused[h] = refused[h] | BIT(r);
		if
		:: e == NOT_NEWER -> last[h] = MAX(last[h], n)
		:: else
		fi;
		remove(h); end_run(h, true)
	:: r == mine[h] && st[h] == L_CONFIRMED -> uncommit(h); end_run(h, true)
	:: else
	fi
}

inline take(h) {
	to[h]?t, l, r, e, n;
	if
	:: t == HELLO -> take_hello(h)
	:: t != HELLO && l != bound[h] /* of a link that is gone */
	:: t != HELLO && l == bound[h] ->
		if
		:: t == OFFER -> take_offer(h)
		:: t == ANSWER -> take_answer(h)
		:: t == CONFIRM -> take_confirm(h)
		:: t == REJECT -> take_reject(h)
		:: t == REKEY -> start(h)
		:: t == DONE ->
			if
			:: st[h] == L_CONFIRMED && r == mine[h] -> retire(h); end_run(h, false)
			:: else
			fi
		fi
	fi
}

/* Messages of a link that both ends have left. */
inline forget_letters(h) {
	do
	:: len(to[h]) != 0 -> to[h]?t, l, r, e, n
	:: else -> break
	od;
	t = 0; l = 0; r = 0; e = 0; n = 0
}

/* ---- a host --------------------------------------------------------------------------------------- */

proctype Host(byte h) {
end:	do
	:: atomic { alive[h] && WAITS(h) && nempty(to[h]) -> begin_step(); take(h); check() }

	/* an IPsec call succeeds or fails */
	:: atomic { alive[h] && st[h] == F_INSTALLING -> begin_step();
		send(h, ANSWER, mine[h], 0, 0);
		exposed[h] = exposed[h] | BIT(mine[h]);
		st[h] = F_ANSWERED; check() }
#ifdef BREAK_I1
	:: atomic { alive[h] && (st[h] == F_ANSWERED || st[h] == IDLE) && mine[h] != 0 &&
		!HAS(used_in[h], mine[h]) -> install(h, mine[h]) }
#endif
	:: atomic { alive[h] && st[h] == L_INSTALLING -> begin_step();
#ifdef BREAK_I5
		remove_out(h, cur[h]);
#endif
		if
		:: faults > 0 -> faults--; end_early(h, true)
#ifndef BREAK_I5
		:: faults > 0 -> faults--; activate(h, mine[h]); close_run(h)
#endif
		:: true -> st[h] = L_OPENED;
#ifndef BREAK_I5
			activate(h, mine[h])
#endif
		fi;
		check() }
	:: atomic { alive[h] && st[h] == L_OPENED -> begin_step();
#ifdef BREAK_I5
		activate(h, mine[h]);
#endif
		commit(h);
		send(h, CONFIRM, mine[h], 0, 0);
		exposed[h] = exposed[h] | BIT(mine[h]);
		st[h] = L_CONFIRMED; check() }
	:: atomic { alive[h] && st[h] == F_ACTIVATING -> begin_step();
		commit(h);
		send(h, DONE, mine[h], 0, 0);
		retire(h); end_run(h, false); check() }

	/* timers */
	:: atomic { alive[h] && retry[h] && st[h] == IDLE && LEADS(h) -> begin_step();
		start(h); check() }
	:: atomic { alive[h] && retired[h] != 0 && WAITS(h) -> begin_step();
		x = RUNS;
		do
		:: x > 0 && HAS(retired[h], x) -> remove_out(h, x); remove_in(h, x); x--
		:: x > 0 && !HAS(retired[h], x) -> x--
		:: else -> break
		od;
		retired[h] = 0; check() }
	:: atomic { alive[h] && WAITS(h) && faults > 0 && st[h] != IDLE -> begin_step();
		faults--; /* no reply within the time limit */
		close_run(h); check() }

	/* links */
	:: atomic { alive[h] && WAITS(h) && ((bound[h] != 0 && (bound[h] != newest || cut)) ||
		(greeting[h] != 0 && (greeting[h] != newest || cut))) -> begin_step();
		if
		:: bound[h] != 0 && (bound[h] != newest || cut) ->
			end_early(h, false); bound[h] = 0; retry[h] = false
		:: else
		fi;
		if
		:: greeting[h] != newest || cut -> greeting[h] = 0; forget_letters(h)
		:: else
		fi;
		check() }
	:: atomic { alive[h] && WAITS(h) && bound[h] == 0 && greeting[h] == 0 && alive[1 - h] &&
		WAITS(1 - h) ->
		forget_letters(h);
		if
		:: bound[1 - h] == 0 && h == 0 -> forget_letters(1)
		:: bound[1 - h] == 0 && h == 1 -> forget_letters(0)
		:: else
		fi;
		newest = newest % LINKS + 1; cut = false; dialler = h;
		greeting[0] = newest; greeting[1] = newest;
		to[1 - h]!HELLO, newest, cur[h], cur_epoch[h], MAX(last[h], cur_epoch[h]);
		to[h]!HELLO, newest, cur[1 - h], cur_epoch[1 - h], MAX(last[1 - h], cur_epoch[1 - h]) }

	/* restart: the peer may be sending to an SA of the earlier run of the agent */
	:: atomic { !alive[h] -> alive[h] = true;
#ifndef SOFT
		held[h] = in_[h] | out_[h]
#endif
		}
	od
}

/* ---- the environment --------------------------------------------------------------------------------- */

inline crash(h) {
	alive[h] = false;
	st[h] = IDLE; mine[h] = 0; epoch[h] = 0;
	cur[h] = 0; cur_epoch[h] = 0; former[h] = 0; former_epoch[h] = 0;
	last[h] = 0; peer_last[h] = 0; held[h] = 0; retired[h] = 0; retry[h] = false;
	bound[h] = 0; greeting[h] = 0; cut = true;
	forget_letters(h);
#ifdef SOFT
	lost[h] = lost[h] | in_[h];
	in_[h] = 0; out_[h] = 0; sel[h] = 0; excused[h] = true;
#endif
	check()
}

active proctype Environment() {
	byte h;

	atomic { alive[0] = true; alive[1] = true; run Host(0); run Host(1) }
	do
	:: atomic { faults > 0 && newest > 0 && !cut -> faults--; cut = true }
	:: atomic { faults > 0 && alive[0] -> faults--; begin_step(); crash(0) }
	:: atomic { faults > 0 && alive[1] -> faults--; begin_step(); crash(1) }
	:: atomic { rekeys > 0 && alive[0] && WAITS(0) -> rekeys--; begin_step(); want(0); check() }
	:: atomic { rekeys > 0 && alive[1] && WAITS(1) -> rekeys--; begin_step(); want(1); check() }
	:: break
	od;

	/* No event is left. */
	timeout;
	assert(st[0] == IDLE && st[1] == IDLE);                                  /* no deadlock */
	assert(cur[0] != 0 && cur[0] == cur[1] && cur_epoch[0] == cur_epoch[1]); /* I2 */
	assert(sel[0] == cur[0] && sel[1] == cur[1]);                            /* I2 */
	assert(in_[0] == BIT(cur[0]) && out_[0] == BIT(cur[0]));                 /* I3 */
	assert(in_[1] == BIT(cur[1]) && out_[1] == BIT(cur[1]))                  /* I3 */
}
