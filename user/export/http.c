/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds that post over HTTP: OTLP with protobuf and with JSON, and Zipkin v2. */
#include <errno.h>
#include <stdio.h>

#include "export/post.h"

static int open_protobuf(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
			 char why[EXPORTER_WHY_MAX])
{
	return poster_new(cfg, endpoint, "application/x-protobuf", (struct poster **)ret_conn, why);
}

static int open_json(const struct exporter_cfg *cfg, const char *endpoint, void **ret_conn,
		     char why[EXPORTER_WHY_MAX])
{
	return poster_new(cfg, endpoint, "application/json", (struct poster **)ret_conn, why);
}

static void parse(const struct reply *r, bool success, struct answer *ret)
{
	switch (r->type) {
	case BODY_PROTOBUF:
		if (success)
			answer_parse_success(r->body, ret);
		else
			answer_parse_error(r->body, ret);
		break;
	case BODY_JSON: answer_parse_json(r->body, ret); break;
	case BODY_TEXT:
		if (!success)
			answer_text(r->body, ret->message);
		break;
	case BODY_OTHER: break;
	}
}

static void send_body(void *conn, struct str body, const uint64_t *stop_ns, struct verdict *ret)
{
	struct answer a = { 0 };
	struct reply r;
	bool success;

	poster_post(conn, body, stop_ns, &r);
	success = r.status >= 200 && r.status <= 299;
	parse(&r, success, &a);
	ret->what = success		     ? VERDICT_DONE
		    : retry_status(r.status) ? VERDICT_RETRY
					     : VERDICT_REFUSED;
	ret->rejected = success ? a.rejected : 0;
	ret->wait_ms = MIN((uint64_t)r.retry_after_s, UINT32_MAX) * 1000;
	if (success || !r.status)
		snprintf(ret->text, sizeof(ret->text), "%s", success ? a.message : r.error);
	else
		snprintf(ret->text, sizeof(ret->text), "HTTP status %ld%s%s%.140s", r.status,
			 r.status == 413 ? " (too large: see --export-batch)" : "",
			 a.message[0] ? ", " : "", a.message);
}

static void wake(void *conn)
{
	poster_wake(conn);
}

static void close_conn(void *conn)
{
	poster_free(conn);
}

const struct kind kind_otlp_http = { "otlp_http",   &format_otlp_proto, false,
				     open_protobuf, send_body,		wake,
				     close_conn };
const struct kind kind_otlp_http_json = { "otlp_http_json", &format_otlp_json, false,
					  open_json,	    send_body,	       wake,
					  close_conn };
const struct kind kind_zipkin = { "zipkin",  &format_zipkin, false,	open_json,
				  send_body, wake,	     close_conn };
