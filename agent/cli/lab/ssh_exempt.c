/*
 * agent/cli/lab/ssh_exempt.c - exempts ssh from pairs, for a lab that is started on one of its own
 * hosts.
 *
 * The policies of that host block all clear text to the other hosts, and so also the ssh
 * connections to them: until their agents run, and whenever a pair fails. Where ssh connects to
 * the address of a pair, its port is exempt from the pair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/lab/ssh_exempt.h"
#include "agent/cli/out.h"
#include "proto/json/scan.h"

#define LOOK_MS 10000u

/* The destination of ssh, as reported by `ssh -G`: ssh_config can map any name. */
struct way {
	struct parallel_command job;
	char host[256], port[8];
	bool through; /* another host */
};

static bool is_address_here(const struct addr *a)
{
	uv_interface_address_t *all;
	bool found = false;
	int n;

	if (uv_interface_addresses(&all, &n) != 0)
		return false;
	for (int i = 0; i < n && !found; i++) {
		const struct endpoint ep = os_endpoint((const struct sockaddr *)&all[i].address);

		found = addr_equal(&ep.addr, a);
	}
	uv_free_interface_addresses(all, n);
	return found;
}

/* Returns SIZE_MAX if no host is this machine. */
static size_t find_self(const struct lab *lab)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		for (size_t k = 0; k < lab->hosts[i].ats; k++)
			if (is_address_here(&lab->hosts[i].at[k].addr))
				return i;
	return SIZE_MAX;
}

static void take_line(struct parallel_command *j, char *line, size_t len)
{
	struct way *w = j->arg;

	(void)len;
	if (strncmp(line, "hostname ", 9) == 0)
		snprintf(w->host, sizeof w->host, "%s", line + 9);
	else if (strncmp(line, "port ", 5) == 0)
		snprintf(w->port, sizeof w->port, "%s", line + 5);
	else if (strncmp(line, "proxyjump ", 10) == 0 || strncmp(line, "proxycommand ", 13) == 0)
		w->through = strstr(line, " none") == NULL;
}

static void ask_ssh(struct way *w, const struct lab_session *r, size_t host)
{
	const char *config = args_text(r->args, "ssh-config");

	w->job.arg = w;
	w->job.on_line = take_line;
	PARALLEL_ADD(&w->job, "ssh", "-G");
	if (config != NULL)
		PARALLEL_ADD(&w->job, "-F", config);
	PARALLEL_ADD(&w->job, "--", r->lab.hosts[host].ssh);
}

static bool is_one_of(const struct addrinfo *found, const struct addr *a)
{
	for (; found != NULL; found = found->ai_next) {
		const struct endpoint ep = os_endpoint(found->ai_addr);

		if (addr_equal(&ep.addr, a))
			return true;
	}
	return false;
}

/* Does ssh connect directly to the address of the pair? */
static bool goes_to(const struct way *w, const struct addr *a)
{
	uv_getaddrinfo_t look;
	uv_loop_t loop;
	bool found = false;

	if (w->job.status != 0 || w->through || w->host[0] == '\0' || w->port[0] == '\0' ||
	    uv_loop_init(&loop) != 0)
		return false;
	if (uv_getaddrinfo(&loop, &look, NULL, w->host, NULL, NULL) == 0) {
		found = is_one_of(look.addrinfo, a);
		uv_freeaddrinfo(look.addrinfo);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return found;
}

static int exempt(struct peer_options *o, const char *text, struct err *e)
{
	if (!config_stops(o, text))
		return 0;
	for (size_t i = 0; i < o->policy.protects; i++)
		if (strcmp(o->policy.protect[i], text) == 0)
			return err_set(e, ERR_USAGE,
				       "\"protect\" contains %s, which ssh from this host uses",
				       text);
	if (o->policy.exempts == PROTECT_MAX)
		return err_set(e, ERR_USAGE, "no room in \"exempt\" for %s, which ssh uses", text);
	snprintf(o->policy.exempt[o->policy.exempts++], PROTECT_TEXT, "%s", text);
	return 0;
}

/* Exempts the port of ssh from a pair of this host. */
static int spare(struct lab_session *r, size_t self, struct lab_pair *pair, const struct way *ways,
		 struct err *e)
{
	const size_t other = pair->a == self ? pair->b : pair->a;
	const struct lab_host *h = &r->lab.hosts[other];
	const struct addr *a = &h->at[pair->a == self ? pair->at_b : pair->at_a].addr;
	char text[PROTECT_TEXT];

	if (h->ssh[0] == '\0' || h->system == LAB_WINDOWS || !goes_to(&ways[other], a))
		return 0;
	snprintf(text, sizeof text, "tcp/%s", ways[other].port);
	if (exempt(&pair->opt_a, text, e) < 0 || exempt(&pair->opt_b, text, e) < 0) {
		err_in(e, "host %s is this machine", r->lab.hosts[self].name);
		return err_hint(e, "run lab up on a machine that is not a host of the lab");
	}
	sha256((struct bytes[]){{r->source, SHA256_LEN},
				{h->name, strlen(h->name)},
				{text, strlen(text)}},
	       3, r->source);
	if (!r->args->json)
		out_note("%s is this machine: %s is exempt, so that ssh to %s works without a pair",
			 r->lab.hosts[self].name, text, h->name);
	return 0;
}

int lab_ssh_exempt(struct lab_session *r, struct err *e)
{
	const size_t self = r->where == LAB_SSH ? find_self(&r->lab) : SIZE_MAX;
	struct way *ways;
	int rc = 0;

	if (self == SIZE_MAX || r->lab.hosts[self].system == LAB_WINDOWS ||
	    strcmp(r->lab.backend, "soft") == 0)
		return 0;
	ways = calloc(r->lab.n_hosts, sizeof *ways);
	if (ways == NULL)
		return err_set(e, ERR_BUG, "no memory for %zu hosts", r->lab.n_hosts);
	for (size_t i = 0; i < r->lab.n_pairs && rc == 0; i++) {
		struct lab_pair *pair = &r->lab.pairs[i];
		const size_t other = pair->a == self ? pair->b : pair->a;

		if ((pair->a != self && pair->b != self) || r->lab.hosts[other].ssh[0] == '\0')
			continue;
		ask_ssh(&ways[other], r, other);
		rc = parallel_run(&ways[other].job, 1, 1, LOOK_MS, e);
		if (rc == 0)
			rc = spare(r, self, pair, ways, e);
	}
	free(ways);
	return rc;
}
