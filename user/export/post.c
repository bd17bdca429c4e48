/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One POST at a time over one kept connection. libcurl's multi interface is used for its waiting:
 * curl_multi_poll() ends when another thread wants an end, whatever the endpoint does.
 */
#include "export/post.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"

#define POLL_MS_MAX 1000

struct poster {
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	struct gzip *gzip; /* NULL: bodies go as they are */
	struct buf reply;
	char error[CURL_ERROR_SIZE]; /* libcurl's, of the last post */
	bool anonymous;		     /* https, without a certificate of ours */
};

/* ---- libcurl ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void curl_start(void)
{
	curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int curl_ready(void)
{
	pthread_once(&curl_once, curl_start);
	return curl_started ? -ENOMEM : 0;
}

int curl_wait_ms(const uint64_t *stop_ns)
{
	uint64_t stop = __atomic_load_n(stop_ns, __ATOMIC_ACQUIRE), now = clock_mono_ns();

	if (!stop)
		return POLL_MS_MAX;
	return now >= stop ? 0 : (int)MIN((stop - now) / NS_PER_MS + 1, POLL_MS_MAX);
}

CURLcode curl_run(CURLM *multi, const uint64_t *stop_ns)
{
	CURLcode result = CURLE_OPERATION_TIMEDOUT;
	int running = 1, wait_ms, left;
	CURLMsg *msg;

	while (!curl_multi_perform(multi, &running) && running) {
		wait_ms = curl_wait_ms(stop_ns);
		if (!wait_ms || curl_multi_poll(multi, NULL, 0, wait_ms, NULL))
			break;
	}
	while ((msg = curl_multi_info_read(multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			result = msg->data.result;
	return result;
}

/* ---- setting up ---- */

static int check_url(const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (url && !curl_url_set(u, CURLUPART_URL, url, 0) &&
	    !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
	    !curl_url_get(u, CURLUPART_HOST, &host, 0) && host[0] &&
	    (!strcmp(scheme, "http") || !strcmp(scheme, "https")))
		err = 0;
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return err;
}

static bool is_https(const char *url)
{
	return !strncasecmp(url, "https:", 6);
}

static int add_line(struct poster *p, const char *line)
{
	struct curl_slist *more = curl_slist_append(p->headers, line);

	if (!more)
		return -ENOMEM;
	p->headers = more;
	return 0;
}

static int add_header(void *ctx, const char *name, const char *value)
{
	char *line;
	int err;

	/* libcurl's form for a header without a value ends in a semicolon. */
	if (asprintf(&line, "%s%s%s", name, value[0] ? ": " : ";", value) < 0)
		return -ENOMEM;
	err = add_line(ctx, line);
	free(line);
	return err;
}

static int add_headers(struct poster *p, const char *content_type, const char *list)
{
	int err = add_header(p, "Content-Type", content_type);

	if (!err)
		err = add_line(p, "Expect:");
	if (!err && p->gzip)
		err = add_line(p, "Content-Encoding: gzip");
	return err ? err : headers_each(list, add_header, p);
}

static size_t on_reply(char *data, size_t size, size_t cnt, void *ctx)
{
	struct poster *p = ctx;

	return buf_add(&p->reply, data, size * cnt) ? 0 : size * cnt;
}

static int set_options(struct poster *p, const struct exporter_cfg *cfg, const char *url)
{
	CURL *e = p->easy;
	CURLcode bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_URL, url);
	bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, p->headers);
	bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, USER_AGENT);
	bad |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)cfg->timeout_ms);
	bad |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_POST, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_reply);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, p);
	bad |= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, p->error);
	/* A name that never resolves must not hold up the end. */
	bad |= curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	if (cfg->ca_file)
		bad |= curl_easy_setopt(e, CURLOPT_CAINFO, cfg->ca_file);
	if (cfg->cert_file)
		bad |= curl_easy_setopt(e, CURLOPT_SSLCERT, cfg->cert_file);
	if (cfg->key_file)
		bad |= curl_easy_setopt(e, CURLOPT_SSLKEY, cfg->key_file);
	return bad ? -ENOMEM : 0;
}

int poster_new(const struct exporter_cfg *cfg, const char *url, const char *content_type,
	       struct poster **ret_poster, char why[EXPORTER_WHY_MAX])
{
	const struct tls_files files = { cfg->ca_file, cfg->cert_file, cfg->key_file };
	struct poster *p = NULL;
	int err = curl_ready();

	if (!err)
		err = check_url(url);
	if (err)
		return refuse(why, err, "expected an address such as http://localhost:4318");
	err = is_https(url) ? tls_check(&files, why, EXPORTER_WHY_MAX) : 0;
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return refuse(why, -ENOMEM, "no memory");
	p->reply.cap = REPLY_BYTES_MAX;
	p->easy = curl_easy_init();
	p->multi = curl_multi_init();
	p->gzip = cfg->gzip ? gzip_new() : NULL;
	p->anonymous = is_https(url) && !cfg->cert_file;
	err = !p->easy || !p->multi || (cfg->gzip && !p->gzip) ? -ENOMEM : 0;
	if (!err)
		err = add_headers(p, content_type, cfg->headers);
	if (!err)
		err = set_options(p, cfg, url);
	if (err) {
		poster_free(p);
		return refuse(why, err,
			      err == -EBADMSG ? "headers: expected NAME=VALUE[,NAME=VALUE...]"
					      : "no memory");
	}
	*ret_poster = p;
	return 0;
}

void poster_free(struct poster *p)
{
	if (!p)
		return;
	curl_easy_cleanup(p->easy);
	curl_multi_cleanup(p->multi);
	curl_slist_free_all(p->headers);
	gzip_free(p->gzip);
	buf_fini(&p->reply);
	free(p);
}

/* ---- posting ---- */

static enum body_type type_of(const char *content_type)
{
	static const struct {
		const char *name;
		enum body_type type;
	} row[] = {
		{ "application/x-protobuf", BODY_PROTOBUF },
		{ "application/json", BODY_JSON },
		{ "text/plain", BODY_TEXT },
	};

	for (size_t i = 0; content_type && i < ARRAY_LEN(row); i++)
		if (!strncasecmp(content_type, row[i].name, strlen(row[i].name)))
			return row[i].type;
	return BODY_OTHER;
}

static void read_reply(struct poster *p, struct reply *ret)
{
	const char *type = NULL;
	curl_off_t after = 0;

	curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &after);
	curl_easy_getinfo(p->easy, CURLINFO_CONTENT_TYPE, &type);
	ret->retry_after_s = after > 0 ? after : 0;
	ret->type = type_of(type);
	ret->body = buf_str(&p->reply);
}

/* libcurl's own words say what is wrong with a certificate; of the rest its code says enough. The
 * name in a certificate is the peer's. */
static bool say_tls(const struct poster *p, CURLcode result, struct reply *ret)
{
	bool tls = result == CURLE_SSL_CONNECT_ERROR || result == CURLE_PEER_FAILED_VERIFICATION;

	if (tls && p->error[0])
		answer_text(str_of(p->error), ret->error);
	return tls && p->error[0];
}

static void say_why(const struct poster *p, CURLcode result, struct reply *ret)
{
	/* libcurl's words for bytes that are no HTTP/1.1: OTLP's two ports were mixed up */
	bool no_http = result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_WEIRD_SERVER_REPLY;
	/* TLS 1.3 tells a client that it is not let in after the handshake, by closing */
	bool closed = result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR;

	if (no_http)
		snprintf(ret->error, sizeof(ret->error),
			 "it does not answer in HTTP/1.1; is it a port of gRPC?");
	else if (result && !say_tls(p, result, ret))
		snprintf(ret->error, sizeof(ret->error), "%s%s", curl_easy_strerror(result),
			 closed && p->anonymous ? "; does it ask for a client's certificate?" : "");
}

void poster_post(struct poster *p, struct str body, const uint64_t *stop_ns, struct reply *ret)
{
	CURLcode result = CURLE_OUT_OF_MEMORY;

	*ret = (struct reply){ 0 };
	p->error[0] = 0;
	buf_clear(&p->reply);
	if (p->gzip && gzip_body(p->gzip, body, &body)) {
		snprintf(ret->error, sizeof(ret->error), "no memory to compress");
		return;
	}
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, body.p ? body.p : "");
	if (!curl_multi_add_handle(p->multi, p->easy)) {
		result = curl_run(p->multi, stop_ns);
		curl_multi_remove_handle(p->multi, p->easy);
	}
	say_why(p, result, ret);
	/* An answer that is too long is cut off: its status has been read and holds. */
	if (result == CURLE_OK || (result == CURLE_WRITE_ERROR && p->reply.failed))
		curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &ret->status);
	if (ret->status)
		read_reply(p, ret);
}

void poster_wake(struct poster *p)
{
	curl_multi_wakeup(p->multi);
}
