/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/patience.h"

static struct patience *home;
static uint64_t late;
static int ours[3], theirs[3];

static int setup(void **state)
{
	late = 0;
	for (int i = 0; i < 3; i++) {
		int fd[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
			return -1;
		ours[i] = fd[0];
		theirs[i] = fd[1];
	}
	return patience_new(2, &late, &home);
}

static int teardown(void **state)
{
	patience_free(home);
	for (int i = 0; i < 3; i++) {
		close(ours[i]);
		close(theirs[i]);
	}
	return 0;
}

/* What the client was told before its end. */
static const char *last_words(int i)
{
	static char text[512];
	ssize_t n = recv(theirs[i], text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = 0;
	return text;
}

static bool is_open(int i)
{
	char c;

	return recv(theirs[i], &c, 1, MSG_DONTWAIT) < 0;
}

static void who_is_late_is_told_and_shut_out(void **state)
{
	struct patience_client *asks = patience_join(home, ours[0], 0);
	struct patience_client *takes = patience_join(home, ours[1], 3600);
	const char *text = last_words(0);

	assert_int_equal(strncmp(text, "HTTP/1.1 408 ", 13), 0);
	assert_string_equal(strstr(text, "\r\n\r\n") + 4, "the request took too long\n");
	assert_non_null(strstr(text, "Content-Length: 26\r\n"));
	assert_string_equal(last_words(0), "");
	/* in the middle of an answer there is nothing to say */
	patience_wait(takes, PATIENCE_ANSWER, 0);
	assert_string_equal(last_words(1), "");
	assert_int_equal(late, 2);
	patience_leave(asks);
	patience_leave(takes);
}

static void past_the_limit_the_idlest_goes(void **state)
{
	struct patience_client *c[3];

	c[0] = patience_join(home, ours[0], 3600);
	c[1] = patience_join(home, ours[1], 3600);
	patience_wait(c[0], PATIENCE_OURS, 0);
	c[2] = patience_join(home, ours[2], 3600);
	assert_true(is_open(0) && !is_open(1) && is_open(2));
	assert_int_equal(late, 0);
	patience_leave(c[1]);
	patience_leave(c[0]);
	patience_leave(c[2]);
	patience_leave(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_is_late_is_told_and_shut_out, setup, teardown),
		cmocka_unit_test_setup_teardown(past_the_limit_the_idlest_goes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
