/* SPDX-License-Identifier: Apache-2.0 */
/* Ids are the SipHash of where a request begins; traceparent as W3C has it. */
#include "unit/span/play.h"

/* SipHash-2-4 of the bytes 00 .. 17 under the key 00 .. 0f, as OpenSSL's SIPHASH computes it (which
 * also gives the paper's vector of 15 bytes, a129ca6149be45e5). */
static void sip_hash_agrees_with_another_implementation(void **state)
{
	static const uint8_t expect[8] = { 0x94, 0xaf, 0x49, 0xf6, 0xc6, 0x50, 0xad, 0xb8 };
	uint64_t got =
		sip_hash3(0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull, 0x0706050403020100ull,
			  0x0f0e0d0c0b0a0908ull, 0x1716151413121110ull);
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(got >> (8 * i));
	assert_memory_equal(bytes, expect, 8);
}

static void ids_differ_by_connection_direction_and_place(void **state)
{
	uint64_t id = span_id_derive(1, 2, 3, DIR_IN, 4);

	assert_true(id && id == span_id_derive(1, 2, 3, DIR_IN, 4));
	assert_true(id != span_id_derive(1, 2, 3, DIR_OUT, 4));
	assert_true(id != span_id_derive(1, 2, 4, DIR_IN, 4));
	assert_true(id != span_id_derive(1, 2, 3, DIR_IN, 5));
	assert_true(id != span_id_derive(2, 2, 3, DIR_IN, 4));
	assert_true(trace_id_derive(1, 2, 3, 4, 0) != trace_id_derive(1, 2, 3, 4, 1));
}

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"

static void a_valid_header_is_read(void **state)
{
	struct trace_header h = traceparent_parse(STR("00-" TRACE "-" SPAN "-01"));
	char hex[33];

	assert_true(h.set);
	trace_id_hex(&h.trace, hex);
	assert_string_equal(hex, TRACE);
	span_id_hex(&h.span, hex);
	assert_string_equal(hex, SPAN);
	assert_int_equal(h.flags, 1);
	assert_true(traceparent_parse(STR("  00-" TRACE "-" SPAN "-00\t")).set);
}

static void later_versions_are_read_as_far_as_known(void **state)
{
	assert_true(traceparent_parse(STR("cc-" TRACE "-" SPAN "-01")).set);
	assert_true(traceparent_parse(STR("cc-" TRACE "-" SPAN "-01-what-the-future")).set);
	assert_int_equal(traceparent_parse(STR("01-" TRACE "-" SPAN "-ff")).flags, 1);
	assert_false(traceparent_parse(STR("cc-" TRACE "-" SPAN "-01.what")).set);
	assert_false(traceparent_parse(STR("cc-" TRACE "-" SPAN "-0")).set);
}

static void an_invalid_header_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"ff-" TRACE "-" SPAN "-01",
		"00-" TRACE "-" SPAN "-01-extra",
		"00-" TRACE "-" SPAN "-1",
		"00-" TRACE "-" SPAN,
		"00_" TRACE "_" SPAN "_01",
		"0-" TRACE "-" SPAN "-01",
		"00-00000000000000000000000000000000-" SPAN "-01",
		"00-" TRACE "-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
		"00-" TRACE "-B7AD6B7169203331-01",
		"0X-" TRACE "-" SPAN "-01",
		"00-0af7651916cd43dd8448eb211c80319-" SPAN "-01",
		"00-0af7651916cd43dd8448eb211c80319cc-" SPAN "-01",
		"00-" TRACE "-" SPAN "-0g",
		"00-" TRACE "-" SPAN "-01,00-" TRACE "-" SPAN "-01",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(traceparent_parse(str_of(bad[i])).set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sip_hash_agrees_with_another_implementation),
		cmocka_unit_test(ids_differ_by_connection_direction_and_place),
		cmocka_unit_test(a_valid_header_is_read),
		cmocka_unit_test(later_versions_are_read_as_far_as_known),
		cmocka_unit_test(an_invalid_header_is_none),
	};

	return cmocka_run_group_tests_name("span header", tests, NULL, NULL);
}
