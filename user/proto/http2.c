/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 with prior knowledge (RFC 9113, 3.3): recognised and counted, not parsed yet. */
#include "proto/parser.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static enum detect http2_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram)
{
	size_t n = MIN(len, sizeof(preface) - 1);

	if (datagram || memcmp(p, preface, n) != 0)
		return DETECT_NO;
	return n == sizeof(preface) - 1 ? DETECT_REQUEST : DETECT_MORE;
}

static enum parse http2_parse(struct parser *ps, enum side side, struct cursor *c)
{
	parser_give_up(ps);
	return PARSE_MORE;
}

const struct proto proto_http2 = {
	.name = "http2",
	.detect = http2_detect,
	.parse = http2_parse,
};
