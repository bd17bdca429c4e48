/* SPDX-License-Identifier: Apache-2.0 */
/* The streaming JSON writer: text, numbers, commas, full buffers. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/json.h"

static struct buf out;
static struct json j;

static void start(void)
{
	buf_clear(&out);
	j = (struct json){ .out = &out };
}

static void wrote(const char *want)
{
	buf_add_char(&out, 0);
	assert_string_equal(out.p, want);
	start();
}

static void commas_stand_between_and_nowhere_else(void **state)
{
	start();
	json_open(&j, '{');
	json_key(&j, "a");
	json_open(&j, '[');
	json_close(&j, ']');
	json_key(&j, "b");
	json_open(&j, '[');
	json_u64(&j, 1);
	json_bool(&j, true);
	json_open(&j, '{');
	json_close(&j, '}');
	json_close(&j, ']');
	json_close(&j, '}');
	wrote("{\"a\":[],\"b\":[1,true,{}]}");
}

static void text_is_escaped_and_clean(void **state)
{
	start();
	json_str(&j, (struct str){ "q\"b\\n\nt\tr\rz\0\x1f\x7f", 14 });
	wrote("\"q\\\"b\\\\n\\nt\\tr\\rz\\u0000\\u001f\x7f\"");
	json_str(&j, STR("ü\xff🧶"));
	wrote("\"ü\xef\xbf\xbd🧶\"");
}

/* Text is scanned eight bytes at a time: no byte may hide among its neighbours. */
static void every_byte_is_escaped_at_every_place(void **state)
{
	char text[20], want[64], one[8];

	start();
	for (int byte = 0; byte < 0x80; byte++) {
		json_str(&j, (struct str){ (char[]){ (char)byte }, 1 });
		assert_in_range(out.len, 3, sizeof(one) - 1 + 2);
		memset(one, 0, sizeof(one));
		memcpy(one, out.p + 1, out.len - 2);
		start();
		for (size_t at = 0; at < sizeof(text); at++) {
			memset(text, byte % 2 ? 'a' : '~', sizeof(text));
			text[at] = (char)byte;
			snprintf(want, sizeof(want), "\"%.*s%s%.*s\"", (int)at, text, one,
				 (int)(sizeof(text) - at - 1), text + at + 1);
			json_str(&j, (struct str){ text, sizeof(text) });
			wrote(want);
		}
	}
}

static void numbers_of_every_length_are_whole(void **state)
{
	char want[64];

	start();
	for (uint64_t v = 1; v < UINT64_MAX / 10; v = v * 10 + v % 9 + 1) {
		snprintf(want, sizeof(want), "%" PRIu64 ",%" PRIu64, v, v - 1);
		json_u64(&j, v);
		json_u64(&j, v - 1);
		wrote(want);
	}
}

static void integers_reach_their_ends(void **state)
{
	start();
	json_u64(&j, UINT64_MAX);
	json_i64(&j, INT64_MIN);
	json_i64_str(&j, INT64_MIN);
	json_u64_str(&j, 0);
	wrote("18446744073709551615,-9223372036854775808,\"-9223372036854775808\",\"0\"");
}

static void doubles_read_back_as_they_were(void **state)
{
	static const double some[] = { 0.1,	 1e22, 5e-324,	   1.7976931348623157e308,
				       1.0 / 3,	 -2.5, 123456.789, 100,
				       0.1 + 0.2 };

	for (size_t i = 0; i < ARRAY_LEN(some); i++) {
		start();
		json_double(&j, some[i]);
		buf_add_char(&out, 0);
		assert_true(strtod(out.p, NULL) == some[i]);
	}
	start();
	json_double(&j, 0.1);
	json_double(&j, -0.0);
	json_double(&j, NAN);
	json_double(&j, INFINITY);
	json_double(&j, -INFINITY);
	wrote("0.1,-0,\"NaN\",\"Infinity\",\"-Infinity\"");
}

/* The least of 15, 16 and 17 digits that reads back. */
static void shortest(double v, char text[40])
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, 40, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			return;
	}
}

static void doubles_are_written_as_the_library_writes_them(void **state)
{
	static const double scale[] = { 1, 10, 100, 1000, 10000, 100000, 3, 7e7 };
	uint64_t x = 88172645463325252ull;
	char want[40];

	for (int i = 0; i < 200000; i++) {
		double v;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		v = (double)(x >> (20 + x % 44)) / scale[i % 8];
		start();
		json_double(&j, i % 16 == 15 ? -v : v);
		shortest(i % 16 == 15 ? -v : v, want);
		wrote(want);
	}
	for (int i = -3; i <= 3; i++) {
		double v = i < 0 ? nextafter(0.0001, 0) : i ? 1e9 + i - 2 : 0.0001;

		start();
		json_double(&j, v);
		shortest(v, want);
		wrote(want);
	}
}

static void the_locale_does_not_change_numbers(void **state)
{
	if (!setlocale(LC_NUMERIC, "de_DE.UTF-8")) {
		print_message("SKIP: no locale here has a decimal comma\n");
		skip();
	}
	start();
	json_double(&j, 1.5);
	setlocale(LC_NUMERIC, "C");
	wrote("1.5");
}

static void bytes_are_hex_or_base64(void **state)
{
	start();
	json_hex(&j, (const uint8_t *)"\x00\xab\xff", 3);
	wrote("\"00abff\"");
	json_hex(&j, (const uint8_t *)"\x00\x19\xa9\xf0\x9f\x5a\x80\x7f\xc3", 9);
	wrote("\"0019a9f09f5a807fc3\"");
	json_base64(&j, STR(""));
	json_base64(&j, STR("f"));
	json_base64(&j, STR("fo"));
	json_base64(&j, STR("foo"));
	json_base64(&j, STR("\xff\xfe\xfd"));
	wrote("\"\",\"Zg==\",\"Zm8=\",\"Zm9v\",\"//79\"");
}

static void a_full_buffer_is_reported(void **state)
{
	struct buf small = { .cap = 300 };
	struct json k = { .out = &small };

	/* to the last byte of the cap, also where the size would have been doubled past it */
	for (int i = 0; i < 300; i++)
		assert_int_equal(buf_add_char(&small, 'x'), 0);
	assert_int_equal(buf_add_char(&small, 'x'), -ENOBUFS);
	assert_int_equal(small.len, 300);
	buf_fini(&small);
	small = (struct buf){ .cap = 4 };

	json_str(&k, STR("too long for it"));
	assert_true(small.failed);
	buf_fini(&small);
}

static int teardown(void **state)
{
	buf_fini(&out);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_stand_between_and_nowhere_else),
		cmocka_unit_test(text_is_escaped_and_clean),
		cmocka_unit_test(every_byte_is_escaped_at_every_place),
		cmocka_unit_test(numbers_of_every_length_are_whole),
		cmocka_unit_test(integers_reach_their_ends),
		cmocka_unit_test(doubles_read_back_as_they_were),
		cmocka_unit_test(doubles_are_written_as_the_library_writes_them),
		cmocka_unit_test(the_locale_does_not_change_numbers),
		cmocka_unit_test(bytes_are_hex_or_base64),
		cmocka_unit_test(a_full_buffer_is_reported),
	};
	return cmocka_run_group_tests_name("core/json", tests, NULL, teardown);
}
