/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPS and mTLS, against the ssl module of python. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <spawn.h>
#include <sys/wait.h>

#include "certs.h"
#include "rig.h"

#define STAGE  "export_otlp_http"
#define PYTHON "/usr/bin/python3"

extern char **environ;
static bool can_run;
static pid_t pid;
static FILE *said;
static unsigned int port;

static void serve(bool mutual)
{
	char *args[7] = { PYTHON, NULL, NULL, NULL, NULL, NULL, NULL };
	posix_spawn_file_actions_t actions;
	int fd[2];

	if (!can_run) {
		print_message("SKIP: no openssl to make certificates with, or no python3\n");
		skip();
	}
	args[1] = "tests/unit/export/https_server.py";
	args[2] = (char *)rig_path("server.pem");
	args[3] = (char *)rig_path("server.key");
	args[4] = mutual ? (char *)rig_path("ca.pem") : NULL;
	assert_int_equal(pipe(fd), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], 1);
	posix_spawn_file_actions_addclose(&actions, fd[0]);
	posix_spawn_file_actions_addclose(&actions, fd[1]);
	assert_int_equal(posix_spawn(&pid, PYTHON, &actions, NULL, args, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd[1]);
	said = fdopen(fd[0], "r");
	assert_int_equal(fscanf(said, "%u", &port), 1);
}

static void end(void)
{
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	fclose(said);
}

static struct exporter *start(struct exporter_cfg cfg)
{
	char url[64];

	snprintf(url, sizeof(url), "https://127.0.0.1:%u/v1/traces", port);
	cfg.kind = "otlp_http";
	return rig_start(cfg, url);
}

static void spans_go_over_tls(void **state)
{
	struct exporter *e;
	char path[32];
	unsigned int len;

	serve(false);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem"), .batch_spans = 10 });
	rig_push(e, 10);
	assert_int_equal(rig_settle(STAGE).out, 10);
	assert_int_equal(fscanf(said, "%31s %u", path, &len), 2);
	assert_string_equal(path, "/v1/traces");
	assert_true(len > 1000);
	exporter_free(e, 0);
	end();
}

static void a_server_that_is_not_trusted_gets_nothing(void **state)
{
	struct exporter *e;
	struct books b;

	serve(false);
	e = start((struct exporter_cfg){ .ca_file = rig_path("other.pem"), .give_up_ms = 100 });
	rig_push(e, 10);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "gave_up"), 10);
	exporter_free(e, 0);
	end();
}

static void a_client_shows_its_certificate(void **state)
{
	struct exporter *e;
	struct books b;

	serve(true);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem"), .give_up_ms = 100 });
	rig_push(e, 10);
	b = rig_settle(STAGE);
	assert_int_equal(rig_lost(&b, "gave_up"), 10);
	exporter_free(e, 0);
	e = start((struct exporter_cfg){ .ca_file = rig_path("ca.pem"),
					 .cert_file = rig_path("client.pem"),
					 .key_file = rig_path("client.key") });
	rig_push(e, 10);
	assert_int_equal(rig_settle(STAGE).out, 10);
	exporter_free(e, 0);
	end();
}

/* At the start, while its user is there to see it; the server's faults when they show. */
static void what_is_wrong_with_certificates_is_said(void **state)
{
	struct exporter_cfg cfg = { .kind = "otlp_http", .ca_file = rig_path("client.key") };
	struct buf text = { 0 };
	struct exporter *e;

	serve(false);
	assert_int_equal(rig_refused(cfg, "https://127.0.0.1:1/", "client.key: "), -EINVAL);
	cfg = (struct exporter_cfg){ .kind = "otlp_http",
				     .cert_file = rig_path("client.pem"),
				     .key_file = rig_path("server.key") };
	assert_int_equal(rig_refused(cfg, "https://127.0.0.1:1/", "client.pem: "), -EINVAL);
	e = start((struct exporter_cfg){ .ca_file = rig_path("other.pem"), .give_up_ms = 100 });
	rig_push(e, 10);
	rig_settle(STAGE);
	exporter_state(e, &text);
	assert_false(buf_add_char(&text, 0));
	assert_non_null(strstr(text.p, "certificate verification failed"));
	buf_fini(&text);
	exporter_free(e, 0);
	end();
}

static int setup(void **state)
{
	if (rig_setup(state))
		return -1;
	can_run = certs_make(rig_dir) && !access(PYTHON, X_OK);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans_go_over_tls),
		cmocka_unit_test(a_server_that_is_not_trusted_gets_nothing),
		cmocka_unit_test(a_client_shows_its_certificate),
		cmocka_unit_test(what_is_wrong_with_certificates_is_said),
	};
	return cmocka_run_group_tests_name("export/https", tests, setup, rig_teardown);
}
