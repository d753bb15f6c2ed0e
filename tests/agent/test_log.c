/*
 * agent/os/log: the lines on stderr, read through a pipe.
 */
#include "agent/os/log.h"
#include "tests/t.h"

#include <stdlib.h>
#include <unistd.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#define pipe(ends) _pipe(ends, 65536, _O_BINARY)
#endif

static char got[16384];

static int saved, ends[2];

static void begin(enum log_level level, enum log_style style)
{
	saved = dup(2);
	CHECK(pipe(ends) == 0);
	CHECK(dup2(ends[1], 2) >= 0);
	close(ends[1]);
	log_setup(level, style);
}

/* Returns the text since begin(). */
static const char *end(void)
{
	size_t n = 0;
	ssize_t r;

	CHECK(dup2(saved, 2) >= 0);
	close(saved);
	while ((r = read(ends[0], got + n, (unsigned)(sizeof got - 1 - n))) > 0)
		n += (size_t)r;
	got[n] = '\0';
	close(ends[0]);
	return got;
}

/* Checks the form of the time stamp. Returns the text after it. */
static const char *behind_time(const char *line)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";

	for (size_t i = 0; shape[i] != '\0'; i++)
		if (!CHECK(shape[i] == 'd' ? line[i] >= '0' && line[i] <= '9'
					   : line[i] == shape[i]))
			return line;
	return line + sizeof shape - 1;
}

static void a_line_has_time_level_and_text(void)
{
	begin(LOG_INFO, LOG_PLAIN);
	log_line(LOG_INFO, "peer %s: up, epoch %d", "beta", 1);
	CHECK_STR(behind_time(end()), "info  peer beta: up, epoch 1\n");
}

static void lines_below_the_level_are_omitted(void)
{
	begin(LOG_WARN, LOG_JOURNAL);
	log_line(LOG_ERROR, "e");
	log_line(LOG_WARN, "w");
	log_line(LOG_INFO, "i");
	log_line(LOG_DEBUG, "d");
	CHECK_STR(end(), "<3>e\n<4>w\n");
	CHECK(log_wants(LOG_ERROR) && log_wants(LOG_WARN) && !log_wants(LOG_INFO));
	begin(LOG_DEBUG, LOG_JOURNAL);
	log_line(LOG_INFO, "i");
	log_line(LOG_DEBUG, "d");
	CHECK_STR(end(), "<6>i\n<7>d\n");
	CHECK(log_level_of("debug") == LOG_DEBUG && log_level_of("error") == LOG_ERROR);
	CHECK(log_level_of("warn") == LOG_WARN && log_level_of("loud") == LOG_LEVELS);
}

static void no_text_can_add_a_line_or_a_terminal_code(void)
{
	begin(LOG_INFO, LOG_JOURNAL);
	log_line(LOG_INFO, "peer says \"%s\"", "a\nb\x1b[31m\\");
	CHECK_STR(end(), "<6>peer says \"a\\x0ab\\x1b[31m\\\\\"\n");
}

static void json_is_one_object_a_line(void)
{
	struct err e = {.code = ERR_OS, .hint = "say \"please\""};
	const char *line;

	CHECK(err_set(&e, ERR_OS, "a\n\"b\"") < 0);
	err_hint(&e, "say \"please\"");
	begin(LOG_INFO, LOG_JSON);
	log_line(LOG_WARN, "quote \" and \\");
	log_err(LOG_ERROR, &e, "peer beta");
	line = end();
	CHECK(strncmp(line, "{\"time\":\"20", 11) == 0);
	CHECK(strstr(line, "Z\",\"level\":\"warn\",\"text\":\"quote \\\" and \\\\\\\\\"}\n{") !=
	      NULL);
	CHECK(strstr(line, "\"level\":\"error\",\"text\":\"peer beta: a\\\\x0a\\\"b\\\"\","
			   "\"hint\":\"say \\\"please\\\"\"}\n") != NULL);
}

static void an_error_is_context_cause_and_next_step(void)
{
	struct err e = {0};

	err_set(&e, ERR_PERM, "key.pem: mode %04o\n", 0644u);
	err_hint(&e, "chmod 600 the file");
	begin(LOG_INFO, LOG_JOURNAL);
	log_err(LOG_ERROR, &e, "peer %s", "b\teta");
	log_err(LOG_DEBUG, &e, "not wanted");
	CHECK_STR(end(), "<3>peer b\\x09eta: key.pem: mode 0644\\x0a (chmod 600 the file)\n");
}

static void a_long_line_is_cut_and_still_ends(void)
{
	static char long_text[5000];
	const char *line;
	size_t n;

	memset(long_text, 'x', sizeof long_text - 1);
	begin(LOG_INFO, LOG_JSON);
	log_line(LOG_INFO, "%s", long_text);
	line = end();
	n = strlen(line);
	CHECK(n > 900 && n < 1300);
	CHECK(strcmp(line + n - 4, "x\"}\n") == 0);
	memset(long_text, '"', sizeof long_text - 1); /* each doubled in JSON */
	begin(LOG_INFO, LOG_JSON);
	log_line(LOG_INFO, "%s", long_text);
	line = end();
	n = strlen(line);
	CHECK(n > 1900 && strcmp(line + n - 5, "\\\"\"}\n") == 0);
}

static size_t lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static void lines_caused_by_unauthenticated_clients_are_limited_and_counted(void)
{
	const uint64_t t = 5000000;

	begin(LOG_INFO, LOG_JOURNAL);
	for (int i = 0; i < 50; i++)
		log_limited(t, LOG_INFO, "client %d", i);
	CHECK_U64(lines(end()), 10);

	begin(LOG_INFO, LOG_JOURNAL);
	log_limited(t + 999, LOG_INFO, "too early");
	log_limited(t + 1000, LOG_INFO, "one more");
	log_limited(t + 1001, LOG_INFO, "too early again");
	CHECK_STR(end(), "<6>41 lines like the next were omitted\n<6>one more\n");

	begin(LOG_INFO, LOG_JOURNAL); /* after a long pause: ten again, not a hundred */
	for (int i = 0; i < 50; i++)
		log_limited(t + 100000, LOG_INFO, "client %d", i);
	CHECK_U64(lines(end()), 11);

	begin(LOG_WARN, LOG_JOURNAL); /* lines below the level do not count */
	for (int i = 0; i < 50; i++)
		log_limited(t + 200000, LOG_INFO, "client %d", i);
	log_limited(t + 200000, LOG_WARN, "w");
	CHECK_STR(end(), "<4>40 lines like the next were omitted\n<4>w\n");
}

static void an_event_has_its_number_where_it_is_kept(void)
{
	begin(LOG_INFO, LOG_EVENTS);
	log_event(LOG_INFO, 131, 0, "peer %s: leads", "beta");
	log_line(LOG_ERROR, "no event");
	CHECK_STR(end(), "<6,131>peer beta: leads\n<3>no event\n");
	begin(LOG_INFO, LOG_JOURNAL);
	log_event(LOG_INFO, 131, 0, "peer %s: leads", "beta");
	CHECK_STR(end(), "<6>peer beta: leads\n");
	begin(LOG_INFO, LOG_EVENTS);
	for (int i = 0; i < 50; i++)
		log_event(LOG_WARN, 140, 9000000, "client %d", i);
	CHECK_U64(lines(end()), 10);
}

T_MAIN(T(a_line_has_time_level_and_text), T(lines_below_the_level_are_omitted),
       T(no_text_can_add_a_line_or_a_terminal_code), T(json_is_one_object_a_line),
       T(an_error_is_context_cause_and_next_step), T(a_long_line_is_cut_and_still_ends),
       T(lines_caused_by_unauthenticated_clients_are_limited_and_counted),
       T(an_event_has_its_number_where_it_is_kept))
