/* tests/windows/standin/state.c - objects on disk, the log of calls */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/windows/standin/engine.h"

struct state s;
HANDLE mutex;
LONG unfreed;

static char folder[MAX_PATH];

void path_of(char out[PATH_LEN], const char *name)
{
	snprintf(out, PATH_LEN, "%s\\%s", folder, name);
}

uint64_t hash(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = 0xcbf29ce484222325u;

	while (n-- > 0)
		h = (h ^ *b++) * 0x100000001b3u;
	return h;
}

void setup(void)
{
	const char *dir = getenv("SAPAIR_STANDIN");
	char name[64];

	if (mutex != NULL)
		return;
	snprintf(folder, sizeof folder, "%s", dir != NULL ? dir : ".");
	snprintf(name, sizeof name, "sapair-standin-%016llx",
		 (unsigned long long)hash(folder, strlen(folder)));
	mutex = CreateMutexA(NULL, FALSE, name);
}

void guid_text(char out[40], const GUID *g)
{
	snprintf(out, 40, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 (unsigned long)g->Data1, g->Data2, g->Data3, g->Data4[0], g->Data4[1], g->Data4[2],
		 g->Data4[3], g->Data4[4], g->Data4[5], g->Data4[6], g->Data4[7]);
}

static void hex(char *out, const uint8_t *p, size_t n)
{
	out[0] = '\0';
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
}

DWORD log_call(DWORD code, const char *call, const char *fmt, ...)
{
	char path[PATH_LEN], line[2048];
	DWORD written;
	va_list ap;
	HANDLE h;
	int n;

	path_of(path, "calls.jsonl");
	n = snprintf(line, sizeof line, "{\"pid\":%lu,\"call\":\"%s\",\"code\":\"%08lx\"",
		     GetCurrentProcessId(), call, code);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	n += snprintf(line + n, sizeof line - (size_t)n, "}\n");
	h = CreateFileA(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
			OPEN_ALWAYS, 0, NULL);
	if (h != INVALID_HANDLE_VALUE) {
		WriteFile(h, line, (DWORD)n, &written, NULL);
		CloseHandle(h);
	}
	return code;
}

static void put_sa(FILE *f, const char *name, const struct sa *h)
{
	char auth[2 * KEY_MAX + 1], cipher[2 * KEY_MAX + 1];

	hex(auth, h->auth, h->auth_len);
	hex(cipher, h->cipher, h->cipher_len);
	if (!h->present) {
		fprintf(f, ",\"%s\":null", name);
		return;
	}
	fprintf(f,
		",\"%s\":{\"spi\":\"%08x\",\"transform\":%u,\"auth\":[%u,%u,\"%s\"],"
		"\"cipher\":[%u,%u,\"%s\"],\"seconds\":%u,\"packets\":%u,\"qm_id\":%u,\"flags\":%u}",
		name, h->spi, h->transform, h->auth_type, h->auth_config, auth, h->cipher_type,
		h->cipher_config, cipher, h->seconds, h->packets, h->qm_id, h->flags);
}

static void put_filter(FILE *f, const struct filter *p, bool first)
{
	char key[40], layer[40], callout[40], field[40], bytes[33];

	guid_text(key, &p->key);
	guid_text(layer, &p->layer);
	guid_text(callout, &p->callout);
	fprintf(f,
		"%s{\"id\":%llu,\"key\":\"%s\",\"name\":\"%s\",\"layer\":\"%s\",\"action\":%u,"
		"\"callout\":\"%s\",\"weight\":[%u,%u],\"conditions\":[",
		first ? "" : ",\n", (unsigned long long)p->id, key, p->name, layer, p->action,
		callout, p->weight_type, p->weight);
	for (uint32_t i = 0; i < p->n; i++) {
		guid_text(field, &p->cond[i].field);
		hex(bytes, p->cond[i].bytes, 16);
		fprintf(f, "%s[\"%s\",%llu,\"%s\"]", i > 0 ? "," : "", field,
			(unsigned long long)p->cond[i].number,
			p->cond[i].type == FWP_BYTE_ARRAY16_TYPE ? bytes : "");
	}
	fprintf(f, "]}");
}

void save(void)
{
	char path[PATH_LEN], shown[PATH_LEN];
	bool first = true;
	FILE *f;

	path_of(path, "state");
	f = fopen(path, "wb");
	if (f != NULL) {
		fwrite(&s, sizeof s, 1, f);
		fclose(f);
	}
	path_of(path, "state.new");
	path_of(shown, "state.json");
	f = fopen(path, "wb");
	if (f == NULL)
		return;
	fprintf(f, "{\"providers\":[");
	for (int i = 0; i < PROVIDERS; i++)
		if (s.providers[i].used) {
			char key[40];

			guid_text(key, &s.providers[i].key);
			fprintf(f, "%s\"%s\"", first ? "" : ",", key);
			first = false;
		}
	fprintf(f, "],\n\"filters\":[");
	first = true;
	for (int i = 0; i < FILTERS; i++)
		if (s.filters[i].used) {
			put_filter(f, &s.filters[i], first);
			first = false;
		}
	fprintf(f, "],\n\"contexts\":[");
	first = true;
	for (int i = 0; i < CONTEXTS; i++) {
		const struct context *c = &s.contexts[i];

		if (!c->used)
			continue;
		fprintf(f,
			"%s{\"id\":%llu,\"spi\":\"%08x\",\"expiring\":%s,\"in_filter\":%llu,"
			"\"out_filter\":%llu",
			first ? "" : ",\n", (unsigned long long)c->id, c->spi,
			c->ends_ms != 0 ? "true" : "false",
			(unsigned long long)c->in_traffic.ipsecFilterId,
			(unsigned long long)c->out_traffic.ipsecFilterId);
		put_sa(f, "in", &c->in);
		put_sa(f, "out", &c->out);
		fprintf(f, "}");
		first = false;
	}
	fprintf(f, "]}\n");
	fclose(f);
	MoveFileExA(path, shown, MOVEFILE_REPLACE_EXISTING);
}

uint64_t now_ms(void)
{
	FILETIME t;

	GetSystemTimeAsFileTime(&t);
	return ((uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime) / 10000;
}

void load(void)
{
	char path[PATH_LEN];
	FILE *f;

	memset(&s, 0, sizeof s);
	s.next_id = 0x10001;
	path_of(path, "state");
	f = fopen(path, "rb");
	if (f != NULL) {
		if (fread(&s, sizeof s, 1, f) != 1)
			memset(&s, 0, sizeof s);
		fclose(f);
	}
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].ends_ms != 0 && s.contexts[i].ends_ms < now_ms())
			memset(&s.contexts[i], 0, sizeof s.contexts[i]);
}
