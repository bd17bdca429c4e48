/* SPDX-License-Identifier: Apache-2.0 */
/* A ClickHouse of the test's own: tests/clickhouse/front.js, ended with the test. */
#ifndef TESTS_STORE_FRONT_H
#define TESTS_STORE_FRONT_H

#include "core/str.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRONT_USER     "me"
#define FRONT_PASSWORD "p:@/ w"

static char packages[1024]; /* empty: there are none */
static char front_dir[64] = "build/clickhouse.XXXXXX";
static uint16_t front_port;
static pid_t front_pid;

/* Why it cannot be had, or NULL. */
static inline const char *front_prepare(void)
{
	FILE *p = popen("tests/npm.sh 2>/dev/null", "r");
	size_t len = p ? fread(packages, 1, sizeof(packages) - 1, p) : 0;

	if (!p || pclose(p) || !len) {
		packages[0] = 0;
		return "the npm package chdb cannot be had";
	}
	packages[strcspn(packages, "\n")] = 0;
	if (system("node --version >/dev/null 2>&1")) {
		packages[0] = 0;
		return "no node";
	}
	return mkdtemp(front_dir) ? NULL : "no directory under build/";
}

static inline uint16_t free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

/* Returns when it listens. */
static inline void front_start(void)
{
	char port[8], line[128] = "";
	int out[2];
	FILE *said;

	if (!front_port)
		front_port = free_port();
	snprintf(port, sizeof(port), "%u", front_port);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	front_pid = fork();
	assert_true(front_pid >= 0);
	if (!front_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		execlp("node", "node", "tests/clickhouse/front.js", packages, port, front_dir,
		       FRONT_USER, FRONT_PASSWORD, NULL);
		_exit(127);
	}
	close(out[1]);
	said = fdopen(out[0], "r");
	assert_non_null(fgets(line, sizeof(line), said));
	assert_non_null(strstr(line, "listening"));
	fclose(said);
}

static inline void front_stop(void)
{
	if (!front_pid)
		return;
	kill(front_pid, SIGTERM);
	waitpid(front_pid, NULL, 0);
	front_pid = 0;
}

static inline void front_remove(void)
{
	char command[96];

	front_stop();
	snprintf(command, sizeof(command), "rm -rf %s", front_dir);
	if (packages[0] && system(command))
		printf("%s is left\n", front_dir);
}

#endif
