/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that listen. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/listen.h"

static const char *const bad[] = { "",
				   ":",
				   "8009",
				   ":8009",
				   "1.2.3:80",
				   "1.2.3.4:5:6",
				   "[::1]",
				   "[]:1",
				   "]:1",
				   "[:1",
				   "::1:80",
				   "[127.0.0.1]:80",
				   "[localhost]:80",
				   "host.example:80",
				   "127.0.0.1:",
				   "127.0.0.1:x",
				   "127.0.0.1:65536",
				   "127.0.0.1:-1",
				   "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:1" };

static void what_is_no_address_is_refused(void **state)
{
	struct listening at = { .fd = -1 };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(listen_valid(str_of(bad[i])));
		assert_int_equal(listen_open(bad[i], &at), -EINVAL);
	}
	assert_int_equal(at.fd, -1);
	assert_false(listen_valid(STR("127.0.0.1\0x:80")));
	assert_false(listen_valid((struct str){ NULL, 0 }));
	assert_true(listen_valid((struct str){ "[::]:0x", 6 }));
}

static void a_socket_knows_its_port_and_reach(void **state)
{
	static const struct {
		const char *where;
		bool loopback;
	} good[] = { { "127.0.0.1:0", true }, { "127.9.9.9:0", true }, { "LocalHost:0", true },
		     { "0.0.0.0:0", false },  { "[::1]:0", true },     { "[::]:0", false } };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct listening at, second;
		char where[32];
		int err = listen_open(good[i].where, &at);

		assert_true(listen_valid(str_of(good[i].where)));
		if (err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL) /* a machine without IPv6 */
			continue;
		assert_int_equal(err, 0);
		assert_int_not_equal(at.port, 0);
		assert_int_equal(at.loopback, good[i].loopback);
		assert_int_equal(!listen_reach(good[i].where)[0], good[i].loopback);
		snprintf(where, sizeof(where), "%.*s%u", (int)strlen(good[i].where) - 1,
			 good[i].where, at.port);
		assert_int_equal(listen_open(where, &second), -EADDRINUSE);
		close(at.fd);
	}
}

static void errors_that_can_be_helped_come_with_advice(void **state)
{
	struct listening at;

	assert_int_equal(listen_open("192.0.2.7:0", &at), -EADDRNOTAVAIL);
	assert_non_null(strstr(listen_advice(-EADDRNOTAVAIL), "no such address"));
	assert_non_null(strstr(listen_advice(-EADDRINUSE), "another port"));
	assert_string_equal(listen_advice(-EINVAL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(a_socket_knows_its_port_and_reach),
		cmocka_unit_test(errors_that_can_be_helped_come_with_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
