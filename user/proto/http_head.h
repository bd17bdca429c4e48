/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an HTTP/1.x message (RFC 9112): what of it matters here, and its attributes. */
#ifndef PROTO_HTTP_HEAD_H
#define PROTO_HTTP_HEAD_H

#include "proto/parser.h"

struct http_head {
	struct str method; /* requests */
	struct str target;
	unsigned int code; /* responses: 100 to 999 */
	struct str code_text;
	bool v10; /* HTTP/1.0 */
	bool chunked;
	bool has_te; /* Transfer-Encoding was there */
	bool has_length;
	bool bad_length; /* no number, or several that differ */
	uint64_t length;
	struct str host;
	struct str user_agent;
	struct str request_id, correlation_id, foreign_trace_id; /* X-Request-ID and the like */
	struct str traceparent;
	struct str tracestate;
	struct str b3, b3_trace, b3_span, b3_sampled;
	struct str uber;
};

/* Takes a request line "METHOD target HTTP/1.x" without its line end. */
bool http_request_line(struct str line, struct http_head *h);
/* The same for "HTTP/1.x 200 reason". */
bool http_status_line(struct str line, struct http_head *h);
/* One header line without its line end; what is unknown or malformed is passed over. */
void http_header(struct str line, struct http_head *h);

bool http_is_known_method(struct str method);

/* Fills in the message; strings point into the head or the parser's memory. */
void http_fill_request(struct parser *ps, struct msg *m, const struct http_head *h);
void http_fill_response(struct parser *ps, struct msg *m, const struct http_head *h);

#endif
