/* SPDX-License-Identifier: Apache-2.0 */
/* Followers of spans: over HTTP as a reader sees them, and one that does not keep up. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "api/api.h"
#include "api/live.h"
#include "core/books.h"
#include "core/clock.h"

static struct resource *shop, *cart;

static struct span make(struct resource *r, uint64_t duration_ms, enum span_status status)
{
	return (struct span){ .trace_id.b = { 1 },
			      .span_id.b = { 2 },
			      .kind = SPAN_SERVER,
			      .name = STR("GET /"),
			      .start_ns = NS_PER_S,
			      .end_ns = NS_PER_S + duration_ms * NS_PER_MS,
			      .status = status,
			      .resource = r,
			      .scope = &scope_capture };
}

static const struct books *books;

static void find_books(void *ctx, const struct books *b)
{
	if (!strcmp(b->stage, "live"))
		books = b;
}

static void assert_balance(void)
{
	uint64_t dropped = 0;

	books_each(find_books, NULL);
	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += books->dropped[i];
	assert_int_equal(books->in, books->out + books->held + dropped);
}

static void nothing(void *ctx)
{
}

static void read_all(struct live_client *c, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = live_read(c, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = 0;
}

static void a_follower_gets_what_it_asked_for(void **state)
{
	struct live_filter f = { .service = "shop",
				 .min_duration_ns = 5 * NS_PER_MS,
				 .errors = true };
	struct api_live *l = live_new();
	struct live_client *c = NULL;
	char text[8192];
	struct span s;

	assert_int_equal(live_join(l, &f, &c), 0);
	live_attach(c, nothing, nothing, NULL);
	s = make(shop, 4, STATUS_ERROR);
	live_push(l, &s);
	s = make(shop, 6, STATUS_UNSET);
	live_push(l, &s);
	s = make(cart, 6, STATUS_ERROR);
	live_push(l, &s);
	read_all(c, text, sizeof(text));
	assert_string_equal(text, ": following\n\n");
	s = make(shop, 6, STATUS_ERROR);
	live_push(l, &s);
	assert_balance();
	read_all(c, text, sizeof(text));
	assert_memory_equal(text, "event: span\ndata: {\"resourceSpans\":[{", 37);
	assert_string_equal(text + strlen(text) - 2, "\n\n");
	assert_int_equal(books->in, 1);
	assert_int_equal(books->out, 1);
	live_leave(c);
	live_free(l);
}

static void one_that_does_not_read_is_dropped_and_counted(void **state)
{
	struct live_filter all = { .service = "" };
	struct span s = make(shop, 1, STATUS_UNSET);
	struct api_live *l = live_new();
	struct live_client *slow, *good;
	static char text[LIVE_BUFFER_MAX + 1];
	uint64_t read = 0;

	assert_int_equal(live_join(l, &all, &slow), 0);
	assert_int_equal(live_join(l, &all, &good), 0);
	for (int i = 0; i < 2000; i++) {
		live_push(l, &s);
		assert_balance();
		read_all(good, text, sizeof(text));
		read += strstr(text, "event: span") != NULL;
	}
	assert_int_equal(read, 2000);
	assert_int_equal(live_read(slow, text, 1), -1);
	assert_string_equal(books->reason[0], "slow_client");
	assert_true(books->dropped[0] > 0);
	assert_int_equal(books->in, books->out + books->dropped[0]);
	live_leave(slow);
	live_leave(good);
	live_free(l);
}

static void there_is_a_limit_of_followers_and_an_end(void **state)
{
	struct live_filter all = { .service = "" };
	struct live_client *c[LIVE_CLIENTS_MAX], *more = NULL;
	struct api_live *l = live_new();
	char text[256];

	for (size_t i = 0; i < LIVE_CLIENTS_MAX; i++)
		assert_int_equal(live_join(l, &all, &c[i]), 0);
	assert_int_equal(live_join(l, &all, &more), -EAGAIN);
	live_leave(c[0]);
	assert_int_equal(live_join(l, &all, &c[0]), 0);
	live_attach(c[0], nothing, nothing, NULL);
	read_all(c[0], text, sizeof(text));
	live_tick(l, NS_PER_S);
	live_tick(l, 20 * NS_PER_S);
	read_all(c[0], text, sizeof(text));
	assert_string_equal(text, ": still here\n\n");
	live_stop(l);
	assert_int_equal(live_join(l, &all, &more), -ESHUTDOWN);
	for (size_t i = 0; i < LIVE_CLIENTS_MAX; i++) {
		assert_int_equal(live_read(c[i], text, 1), -1);
		live_leave(c[i]);
	}
	live_free(l);
}

static int open_stream(struct api *a, const char *target)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(api_port(a)) };
	struct timeval wait = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char text[256];
	int len =
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
	return fd;
}

/* Reads until the text is there. */
static void await_text(int fd, const char *want)
{
	static char text[65536];
	size_t len = 0;

	text[0] = 0;
	while (!strstr(text, want)) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);

		assert_true(n > 0);
		len += (size_t)n;
		text[len] = 0;
	}
}

static void spans_come_over_http(void **state)
{
	struct span s = make(shop, 6, STATUS_ERROR);
	struct api *a = NULL;
	char rest[4096];
	int fd, other;

	assert_int_equal(api_new(&(struct api_cfg){ .listen = "127.0.0.1:0" }, &a), 0);
	fd = open_stream(a, "/traces/live?service=shop&errors=true&min_duration=5ms");
	other = open_stream(a, "/traces/live?service=cart");
	await_text(fd, ": following");
	await_text(other, ": following");
	for (int i = 0; i < 3; i++) {
		api_live_push(a, &s);
		await_text(fd, "event: span");
	}
	close(other);
	/* ends while followers are there */
	api_free(a);
	while (recv(fd, rest, sizeof(rest), 0) > 0)
		;
	close(fd);
}

static int setup(void **state)
{
	struct resource **r[] = { &shop, &cart };
	const char *names[] = { "shop", "cart" };

	for (size_t i = 0; i < ARRAY_LEN(r); i++) {
		*r[i] = resource_new();
		attrs_add_str(&(*r[i])->attrs, (*r[i])->arena, "service.name", str_of(names[i]));
		resource_seal(*r[i]);
	}
	return 0;
}

static int teardown(void **state)
{
	resource_put(shop);
	resource_put(cart);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_follower_gets_what_it_asked_for),
		cmocka_unit_test(one_that_does_not_read_is_dropped_and_counted),
		cmocka_unit_test(there_is_a_limit_of_followers_and_an_end),
		cmocka_unit_test(spans_come_over_http),
	};

	return cmocka_run_group_tests_name("api/live", tests, setup, teardown);
}
