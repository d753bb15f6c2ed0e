/*
 * agent/cli/lab/session.h - the state of a running lab: the location of its hosts, and their replies.
 *
 * A shell runs the commands of every host: on this machine (in a network namespace, or on a loopback
 * address) or through ssh. The scripts are the same everywhere. Windows hosts have no such shell: they
 * get their files by sftp, and run only the program itself (windows.h).
 */
#ifndef SAPAIR_AGENT_CLI_LAB_SESSION_H
#define SAPAIR_AGENT_CLI_LAB_SESSION_H

#include "agent/cli/args.h"
#include "agent/cli/lab/labfile.h"
#include "agent/cli/lab/parallel.h"
#include "agent/cli/show.h"

/* Options of every verb for a running lab. */
/* clang-format off */
#define LAB_OPTIONS                                                                              \
	{"dir", "DIR", "the lab's directory (default: next to the control socket)", false},      \
	{"ssh-config", "FILE", "config file for ssh -F", false},                                 \
	{"program", "PATH", "sapair on the hosts (default: copy this program)", false},          \
	{"exe", "FILE", "sapair.exe for Windows hosts (default: next to this program)", false}
/* clang-format on */

/* The location of the hosts: network namespaces or loopback addresses of this machine, or other
 * machines. */
enum lab_where { LAB_NETNS, LAB_LOOPBACK, LAB_SSH };

/* HOST_MANUAL: started by hand, not asked. */
enum host_state { HOST_UNKNOWN, HOST_RUNNING, HOST_MANUAL, HOST_FAILED, HOST_GONE };

#define LAB_TAG_LEN 8
#define LAB_NETNS_MAX (2 * LAB_NAME_MAX + LAB_TAG_LEN + 32)

struct lab_host_state {
	enum host_state state;
	bool changed;
	int exit;              /* exit status, if it has failed */
	char cause[ERR_CAUSE]; /* of the failure; or the last error of its agent, if it names no pair */
	bool has_program;      /* it has the same program as this one */
	bool has_dir;          /* Windows: the lab's directory exists */
	size_t partner;        /* with_partner of struct lab_command; SIZE_MAX: none */
	struct parallel_text script, line; /* of the running command */
	char netns[LAB_NETNS_MAX];
};

/* What one host reports about its pair with another. */
struct lab_cell {
	bool seen, verified, has_rtt;
	bool is_judged, is_protected, is_carrying;
	bool is_exposed;                 /* as show_is_exposed() */
	char protection[SHOW_PROTECTED]; /* as show_protected() */
	int exit;
	double rtt_ms;
	char state[12], suite[24], epoch[24];
	char cause[ERR_CAUSE];
};

struct lab_session {
	const struct args *args;
	struct lab lab;
	uint8_t source[SHA256_LEN]; /* hash of the lab file and of changes to it */
	enum lab_where where;
	char file[OS_PATH_MAX], dir[OS_PATH_MAX];
	char program[OS_PATH_MAX]; /* on the hosts; empty: this one is copied there */
	char self[OS_PATH_MAX];    /* this program */
	char *image;               /* its content, to be copied, and its hash in hex */
	size_t image_len;
	char image_hash[2 * SHA256_LEN + 1];
	char exe[OS_PATH_MAX]; /* the program for Windows hosts, and its hash in hex */
	char exe_hash[2 * SHA256_LEN + 1];
	char tag[LAB_TAG_LEN + 1]; /* random; part of every name, to keep labs apart */
	char netns[LAB_NETNS_MAX]; /* the namespace with the switch between the hosts */
	struct lab_host_state *hosts;
	struct lab_cell *cells; /* the report of host a on host b: at a * n_hosts + b */
	struct parallel_command *commands;
	size_t lines; /* of the table on the terminal */
	uint64_t started_ms;
	int64_t until; /* end of the first certificate, in seconds since 1970 */
	bool changed;
	bool live; /* print the table as results arrive */
};

/* Reads the lab file that is named on the command line, and finds the directory of the lab. Call
 * lab_session_close() either way. */
int lab_session_open(struct lab_session *r, const struct args *a, struct err *e);
void lab_session_close(struct lab_session *r);

bool lab_session_is_running(const struct lab_session *r, size_t host); /* its agent is running */
bool lab_session_is_reachable(const struct lab_session *r,
			      size_t host); /* has not failed, and is not started by hand */
/* Marks a host as failed. */
void lab_session_fail(struct lab_session *r, size_t host, int status, const char *cause);

/* Is it a Windows host that is reached through ssh? */
bool lab_session_is_windows(const struct lab_session *r, size_t host);
#define LAB_WINDOWS_DIR ".sapair-lab" /* in the directory where ssh and sftp sessions start */
#define LAB_WINDOWS_PATH (2 * LAB_NAME_MAX + LAB_TAG_LEN + 40)
/* Its directory on such a host, with the given separator; its control pipe. */
void lab_session_windows_dir(char out[LAB_WINDOWS_PATH], const struct lab_session *r, size_t host,
			     char separator);
void lab_session_windows_pipe(char out[LAB_WINDOWS_PATH], const struct lab_session *r, size_t host);

#endif
