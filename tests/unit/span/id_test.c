/* SPDX-License-Identifier: Apache-2.0 */
/* Every accepted way of writing an id, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "span/span.h"

static void check_trace(const char *text, const char *want)
{
	struct trace_id id = { { 7 } };
	char hex[33];

	assert_int_equal(trace_id_parse(str_of(text), &id), want != NULL);
	trace_id_hex(&id, hex);
	assert_string_equal(hex, want ? want : "07000000000000000000000000000000");
}

static void check_span(const char *text, const char *want)
{
	struct span_id id = { { 7 } };
	char hex[17];

	assert_int_equal(span_id_parse(str_of(text), &id), want != NULL);
	span_id_hex(&id, hex);
	assert_string_equal(hex, want ? want : "0700000000000000");
}

static void trace_ids(void **state)
{
	check_trace("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736");
	check_trace("4BF92F3577B34DA6A3CE929D0E0E4736", "4bf92f3577b34da6a3ce929d0e0e4736");
	check_trace("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736");
	check_trace("a3ce929d0e0e4736", "0000000000000000a3ce929d0e0e4736");
	check_trace("1", "00000000000000000000000000000001");
	check_trace("bf92f3577b34da6a3ce929d0e0e4736", "0bf92f3577b34da6a3ce929d0e0e4736");
	check_trace("0004bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4736");
}

static void bad_trace_ids(void **state)
{
	check_trace("", NULL);
	check_trace("0", NULL);
	check_trace("00000000000000000000000000000000", NULL);
	check_trace("14bf92f3577b34da6a3ce929d0e0e4736", NULL);
	check_trace("4bf92f3577b34da6a3ce929d0e0e473g", NULL);
	check_trace("4bf92f3577b3-4da6-a3ce-929d0e0e-4736", NULL);
	check_trace("4bf92f35-77b3-4da6-a3ce-929d0e0e473", NULL);
	check_trace("0x1", NULL);
	check_trace(" 1", NULL);
}

static void span_ids(void **state)
{
	check_span("00f067aa0ba902b7", "00f067aa0ba902b7");
	check_span("F067AA0BA902B7", "00f067aa0ba902b7");
	check_span("7", "0000000000000007");
	check_span("000000f067aa0ba902b7", "00f067aa0ba902b7");
	check_span("100f067aa0ba902b7", NULL);
	check_span("0000000000000000", NULL);
	check_span("", NULL);
	check_span("00f067aa0ba9-2b7", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trace_ids),
		cmocka_unit_test(bad_trace_ids),
		cmocka_unit_test(span_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
