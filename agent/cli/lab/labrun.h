/*
 * agent/cli/lab/labrun.h - a lab that runs: where its hosts are, what they were asked, what they said.
 *
 * Every host is reached by a shell: on this machine (in a network namespace of its own, or on
 * loopback addresses) or through ssh. What is done there is the same script; Windows hosts know none,
 * and get their files by sftp and are asked by words of the program alone (labwin.c).
 */
#ifndef SAPAIR_AGENT_CLI_LAB_LABRUN_H
#define SAPAIR_AGENT_CLI_LAB_LABRUN_H

#include "agent/cli/args.h"
#include "agent/cli/lab/fleet.h"
#include "agent/cli/lab/labfile.h"
#include "proto/json/decode.h"

/* Options of every verb of a lab that runs. */
/* clang-format off */
#define LAB_OPTIONS                                                                              \
	{"dir", "DIR", "the lab's directory (default: next to the control socket)", false},     \
	{"ssh-config", "FILE", "config file for ssh -F", false},                                 \
	{"program", "PATH", "sapair on the hosts (default: copy this program)", false},          \
	{"exe", "FILE", "sapair.exe for Windows hosts (default: next to this program)", false}
/* clang-format on */

enum lab_where { LAB_SPACES, LAB_LOOPBACK, LAB_SSH };

enum host_state { HOST_UNKNOWN, HOST_RUNNING, HOST_MANUAL, HOST_FAILED, HOST_GONE };

#define LAB_TAG_LEN 8
#define LAB_SPACE_MAX (2 * LAB_NAME_MAX + LAB_TAG_LEN + 32)

struct host_run {
	enum host_state state;
	bool changed;
	int exit;              /* of what failed */
	char cause[ERR_CAUSE]; /* of its failure, or what its agent said last that was none of a pair's */
	bool has_program; /* the same as ours */
	bool has_dir;     /* Windows: the lab's folder is there */
	size_t partner;   /* see partners in struct lab_ask */
	char *script, *quoted;
	char space[LAB_SPACE_MAX]; /* its network namespace */
};

/* What one host says about its pair with another. */
struct cell {
	bool seen, verified, has_rtt;
	int exit;
	double rtt_ms;
	char state[12], suite[24], epoch[24];
	char cause[ERR_CAUSE];
};

struct labrun {
	const struct args *args;
	struct lab lab;
	uint8_t source[SHA256_LEN];
	/* Options of every verb of a lab that runs. */
/* clang-format off */
#define LAB_OPTIONS                                                                              \
	{"dir", "DIR", "the lab's directory (default: next to the control socket)", false},     \
	{"ssh-config", "FILE", "config file for ssh -F", false},                                 \
	{"program", "PATH", "sapair on the hosts (default: copy this program)", false},          \
	{"exe", "FILE", "sapair.exe for Windows hosts (default: next to this program)", false}
/* clang-format on */

enum lab_where where;
	char file[OS_PATH_MAX], dir[OS_PATH_MAX];
	char program[OS_PATH_MAX]; /* on the hosts; empty: our own is copied there */
	char self[OS_PATH_MAX];
	char *image; /* our own program, for those who do not have it; and its hash, in hex */
	size_t image_len;
	char image_hash[2 * SHA256_LEN + 1];
	char exe[OS_PATH_MAX]; /* that for Windows hosts, and its hash */
	char exe_hash[2 * SHA256_LEN + 1];
	char tag[LAB_TAG_LEN + 1]; /* drawn by the first `up`: other labs of the name have others */
	char space[LAB_SPACE_MAX]; /* the namespace of the switch between the hosts */
	struct host_run *hosts;
	struct cell *cells; /* of hosts from and to: at from * n_hosts + to */
	struct fleet_job *jobs;
	size_t lines; /* of the live table that stands on the terminal */
	uint64_t started_ms;
	int64_t until;
	bool changed, live;
};

/* Reads the lab file and finds its folder and, for a lab that is up, where its hosts are. is_up: it
 * is; without it ERR_DOWN is not an error here. labrun_close() either way. */
int labrun_open(struct labrun *r, const struct args *a, struct err *e);
/* Its folder, and the tag that is in there, if any. */
int labrun_find_dir(struct labrun *r, struct err *e);
bool labrun_read_tag(struct labrun *r);
/* Was it brought up, by what its folder says? Sets where and the addresses. */
bool labrun_is_up(struct labrun *r);
/* Settles where the hosts of a lab that is not up shall be, and writes it down. */
int labrun_settle(struct labrun *r, struct err *e);
/* An `up` got as far as names, and no further: they may be in use. */
bool labrun_is_begun(struct labrun *r);
/* Are its namespaces there? Else labrun_mend() makes all anew. */
bool labrun_is_whole(const struct labrun *r);
int labrun_mend(struct labrun *r, struct err *e);
bool labrun_has_space(const struct labrun *r, size_t host);
/* The file is the one by which the lab is up. */
int labrun_keep(const struct labrun *r, struct err *e);
/* The last traces on this machine: namespaces, files. */
int labrun_forget(struct labrun *r, struct err *e);
/* Removes what a killed `up` had not finished to write, and the folder if it is empty then. */
void labrun_sweep(const struct labrun *r);
void labrun_close(struct labrun *r);

/*
 * Asks every host that is wanted(), in one of three ways: by a script for a shell, where "$d" is its
 * folder, "$c" the control socket, "$p" the program; by words for the program, which go to every
 * system; or, Windows hosts alone, by a batch of sftp, which is the input. input (of each host, or
 * NULL) goes to stdin. A status other than 0 marks the host failed, with the last line of stderr, if
 * judged; only that it was not reached, if tried. Each line of stdout goes to line().
 */
struct lab_ask {
	const char *script, *words;
	bool batch;
	bool (*wanted)(const struct labrun *r, size_t host);
	char *(*input)(struct labrun *r, size_t host, size_t *len); /* allocated; wiped and freed */
	void (*line)(struct fleet_job *j, char *line, size_t len);
	bool judged, tried;
	bool partners; /* only hosts with a partner are asked, and its name is the last of the words */
	unsigned parallel;
	uint64_t timeout_ms;
};
int labrun_ask(struct labrun *r, const struct lab_ask *ask, struct err *e);

/* For lines: whose they are. Then what answers to a word or a hash. */
struct labrun *labrun_of(const struct fleet_job *j, size_t *host);
void labrun_word(struct fleet_job *j, char *line, size_t len);
/* A program, whole, into allocated memory, and its hash in hex. */
int labrun_image(char **image, size_t *len, char hash[2 * SHA256_LEN + 1], const char *path,
		 struct err *e);
void labrun_fail(struct labrun *r, size_t host, int status, const char *cause);
/* One document of an agent into the cells of its host. */
void labrun_document(struct fleet_job *j, char *line, size_t len);

bool labrun_alive(const struct labrun *r, size_t host); /* one that can be asked */
bool labrun_reachable(const struct labrun *r, size_t host);

/* Where a host of the lab is this machine: the port of its ssh to the others is exempt from its pairs
 * with them. ERR_USAGE where that cannot be. Behind labrun_settle(), in front of the bundles. */
int labself_spare_ssh(struct labrun *r, struct err *e);

/* Windows hosts that are reached through ssh: program and bundle there, agent started; all away. */
bool labwin_is(const struct labrun *r, size_t host);
int labwin_place(struct labrun *r, uint64_t timeout_ms, struct err *e);
int labwin_start(struct labrun *r, uint64_t timeout_ms, struct err *e);
int labwin_take_down(struct labrun *r, uint64_t timeout_ms, struct err *e);
#define LABWIN_PATH (2 * LAB_NAME_MAX + LAB_TAG_LEN + 40)
/* The folder there, in the user's own, with that separator; the control pipe. */
void labwin_dir(char out[LABWIN_PATH], const struct labrun *r, size_t host, char separator);
void labwin_pipe(char out[LABWIN_PATH], const struct labrun *r, size_t host);

/* The table, or the document. The exit status: 0 only if every host and pair is well. need_proof:
 * a pair must be proven, not only up. */
int labrun_show(struct labrun *r, const char *verb, bool need_proof);
/* After `lab down`: which hosts are gone. */
int labrun_show_down(struct labrun *r);
/* The table again, over the one that stands there: for terminals. */
void labrun_live(struct labrun *r);

#endif
