/*
 * agent/cli/lab/location.c - the directory of a lab; its hosts as namespaces, loopback addresses
 * or machines.
 */
#include "agent/cli/lab/location.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/conf.h"
#include "agent/cli/lab/netns.h"
#include "agent/ipsec/ipsec.h"
#include "crypto/hex.h"
#include "crypto/random.h"

#define COPY "lab.json" /* copy of the lab file */
#define HOW "how"       /* one of lab_location_words[] */
#define TAG "tag"       /* see struct lab_session */
#define TAG_BYTES (LAB_TAG_LEN / 2)
#define TAG_TRIES 64
#define ROOM_FOR_SOCKET 24
#define SUN_PATH_ROOM 108
static const char *const files[] = {COPY, HOW, TAG}; /* the tag is removed last: see make_tag() */

const char *const lab_location_words[] = {"namespaces", "loopback", "ssh"};

/* ---- the folder ------------------------------------------------------------------------ */

/* The directory's name contains a hash of the lab file's path: two lab files may have the same
 * lab name. */
int lab_location_find_dir(struct lab_session *r, struct err *e)
{
	const char *dir = args_text(r->args, "dir");
	char usual[OS_PATH_MAX], parent[OS_PATH_MAX], name[LAB_NAME_MAX + LAB_TAG_LEN + 8];
	char hex[LAB_TAG_LEN + 1];
	uint8_t hash[SHA256_LEN];
	uv_fs_t fs;
	const char *file = r->file;

	if (dir != NULL)
		return conf_absolute(r->dir, NULL, dir, e);
	if (uv_fs_realpath(NULL, &fs, r->file, NULL) == 0)
		file = fs.ptr;
	if (!sha256(&(struct bytes){file, strlen(file)}, 1, hash)) {
		uv_fs_req_cleanup(&fs);
		return err_set(e, ERR_BUG, "no memory for a hash");
	}
	uv_fs_req_cleanup(&fs);
	hex_put(hex, hash, TAG_BYTES);
	os_control_path(usual);
	os_dir_of(parent, usual);
	snprintf(name, sizeof name, "labs/%s-%s", r->lab.name, hex);
	return os_path_join(r->dir, parent, name, e);
}

static int path_in(char out[OS_PATH_MAX], const struct lab_session *r, const char *name,
		   struct err *e)
{
	return os_path_join(out, r->dir, name, e);
}

/* Sets the tag and the names that contain it. */
static void set_tag(struct lab_session *r, const char *tag)
{
	memcpy(r->tag, tag, LAB_TAG_LEN + 1);
	snprintf(r->netns, sizeof r->netns, "sapair-%s-%s", r->lab.name, tag);
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		snprintf(r->hosts[i].netns, sizeof r->hosts[i].netns, "sapair-%s-%s.%s",
			 r->lab.name, tag, r->lab.hosts[i].name);
}

/* Reads a file of the directory; NULL if it cannot be read. */
static char *read_file(const struct lab_session *r, const char *name, size_t *len)
{
	char path[OS_PATH_MAX], *text;

	if (path_in(path, r, name, NULL) < 0 || os_read_file(&text, len, path, OS_CONFIG, NULL) < 0)
		return NULL;
	return text;
}

static int write_file(const struct lab_session *r, const char *name, const char *text,
		      bool exclusive, struct err *e)
{
	char path[OS_PATH_MAX];

	if (path_in(path, r, name, e) < 0)
		return -1;
	return os_write_file(path, text, strlen(text), true, exclusive, e);
}

bool lab_location_read_tag(struct lab_session *r)
{
	size_t len = 0;
	char *text = read_file(r, TAG, &len);
	const bool good = text != NULL && len == LAB_TAG_LEN &&
			  strspn(text, "0123456789abcdef") == LAB_TAG_LEN;

	if (good)
		set_tag(r, text);
	os_free_text(text, len);
	return good;
}

/* ---- where the hosts are --------------------------------------------------------------- */

static void ignore_event(void *arg, const struct ipsec_event *ev)
{
	(void)arg;
	(void)ev;
}

/* Does the system's own back end work here? */
static bool system_has_ipsec(void)
{
	struct ipsec_env env = {.on_event = ignore_event, .tries_only = true};
	struct ipsec *db;
	uv_loop_t loop;
	bool works;

	if (uv_loop_init(&loop) != 0)
		return false;
	env.loop = &loop;
	works = ipsec_open(&db, "auto", &env, NULL) == 0;
	ipsec_close(db);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return works;
}

/* Names the back end of a lab on this machine: soft where its hosts cannot have the kernel's. */
static void choose_backend(struct lab_session *r)
{
	if (strcmp(r->lab.backend, "auto") == 0 &&
	    (r->where == LAB_LOOPBACK || (r->where == LAB_NETNS && !system_has_ipsec())))
		memcpy(r->lab.backend, "soft", sizeof "soft");
}

static bool is_loopback(const struct addr *a)
{
	static const struct addr six = {.bytes = {[15] = 1}, .len = 16};

	return a->len == 4 ? a->bytes[0] == 127 : addr_equal(a, &six);
}

static bool has_loopback(const struct lab *lab)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		for (size_t k = 0; k < lab->hosts[i].ats; k++)
			if (is_loopback(&lab->hosts[i].at[k].addr))
				return true;
	return false;
}

static struct addr loopback_of(const struct lab_session *r, size_t host)
{
	uint8_t net[TAG_BYTES];
	struct addr a = {.len = 4};

	hex_get(net, sizeof net, r->tag, LAB_TAG_LEN);
	a.bytes[0] = 127;
	a.bytes[1] = (uint8_t)(128 + net[0] % 127);
	a.bytes[2] = net[1];
	a.bytes[3] = (uint8_t)(host + 1);
	return a;
}

/* Gives every host a loopback address, derived from the tag: two labs have different ones. The
 * bundles contain these addresses, so the hash of the source changes, too. */
static void map_to_loopback(struct lab_session *r)
{
	if (has_loopback(&r->lab))
		return;
	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		r->lab.hosts[i].ats = 1;
		r->lab.hosts[i].at[0].addr = loopback_of(r, i);
	}
	for (size_t i = 0; i < r->lab.n_pairs; i++)
		r->lab.pairs[i].at_a = r->lab.pairs[i].at_b = 0;
	sha256((struct bytes[]){{r->source, SHA256_LEN}, {r->tag, LAB_TAG_LEN}}, 2, r->source);
}

static bool read_how(struct lab_session *r)
{
	size_t len = 0;
	char *text = read_file(r, HOW, &len);
	bool found = false;

	for (int i = LAB_NETNS; text != NULL && i <= LAB_SSH; i++)
		if (strcmp(text, lab_location_words[i]) == 0) {
			r->where = (enum lab_where)i;
			found = true;
		}
	os_free_text(text, len);
	return found;
}

bool lab_location_is_up(struct lab_session *r)
{
	if (r->tag[0] == '\0' || !read_how(r))
		return false;
	choose_backend(r);
	if (r->where == LAB_LOOPBACK)
		map_to_loopback(r);
	return true;
}

/* ERR_USAGE if the directory belongs to another lab file. */
int lab_location_keep_file(const struct lab_session *r, struct err *e)
{
	char path[OS_PATH_MAX], *text = NULL, *old = NULL;
	size_t len = 0, old_len = 0;
	int rc = -1;

	if (path_in(path, r, COPY, e) < 0 || os_read_file(&text, &len, r->file, OS_ANYONE, e) < 0)
		return -1;
	if (!os_exists(path)) {
		rc = os_write_file(path, text, len, true, true, e);
	} else if (os_read_file(&old, &old_len, path, OS_CONFIG, e) == 0) {
		rc = old_len == len && memcmp(old, text, len) == 0 ? 0 : -1;
		if (rc < 0) {
			err_set(e, ERR_USAGE, "lab %s is already running from %s", r->lab.name,
				path);
			err_hint(
				e,
				"stop it first: sapair lab down with that file; or change \"lab\", the name, in this one");
		}
		os_free_text(old, old_len);
	}
	os_free_text(text, len);
	return rc;
}

static bool has_ssh(const struct lab *lab)
{
	for (size_t i = 0; i < lab->n_hosts; i++)
		if (lab->hosts[i].ssh[0] != '\0')
			return true;
	return false;
}

/* ---- settling -------------------------------------------------------------------------- */

/* Is the first host's TCP port free? */
static bool is_free(const struct lab_session *r)
{
	const struct addr first = loopback_of(r, 0);
	struct sockaddr_storage ss;
	uv_loop_t loop;
	uv_tcp_t tcp;
	bool free_;

	os_sockaddr(&ss, &first, r->lab.hosts[0].at[0].port);
	if (uv_loop_init(&loop) != 0)
		return true;
	uv_tcp_init(&loop, &tcp);
	free_ = uv_tcp_bind(&tcp, (const struct sockaddr *)&ss, 0) == 0 &&
		uv_listen((uv_stream_t *)&tcp, 1, NULL) == 0;
	uv_close((uv_handle_t *)&tcp, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	return free_;
}

/* Does nothing on this machine use the tag yet? */
static bool is_unused(struct lab_session *r)
{
	if (netns_exists(r->netns))
		return false;
	return r->where != LAB_LOOPBACK || has_loopback(&r->lab) || is_free(r);
}

/* Chooses a tag and stores it before anything is named after it: after an interrupted `up`, what
 * it has made can be found. */
static int make_tag(struct lab_session *r, struct err *e)
{
	uint8_t bytes[TAG_BYTES];
	char tag[LAB_TAG_LEN + 1];
	int rc = -1;

	if (lab_location_read_tag(r))
		return 0;
	for (int i = 0; i < TAG_TRIES && rc < 0; i++) {
		random_bytes(bytes, sizeof bytes);
		hex_put(tag, bytes, sizeof bytes);
		set_tag(r, tag);
		rc = is_unused(r) ? 0 : -1;
	}
	if (rc < 0)
		return err_set(e, ERR_OS,
			       "no free addresses or names for another lab on this machine");
	return write_file(r, TAG, tag, true, e);
}

bool lab_location_is_complete(const struct lab_session *r)
{
	bool complete = r->where != LAB_NETNS || netns_exists(r->netns);

	for (size_t i = 0; complete && r->where == LAB_NETNS && i < r->lab.n_hosts; i++)
		complete = netns_exists(r->hosts[i].netns);
	return complete;
}

int lab_location_create(struct lab_session *r, struct err *e)
{
	bool here = args_has(r->args, "here");

	if (!here && !has_ssh(&r->lab)) {
		err_set(e, ERR_USAGE, "no host of the lab has \"ssh\"");
		return err_hint(
			e,
			"--here runs the hosts on this machine; \"sapair lab init\" makes bundles to copy by hand");
	}
	if (strlen(r->dir) + LAB_NAME_MAX + ROOM_FOR_SOCKET > SUN_PATH_ROOM)
		return err_set(e, ERR_USAGE,
			       "%s: path too long for control sockets; choose another with --dir",
			       r->dir);
	if (!here)
		r->where = LAB_SSH;
	else if (args_has(r->args, "loopback") || has_loopback(&r->lab) || !netns_work())
		r->where = LAB_LOOPBACK;
	else
		r->where = LAB_NETNS;
	if (os_make_dir(r->dir, e) < 0 || make_tag(r, e) < 0 || lab_location_keep_file(r, e) < 0)
		return -1;
	choose_backend(r);
	if (r->where == LAB_LOOPBACK)
		map_to_loopback(r);
	if (r->where == LAB_NETNS && netns_make(r, e) < 0)
		return -1;
	return write_file(r, HOW, lab_location_words[r->where], false, e);
}

bool lab_location_is_partial(struct lab_session *r)
{
	if (r->tag[0] == '\0')
		return false;
	/* "how" is written before agents are started: only namespaces can exist */
	r->where = LAB_NETNS;
	return true;
}

/* Is it a temporary file of os_write_file(), left behind by a kill? */
static bool is_half(const char *name, const char *of)
{
	const size_t n = strlen(of);

	return strncmp(name, of, n) == 0 && name[n] == '.' &&
	       strspn(name + n + 1, "0123456789abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 6 &&
	       name[n + 7] == '\0';
}

static bool is_half_ours(const struct lab_session *r, const char *name)
{
	char bundle[LAB_NAME_MAX + 8];

	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (is_half(name, files[i]))
			return true;
	for (size_t i = 0; i < r->lab.n_hosts; i++) {
		snprintf(bundle, sizeof bundle, "%s.bundle", r->lab.hosts[i].name);
		if (is_half(name, bundle))
			return true;
	}
	return false;
}

void lab_location_sweep(const struct lab_session *r)
{
	char path[OS_PATH_MAX];
	uv_dirent_t entry;
	uv_fs_t fs;

	if (uv_fs_scandir(NULL, &fs, r->dir, 0, NULL) >= 0)
		while (uv_fs_scandir_next(&fs, &entry) == 0)
			if (is_half_ours(r, entry.name) &&
			    os_path_join(path, r->dir, entry.name, NULL) == 0)
				os_remove_file(path, NULL);
	uv_fs_req_cleanup(&fs);
	uv_fs_rmdir(NULL, &fs, r->dir, NULL); /* fails if other files are left */
	uv_fs_req_cleanup(&fs);
}

int lab_location_remove(struct lab_session *r, struct err *e)
{
	char path[OS_PATH_MAX];
	uv_fs_t fs;

	if (r->where == LAB_NETNS && netns_remove(r, e) < 0)
		return -1;
	for (size_t i = 0; i < r->lab.n_hosts; i++)
		if (labfile_bundle_path(path, r->dir, r->lab.hosts[i].name, e) < 0 ||
		    os_remove_file(path, e) < 0)
			return -1;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
		if (path_in(path, r, files[i], e) < 0 || os_remove_file(path, e) < 0)
			return -1;
	lab_location_sweep(r);
	if (args_has(r->args, "dir"))
		return 0;
	os_dir_of(path, r->dir);
	uv_fs_rmdir(NULL, &fs, path, NULL); /* fails if there are other labs */
	uv_fs_req_cleanup(&fs);
	return 0;
}
