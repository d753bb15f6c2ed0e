/*
 * agent/cli/conf.c - finds and reads the config.
 */
#include "agent/cli/conf.h"

#include <string.h>

#include <uv.h>

#include "agent/ipsec/ipsec.h"

int conf_absolute(char out[OS_PATH_MAX], const char *dir, const char *path, struct err *e)
{
	char here[OS_PATH_MAX];
	size_t size = sizeof here;
	int rc;

	if (dir == NULL) {
		rc = uv_cwd(here, &size);
		if (rc != 0)
			return err_set(e, ERR_OS, "cannot find the working directory: %s",
				       uv_strerror(rc));
		dir = here;
	}
	return os_path_join(out, dir, path, e);
}

int conf_resolve(char path[CONFIG_PATH_MAX], const char *dir, struct err *e)
{
	char whole[OS_PATH_MAX];

	if (path[0] == '\0')
		return 0;
	if (conf_absolute(whole, dir, path, e) < 0)
		return -1;
	if (strlen(whole) >= CONFIG_PATH_MAX)
		return err_set(e, ERR_USAGE, "%.64s...: path longer than %d bytes", whole,
			       CONFIG_PATH_MAX - 1);
	memcpy(path, whole, strlen(whole) + 1);
	return 0;
}

int conf_find(char out[OS_PATH_MAX], const char *file, struct err *e)
{
	char dir[OS_PATH_MAX];

	if (file != NULL)
		return conf_absolute(out, NULL, file, e);
	os_config_dir(dir);
	return os_path_join(out, dir, CONF_NAME, e);
}

static int resolve_all(struct config *c, const char *dir, struct err *e)
{
	if (conf_resolve(c->certificate, dir, e) < 0 || conf_resolve(c->key, dir, e) < 0 ||
	    conf_resolve(c->ca, dir, e) < 0 || conf_resolve(c->deny, dir, e) < 0 ||
	    conf_resolve(c->control, dir, e) < 0)
		return -1;
	for (size_t i = 0; i < c->n_peers; i++)
		if (conf_resolve(c->peers[i].ppk, dir, e) < 0)
			return -1;
	return 0;
}

int conf_read(struct config *c, const char *path, struct err *e)
{
	char dir[OS_PATH_MAX];
	char *text;
	size_t len;
	int rc;

	memset(c, 0, sizeof *c);
	if (os_read_file(&text, &len, path, OS_CONFIG, e) < 0)
		return err_in(e, "config");
	rc = config_parse(c, text, len, e);
	os_free_text(text, len);
	if (rc < 0)
		return err_in(e, "%s", path);
	os_dir_of(dir, path);
	rc = resolve_all(c, dir, e);
	if (rc == 0 && !ipsec_known(c->backend))
		rc = err_set(e, ERR_USAGE, "backend \"%s\": not one of auto, %s", c->backend,
			     ipsec_names());
	if (rc < 0) {
		config_free(c);
		return err_in(e, "%s", path);
	}
	return 0;
}

/* ---- peers.d --------------------------------------------------------------------------- */

static bool is_peer_file(const char *name)
{
	size_t n = strlen(name);

	return n > 5 && name[0] != '.' && strcmp(name + n - 5, ".json") == 0;
}

static int add_file(struct config *c, const char *dir, const char *name, struct err *e)
{
	char path[OS_PATH_MAX], *text;
	size_t len;
	int rc;

	if (os_path_join(path, dir, name, e) < 0 ||
	    os_read_file(&text, &len, path, OS_CONFIG, e) < 0)
		return -1;
	rc = config_add_text(c, text, len, e);
	os_free_text(text, len);
	if (rc == 0)
		rc = conf_resolve(c->peers[c->n_peers - 1].ppk, dir, e);
	return rc < 0 ? err_in(e, "%s", path) : 0;
}

/* A directory that exists but cannot be listed is an error: its peers would lose their policies. */
static int add_peers(struct config *c, const char *dir, struct err *e)
{
	char path[OS_PATH_MAX];
	uv_dirent_t entry;
	uv_fs_t fs;
	int rc;

	if (os_path_join(path, dir, CONF_PEERS, e) < 0)
		return -1;
	rc = uv_fs_scandir(NULL, &fs, path, 0, NULL); /* sorted by name */
	if (rc < 0 && rc != UV_ENOENT) {
		err_set(e, rc == UV_EACCES || rc == UV_EPERM ? ERR_PERM : ERR_OS,
			"list the peers in %s: %s", path, uv_strerror(rc));
		if (e != NULL)
			e->os = (uint32_t)-rc;
	}
	rc = rc == UV_ENOENT || rc > 0 ? 0 : rc;
	while (rc == 0 && uv_fs_scandir_next(&fs, &entry) == 0)
		if (is_peer_file(entry.name))
			rc = add_file(c, path, entry.name, e);
	uv_fs_req_cleanup(&fs);
	return rc < 0 ? -1 : 0;
}

int conf_load(struct config *c, const char *path, const char *dir, struct err *e)
{
	if ((path != NULL ? conf_read(c, path, e) : config_init(c, e)) < 0)
		return -1;
	if (add_peers(c, dir, e) == 0 && config_check(c, e) == 0)
		return 0;
	config_free(c);
	return -1;
}

int conf_load_given(struct config *c, char path[OS_PATH_MAX], const struct args *a, struct err *e)
{
	const char *file = args_word(a, 0), *config = args_text(a, "config");
	char dir[OS_PATH_MAX];
	bool is_given = file != NULL || config != NULL;

	path[0] = '\0';
	if (file != NULL && config != NULL)
		return err_set(e, ERR_USAGE, "FILE and --config are mutually exclusive");
	if (conf_find(path, file != NULL ? file : config, e) < 0)
		return -1;
	os_dir_of(dir, path);
	if (!is_given && !os_exists(path) && conf_has_peers(dir))
		return conf_load(c, NULL, dir, e);
	return conf_load(c, path, dir, e);
}

bool conf_has_peers(const char *dir)
{
	char path[OS_PATH_MAX];

	return os_path_join(path, dir, CONF_PEERS, NULL) == 0 && os_exists(path);
}

/* A default path: the file may be missing. */
static int usual_file(char path[CONFIG_PATH_MAX], const char *dir, const char *name, struct err *e)
{
	if (path[0] != '\0')
		return 0;
	memcpy(path, name, strlen(name) + 1);
	return conf_resolve(path, dir, e);
}

static int check_trust(const struct config *c, const char *usual_ca, struct err *e)
{
	for (size_t i = 0; c->ca[0] == '\0' && i < c->n_peers; i++) {
		if (c->peers[i].has_pin)
			continue;
		err_set(e, ERR_USAGE, "cannot authenticate %s: no pin, and no CA in %s",
			c->peers[i].name, usual_ca);
		return err_hint(
			e,
			"give the pin that \"sapair id\" prints on the peer, or a CA certificate");
	}
	return 0;
}

int conf_identity(struct config *c, const char *dir, struct err *e)
{
	char ca[CONFIG_PATH_MAX] = "";
	const char *missing;

	if (usual_file(c->certificate, dir, CONF_CERT, e) < 0 ||
	    usual_file(c->key, dir, CONF_KEY, e) < 0 || usual_file(ca, dir, CONF_CA, e) < 0)
		return -1;
	missing = !os_exists(c->certificate) ? c->certificate : !os_exists(c->key) ? c->key : NULL;
	if (missing != NULL) {
		err_set(e, ERR_USAGE, "no identity: %s does not exist", missing);
		return err_hint(
			e,
			"create one with \"sapair id new\", or get one from a CA: \"sapair ca issue\"");
	}
	if (c->ca[0] == '\0' && os_exists(ca))
		memcpy(c->ca, ca, sizeof c->ca);
	return check_trust(c, ca, e);
}
