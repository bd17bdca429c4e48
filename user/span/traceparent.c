/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context (Recommendation, 2021), section 3.2: the traceparent header. */
#include "span/internal.h"

#include "core/cursor.h"

/* version-trace_id-parent_id-flags of version 00 */
#define TRACEPARENT_LEN 55

/* Lower-case hex only, as the specification has it. */
static bool take_hex(struct cursor *c, uint8_t *out, size_t bytes)
{
	for (size_t i = 0; i < bytes * 2; i++) {
		uint8_t ch = take_u8(c), v;

		if (ch >= '0' && ch <= '9')
			v = ch - '0';
		else if (ch >= 'a' && ch <= 'f')
			v = ch - 'a' + 10;
		else
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | v : v << 4);
	}
	return true;
}

struct trace_header traceparent_parse(struct str value)
{
	struct trace_header none = { 0 }, h = { 0 };
	struct cursor c;
	uint8_t version;

	value = str_trim(value);
	c = cursor_of(value.p, value.len);
	if (!take_hex(&c, &version, 1) || take_u8(&c) != '-' || !take_hex(&c, h.trace.b, 16) ||
	    take_u8(&c) != '-' || !take_hex(&c, h.span.b, 8) || take_u8(&c) != '-' ||
	    !take_hex(&c, &h.flags, 1))
		return none;
	if (version == 0xff || (version == 0 && value.len != TRACEPARENT_LEN))
		return none;
	/* a later version may only add to it, after a dash */
	if (value.len > TRACEPARENT_LEN && take_u8(&c) != '-')
		return none;
	if (!trace_id_is_set(&h.trace) || !span_id_is_set(&h.span))
		return none;
	if (version > 0)
		h.flags &= 1;
	h.set = true;
	return h;
}
