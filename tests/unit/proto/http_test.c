/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.x: what is taken from heads, where messages end, holes, hostile bytes. */
#include "feed.h"

#define GET(path)   "GET " path " HTTP/1.1\r\n\r\n"
#define OK(n, body) "HTTP/1.1 200 OK\r\nContent-Length: " n "\r\n\r\n" body
#define GOT_GET \
	"{http.request.method=GET; url.path=/; url.scheme=http; network.protocol.version=1.1}"
#define GOT_OK(n) "{http.response.status_code=200; http.response.body.size=" n "}"

static void a_served_request_has_the_attributes_of_a_server(void **state)
{
	const struct step s[] = { IN("GET /a/b?x=1&y=2 HTTP/1.1\r\nHost: shop.example:8080\r\n"
				     "User-Agent: curl/7.88\r\nX-Request-ID: r-1\r\n"
				     "X-Correlation-ID: c-2\r\nx-trace-id: t-3\r\n"
				     "Authorization: Bearer secret\r\nCookie: id=secret\r\n\r\n"),
				  OUT(OK("5", "hello")), END };

	feed_expect("http", s,
		    "request in pos=1000 size=185 time=1-1 GET path=/a/b "
		    "{http.request.method=GET; url.path=/a/b; url.query=x=1&y=2; url.scheme=http; "
		    "server.address=shop.example; server.port=8080; user_agent.original=curl/7.88; "
		    "network.protocol.version=1.1; http.request.header.x-request-id=[r-1]; "
		    "http.request.header.x-correlation-id=[c-2]; "
		    "http.request.header.x-trace-id=[t-3]}\n"
		    "response out pos=1000 size=43 time=2-2 " GOT_OK("5") "\n");
}

static void a_sent_request_has_the_attributes_of_a_client(void **state)
{
	const struct step s[] = { OUT("POST /a?x=1 HTTP/1.0\r\nHost: [::1]:81\r\n"
				      "Content-Length: 3\r\n\r\nabc"),
				  IN("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"), END };

	feed_expect(
		"http", s,
		"request out pos=1000 size=62 time=1-1 POST path=/a "
		"{http.request.method=POST; url.full=http://[::1]:81/a?x=1; server.address=::1; "
		"server.port=81; network.protocol.version=1.0; http.request.body.size=3}\n"
		"response in pos=1000 size=45 time=2-2 error=404 status=error/unset "
		"{http.response.status_code=404; http.response.body.size=0}\n");
}

static void a_server_error_is_an_error_on_both_sides(void **state)
{
	const struct step s[] = { IN(GET("/")), OUT("HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"),
				  END };

	feed_expect("http", s,
		    "request in pos=1000 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		    "response out pos=1000 size=38 time=2-2 error=503 status=error/error "
		    "{http.response.status_code=503; http.response.body.size=0}\n");
}

static void unknown_methods_are_other(void **state)
{
	const struct step s[] = { IN("PROPFIND / HTTP/1.1\r\n\r\n"), END };

	feed_expect("http", s,
		    "request in pos=1000 size=23 time=1-1 HTTP path=/ {http.request.method=_OTHER; "
		    "http.request.method_original=PROPFIND; url.path=/; url.scheme=http; "
		    "network.protocol.version=1.1}\n");
}

static void keep_alive_and_pipelining(void **state)
{
	const struct step s[] = { IN(GET("/") GET("/")), OUT(OK("2", "ab")), OUT(OK("0", "")),
				  IN(GET("/")),		 OUT(OK("1", "x")),  END };

	feed_expect(
		"http", s,
		"request in pos=1000 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		"request in pos=1018 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		"response out pos=1000 size=40 time=2-2 " GOT_OK(
			"2") "\n"
			     "response out pos=1040 size=38 time=3-3 " GOT_OK(
				     "0") "\n"
					  "request in pos=1036 size=18 time=4-4 GET path=/ " GOT_GET
					  "\n"
					  "response out pos=1078 size=39 time=5-5 " GOT_OK(
						  "1") "\n");
}

static void chunked_with_extensions_and_trailers(void **state)
{
	const struct step s[] = {
		IN("PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
		   "5;ext=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"),
		OUT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
		OUT("0\r\n\r\n"), OUT(OK("0", "")), END
	};

	feed_expect("http", s,
		    "request in pos=1000 size=98 time=1-1 PUT path=/ {http.request.method=PUT; "
		    "url.path=/; url.scheme=http; network.protocol.version=1.1}\n"
		    "response out pos=1000 size=60 time=2-3 {http.response.status_code=200}\n"
		    "response out pos=1060 size=38 time=4-4 " GOT_OK("0") "\n");
}

static void both_lengths_mean_chunked(void **state)
{
	const struct step s[] = { IN("POST / HTTP/1.1\r\nContent-Length: 4\r\n"
				     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/")),
				  END };

	feed_expect("http", s,
		    "request in pos=1000 size=71 time=1-1 POST path=/ {http.request.method=POST; "
		    "url.path=/; url.scheme=http; network.protocol.version=1.1}\n"
		    "request in pos=1071 size=18 time=1-1 GET path=/ " GOT_GET "\n");
}

static void lengths_that_differ_are_refused(void **state)
{
	const struct step s[] = {
		IN(GET("/")),
		OUT(OK("0", "")),
		IN("POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"),
		OUT(OK("0", "")),
		IN(GET("/")),
		END
	};

	feed_expect(
		"http", s,
		"request in pos=1000 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		"response out pos=1000 size=38 time=2-2 " GOT_OK(
			"0") "\n"
			     "response out pos=1038 size=38 time=4-4 " GOT_OK(
				     "0") "\n"
					  "request in pos=1075 size=18 time=5-5 GET path=/ " GOT_GET
					  " [after-gap]\n");
}

static void the_same_length_twice_is_one(void **state)
{
	const struct step s[] = { OUT("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n"
				      "Content-Length: 2\r\n\r\nab" OK("0", "")),
				  END };

	feed_expect("http", s,
		    "response out pos=1000 size=62 time=1-1 " GOT_OK(
			    "2") "\n"
				 "response out pos=1062 size=38 time=1-1 " GOT_OK("0") "\n");
}

static void continue_is_not_the_response(void **state)
{
	const struct step s[] = {
		IN("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"),
		OUT("HTTP/1.1 100 Continue\r\n\r\n"), IN("body"), OUT(OK("0", "")), END
	};

	feed_expect("http", s,
		    "request in pos=1000 size=64 time=1-3 POST path=/ {http.request.method=POST; "
		    "url.path=/; url.scheme=http; network.protocol.version=1.1; "
		    "http.request.body.size=4}\n"
		    "response out pos=1025 size=38 time=4-4 " GOT_OK("0") "\n");
}

static void some_responses_have_no_body(void **state)
{
	const struct step s[] = { IN("HEAD / HTTP/1.1\r\n\r\n" GET("/") GET("/")),
				  OUT("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
				      "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
				      "HTTP/1.1 204 No Content\r\n\r\n"),
				  END };

	feed_expect("http", s,
		    "request in pos=1000 size=19 time=1-1 HEAD path=/ {http.request.method=HEAD; "
		    "url.path=/; url.scheme=http; network.protocol.version=1.1}\n"
		    "request in pos=1019 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		    "request in pos=1037 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		    "response out pos=1000 size=40 time=2-2 {http.response.status_code=200}\n"
		    "response out pos=1040 size=49 time=2-2 "
		    "{http.response.status_code=304}\n"
		    "response out pos=1089 size=27 time=2-2 "
		    "{http.response.status_code=204}\n");
}

static void a_body_may_last_until_the_end(void **state)
{
	const struct step s[] = { IN("GET / HTTP/1.0\n\n"),
				  OUT("HTTP/1.0 200 OK\n\nall"),
				  OUT("\r\nof it"),
				  EOF_OUT,
				  CLOSE(0),
				  END };

	feed_expect("http", s,
		    "request in pos=1000 size=16 time=1-1 GET path=/ {http.request.method=GET; "
		    "url.path=/; url.scheme=http; network.protocol.version=1.0}\n"
		    "response out pos=1000 size=27 time=2-3 {http.response.status_code=200}\n");
}

static void an_upgrade_ends_the_watch(void **state)
{
	const struct step s[] = { IN("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
				  OUT("HTTP/1.1 101 Switching Protocols\r\n\r\n"), IN(GET("/")),
				  CLOSE(0), END };

	feed_expect("http", s,
		    "request in pos=1000 size=38 time=1-1 GET path=/ " GOT_GET "\n"
		    "response out pos=1000 size=36 time=2-2 {http.response.status_code=101}\n");
}

static void connect_opens_a_tunnel(void **state)
{
	const struct step s[] = { IN("CONNECT db.example:443 HTTP/1.1\r\n\r\n"),
				  OUT("HTTP/1.1 200 Established\r\n\r\n"), IN(GET("/")), CLOSE(0),
				  END };

	feed_expect("http", s,
		    "request in pos=1000 size=35 time=1-1 CONNECT {http.request.method=CONNECT; "
		    "server.address=db.example; server.port=443; network.protocol.version=1.1}\n"
		    "response out pos=1000 size=28 time=2-2 {http.response.status_code=200}\n");
}

static void the_absolute_form_is_taken_apart(void **state)
{
	const struct step s[] = {
		IN("GET http://u:p@h.example/p?q HTTP/1.1\r\nHost: other\r\n\r\n"), END
	};

	feed_expect("http", s,
		    "request in pos=1000 size=54 time=1-1 GET path=/p {http.request.method=GET; "
		    "url.path=/p; url.query=q; url.scheme=http; server.address=h.example; "
		    "network.protocol.version=1.1}\n");
}

static void trace_contexts_become_a_traceparent(void **state)
{
	static const struct {
		const char *head, *want;
	} cases[] = {
		{ "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
		  "tracestate: a=b\r\nb3: 1-2-1\r\n",
		  " traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 "
		  "tracestate=a=b " },
		{ "b3: 80F198EE56343BA864FE8B2A57D3EFF7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90\r\n",
		  " traceparent=00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-01 " },
		{ "X-B3-TraceId: 463ac35c9f6413ad\r\nX-B3-SpanId: a2fb4a1d1a96d312\r\n"
		  "X-B3-Sampled: 0\r\n",
		  " traceparent=00-0000000000000000463ac35c9f6413ad-a2fb4a1d1a96d312-00 " },
		{ "uber-trace-id: 3ad8f:2b:0:1\r\n",
		  " traceparent=00-0000000000000000000000000003ad8f-000000000000002b-01 " },
		{ "b3: 0\r\n", NULL },
		{ "uber-trace-id: 0:0:0:1\r\n", NULL },
		{ "uber-trace-id: xyz\r\n", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[512];
		struct step s[] = { { STEP_DATA, DIR_IN, text, 0 }, END };
		char *got;

		s[0].len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n",
					    cases[i].head);
		got = feed_run("http", s, 0);
		if (cases[i].want)
			assert_non_null(strstr(got, cases[i].want));
		else
			assert_null(strstr(got, "traceparent"));
		free(got);
	}
}

static void a_head_of_16_kib_over_several_reads(void **state)
{
	static char text[17000];
	struct step s[] = { { STEP_DATA, DIR_IN, text, 0 }, IN("abc" GET("/")), END };
	int n = sprintf(text, "POST / HTTP/1.1\r\nContent-Length: 3\r\nX-Long: ");

	memset(text + n, 'x', 16384 - (size_t)n - 4);
	memcpy(text + 16380, "\r\n\r\n", 4);
	s[0].len = 16384;
	feed_expect(
		"http", s,
		"request in pos=1000 size=16387 time=1-2 POST path=/ {http.request.method=POST; "
		"url.path=/; url.scheme=http; network.protocol.version=1.1; "
		"http.request.body.size=3}\n"
		"request in pos=17387 size=18 time=2-2 GET path=/ " GOT_GET "\n");
}

static void a_head_beyond_the_budget_is_truncated(void **state)
{
	const struct step s[] = { IN("GET /a HTTP/1.1\r\nHost: h\r\nX-Lo"), GAP_IN(1000),
				  OUT(OK("0", "")), IN(GET("/")), END };

	feed_expect("http", s,
		    "request in pos=1000 size=30 time=1-1 GET path=/a {http.request.method=GET; "
		    "url.path=/a; url.scheme=http; server.address=h; network.protocol.version=1.1} "
		    "[truncated]\n"
		    "response out pos=1000 size=38 time=3-3 " GOT_OK(
			    "0") "\n"
				 "request in pos=2030 size=18 time=4-4 GET path=/ " GOT_GET
				 " [after-gap]\n");
}

static void a_hole_in_a_body_leaves_it_whole(void **state)
{
	const struct step s[] = { OUT(OK("3000", "abc")), GAP_OUT(2997), OUT(OK("0", "")), END };

	feed_expect("http", s,
		    "response out pos=1000 size=3041 time=1-2 " GOT_OK(
			    "3000") "\n"
				    "response out pos=4041 size=38 time=3-3 " GOT_OK("0") "\n");
}

static void the_end_of_a_chunked_body_is_found_after_a_hole(void **state)
{
	const struct step s[] = { OUT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				      "3\r\nabc\r\n"),
				  GAP_OUT(5000),
				  OUT("tail\r\n0\r\n\r\n"),
				  IN(GET("/")),
				  OUT(OK("0", "")),
				  END };

	feed_expect("http", s,
		    "response out pos=1000 size=5066 time=1-3 {http.response.status_code=200}\n"
		    "request in pos=1000 size=18 time=4-4 GET path=/ " GOT_GET "\n"
		    "response out pos=6066 size=38 time=5-5 " GOT_OK("0") "\n");
}

static void a_lost_end_of_a_chunked_body_is_the_next_head(void **state)
{
	const struct step s[] = { OUT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
				      "3\r\nabc\r\n"),
				  GAP_OUT(5000), IN(GET("/")), OUT(OK("0", "")), END };

	feed_expect("http", s,
		    "response out pos=1000 size=5055 time=1-2 {http.response.status_code=200}\n"
		    "request in pos=1000 size=18 time=3-3 GET path=/ " GOT_GET "\n"
		    "response out pos=6055 size=38 time=4-4 " GOT_OK("0") " [after-gap]\n");
}

static void joins_in_the_middle(void **state)
{
	const struct step body[] = { OUT("<p>HTTP/1.1 200 OK\r\n\r\n"), IN(GET("/")),
				     OUT(OK("0", "")), END };
	const struct step response[] = { IN(OK("1", "x")), OUT("OPTIONS * HTTP/1.1\r\n\r\n"), END };

	feed_expect("http", body,
		    "request in pos=1000 size=18 time=2-2 GET path=/ " GOT_GET "\n"
		    "response out pos=1022 size=38 time=3-3 " GOT_OK("0") " [after-gap]\n");
	feed_expect("http", response,
		    "response in pos=1000 size=39 time=1-1 " GOT_OK(
			    "1") "\n"
				 "request out pos=1000 size=22 time=2-2 OPTIONS path=* "
				 "{http.request.method=OPTIONS; network.protocol.version=1.1}\n");
}

static void other_protocols_are_not_claimed(void **state)
{
	static const char *const others[] = {
		"GET key\r\n",
		"SET a b\r\n",
		"INVITE sip:a@b SIP/2.0\r\n\r\n",
		"GET / RTSP/1.0\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"get / HTTP/1.1\r\n\r\n",
		"GET /\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct step s[] = { { STEP_DATA, DIR_IN, others[i], strlen(others[i]) },
				    CLOSE(0),
				    END };

		feed_expect("http", s, "");
	}
}

static void a_reset_aborts(void **state)
{
	const struct step s[] = { IN(GET("/")), OUT(OK("10", "abc")), CLOSE(ECONNRESET), END };

	feed_expect("http", s,
		    "request in pos=1000 size=18 time=1-1 GET path=/ " GOT_GET "\n"
		    "response out pos=1000 size=42 time=2-2 " GOT_OK("10") " [aborted]\n");
}

static void http2_is_left_alone(void **state)
{
	const struct step s[] = { IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n..."), IN(GET("/")), CLOSE(0),
				  END };

	feed_expect(NULL, s, "");
}

static void hostile_heads_give_nothing(void **state)
{
	static const char *const bad[] = {
		"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n",
		"GET /\x01 HTTP/1.1\r\n\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct step s[] = { { STEP_DATA, DIR_IN, bad[i], strlen(bad[i]) }, CLOSE(0), END };

		feed_expect("http", s, "");
	}
}

static void holes_never_invent(void **state)
{
	const struct step s[] = {
		IN("POST /a?b=c HTTP/1.1\r\nHost: h:80\r\nContent-Length: 30\r\n\r\n"
		   "GET /fake HTTP/1.1\r\n\r\n........"),
		OUT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "10\r\n0123456789abcdef\r\n0\r\n\r\n"),
		IN(GET("/1") GET("/2")),
		OUT(OK("3", "one") OK("3", "two")),
		IN(GET("/4")),
		OUT("HTTP/1.1 500 no\r\n\r\nuntil the end"),
		EOF_OUT,
		CLOSE(0),
		END
	};

	feed_holes("http", s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_served_request_has_the_attributes_of_a_server),
		cmocka_unit_test(a_sent_request_has_the_attributes_of_a_client),
		cmocka_unit_test(a_server_error_is_an_error_on_both_sides),
		cmocka_unit_test(unknown_methods_are_other),
		cmocka_unit_test(keep_alive_and_pipelining),
		cmocka_unit_test(chunked_with_extensions_and_trailers),
		cmocka_unit_test(both_lengths_mean_chunked),
		cmocka_unit_test(lengths_that_differ_are_refused),
		cmocka_unit_test(the_same_length_twice_is_one),
		cmocka_unit_test(continue_is_not_the_response),
		cmocka_unit_test(some_responses_have_no_body),
		cmocka_unit_test(a_body_may_last_until_the_end),
		cmocka_unit_test(an_upgrade_ends_the_watch),
		cmocka_unit_test(connect_opens_a_tunnel),
		cmocka_unit_test(the_absolute_form_is_taken_apart),
		cmocka_unit_test(trace_contexts_become_a_traceparent),
		cmocka_unit_test(a_head_of_16_kib_over_several_reads),
		cmocka_unit_test(a_head_beyond_the_budget_is_truncated),
		cmocka_unit_test(a_hole_in_a_body_leaves_it_whole),
		cmocka_unit_test(the_end_of_a_chunked_body_is_found_after_a_hole),
		cmocka_unit_test(a_lost_end_of_a_chunked_body_is_the_next_head),
		cmocka_unit_test(joins_in_the_middle),
		cmocka_unit_test(other_protocols_are_not_claimed),
		cmocka_unit_test(a_reset_aborts),
		cmocka_unit_test(http2_is_left_alone),
		cmocka_unit_test(hostile_heads_give_nothing),
		cmocka_unit_test(holes_never_invent),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
