/*
 * agent/cli/verb.c - the table of verbs, and what a command line does with it.
 */
#include "agent/cli/verb.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/out.h"

#define NONE                            \
	{                               \
		NULL, NULL, NULL, false \
	}

static const struct option json_option[] = {
	{"json", NULL, "results as JSON, one object a line", false},
	NONE,
};
const struct option verb_control[] = {
	{"control", "PATH", "the agent's control socket", false},
	NONE,
};
const struct option verb_timeout[] = {
	{"control", "PATH", "the agent's control socket", false},
	{"timeout", "SECONDS", "give up after that; 0: never (default 30)", false},
	NONE,
};

static const struct option run_options[] = {
	{"config", "FILE", "the config file (default: sapair.json in the config directory)", false},
	{"dir", "DIR", "instead of the config directory", false},
	{"bundle", "FILE", "a lab host's bundle: identity, CA and config in one", false},
	{"peer", "ADDRESS[:PORT]", "pair with this host; may be repeated", true},
	{"pin", "sha256:HEX", "the key of the --peer before it", true},
	{"ppk", "FILE", "the pre-shared PPK of the --peer before it", true},
	{"listen", "ADDRESS[:PORT]", "listen here (default: everywhere, port 4510)", true},
	{"name", "NAME", "our own name (default: that of the certificate)", false},
	{"cert", "FILE", "our certificate (default: sapair.crt)", false},
	{"key", "FILE", "its private key (default: sapair.key)", false},
	{"ca", "FILE", "CA certificates that peers are judged by (default: ca.crt)", false},
	{"backend", "NAME", "auto, or one that `sapair version` lists", false},
	{"control", "PATH", "where to put the control socket", false},
	{"log", "LEVEL", "error, warn, info or debug", false},
	{"esp-port", "PORT", "our UDP port for ESP (back end soft)", false},
	{"allow-lab", NULL, "accept lab identities", false},
	NONE,
};
static const struct option up_options[] = {
	{"all", NULL, "every peer", false},
	{"pin", "sha256:HEX", "the key of a peer that is not in the config", false},
	{"no-wait", NULL, "do not wait until the pair is up", false},
	{"wait", NULL, "wait until it is up and verified (the default)", false},
	{"no-verify", NULL, "do not verify the pair", false},
	NONE,
};
static const struct option all_options[] = {
	{"all", NULL, "every peer", false},
	NONE,
};
static const struct option rekey_options[] = {
	{"all", NULL, "every peer", false},
	{"wait", NULL, "wait until the old SAs are gone, too", false},
	{"no-wait", NULL, "return once it is started", false},
	{"no-verify", NULL, "do not verify the new pair", false},
	{"parallel", "N", "with --all: so many at once (default 16)", false},
	{"reason", "TEXT", "told in events", false},
	NONE,
};
static const struct option verify_options[] = {
	{"all", NULL, "every peer", false},
	{"count", "N", "probes (default 3)", false},
	{"interval", "MS", "between two of them (default 0)", false},
	{"parallel", "N", "with --all: so many peers at once (default 16)", false},
	NONE,
};
static const struct option watch_options[] = {
	{"count", "N", "end after that many events", false},
	{"timeout", "SECONDS", "end after that (default: never)", false},
	NONE,
};
static const struct option check_options[] = {
	{"config", "FILE", "the same as FILE", false},
	NONE,
};
static const struct option plan_options[] = {
	{"config", "FILE", "the same as FILE", false},
	{"apply", NULL, "put the policies in place", false},
	NONE,
};
static const struct option clean_options[] = {
	{"check", NULL, "only look", false},
	{"backend", "NAME", "default: the system's own", false},
	{"control", "PATH", "the control socket of an agent that must not run", false},
	NONE,
};
#ifdef _WIN32
static const struct option service_options[] = {
	{"config", "FILE", "of the agent (default: sapair.json of the usual place)", false},
	NONE,
};
#endif
static const struct option id_show_options[] = {
	{"pin", NULL, "print the pin alone", false},
	{"dir", "DIR", "where sapair.crt and sapair.key are", false},
	NONE,
};
/* clang-format off */
#define MAKING                                                                           \
	{"not-before", "DATE", "2026-11-23 or 2026-11-23T10:00:00Z (default: 5 min ago)", false}, \
	{"not-after", "DATE", "instead of --days", false},                               \
	{"lab", NULL, "mark it as a lab identity", false}
/* clang-format on */
static const struct option id_new_options[] = {
	{"name", "NAME", "default: the host's name", false},
	{"address", "ADDRESS", "an address of this host; may be repeated", true},
	{"days", "N", "valid so long (default 825)", false},
	{"dir", "DIR", "default: the config directory", false},
	{"force", NULL, "replace what is there", false},
	MAKING,
	NONE,
};
static const struct option ca_new_options[] = {
	{"name", "NAME", "default: sapair-ca", false},
	{"days", "N", "valid so long (default 3650)", false},
	{"dir", "DIR", "default: the config directory", false},
	{"force", NULL, "replace what is there", false},
	MAKING,
	NONE,
};
static const struct option ca_issue_options[] = {
	{"address", "ADDRESS", "of that host; may be repeated", true},
	{"days", "N", "valid so long (default 825)", false},
	{"dir", "DIR", "where ca.crt and ca.key are (default: the config directory)", false},
	{"out", "DIR", "where to write (default: here)", false},
	{"force", NULL, "replace what is there", false},
	MAKING,
	NONE,
};
static const struct option ca_sign_options[] = {
	{"name", "NAME", "default: the one in the certificate", false},
	{"address", "ADDRESS", "of that host; may be repeated", true},
	{"days", "N", "valid so long (default 825)", false},
	{"dir", "DIR", "where ca.crt and ca.key are (default: the config directory)", false},
	{"out", "FILE", "default: NAME.crt here", false},
	{"force", NULL, "replace what is there", false},
	MAKING,
	NONE,
};
static const struct option ca_renew_options[] = {
	{"days", "N", "valid so long (default 825)", false},
	{"not-before", "DATE", "default: 5 min ago", false},
	{"not-after", "DATE", "instead of --days", false},
	{"dir", "DIR", "where ca.crt and ca.key are (default: the config directory)", false},
	NONE,
};
static const struct option ca_show_options[] = {
	{"dir", "DIR", "where ca.crt is (default: the config directory)", false},
	NONE,
};

static const struct option invite_options[] = {
	{"ttl", "TIME", "the token ends after that: 90s, 5m, 1h (default 5m)", false},
	{"address", "ADDRESS", "of this host, as the other one reaches it", false},
	{"listen", "ADDRESS[:PORT]", "wait there for it (default: everywhere, port 4511)", false},
	{"port", "PORT", "TCP port of our agent (default: that of the config, or 4510)", false},
	{"dir", "DIR", "instead of the config directory", false},
	{"force", NULL, "replace a peer of that name", false},
	{"run", NULL, "then run the agent, if none runs", false},
	NONE,
};
static const struct option join_options[] = {
	{"name", "NAME", "what to call the inviter (default: its own name)", false},
	{"local", "ADDRESS", "our address of the pair, from which we call", false},
	{"port", "PORT", "TCP port of our agent (default: that of the config, or 4510)", false},
	{"dir", "DIR", "instead of the config directory", false},
	{"force", NULL, "replace a peer of that name", false},
	{"run", NULL, "then run the agent, if none runs", false},
	NONE,
};
static const struct option export_options[] = {
	{"follow", "DIR", "write DIR/esp_sa, and go on until the pair is down", false},
	{"esn-field", NULL, "a ninth field, as newer Wireshark has it", false},
	NONE,
};
static const struct option script_options[] = {
	{"out", "FILE|-", "where to: a new file of its owner's alone, or - for stdout", false},
	NONE,
};
static const struct option doctor_options[] = {
	{"config", "FILE", "the config file (default: sapair.json in the config directory)", false},
	NONE,
};
static const struct option metrics_options[] = {
	{"file", "FILE", "write it there, in one step, for a textfile collector", false},
	NONE,
};
static const struct option lab_init_options[] = {
	{"ttl", "TIME", "the lab ends after that: 90m, 4h, 2d (default 4h)", false},
	{"out", "DIR", "where to write the bundles (default: here)", false},
	{"renew", NULL, "replace bundles of another lab file, or that are about to end", false},
	{"force", NULL, "replace what is there", false},
	{"check", NULL, "only say whether anything would change", false},
	NONE,
};

/* clang-format off */
#define LAB                                                                              \
	{"dir", "DIR", "the lab's folder (default: beside the control socket)", false},   \
	{"ssh-config", "FILE", "for ssh -F", false},                                      \
	{"program", "PATH", "sapair on the hosts; without it ours is copied there", false},    \
	{"exe", "FILE", "sapair.exe, for Windows hosts (default: beside our own)", false}
/* clang-format on */
static const struct option lab_up_options[] = {
	{"here", NULL, "make the hosts on this machine, in namespaces of their own", false},
	{"loopback", NULL, "with --here: on loopback addresses instead", false},
	{"ttl", "TIME", "the lab ends after that: 90m, 4h, 2d (default 4h)", false},
	{"timeout", "SECONDS", "for all pairs to be up and proven (default 30)", false},
	LAB,
	NONE,
};
static const struct option lab_options[] = {
	LAB,
	NONE,
};
static const struct option lab_verify_options[] = {
	{"count", "N", "probes of each direction (default 3)", false},
	{"timeout", "SECONDS", "give up after that (default 30)", false},
	LAB,
	NONE,
};
static const struct option lab_rekey_options[] = {
	{"parallel", "N", "so many pairs at once (default 8)", false},
	{"timeout", "SECONDS", "give up after that (default 30)", false},
	LAB,
	NONE,
};

const struct verb verbs[] = {
	{"run",
	 "",
	 "run the agent, in the foreground",
	 "Without --config and --peer it takes sapair.json of the config directory. Relative names\n"
	 "in a config file are relative to it; certificate, key and CA lie beside it by default.",
	 "sapair run --peer 192.0.2.2",
	 {run_options},
	 0,
	 0,
	 v_run},
	{"status",
	 "[PEER]",
	 "what is in force",
	 "With a PEER that is not up: exit 3.",
	 "sapair status --json",
	 {verb_timeout},
	 0,
	 1,
	 v_status},
	{"up",
	 "PEER|ADDRESS|--all",
	 "pair, and wait until it is verified",
	 "An ADDRESS that is not in the config becomes a peer until the agent ends.",
	 "sapair up beta --timeout 60",
	 {up_options, verb_timeout},
	 0,
	 1,
	 v_up},
	{"down",
	 "PEER|--all",
	 "take SAs and policy of a pair away",
	 NULL,
	 "sapair down beta",
	 {all_options, verb_timeout},
	 0,
	 1,
	 v_down},
	{"rekey",
	 "PEER|--all",
	 "new SPIs and keys now, without losing a packet",
	 "Returns when both ends have switched and the new pair is verified. The receipt says what\n"
	 "was done. On failure the old pair stays in force.",
	 "sapair rekey --all --json",
	 {rekey_options, verb_timeout},
	 0,
	 1,
	 v_rekey},
	{"verify",
	 "PEER|--all",
	 "prove that the pair carries traffic",
	 "Probes go through the SAs to the peer's agent and back. Exit 8: they do not arrive.",
	 "sapair verify beta --count 100",
	 {verify_options, verb_timeout},
	 0,
	 1,
	 v_verify},
	{"watch",
	 "[PEER]",
	 "events as they happen",
	 NULL,
	 "sapair watch --json",
	 {watch_options, verb_control},
	 0,
	 1,
	 v_watch},
	{"reload",
	 "",
	 "apply changes of config and certificates",
	 "Only what differs is touched; on an error nothing is.",
	 "sapair reload",
	 {verb_timeout},
	 0,
	 0,
	 v_reload},
	{"stop", "", "end the agent", NULL, "sapair stop", {verb_timeout}, 0, 0, v_stop},
	{"check",
	 "[FILE]",
	 "is the config right? changes nothing",
	 NULL,
	 "sapair check /etc/sapair/sapair.json",
	 {check_options},
	 0,
	 1,
	 v_check},
	{"plan",
	 "[FILE]",
	 "the policies and SAs that the config asks for, beside what is there",
	 "Changes nothing; exit 10: something differs. With --apply the policies are put in place,\n"
	 "without an agent and without SAs: from then on nothing passes in clear.",
	 "sapair plan /etc/sapair/sapair.json",
	 {plan_options},
	 0,
	 1,
	 v_plan},
	{"clean",
	 "",
	 "remove what an agent left that runs no more",
	 "SAs and policies of ours only. Traffic that they protected is in clear then. With --check\n"
	 "nothing is removed; exit 10: there is something.",
	 "sapair clean --check",
	 {clean_options},
	 0,
	 0,
	 v_clean},
#ifdef _WIN32
	{"service install",
	 "",
	 "install or change the service",
	 "It starts with Windows, and again when it ends badly. Its log is the event log.",
	 "sapair service install",
	 {service_options},
	 0,
	 0,
	 v_service_install},
	{"service remove",
	 "",
	 "stop and remove the service",
	 "Filters and SAs stay: sapair down or sapair clean takes them away.",
	 "sapair service remove",
	 {NULL},
	 0,
	 0,
	 v_service_remove},
	{"service start",
	 "",
	 "start the service",
	 NULL,
	 "sapair service start",
	 {NULL},
	 0,
	 0,
	 v_service_start},
	{"service stop",
	 "",
	 "stop the service",
	 NULL,
	 "sapair service stop",
	 {NULL},
	 0,
	 0,
	 v_service_stop},
	{"service main",
	 "",
	 "run the agent for the service manager, which calls this",
	 NULL,
	 "sapair service main",
	 {service_options},
	 0,
	 0,
	 v_service_main},
	{"labhost hash",
	 "",
	 "hash of the program, for sapair lab up, which calls this",
	 NULL,
	 "sapair labhost hash",
	 {verb_control},
	 0,
	 0,
	 v_labhost_hash},
	{"labhost start",
	 "",
	 "start a lab's agent in the background, for sapair lab up",
	 "With the bundle that lies beside the program; one that runs with the same stays.",
	 "sapair labhost start --control \\\\.\\pipe\\sapair-lab",
	 {verb_control},
	 0,
	 0,
	 v_labhost_start},
	{"labhost stop",
	 "",
	 "end a lab's agent and remove its files, for sapair lab down",
	 NULL,
	 "sapair labhost stop --control \\\\.\\pipe\\sapair-lab",
	 {verb_control},
	 0,
	 0,
	 v_labhost_stop},
#endif
	{"id show",
	 "[FILE]",
	 "our identity, or that in a certificate file",
	 "`sapair id` alone does the same.",
	 "sapair id show --pin",
	 {id_show_options},
	 0,
	 1,
	 v_id_show},
	{"id new",
	 "",
	 "make a key and a certificate signed by itself",
	 "Is there one already, nothing changes.",
	 "sapair id new --name alpha --address 192.0.2.1",
	 {id_new_options},
	 0,
	 0,
	 v_id_new},
	{"ca new",
	 "",
	 "make a CA",
	 NULL,
	 "sapair ca new --name lab-ca --dir ca",
	 {ca_new_options},
	 0,
	 0,
	 v_ca_new},
	{"ca issue",
	 "NAME",
	 "make a key and a certificate for a host",
	 "At least one --address. The host gets NAME.crt, NAME.key and ca.crt.",
	 "sapair ca issue alpha --address 192.0.2.1 --dir ca --out alpha",
	 {ca_issue_options},
	 1,
	 1,
	 v_ca_issue},
	{"ca sign",
	 "CERT",
	 "certify the key in a certificate that a host made",
	 "At least one --address. The private key never leaves its host.",
	 "sapair ca sign alpha-self.crt --address 192.0.2.1 --out alpha.crt",
	 {ca_sign_options},
	 1,
	 1,
	 v_ca_sign},
	{"ca renew",
	 "CERT",
	 "new dates for a host's certificate, in its place",
	 "Key, name and addresses stay; the CA may be another one than before. An agent takes the new\n"
	 "file by itself, and no pair notices.",
	 "sapair ca renew alpha/alpha.crt --dir ca",
	 {ca_renew_options},
	 1,
	 1,
	 v_ca_renew},
	{"ca show",
	 "",
	 "the CA's certificate",
	 NULL,
	 "sapair ca show --dir ca",
	 {ca_show_options},
	 0,
	 0,
	 v_ca_show},
	{"invite",
	 "NAME",
	 "let one other host pair with us, by a token",
	 "Prints the line to type on the other host, and waits for it. The token works once, for one\n"
	 "guess, and until its end. Both hosts then hold the other's pin, in peers.d/NAME.json.",
	 "sapair invite beta --ttl 5m --address 192.0.2.1",
	 {invite_options, verb_control},
	 1,
	 1,
	 v_invite},
	{"join",
	 "TOKEN|-",
	 "pair with the host that made the token",
	 "- reads the token from stdin, where no list of processes shows it.",
	 "sapair join 192.0.2.1:4511/5f0c...",
	 {join_options, verb_timeout},
	 1,
	 1,
	 v_join},
	{"export esp-sa",
	 "[PEER]",
	 "keys of SAs as Wireshark's ESP SA table",
	 "Only where the config has export_keys. With --follow the table grows with each rekey; the file\n"
	 "is its owner's alone, and goes when the pair or the agent does.",
	 "sapair export esp-sa --follow ~/.config/wireshark",
	 {export_options, verb_control},
	 0,
	 1,
	 v_export_esp_sa},
	{"export script",
	 "PEER",
	 "a pair with a host that has no agent: its half, as ip xfrm lines",
	 "Makes one pair by hand: our half is installed, the other is a shell script for a Linux host\n"
	 "with iproute2; \"down\" as its argument takes it away again. Lab identities only.",
	 "sapair export script beta --out - | ssh root@beta sh",
	 {script_options, verb_control},
	 1,
	 1,
	 v_export_script},
	{"lab init",
	 "FILE",
	 "a throw-away CA, and one bundle for each host of a lab",
	 "Each HOST.bundle is all that its host needs: sapair run --bundle HOST.bundle. The CA's key\n"
	 "is kept nowhere. Are good bundles of the same file there already, nothing changes.",
	 "sapair lab init lab.json --ttl 4h --out bundles",
	 {lab_init_options},
	 1,
	 1,
	 v_lab_init},
	{"lab up",
	 "FILE",
	 "every host of a lab up, every pair proven",
	 "Through ssh to the hosts that have \"ssh\" in the lab file, or with --here on this machine:\n"
	 "in network namespaces as root, else on loopback addresses. What runs already stays.",
	 "sapair lab up lab.json --here",
	 {lab_up_options},
	 1,
	 1,
	 v_lab_up},
	{"lab status",
	 "FILE",
	 "all pairs of a lab, seen from both ends",
	 NULL,
	 "sapair lab status lab.json",
	 {lab_options},
	 1,
	 1,
	 v_lab_status},
	{"lab verify",
	 "FILE",
	 "prove every pair of a lab in both directions",
	 NULL,
	 "sapair lab verify lab.json --count 100",
	 {lab_verify_options},
	 1,
	 1,
	 v_lab_verify},
	{"lab rekey",
	 "FILE",
	 "new SPIs and keys for every pair of a lab",
	 NULL,
	 "sapair lab rekey lab.json --parallel 4",
	 {lab_rekey_options},
	 1,
	 1,
	 v_lab_rekey},
	{"lab down",
	 "FILE",
	 "end a lab; nothing is left of it",
	 "A host that cannot be reached is told, and a second run comes back to it.",
	 "sapair lab down lab.json",
	 {lab_options},
	 1,
	 1,
	 v_lab_down},
	{"doctor",
	 "[PEER]",
	 "what an agent needs here and on the way to its peers",
	 "Changes nothing. Each thing that is wrong is told with its cause and the next step; the exit\n"
	 "status is that of the first.",
	 "sapair doctor beta",
	 {doctor_options, verb_control},
	 0,
	 1,
	 v_doctor},
	{"metrics",
	 "",
	 "numbers of the agent and its pairs for Prometheus",
	 "With --json the status document that they are made of.",
	 "sapair metrics --file /var/lib/node_exporter/sapair.prom",
	 {metrics_options, verb_control},
	 0,
	 0,
	 v_metrics},
	{"completion",
	 "SHELL",
	 "what bash, zsh, fish or powershell need to complete commands",
	 NULL,
	 "sapair completion bash > /etc/bash_completion.d/sapair",
	 {NULL},
	 1,
	 1,
	 v_completion},
	{"version",
	 "",
	 "versions of program and libraries, back ends",
	 NULL,
	 "sapair version",
	 {NULL},
	 0,
	 0,
	 v_version},
	{"help",
	 "[VERB]",
	 "this list, or all about a verb",
	 NULL,
	 "sapair help rekey",
	 {NULL},
	 0,
	 2,
	 v_help},
	{NULL, NULL, NULL, NULL, NULL, {NULL}, 0, 0, NULL},
};

/* ---- finding --------------------------------------------------------------------------- */

const struct verb *verb_find(char **argv, size_t n, size_t *took)
{
	char two[64];

	*took = 0;
	if (n == 0)
		return NULL;
	if (n > 1)
		snprintf(two, sizeof two, "%s %s", argv[0], argv[1]);
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		bool is_two = strchr(v->name, ' ') != NULL;

		if (is_two && n > 1 && strcmp(v->name, two) == 0)
			*took = 2;
		else if (!is_two && strcmp(v->name, argv[0]) == 0)
			*took = 1;
		else
			continue;
		return v;
	}
	/* "sapair id", also with options or a file behind it. */
	if (strcmp(argv[0], "id") == 0) {
		static char show[] = "show";
		char *both[] = {argv[0], show};
		const struct verb *v = verb_find(both, 2, took);

		*took = 1;
		return v;
	}
	return NULL;
}

const char *verb_near(const char *name)
{
	const char *near = NULL;
	unsigned best = 100;

	for (const struct verb *v = verbs; v->name != NULL; v++)
		if (args_nearer(name, v->name, &best))
			near = v->name;
	return near;
}

static int unknown(char **argv, size_t n, struct err *e)
{
	char name[64];
	const char *near;

	if ((strcmp(argv[0], "ca") == 0 || strcmp(argv[0], "lab") == 0) && n > 1 &&
	    argv[1][0] != '-')
		snprintf(name, sizeof name, "%s %s", argv[0], argv[1]);
	else
		snprintf(name, sizeof name, "%s", argv[0]);
	near = verb_near(name);
	if (strcmp(name, "ca") == 0)
		err_set(e, ERR_USAGE, "ca: new, issue, sign, renew or show?");
	else if (strcmp(name, "lab") == 0)
		err_set(e, ERR_USAGE, "lab: init, up, status, verify, rekey or down?");
	else if (near != NULL)
		err_set(e, ERR_USAGE, "unknown verb \"%s\"; did you mean \"%s\"?", name, near);
	else
		err_set(e, ERR_USAGE, "unknown verb \"%s\"", name);
	return err_hint(e, "sapair help lists the verbs");
}

/* ---- doing ----------------------------------------------------------------------------- */

/* What was typed fits the verb? */
static int check_words(const struct args *a, struct err *e)
{
	const struct verb *v = a->verb;

	if (a->n_words > v->most)
		err_set(e, ERR_USAGE, "%s: \"%s\" is one word too many", v->name,
			a->words[v->most]);
	else if (a->n_words < v->least)
		err_set(e, ERR_USAGE, "%s: %s is missing", v->name, v->words);
	else
		return 0;
	return -1;
}

static int read_args(struct args *a, const struct verb *v, char **argv, size_t n, struct err *e)
{
	const struct option *lists[OPTION_LISTS_MAX + 2] = {json_option};
	size_t k = 1;

	for (size_t i = 0; i < OPTION_LISTS_MAX && v->lists[i] != NULL; i++)
		lists[k++] = v->lists[i];
	if (args_read(a, lists, argv, n, e) < 0)
		return err_in(e, "%s", v->name);
	a->verb = v;
	return a->help ? 0 : check_words(a, e);
}

static int do_verb(const struct verb *v, char **argv, size_t n)
{
	struct args a;
	struct err e = {0};
	int status = read_args(&a, v, argv, n, &e);

	if (status < 0) {
		char hint[80];

		snprintf(hint, sizeof hint, "sapair %s --help tells more", v->name);
		e.hint = e.hint != NULL ? e.hint : hint;
		out_error(a.json, NULL, &e);
		status = err_exit_status(e.code);
	} else if (a.help) {
		struct args help = {.verb = v, .json = a.json, .help = true};

		status = v_help(&help, &e);
	} else {
		status = v->run(&a, &e);
		if (status < 0) {
			out_error(a.json, NULL, &e);
			status = err_exit_status(e.code);
		}
	}
	args_free(&a);
	if (!out_flush() && status == 0) {
		err_set(&e, ERR_OS, "the output could not be written");
		out_error_text(NULL, e.cause, err_exit_status(e.code), NULL);
		status = err_exit_status(e.code);
	}
	return status;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int verb_run(int argc, char **argv)
{
	static char help[] = "help", version[] = "version";
	size_t n = argc > 1 ? (size_t)argc - 1 : 0, took;
	const struct verb *v;
	bool json = false;
	struct err e = {0};

	out_setup();
	if (n == 0) {
		struct args none = {.verb = NULL};

		v_help(&none, &e);
		out_flush();
		return err_exit_status(ERR_USAGE);
	}
	argv++;
	if (is_one_of(argv[0], "--help", "-h"))
		argv[0] = help;
	else if (is_one_of(argv[0], "--version", "-V"))
		argv[0] = version;
	v = verb_find(argv, n, &took);
	if (v != NULL)
		return do_verb(v, argv + took, n - took);
	for (size_t i = 1; i < n; i++)
		json = json || strcmp(argv[i], "--json") == 0;
	unknown(argv, n, &e);
	out_error(json, NULL, &e);
	return err_exit_status(e.code);
}
