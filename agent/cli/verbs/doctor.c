/*
 * agent/cli/verbs/doctor.c - doctor: checks this host and the path to its peers; reports each
 * problem with a remedy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/conf.h"
#include "agent/cli/request.h"
#include "agent/os/creds.h"
#include "agent/ipsec/ipsec.h"
#include "crypto/date.h"

#define REACH_MS 3000
#define ANSWER_MS 5000
#define TEXT_MAX_ 400
#define FINDINGS_MAX 256

enum health { FINE, DOUBTFUL, WRONG };

struct finding {
	const char *check;
	char peer[MSG_NAME_MAX + 1];
	enum health health;
	int exit;
	char text[TEXT_MAX_];
	const char *hint;
};

struct doctor {
	const struct args *args;
	struct config cfg;
	bool has_config;
	struct json_doc *status; /* status of a running agent; NULL: none is running */
	const char *peer;        /* that the findings concern; NULL: this host */
	struct finding *list;
	size_t n;
};

/* ---- findings -------------------------------------------------------------------------- */

/* hint may be NULL. The exit status of a problem is ERR_USAGE's unless the caller sets another. */
static struct finding *find(struct doctor *d, const char *check, enum health h, const char *hint,
			    const char *fmt, ...) PRINTF_LIKE(5, 6);
static struct finding *find(struct doctor *d, const char *check, enum health h, const char *hint,
			    const char *fmt, ...)
{
	struct finding *f = &d->list[d->n < FINDINGS_MAX ? d->n++ : FINDINGS_MAX - 1];
	va_list ap;

	*f = (struct finding){.check = check, .health = h, .hint = hint};
	snprintf(f->peer, sizeof f->peer, "%s", d->peer != NULL ? d->peer : "");
	f->exit = h == WRONG ? err_exit_status(ERR_USAGE) : 0;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
	return f;
}

static void find_err(struct doctor *d, const char *check, const struct err *e)
{
	find(d, check, WRONG, e->hint, "%s", e->cause)->exit = err_exit_status(e->code);
}

/* ---- this host ------------------------------------------------------------------------- */

/* request_take: keeps the status. */
static int take_status(struct request *q, const struct cJSON *d, const char *line, size_t len,
		       struct err *e)
{
	struct doctor *to = q->arg;

	(void)d;
	return to->status == NULL ? request_parse(&to->status, line, len, e) : 0;
}

/* What a peer that takes over the network process could use. */
static void look_at_confinement(struct doctor *d)
{
	const char *failed = d->status != NULL ? show_text(json_root(d->status), "unconfined", "")
					       : "";

	if (failed[0] != '\0')
		find(d, "confinement", DOUBTFUL,
		     "use a kernel with seccomp filters and Landlock (Linux 5.13)",
		     "the agent runs without: %s", failed);
}

static void look_at_agent(struct doctor *d)
{
	const char *control = args_text(d->args, "control");
	struct request q;
	struct err e = {0};

	if (control == NULL && d->cfg.control[0] != '\0')
		control = d->cfg.control;
	request_init(&q, d->args, CTL_STATUS);
	q.take = take_status;
	q.arg = d;
	q.req.timeout_ms = ANSWER_MS;
	if (request_connect(&q, control, &e) < 0) {
		if (e.code == ERR_DOWN)
			find(d, "agent", DOUBTFUL, "start it with \"sapair run\"",
			     "no agent is running");
		else
			find_err(d, "agent", &e);
		return;
	}
	if (request_converse(&q, &e) < 0 || d->status == NULL)
		find(d, "agent", WRONG, "see its log, and restart it", "running, but not answering")
			->exit = err_exit_status(ERR_DOWN);
	else
		find(d, "agent", FINE, NULL, "running, back end %s",
		     show_text(json_root(d->status), "backend", "unknown"));
	look_at_confinement(d);
	request_close(&q);
}

static int read_config(struct doctor *d, const char *path, bool is_there, struct err *e)
{
	char dir[OS_PATH_MAX];

	os_dir_of(dir, path);
	if ((is_there ? conf_read(&d->cfg, path, e) : config_init(&d->cfg, e)) < 0 ||
	    conf_peers(&d->cfg, dir, e) < 0)
		return -1;
	if (config_check(&d->cfg, e) == 0 && conf_identity(&d->cfg, dir, e) == 0)
		return 0;
	config_free(&d->cfg);
	return -1;
}

static void look_at_config(struct doctor *d)
{
	const char *config = args_text(d->args, "config");
	char path[OS_PATH_MAX], dir[OS_PATH_MAX];
	struct err e = {0};
	bool is_there;

	if (conf_find(path, config, &e) < 0) {
		find_err(d, "config", &e);
		return;
	}
	os_dir_of(dir, path);
	is_there = config != NULL || os_exists(path);
	if (!is_there && !conf_has_peers(dir))
		find(d, "config", DOUBTFUL,
		     "give its path with --config; \"sapair run --peer\" needs none",
		     "no config file %s", path);
	else if (read_config(d, path, is_there, &e) < 0)
		find_err(d, "config", &e);
	else
		d->has_config = true;
	if (d->has_config)
		find(d, "config", FINE, NULL, "%s, %zu peer%s", path, d->cfg.n_peers,
		     d->cfg.n_peers == 1 ? "" : "s");
}

static void look_at_identity(struct doctor *d)
{
	struct identity *id = NULL;
	struct err e = {0};
	int64_t now = os_wall_ms() / 1000, left;
	const struct cert_facts *f;
	char when[DATE_TEXT], today[DATE_TEXT];

	if (!d->has_config)
		return;
	if (creds_identity(&id, &d->cfg, &e) < 0) {
		find_err(d, "identity", &e);
		return;
	}
	f = identity_facts(id);
	left = f->not_after - now;
	date_put(today, now);
	date_put(when, left <= 0 ? f->not_after : f->not_before);
	if (now < f->not_before)
		find(d, "clock", WRONG, "correct this host's clock",
		     "the clock says %s, and our certificate is not valid before %s", today, when);
	else if (left <= 0)
		find(d, "certificate", WRONG,
		     "renew it with \"sapair ca renew\", or correct the clock",
		     "ours expired at %s; the clock says %s", when, today)
			->exit = err_exit_status(ERR_AUTH);
	else if (left < 30 * DATE_DAY_S)
		find(d, "certificate", DOUBTFUL, "renew it with \"sapair ca renew\"",
		     "ours expires in %d days", (int)(left / DATE_DAY_S));
	else
		find(d, "certificate", FINE, NULL, "%s, valid for %d days", f->name,
		     (int)(left / DATE_DAY_S));
	identity_free(id);
}

/* ---- addresses, ports, links ----------------------------------------------------------- */

#define ESP_BYTES 62    /* maximum ESP overhead: SPI, sequence number, IV, padding, ICV */
#define IPV6_LEAST 1280 /* minimum MTU of IPv6, RFC 8200 */

/* Finds the interface that has the address. All of 127.0.0.0/8 is local, though Linux lists one
 * address. */
static bool interface_of(const struct addr *a, char name[64])
{
	uv_interface_address_t *list;
	bool found = a->len == 4 && a->bytes[0] == 127;
	int n;

	snprintf(name, 64, "lo");
	if (uv_interface_addresses(&list, &n) != 0)
		return true; /* unknown: no finding */
	for (int i = 0; i < n && !found; i++) {
		const uv_interface_address_t *at = &list[i];

		found = at->address.address4.sin_family == AF_INET
				? a->len == 4 &&
					  memcmp(&at->address.address4.sin_addr, a->bytes, 4) == 0
				: a->len == 16 && memcmp(&at->address.address6.sin6_addr, a->bytes,
							 16) == 0;
		if (found)
			snprintf(name, 64, "%s", at->name);
	}
	uv_free_interface_addresses(list, n);
	return found;
}

static void look_at_address(struct doctor *d, const char *what, const struct addr *a, size_t *good)
{
	char text[ADDR_TEXT], name[64];

	if (a->len == 0 || addr_is_any(a))
		return;
	if (interface_of(a, name)) {
		(*good)++;
		return;
	}
	addr_put(text, a);
	find(d, "addresses", WRONG,
	     "put an address of this host into the config (see ip address), or add this one to it",
	     "%s: no interface of this host has %s", what, text);
}

static void look_at_addresses(struct doctor *d)
{
	size_t good = 0, before = d->n;

	for (size_t i = 0; i < d->cfg.listens; i++)
		look_at_address(d, "listen", &d->cfg.listen[i].addr, &good);
	for (size_t i = 0; i < d->cfg.n_peers; i++)
		look_at_address(d, d->cfg.peers[i].name, &d->cfg.peers[i].local, &good);
	if (good > 0 && d->n == before)
		find(d, "addresses", FINE, NULL, "all addresses in the config are on this host");
}

static int sockaddr_of(struct sockaddr_storage *ss, const struct endpoint *ep)
{
	char host[ADDR_TEXT];

	addr_put(host, &ep->addr);
	return ep->addr.len == 4 ? uv_ip4_addr(host, ep->port, (struct sockaddr_in *)ss)
				 : uv_ip6_addr(host, ep->port, (struct sockaddr_in6 *)ss);
}

/* Is the TCP port free? Only if no agent is running. */
static void look_at_port(struct doctor *d, const struct endpoint *ep)
{
	struct sockaddr_storage ss;
	char at[ENDPOINT_TEXT];
	uv_loop_t loop;
	uv_tcp_t tcp;
	int rc;

	endpoint_put(at, ep);
	if (sockaddr_of(&ss, ep) != 0 || uv_loop_init(&loop) != 0)
		return;
	uv_tcp_init(&loop, &tcp);
	rc = uv_tcp_bind(&tcp, (const struct sockaddr *)&ss,
			 ep->addr.len == 16 ? UV_TCP_IPV6ONLY : 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&tcp, 1, NULL);
	uv_close((uv_handle_t *)&tcp, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	if (rc == 0)
		find(d, "port", FINE, NULL, "TCP %s is free", at);
	else if (rc == UV_EADDRINUSE)
		find(d, "port", WRONG,
		     "ss -ltnp shows which; stop it, or choose another port with \"listen\"",
		     "TCP %s: in use by another program", at);
	else if (rc == UV_EACCES)
		find(d, "port", WRONG,
		     "ports below 1024 require root; choose a higher one with \"listen\"",
		     "TCP %s: %s", at, uv_strerror(rc));
}

/* MTU inside ESP. Without /sys, no finding. */
static void look_at_link(struct doctor *d, const char *local)
{
	char name[64], path[128], text[16] = "";
	struct addr a;
	long mtu;
	FILE *file;

	if (addr_parse(&a, local, NULL) < 0 || !interface_of(&a, name))
		return;
	snprintf(path, sizeof path, "/sys/class/net/%s/mtu", name);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	mtu = fgets(text, sizeof text, file) != NULL ? strtol(text, NULL, 10) : 0;
	fclose(file);
	if (mtu <= 0)
		return;
	if (mtu < IPV6_LEAST + ESP_BYTES)
		find(d, "mtu", DOUBTFUL,
		     "raise it (ip link set dev DEVICE mtu 1500), if the link supports it",
		     "%s carries packets of %ld bytes, %ld inside ESP: IPv6 needs %d", name, mtu,
		     mtu - ESP_BYTES, IPV6_LEAST);
	else
		find(d, "mtu", FINE, NULL, "%s carries packets of %ld bytes, %ld inside ESP", name,
		     mtu, mtu - ESP_BYTES);
}

static void look_at_discovery(struct doctor *d)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_no_pmtu_disc", "r");
	int c = f != NULL ? fgetc(f) : '0';

	if (f != NULL)
		fclose(f);
	if (c != '0')
		find(d, "mtu", DOUBTFUL,
		     "enable it, or long packets may be lost: sysctl net.ipv4.ip_no_pmtu_disc=0",
		     "path MTU discovery is off");
}

static void look_at_network(struct doctor *d)
{
	static const struct endpoint usual[] = {{{.len = 4}, PROTO_PORT},
						{{.len = 16}, PROTO_PORT}};

	if (!d->has_config)
		return;
	look_at_addresses(d);
	for (size_t i = 0; d->status == NULL && i < d->cfg.listens; i++)
		look_at_port(d, &d->cfg.listen[i]);
	for (size_t i = 0; d->status == NULL && d->cfg.listens == 0 && i < 2; i++)
		look_at_port(d, &usual[i]);
	look_at_discovery(d);
}

/* The suites of the config that the system supports. */
static void look_at_suites(struct doctor *d, struct ipsec *db)
{
	char missing[256] = "";
	struct ipsec_can can;
	size_t n = 0;

	ipsec_can(db, &can);
	for (size_t i = 0; i < d->cfg.n_peers; i++) {
		const struct suite_list *l = &d->cfg.peers[i].opt.suites;
		bool any = false;

		for (uint8_t k = 0; k < l->n; k++) {
			const char *name = suite_info((enum suite)l->v[k])->name;
			size_t len = strlen(missing);

			if (suite_list_has(&can.suites, (enum suite)l->v[k])) {
				any = true;
			} else if (strstr(missing, name) == NULL) {
				snprintf(missing + len, sizeof missing - len, " %s", name);
				n++;
			}
		}
		if (any)
			continue;
		find(d, "suites", WRONG,
		     "load the kernel modules (gcm, seqiv, authenc, cbc), or allow other suites with "
		     "\"suites\"",
		     "peer %s: this system supports none of its suites", d->cfg.peers[i].name);
		return;
	}
	if (n > 0)
		find(d, "suites", DOUBTFUL,
		     "the other suites suffice; the kernel modules are gcm, seqiv, authenc, cbc",
		     "this system does not support%s", missing);
	else if (d->cfg.n_peers > 0)
		find(d, "suites", FINE, NULL, "this system supports all suites of the config");
}

static int count_leftover(void *arg, const struct ipsec_leftover *l, struct err *e)
{
	size_t *n = arg;

	(void)l;
	(void)e;
	(*n)++;
	return 0;
}

static void ignore_event(void *arg, const struct ipsec_event *ev)
{
	(void)arg;
	(void)ev;
}

static void look_at_statistics(struct doctor *d, struct ipsec *db)
{
	struct err e = {0};
	char text[256];

	if (!ipsec_counts_all(db))
		return;
	if (ipsec_statistics(db, text, sizeof text, &e) < 0)
		find_err(d, "statistics", &e);
	else
		find(d, "statistics", FINE, NULL, "%s", text);
}

/* A running agent proves that its back end works; a second instance is opened only if possible. */
static void look_at_backend(struct doctor *d)
{
	const char *name = d->has_config ? d->cfg.backend : "auto";
	struct ipsec_env env = {.on_event = ignore_event};
	const bool runs = d->status != NULL;
	size_t left = 0;
	struct err e = {0};
	struct ipsec *db;
	uv_loop_t loop;

	if (runs)
		name = show_text(json_root(d->status), "backend", "unknown");
	if ((runs && strcmp(name, "wfp") != 0) || uv_loop_init(&loop) != 0)
		return;
	env.loop = &loop;
	env.looks_only = runs;
	if (ipsec_open(&db, name, &env, &e) < 0) {
		find_err(d, "back end", &e);
	} else {
		if (!runs)
			find(d, "back end", FINE, NULL, "%s", db->ops->name);
		if (!runs && d->has_config)
			look_at_suites(d, db);
		if (!runs && ipsec_recover(db, count_leftover, &left, &e) == 0 && left > 0)
			find(d, "leftovers", DOUBTFUL,
			     "the next start takes them over; sapair clean removes them",
			     "%zu SAs and policies of an earlier run", left);
		look_at_statistics(d, db);
		ipsec_close(db);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
}

/* Other IPsec daemons. Without /proc, no finding. */
static void look_at_others(struct doctor *d)
{
	static const char *const others[] = {"charon", "charon-systemd", "pluto", "iked", "racoon"};
	bool found = false;
	uv_dirent_t entry;
	uv_fs_t fs;

	if (uv_fs_scandir(NULL, &fs, "/proc", 0, NULL) < 0) {
		uv_fs_req_cleanup(&fs);
		return;
	}
	while (uv_fs_scandir_next(&fs, &entry) == 0) {
		char path[64], name[32] = "";
		FILE *f;

		if (strspn(entry.name, "0123456789") != strlen(entry.name) ||
		    strlen(entry.name) > 20)
			continue;
		snprintf(path, sizeof path, "/proc/%.20s/comm", entry.name);
		f = fopen(path, "r");
		if (f == NULL)
			continue;
		if (fgets(name, sizeof name, f) != NULL)
			name[strcspn(name, "\n")] = '\0';
		fclose(f);
		for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
			if (strcmp(others[i], name) != 0)
				continue;
			found = true;
			find(d, "others", DOUBTFUL,
			     "it may have policies for the same addresses; see \"ip xfrm policy\"",
			     "%s is running, process %s", name, entry.name);
		}
	}
	uv_fs_req_cleanup(&fs);
	if (!found)
		find(d, "others", FINE, NULL, "no other IPsec daemon is running");
}

/* ---- the way to a peer ----------------------------------------------------------------- */

struct reach {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	int status;
	char local[ADDR_TEXT];
};

static void end_reach(struct reach *r)
{
	if (!uv_is_closing((uv_handle_t *)&r->tcp))
		uv_close((uv_handle_t *)&r->tcp, NULL);
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, NULL);
}

static void on_reached(uv_connect_t *req, int status)
{
	struct reach *r = req->data;
	struct sockaddr_storage ss;
	int n = sizeof ss;

	if (status == UV_ECANCELED)
		return;
	r->status = status;
	if (status == 0 && uv_tcp_getsockname(&r->tcp, (struct sockaddr *)&ss, &n) == 0)
		uv_ip_name((const struct sockaddr *)&ss, r->local, sizeof r->local);
	end_reach(r);
}

static void on_too_late(uv_timer_t *t)
{
	end_reach(t->data);
}

/* Returns 0 or libuv's error; UV_ETIMEDOUT if there is no answer. */
static int reach(const struct endpoint *ep, char local[ADDR_TEXT])
{
	struct reach r = {.status = UV_ETIMEDOUT};
	struct sockaddr_storage ss;
	uv_loop_t loop;
	int rc = sockaddr_of(&ss, ep);

	if (rc != 0 || uv_loop_init(&loop) != 0)
		return rc != 0 ? rc : UV_ENOMEM;
	uv_tcp_init(&loop, &r.tcp);
	uv_timer_init(&loop, &r.timer);
	r.connect.data = r.timer.data = &r;
	rc = uv_tcp_connect(&r.connect, &r.tcp, (const struct sockaddr *)&ss, on_reached);
	if (rc != 0) {
		r.status = rc;
		end_reach(&r);
	} else {
		uv_timer_start(&r.timer, on_too_late, REACH_MS, 0);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	memcpy(local, r.local, ADDR_TEXT);
	return r.status;
}

static void look_at_way(struct doctor *d, const struct endpoint *ep)
{
	char at[ENDPOINT_TEXT], local[ADDR_TEXT];
	int rc = reach(ep, local);

	endpoint_put(at, ep);
	if (rc == 0) {
		find(d, "way", FINE, NULL, "TCP %s answers; the local address is %s", at, local);
		look_at_link(d, local);
		return;
	}
	find(d, "way", WRONG,
	     rc == UV_ECONNREFUSED
		     ? "start the agent there, or open the port in that host's firewall"
	     : rc == UV_ETIMEDOUT
		     ? "the host is down, or a firewall drops it: allow TCP 4510, and ESP or UDP 4500"
		     : "check the routes: ip route get ADDRESS",
	     "TCP %s: %s", at, uv_strerror(rc))
		->exit = err_exit_status(ERR_TIMEOUT);
}

static bool is_linked(const struct cJSON *p)
{
	return strcmp(show_text(p, "link", ""), "up") == 0;
}

/* What the running agent reports about a peer. */
static void look_at_pair(struct doctor *d, const struct cJSON *p)
{
	const char *state = show_text(p, "state", ""), *cause = show_text(p, "error.cause", "");
	const char *colon = cause[0] != '\0' ? ": " : "";
	double status = err_exit_status(ERR_DOWN);

	if (show_is(p, "verified") && is_linked(p)) {
		find(d, "pair", FINE, NULL, "up and verified");
	} else if (show_is(p, "verified")) {
		find(d, "pair", DOUBTFUL, "the pair expires unless they connect before",
		     "up, but the agents are not connected%s%s", colon, cause);
	} else if (strcmp(state, "up") == 0) {
		find(d, "pair", WRONG,
		     "TCP works, ESP does not: allow IP protocol 50, or use UDP encapsulation",
		     "up, but not verified%s%s", colon, cause)
			->exit = err_exit_status(ERR_VERIFY);
	} else if (strcmp(state, "down") == 0) {
		find(d, "pair", DOUBTFUL, "sapair up brings it back", "taken down on this host");
	} else {
		show_number(p, "error.exit", &status);
		find(d, "pair", WRONG, NULL, "%s%s%s", state, colon, cause)->exit = (int)status;
	}
}

static bool is_meant(const struct doctor *d, const char *name)
{
	const char *peer = args_word(d->args, 0);

	return peer == NULL || strcmp(peer, name) == 0;
}

static int look_at_peers(struct doctor *d, struct err *e)
{
	const struct cJSON *peers = d->status != NULL ? json_member(json_root(d->status), "peers")
						      : NULL;
	size_t seen = 0;

	for (const struct cJSON *p = peers != NULL ? json_first(peers) : NULL; p != NULL;
	     p = json_next(p)) {
		struct endpoint ep;

		if (!is_meant(d, show_text(p, "name", "")))
			continue;
		seen++;
		d->peer = show_text(p, "name", "");
		look_at_pair(d, p);
		if (show_is(p, "verified") && is_linked(p))
			look_at_link(d, show_text(p, "local", ""));
		else if (endpoint_parse(&ep, show_text(p, "address", ""), PROTO_PORT, NULL) == 0)
			look_at_way(d, &ep);
	}
	for (size_t i = 0; peers == NULL && i < d->cfg.n_peers; i++) {
		if (!is_meant(d, d->cfg.peers[i].name))
			continue;
		seen++;
		d->peer = d->cfg.peers[i].name;
		look_at_way(d, &d->cfg.peers[i].remote);
	}
	if (seen > 0 || args_word(d->args, 0) == NULL)
		return 0;
	err_set(e, ERR_USAGE, "no peer is called %s", args_word(d->args, 0));
	return err_hint(e, "sapair status lists the peers");
}

/* ---- what was found -------------------------------------------------------------------- */

static int print_all(const struct doctor *d)
{
	static const char *const words[] = {"ok", "warn", "fail"};
	static const enum paint paints[] = {PAINT_GOOD, PAINT_WARN, PAINT_BAD};
	size_t size = 1024 + d->n * (TEXT_MAX_ * 2 + 512);
	char *buf = d->args->json ? malloc(size) : NULL;
	struct json_out o;
	int status = 0;

	if (buf != NULL) {
		out_begin(&o, buf, size, "sapair.doctor/1");
		json_put_array(&o, "checks");
	}
	for (size_t i = 0; i < d->n; i++) {
		const struct finding *f = &d->list[i];

		if (status == 0)
			status = f->exit;
		if (buf == NULL) {
			out_painted(paints[f->health], "%-5s", words[f->health]);
			out_text("%-12s %s%s%s\n", f->check, f->peer,
				 f->peer[0] != '\0' ? ": " : "", f->text);
			if (f->hint != NULL)
				out_text("     %-12s -> %s\n", "", f->hint);
			continue;
		}
		json_put_open(&o, NULL);
		json_put_text(&o, "check", f->check);
		if (f->peer[0] != '\0')
			json_put_text(&o, "peer", f->peer);
		json_put_text(&o, "state", words[f->health]);
		json_put_text(&o, "text", f->text);
		if (f->hint != NULL)
			json_put_text(&o, "hint", f->hint);
		json_put_close(&o);
	}
	if (buf != NULL) {
		json_put_array_end(&o);
		json_put_bool(&o, "ok", status == 0);
		out_end(&o);
		free(buf);
	}
	return status;
}

static int run_doctor(const struct args *a, struct err *e)
{
	struct doctor d = {.args = a, .list = calloc(FINDINGS_MAX, sizeof *d.list)};
	int rc;

	if (d.list == NULL)
		return err_set(e, ERR_BUG, "no memory");
	look_at_config(&d);
	look_at_identity(&d);
	look_at_agent(&d);
	look_at_network(&d);
	look_at_backend(&d);
	look_at_others(&d);
	rc = look_at_peers(&d, e);
	if (rc == 0)
		rc = print_all(&d);
	json_close(d.status);
	config_free(&d.cfg);
	free(d.list);
	return rc;
}

static const struct option doctor_options[] = {
	{"config", "FILE", "config file (default: sapair.json in the config directory)", false},
	OPTION_END,
};

const struct verb verb_doctor = {
	.name = "doctor",
	.words = "[PEER]",
	.text = "diagnose this host and the path to its peers",
	.more = "Changes nothing. Reports each problem with its cause and a remedy. The exit\n"
		"status is that of the first problem.",
	.example = "sapair doctor beta",
	.options = {doctor_options, verb_control},
	.run = run_doctor,
};
