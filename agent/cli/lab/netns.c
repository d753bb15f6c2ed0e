/*
 * agent/cli/lab/netns.c - network namespaces for the hosts of a lab on this machine.
 */
#include "agent/cli/lab/netns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/lab/parallel.h"

#define NETNS_DIR "/run/netns"

/* Runs a script on this machine. */
static int run_shell(const char *script, const char *what, struct err *e)
{
	struct parallel_command j = {.argv = {"sh", "-eu"},
				     .input = script,
				     .input_len = strlen(script)};

	if (parallel_run(&j, 1, 1, 60000, e) < 0)
		return -1;
	if (j.status == 0)
		return 0;
	return err_set(e, ERR_OS, "%s: %s", what, parallel_last_line(&j));
}

static int run_script(const struct lab_session *r,
		      void (*write)(struct parallel_text *t, const struct lab_session *r),
		      const char *what, struct err *e)
{
	struct parallel_text t;
	int rc;

	if (!parallel_text_init(&t, 1024 + r->lab.n_hosts * 2048))
		return err_set(e, ERR_BUG, "no memory for a script");
	write(&t, r);
	rc = run_shell(t.buf, what, e);
	free(t.buf);
	return rc;
}

/* A bridge in a namespace of its own connects the hosts. `ip -batch` keeps the number of
 * processes low. */
static void write_creation(struct parallel_text *t, const struct lab_session *r)
{
	char addr[ADDR_TEXT];

	parallel_text_add(t, "s=%s\nip -batch - <<'END'\nnetns add %s\n", r->netns, r->netns);
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		parallel_text_add(t, "netns add %s\n", r->hosts[i].netns);
	parallel_text_add(
		t, "END\nip -n $s -batch - <<'END'\nlink add br0 type bridge\nlink set br0 up\n");
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		parallel_text_add(t,
				  "link add p%zu type veth peer name eth0 netns %s\n"
				  "link set p%zu master br0 up\n",
				  i, r->hosts[i].netns, i);
	parallel_text_add(t, "END\n");
	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		const struct lab_host *h = &r->lab.hosts[i];

		parallel_text_add(t,
				  "ip -n %s -batch - <<'END'\nlink set lo up\nlink set eth0 up\n",
				  r->hosts[i].netns);
		for (size_t k = 0; k < h->ats; k++) {
			bool six = h->at[k].addr.len == 16;

			addr_put(addr, &h->at[k].addr);
			parallel_text_add(t, "addr add %s/%s dev eth0\n", addr,
					  six ? "128 nodad" : "32");
			parallel_text_add(t, "route replace %s\n",
					  six ? "::/0 dev eth0" : "0.0.0.0/0 dev eth0 scope link");
		}
		parallel_text_add(t, "END\n");
	}
}

static void write_removal(struct parallel_text *t, const struct lab_session *r)
{
	for (size_t i = 0; i <= r->lab.n_hosts; i++) {
		const char *name = i < r->lab.n_hosts ? r->hosts[i].netns : r->netns;

		parallel_text_add(t,
				  "if [ -e " NETNS_DIR "/%s ]; then\n"
				  "for p in $(ip netns pids %s 2>/dev/null); do kill -9 $p; done\n"
				  "ip netns del %s\nfi\n",
				  name, name, name);
	}
}

bool netns_work(void)
{
	struct err ignored = {0};

	return run_shell(
		       "n=sapair-try-$$\nip netns add $n\nip -n $n link add br0 type bridge && rc=0 "
		       "|| rc=1\nip netns del $n\nexit $rc\n",
		       "namespaces", &ignored) == 0;
}

bool netns_exists(const char *name)
{
	char path[OS_PATH_MAX];

	return os_path_join(path, NETNS_DIR, name, NULL) == 0 && os_exists(path);
}

int netns_make(const struct lab_session *r, struct err *e)
{
	struct err ignored = {0};

	run_script(r, write_removal, "namespaces", &ignored);
	if (run_script(r, write_creation, "namespaces", e) == 0)
		return 0;
	run_script(r, write_removal, "namespaces", &ignored);
	return -1;
}

int netns_remove(const struct lab_session *r, struct err *e)
{
	return run_script(r, write_removal, "removing namespaces", e);
}
