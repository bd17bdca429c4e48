/* SPDX-License-Identifier: Apache-2.0 */
/* Sources and their order, the command line, typed values, messages, help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/config/load.h"

#include "config/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char file_path[] = "/tmp/telltale-config-XXXXXX";

static void write_file(const char *text)
{
	FILE *f = fopen(file_path, "w");

	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void file_refused(const char *text, const char *message)
{
	char args[128];

	write_file(text);
	snprintf(args, sizeof(args), "run --config %s", file_path);
	refused(args, NULL, message);
	assert_non_null(strstr(why, file_path));
}

static void defaults_hold_without_any_source(void **state)
{
	struct config *c = good("run", NULL);

	assert_int_equal(c->command, COMMAND_RUN);
	assert_string_equal(c->listen, "127.0.0.1:8009");
	assert_string_equal(c->address, "127.0.0.1:8009");
	assert_int_equal(c->capture, CONFIG_CAPTURE_AUTO);
	assert_int_equal(c->capture_bytes, 4096);
	assert_int_equal(c->ring_size, 8 << 20);
	assert_int_equal(c->memory_limit, 256 << 20);
	assert_int_equal(c->queue_size, 64 << 20);
	assert_int_equal(c->otlp_timeout_ns, 10000000000);
	assert_true(c->tls);
	assert_false(c->raw_queries);
	assert_int_equal(c->otlp_urls.cnt, 0);
	assert_null(c->protocol);
	assert_int_equal(c->process.cnt, 0);
	assert_string_equal(c->log_level, "info");
	assert_string_equal(config_origin(c, "listen"), "default");
	assert_null(config_origin(c, "nothing"));
	config_free(c);
	c = good("trace", NULL);
	assert_string_equal(c->log_level, "warn");
	config_free(c);
}

static void flag_goes_before_variable_before_file_before_otel(void **state)
{
	char config[128];
	char *env[] = { (char *)"TELLTALE_OTLP_ENDPOINT=http://env:1", config,
			(char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:1", NULL };
	struct config *c;

	snprintf(config, sizeof(config), "TELLTALE_CONFIG=%s", file_path);
	write_file("otlp-endpoint: http://file:1\n");
	c = good("run --otlp-endpoint http://flag:1", env);
	assert_string_equal(c->otlp_urls.v[0], "http://flag:1/v1/traces");
	assert_string_equal(config_origin(c, "otlp-endpoint"), "--otlp-endpoint");
	config_free(c);
	c = good("run", env);
	assert_string_equal(c->otlp_urls.v[0], "http://env:1/v1/traces");
	assert_string_equal(config_origin(c, "otlp-endpoint"), "TELLTALE_OTLP_ENDPOINT");
	config_free(c);
	c = good("run", env + 1);
	assert_string_equal(c->otlp_urls.v[0], "http://file:1/v1/traces");
	assert_non_null(strstr(config_origin(c, "otlp-endpoint"), ":1:16"));
	config_free(c);
	c = good("run", env + 2);
	assert_string_equal(c->otlp_urls.v[0], "http://otel:1/v1/traces");
	assert_string_equal(config_origin(c, "otlp-endpoint"), "OTEL_EXPORTER_OTLP_ENDPOINT");
	config_free(c);
}

static void an_overridden_source_is_still_checked(void **state)
{
	char *env[] = { (char *)"TELLTALE_LISTEN=nowhere", NULL };

	refused("run --listen 127.0.0.1:1", env, "TELLTALE_LISTEN: expected ADDR:PORT");
}

static void lists_repeat_split_and_replace_weaker_sources(void **state)
{
	char *env[] = { (char *)"TELLTALE_PROCESS=a,b", (char *)"TELLTALE_PID=9", NULL };
	struct config *c = good("run --process nginx --process=redis-*,php --port 80,443 -p7", env);

	assert_int_equal(c->process.cnt, 3);
	assert_string_equal(c->process.v[0], "nginx");
	assert_string_equal(c->process.v[2], "php");
	assert_int_equal(c->port.cnt, 2);
	assert_int_equal(c->port.v[1], 443);
	assert_int_equal(c->pid.cnt, 1);
	assert_int_equal(c->pid.v[0], 7);
	config_free(c);
	c = good("run --protocol redis --protocol http,redis", env);
	assert_int_equal(c->process.cnt, 2);
	assert_int_equal(c->pid.v[0], 9);
	assert_string_equal(c->protocol, "redis,http");
	config_free(c);
	refused("run --port 0", NULL, "--port: expected ports from 1 to 65535");
	refused("run --port 65536", NULL, "found \"65536\"");
	refused("run --pid 1,x", NULL,
		"--pid: expected process ids, such as 12 or 12,34, found \"x\"");
	refused("run --protocol http,redsi", NULL, "did you mean redis?");
	refused("run --process 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", NULL,
		"at most 16 are possible");
}

static void pids_may_come_from_pidof(void **state)
{
	char *env[] = { (char *)"TELLTALE_PID=12 34\n56", NULL };
	struct config *c = good("trace", env);

	assert_int_equal(c->pid.cnt, 3);
	assert_int_equal(c->pid.v[2], 56);
	config_free(c);
}

static void sizes_and_times_have_units_and_ranges(void **state)
{
	struct config *c =
		good("run --ring-size 64K --queue-size 1MiB --capture-bytes 16384", NULL);

	assert_int_equal(c->ring_size, 65536);
	assert_int_equal(c->queue_size, 1 << 20);
	assert_int_equal(c->capture_bytes, 16384);
	config_free(c);
	c = good("trace --duration 2m --min-duration 100ms", NULL);
	assert_int_equal(c->duration_ns, 120000000000);
	assert_int_equal(c->min_duration_ns, 100000000);
	config_free(c);
	refused("run --capture-bytes 16385", NULL, "expected a number from 0 to 16K");
	refused("run --ring-size 3M", NULL, "a power of two");
	refused("run --queue-size 64KB", NULL, "found \"64KB\"");
	refused("run --queue-size -1", NULL, "found \"-1\"");
	refused("run --queue-size 99999999999999999999G", NULL, "--queue-size: expected");
	refused("run --queue-size 18446744073709551615G", NULL, "--queue-size: expected");
	refused("trace --duration 5", NULL, "such as 100ms, 5s or 2m, found \"5\"");
	refused("trace --duration 1.5s", NULL, "--duration: expected");
	refused("run --otlp-timeout 0", NULL, "expected a time from 1ms to 1h");
}

static void booleans_are_strict(void **state)
{
	char *env[] = { (char *)"TELLTALE_TLS=1", NULL };
	struct config *c = good("run --no-tls --raw-queries", NULL);

	assert_false(c->tls);
	assert_true(c->raw_queries);
	config_free(c);
	c = good("run --tls=false --raw-queries=false", NULL);
	assert_false(c->tls);
	assert_false(c->raw_queries);
	config_free(c);
	refused("run", env, "TELLTALE_TLS: expected true or false, found \"1\"");
	refused("run --tls=True", NULL, "expected true or false");
	refused("run --no-tls=true", NULL, "takes no value");
	refused("run --no-listen", NULL, "--no-listen: unknown option");
}

static void the_traced_command_keeps_its_own_options(void **state)
{
	struct config *c = good("trace --errors -o out -- ls --listen -p", NULL);

	assert_int_equal(c->argc, 3);
	assert_string_equal(c->argv[0], "ls");
	assert_string_equal(c->argv[2], "-p");
	assert_null(c->argv[3]);
	assert_string_equal(c->output, "out");
	assert_true(c->errors);
	config_free(c);
	c = good("trace curl -h", NULL);
	assert_int_equal(c->argc, 2);
	assert_int_equal(c->command, COMMAND_TRACE);
	config_free(c);
	c = good("trace --", NULL);
	assert_int_equal(c->argc, 0);
	config_free(c);
}

static void short_flags_may_stand_together(void **state)
{
	struct config *c = good("trace -qp12 -oF -u nobody", NULL);

	assert_true(c->quiet);
	assert_string_equal(c->log_level, "error");
	assert_int_equal(c->pid.v[0], 12);
	assert_string_equal(c->output, "F");
	assert_string_equal(c->user, "nobody");
	config_free(c);
	refused("trace -x", NULL, "-x: unknown option; see telltale trace --help");
	refused("trace -p", NULL, "--pid: expected PID");
}

static void replay_takes_one_file_anywhere(void **state)
{
	struct config *c = good("replay --format otlp-json in.tt -o out", NULL);

	assert_int_equal(c->argc, 1);
	assert_string_equal(c->argv[0], "in.tt");
	assert_int_equal(c->format, CONFIG_FORMAT_OTLP_JSON);
	config_free(c);
	c = good("replay in.tt -o out.json", NULL);
	assert_int_equal(c->format, CONFIG_FORMAT_OTLP_JSON);
	config_free(c);
	c = good("replay in.tt -o out.json --format tree", NULL);
	assert_int_equal(c->format, CONFIG_FORMAT_TREE);
	config_free(c);
	refused("replay", NULL, "expected FILE");
	refused("replay a b", NULL, "b is one argument too many");
	refused("record", NULL, "expected -o FILE");
}

static void unknown_words_name_their_likely_meaning(void **state)
{
	char *env[] = { (char *)"TELLTALE_CAPTRUE=auto", NULL };

	refused("rnu", NULL, "rnu: unknown command; did you mean run?");
	refused("run --captrue auto", NULL, "did you mean --capture?");
	refused("run --otlp_endpoint x", NULL, "did you mean --otlp-endpoint?");
	refused("run --xyzzy", NULL, "--xyzzy: unknown option; see telltale run --help");
	refused("run --json", NULL, "--json: not an option of telltale run");
	refused("run --capture trampolin", NULL, "did you mean trampoline?");
	refused("run", env, "did you mean TELLTALE_CAPTURE?");
	refused("--listen x run", NULL, "expected a command first");
	file_refused("# x\nlistne: 127.0.0.1:1\n",
		     ":2:1: unknown key \"listne\"; did you mean listen?");
}

static void empty_variables_are_unset(void **state)
{
	char *env[] = { (char *)"TELLTALE_LISTEN=", (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=",
			(char *)"TELLTALE_NONSENSE=", NULL };
	struct config *c = good("run", env);

	assert_string_equal(c->listen, "127.0.0.1:8009");
	assert_int_equal(c->otlp_urls.cnt, 0);
	config_free(c);
}

static void variables_of_a_kubernetes_service_are_no_options(void **state)
{
	char *env[] = { (char *)"TELLTALE_SERVICE_HOST=10.0.0.1",
			(char *)"TELLTALE_SERVICE_PORT=8009",
			(char *)"TELLTALE_SERVICE_PORT_HTTP=8009",
			(char *)"TELLTALE_PORT=tcp://10.0.0.1:8009",
			(char *)"TELLTALE_PORT_8009_TCP_ADDR=10.0.0.1",
			(char *)"TELLTALE_API_PORT=tcp://10.0.0.2:80",
			NULL };
	struct config *c = good("run", env);

	assert_int_equal(c->port.cnt, 0);
	config_free(c);
}

static void otel_variables_follow_the_specification(void **state)
{
	char *env[] = { (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://base:4318/x/",
			(char *)"OTEL_EXPORTER_OTLP_COMPRESSION=GZIP",
			(char *)"OTEL_EXPORTER_OTLP_TIMEOUT=2500",
			(char *)"OTEL_EXPORTER_OTLP_HEADERS=a=1,b=2%20",
			(char *)"OTEL_LOG_LEVEL=ERROR",
			NULL };
	char *whole[] = { (char *)"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://whole:1/my",
			  (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=http://base:1", NULL };
	char *bare[] = { (char *)"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://whole:1", NULL };
	struct config *c = good("run", env);

	assert_string_equal(c->otlp_urls.v[0], "http://base:4318/x/v1/traces");
	assert_int_equal(c->otlp_compression, CONFIG_COMPRESSION_GZIP);
	assert_int_equal(c->otlp_timeout_ns, 2500000000);
	assert_string_equal(c->otlp_headers, "a=1,b=2%20");
	assert_string_equal(c->log_level, "error");
	assert_int_equal(c->warnings.cnt, 0);
	config_free(c);
	c = good("run", whole);
	assert_string_equal(c->otlp_urls.v[0], "http://whole:1/my");
	config_free(c);
	c = good("run", bare);
	assert_string_equal(c->otlp_urls.v[0], "https://whole:1/");
	config_free(c);
}

static void bad_otel_variables_warn_and_are_ignored(void **state)
{
	char *env[] = { (char *)"OTEL_EXPORTER_OTLP_ENDPOINT=localhost",
			(char *)"OTEL_EXPORTER_OTLP_TIMEOUT=soon",
			(char *)"OTEL_EXPORTER_OTLP_PROTOCOL=smoke",
			(char *)"OTEL_EXPORTER_OTLP_HEADERS=se cret",
			(char *)"OTEL_LOG_LEVEL=loud",
			NULL };
	struct config *c = good("run", env);

	assert_int_equal(c->otlp_urls.cnt, 0);
	assert_int_equal(c->otlp_timeout_ns, 10000000000);
	assert_string_equal(c->log_level, "info");
	assert_int_equal(c->warnings.cnt, 5);
	for (uint32_t i = 0; i < c->warnings.cnt; i++) {
		assert_non_null(strstr(c->warnings.v[i], "ignored"));
		assert_null(strstr(c->warnings.v[i], "se cret"));
	}
	config_free(c);
}

static void an_endpoint_is_completed_once(void **state)
{
	struct config *c = good("run --otlp-endpoint https://[::1]:4318/v1/traces", NULL);

	assert_string_equal(c->otlp_urls.v[0], "https://[::1]:4318/v1/traces");
	config_free(c);
	c = good("run --otlp-endpoint http://a/?k=v,http://b/v1/traces?k=/,http://c/x?k=v", NULL);
	assert_string_equal(c->otlp_urls.v[0], "http://a/v1/traces?k=v");
	assert_string_equal(c->otlp_urls.v[1], "http://b/v1/traces?k=/");
	assert_string_equal(c->otlp_urls.v[2], "http://c/x/v1/traces?k=v");
	config_free(c);
	refused("run --otlp-endpoint ftp://x", NULL, "expected a URL");
	refused("run --otlp-endpoint http://", NULL, "expected a URL");
	refused("run --otlp-endpoint http://h:99999", NULL, "expected a URL");
	refused("run --otlp-endpoint http://[::1", NULL, "expected a URL");
	refused("run --otlp-headers nonsense", NULL, "expected K=V");
	refused("run --otlp-client-key k", NULL, "expected both or neither");
}

static void addresses_are_numbers_with_a_port(void **state)
{
	struct config *c = good("run --listen [::1]:0", NULL);

	assert_string_equal(c->listen, "[::1]:0");
	config_free(c);
	for (const char *const *bad =
		     (const char *const[]){ "8009", ":8009", "1.2.3:80", "[::1]", "[]:1",
					    "127.0.0.1:", "x:80", "127.0.0.1:65536", NULL };
	     *bad; bad++) {
		char args[64];
		snprintf(args, sizeof(args), "run --listen %s", *bad);
		refused(args, NULL, "expected ADDR:PORT");
	}
}

static void the_file_sets_scalars_and_lists(void **state)
{
	char args[128];
	struct config *c;

	write_file("# a comment\nlisten: '0.0.0.0:8009'\nprocess: [nginx, \"redis*\"]\n"
		   "port:\n  - 80\n  - 8080\nprotocol: http, redis\ntls: false\n"
		   "memory-limit: 512M\n");
	snprintf(args, sizeof(args), "run --config %s", file_path);
	c = good(args, NULL);
	assert_string_equal(c->listen, "0.0.0.0:8009");
	assert_int_equal(c->process.cnt, 2);
	assert_string_equal(c->process.v[1], "redis*");
	assert_int_equal(c->port.cnt, 2);
	assert_string_equal(c->protocol, "http,redis");
	assert_false(c->tls);
	assert_int_equal(c->memory_limit, 512 << 20);
	config_free(c);
	write_file("# nothing\n---\n");
	config_free(good(args, NULL));
	write_file("");
	config_free(good(args, NULL));
}

static void a_file_read_again_tells_what_has_changed(void **state)
{
	struct config *c, *again = NULL;
	char args[128];
	size_t at = 0;

	write_file("listen: 127.0.0.1:1\nprocess: a\nport: [80, 443]\n");
	snprintf(args, sizeof(args), "run --config %s --log-level warn", file_path);
	c = good(args, NULL);
	assert_int_equal(config_again(c, &again, why), 0);
	assert_null(config_next_change(c, again, &at));
	config_free(again);
	/* what a flag sets stays, whatever the file says */
	write_file("listen: 127.0.0.1:1\nprocess: [a, b]\nport: 80\nlog-level: debug\n");
	assert_int_equal(config_again(c, &again, why), 0);
	assert_int_equal(again->process.cnt, 2);
	at = 0;
	assert_string_equal(config_next_change(c, again, &at), "process");
	assert_string_equal(config_next_change(c, again, &at), "port");
	assert_null(config_next_change(c, again, &at));
	config_free(again);
	write_file("listen: 127.0.0.1:1\nprocss: a\n");
	again = NULL;
	assert_int_equal(config_again(c, &again, why), -EINVAL);
	assert_null(again);
	assert_non_null(strstr(why, ":2"));
	config_free(c);
}

static void the_file_is_refused_with_line_and_expectation(void **state)
{
	char deep[4096];

	file_refused("tls: yes\n", ":1:6: tls: expected true or false, found \"yes\"");
	file_refused("\n\nlisten:\n", ":3:");
	file_refused("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", ":2:1: listen is given twice");
	file_refused("listen: [127.0.0.1:1]\n", "expected a value, found a list");
	file_refused("listen: {a: b}\n", "expected a value, found a mapping");
	file_refused("port: [[1]]\n", "expected a value, found a list");
	file_refused("- listen\n", "expected options as \"name: value\", found a list");
	file_refused("listen\n", "found a single value");
	file_refused("tls: false\n---\ntls: true\n", "found a second document");
	file_refused("config: x\n", "unknown key \"config\"");
	file_refused("a: &x 1\n", "unknown key \"a\"");
	file_refused("listen: *x\n", "");
	file_refused("tls: 'open\n", "not valid YAML");
	file_refused("tls: \xff\xfe\n", "");
	file_refused("listen: \"a\\0b\"\n", "expected ADDR:PORT");
	file_refused("listen: \"127.0.0.1\\0b:80\"\n", "expected ADDR:PORT");
	memset(deep, '[', sizeof(deep) - 1);
	memcpy(deep, "port: ", 6);
	deep[sizeof(deep) - 1] = '\0';
	file_refused(deep, "expected a value");
}

static void an_unreadable_file_says_why(void **state)
{
	struct config *c = NULL;

	assert_int_equal(load("run --config /nonexistent/x.yaml", NULL, &c), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/x.yaml: No such file or directory"));
	assert_int_equal(load("run --config /", NULL, &c), -EISDIR);
	assert_int_equal(load("run --config /dev/zero", NULL, &c), -EFBIG);
	assert_null(c);
}

static void help_works_with_a_broken_file(void **state)
{
	char *env[] = { (char *)"TELLTALE_CONFIG=/nonexistent", NULL };
	struct config *c = good("trace --help", env);

	assert_int_equal(c->command, COMMAND_HELP);
	assert_int_equal(c->help_topic, COMMAND_TRACE);
	config_free(c);
	c = good("help status", env);
	assert_int_equal(c->help_topic, COMMAND_STATUS);
	config_free(c);
	c = good("-h", env);
	assert_int_equal(c->help_topic, COMMAND_NONE);
	config_free(c);
	c = good("run -V", env);
	assert_int_equal(c->command, COMMAND_VERSION);
	config_free(c);
	c = good("", NULL);
	assert_int_equal(c->command, COMMAND_NONE);
	config_free(c);
	refused("help rnu", NULL, "did you mean run?");
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void help_stays_under_forty_lines_and_a_hundred_columns(void **state)
{
	for (int i = COMMAND_NONE; i < COMMAND_MAX; i++) {
		char *text = NULL;
		size_t size = 0;
		FILE *f = open_memstream(&text, &size);

		config_help(f, (enum command)i);
		fclose(f);
		assert_true(count_lines(text) < 40);
		assert_non_null(strstr(text, "Example:\n  "));
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			if (strlen(line) > 100)
				fail_msg("too wide: %s", line);
		}
		free(text);
	}
}

static void the_reference_has_a_row_for_each_option(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	config_markdown(f);
	fclose(f);
	assert_int_equal(count_lines(text), config_table_cnt + 2);
	assert_non_null(strstr(text, "`--no-tls` | `tls:`, `TELLTALE_TLS` | true"));
	free(text);
}

static void printed_values_show_origin_and_hide_secrets(void **state)
{
	struct config *c = good("options --otlp-headers token=hunter2 --port 80,81", NULL);
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	config_print(c, f);
	fclose(f);
	assert_null(strstr(text, "hunter2"));
	assert_non_null(strstr(text, "80,81  (--port)"));
	assert_non_null(strstr(text, "8M  (default)"));
	free(text);
	config_free(c);
}

static void the_table_is_sound(void **state)
{
	for (size_t i = 0; i < config_table_cnt; i++) {
		const struct option *o = &config_table[i];

		assert_non_null(o->help);
		assert_true(strlen(o->name) < NAME_MAX_LEN);
		assert_true(o->commands != 0);
		assert_ptr_equal(option_find(str_of(o->name)), o);
		for (size_t j = 0; j < i; j++) {
			assert_false(o->letter && o->letter == config_table[j].letter &&
				     o->commands & config_table[j].commands);
			assert_false(o->width && o->offset == config_table[j].offset &&
				     config_table[j].width);
		}
	}
}

static int make_file(void **state)
{
	int fd = mkstemp(file_path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(file_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold_without_any_source),
		cmocka_unit_test(flag_goes_before_variable_before_file_before_otel),
		cmocka_unit_test(an_overridden_source_is_still_checked),
		cmocka_unit_test(lists_repeat_split_and_replace_weaker_sources),
		cmocka_unit_test(pids_may_come_from_pidof),
		cmocka_unit_test(sizes_and_times_have_units_and_ranges),
		cmocka_unit_test(booleans_are_strict),
		cmocka_unit_test(the_traced_command_keeps_its_own_options),
		cmocka_unit_test(short_flags_may_stand_together),
		cmocka_unit_test(replay_takes_one_file_anywhere),
		cmocka_unit_test(unknown_words_name_their_likely_meaning),
		cmocka_unit_test(empty_variables_are_unset),
		cmocka_unit_test(variables_of_a_kubernetes_service_are_no_options),
		cmocka_unit_test(otel_variables_follow_the_specification),
		cmocka_unit_test(bad_otel_variables_warn_and_are_ignored),
		cmocka_unit_test(an_endpoint_is_completed_once),
		cmocka_unit_test(addresses_are_numbers_with_a_port),
		cmocka_unit_test(the_file_sets_scalars_and_lists),
		cmocka_unit_test(a_file_read_again_tells_what_has_changed),
		cmocka_unit_test(the_file_is_refused_with_line_and_expectation),
		cmocka_unit_test(an_unreadable_file_says_why),
		cmocka_unit_test(help_works_with_a_broken_file),
		cmocka_unit_test(help_stays_under_forty_lines_and_a_hundred_columns),
		cmocka_unit_test(the_reference_has_a_row_for_each_option),
		cmocka_unit_test(printed_values_show_origin_and_hide_secrets),
		cmocka_unit_test(the_table_is_sound),
	};
	return cmocka_run_group_tests_name("config", tests, make_file, remove_file);
}
