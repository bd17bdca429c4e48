/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to ClickHouse over HTTP: one at a time on a connection, answers read row by row. */
#include "store/clickhouse.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_MS   5000L
#define ERROR_MAX    4096 /* bytes of a message that are kept */
#define RECEIVE_SIZE (256L << 10)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started;

static void start(void)
{
	started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int http_init(void)
{
	pthread_once(&once, start);
	return started ? -ENOMEM : 0;
}

/* ---- connections --------------------------------------------------------------------------------
 */

static CURL *handle_take(struct clickhouse *c)
{
	CURL *h = NULL;

	pthread_mutex_lock(&c->pool_lock);
	if (c->idle_cnt)
		h = c->idle[--c->idle_cnt];
	pthread_mutex_unlock(&c->pool_lock);
	if (!h)
		return curl_easy_init();
	curl_easy_reset(h); /* its connection stays */
	return h;
}

static void handle_give(struct clickhouse *c, CURL *h)
{
	pthread_mutex_lock(&c->pool_lock);
	if (c->idle_cnt < CH_IDLE_MAX) {
		c->idle[c->idle_cnt++] = h;
		h = NULL;
	}
	pthread_mutex_unlock(&c->pool_lock);
	curl_easy_cleanup(h);
}

/* ---- one exchange -------------------------------------------------------------------------------
 */

struct exchange {
	const struct ch_request *request;
	CURL *handle;
	struct buf in; /* what waits for the end of its row, or a message */
	int err;       /* of a row */
	char text[CURL_ERROR_SIZE];
	bool message; /* what comes is not rows but what went wrong */
};

static int take_rows(struct exchange *x)
{
	size_t done = 0;
	int err = 0;

	while (!err && done < x->in.len) {
		struct cursor c = cursor_of(x->in.p + done, x->in.len - done);

		if (!x->request->unmarked && take_u8(&c) != CH_ROW_MARK) {
			x->message = true;
			break;
		}
		err = x->request->row(x->request->ctx, &c);
		if (c.bad)
			break;
		done = x->in.len - cursor_left(&c);
	}
	buf_consume(&x->in, done);
	return err;
}

static size_t on_bytes(char *data, size_t size, size_t cnt, void *ctx)
{
	struct exchange *x = ctx;
	size_t len = size * cnt;
	long status = 0;

	curl_easy_getinfo(x->handle, CURLINFO_RESPONSE_CODE, &status);
	x->message = x->message || status != 200;
	if (x->message) {
		/* the rest of a long one is passed over */
		if (x->in.len < ERROR_MAX && buf_add(&x->in, data, MIN(len, ERROR_MAX)))
			x->err = -ENOMEM;
	} else if (x->request->row) {
		x->err = buf_add(&x->in, data, len);
		if (!x->err)
			x->err = take_rows(x);
	}
	return x->err ? 0 : len;
}

/* Another thread may want an end. Called at least every second. */
static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const uint64_t *stop_ns = ((struct exchange *)ctx)->request->stop_ns;
	uint64_t stop = stop_ns ? __atomic_load_n(stop_ns, __ATOMIC_RELAXED) : 0;

	return stop && clock_mono_ns() >= stop;
}

/* "Code: 60. DB::Exception: Unknown table ...": its number, and the first line for people. */
static void read_message(struct str said, struct ch_result *ret)
{
	static const char word[] = "Code: ";
	const char *at = said.len ? memmem(said.p, said.len, word, sizeof(word) - 1) : NULL;
	size_t len = 0;

	if (at) {
		said = str_from(said, (size_t)(at - said.p));
		for (size_t i = sizeof(word) - 1; i < said.len && i < 12; i++) {
			if (said.p[i] < '0' || said.p[i] > '9')
				break;
			ret->code = ret->code * 10 + (said.p[i] - '0');
		}
	}
	said = str_trim(said);
	while (len < said.len && len < CH_TEXT_MAX - 1 && (uint8_t)said.p[len] >= ' ')
		len++;
	snprintf(ret->text, sizeof(ret->text), "%.*s", (int)len, said.p);
}

/* Numbers of ErrorCodes in ClickHouse. */
static int error_of(int code, long status)
{
	switch (code) {
	case 60: /* UNKNOWN_TABLE */
	case 81: /* UNKNOWN_DATABASE */ return -ENOENT;
	case 159: /* TIMEOUT_EXCEEDED */
	case 160: /* TOO_SLOW */ return -ETIMEDOUT;
	case 164: /* READONLY */
	case 497: /* ACCESS_DENIED */ return -EPERM;
	case 192: /* UNKNOWN_USER */
	case 193: /* WRONG_PASSWORD */
	case 194: /* REQUIRED_PASSWORD */
	case 516: /* AUTHENTICATION_FAILED */ return -EKEYREJECTED;
	case 243: /* NOT_ENOUGH_SPACE */ return -ENOSPC;
	default: return status == 401 || status == 403 ? -EKEYREJECTED : -EIO;
	}
}

static int error_of_curl(CURLcode rc)
{
	switch (rc) {
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY: return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY: return -ENOMEM;
	default: return -EIO;
	}
}

/* With TLS 1.3 a server refuses a client without a certificate when the client is connected
 * already: whether its alert or the end of the connection is seen first is chance. */
static bool may_lack_certificate(const struct clickhouse *c, CURLcode rc)
{
	bool ended = rc == CURLE_SSL_CONNECT_ERROR || rc == CURLE_SEND_ERROR ||
		     rc == CURLE_RECV_ERROR || rc == CURLE_GOT_NOTHING;

	return ended && !c->cert_file && !strncmp(c->url, "https:", 6);
}

static void read_end(const struct clickhouse *c, struct exchange *x, CURLcode rc,
		     struct ch_result *ret)
{
	long status = 0;

	curl_easy_getinfo(x->handle, CURLINFO_RESPONSE_CODE, &status);
	if (x->err) {
		ret->err = x->err == -ECANCELED ? 0 : x->err;
		snprintf(ret->text, sizeof(ret->text), "its answer: %s", strerror(-x->err));
	} else if (x->message) {
		read_message(buf_str(&x->in), ret);
		ret->err = error_of(ret->code, status);
		ret->bad_request = status == 400 || status == 413;
		if (!ret->text[0])
			snprintf(ret->text, sizeof(ret->text), "HTTP status %ld", status);
	} else if (rc) {
		ret->err = error_of_curl(rc);
		snprintf(ret->text, sizeof(ret->text), "%.200s%s",
			 x->text[0] ? x->text : curl_easy_strerror(rc),
			 may_lack_certificate(c, rc) ? "; does it want a client certificate?" : "");
	} else if (status != 200 || x->in.len) {
		ret->err = error_of(0, status);
		snprintf(ret->text, sizeof(ret->text), "HTTP status %ld, answer cut off", status);
	}
}

static int add_param(CURL *h, struct buf *url, const char *name, struct str value)
{
	char *escaped = curl_easy_escape(h, value.len ? value.p : "", (int)value.len);
	int err = escaped ? buf_printf(url, "&%s=%s", name, escaped) : -ENOMEM;

	curl_free(escaped);
	return err;
}

static int make_url(struct clickhouse *c, const struct ch_request *q, CURL *h, long left_ms,
		    struct buf *url)
{
	int err = buf_printf(url, "%s?", c->url);

	if (!err && !q->no_database)
		err = add_param(h, url, "database", str_of(c->database));
	if (!err && q->rows.len)
		err = add_param(h, url, "query", q->sql);
	if (!err && q->deadline_ns && !q->rows.len)
		err = buf_printf(url, "&max_execution_time=%ld", left_ms / 1000 + 1);
	if (!err && q->settings)
		err = buf_printf(url, "%s", q->settings);
	return err ? err : buf_add_char(url, 0);
}

static long left_ms(const struct ch_request *q)
{
	uint64_t now = clock_mono_ns();

	if (!q->deadline_ns)
		return CH_READ_MS;
	return q->deadline_ns > now ? (long)((q->deadline_ns - now) / NS_PER_MS) : 0;
}

static CURLcode set_files(struct clickhouse *c, CURL *h)
{
	CURLcode bad = 0;

	if (c->ca_file)
		bad |= curl_easy_setopt(h, CURLOPT_CAINFO, c->ca_file);
	if (c->cert_file) {
		bad |= curl_easy_setopt(h, CURLOPT_SSLCERT, c->cert_file);
		bad |= curl_easy_setopt(h, CURLOPT_SSLKEY, c->key_file);
	}
	return bad;
}

static CURLcode set_options(struct clickhouse *c, struct exchange *x, const char *url, long ms,
			    struct curl_slist *headers)
{
	struct str body = x->request->rows.len ? x->request->rows : x->request->sql;
	CURL *h = x->handle;
	CURLcode bad = 0;

	bad |= curl_easy_setopt(h, CURLOPT_URL, url);
	bad |= curl_easy_setopt(h, CURLOPT_ERRORBUFFER, x->text);
	bad |= set_files(c, h);
	bad |= curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_QUICK_EXIT, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, MIN(CONNECT_MS, ms));
	bad |= curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, ms);
	bad |= curl_easy_setopt(h, CURLOPT_BUFFERSIZE, RECEIVE_SIZE);
	bad |= curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	if (c->user) {
		bad |= curl_easy_setopt(h, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		bad |= curl_easy_setopt(h, CURLOPT_USERNAME, c->user);
		bad |= curl_easy_setopt(h, CURLOPT_PASSWORD, c->password ? c->password : "");
	}
	bad |= curl_easy_setopt(h, CURLOPT_POST, 1L);
	bad |= curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	bad |= curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.p);
	bad |= curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_bytes);
	bad |= curl_easy_setopt(h, CURLOPT_WRITEDATA, x);
	bad |= curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	bad |= curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	bad |= curl_easy_setopt(h, CURLOPT_XFERINFODATA, x);
	return bad;
}

void http_ask(struct clickhouse *c, const struct ch_request *q, struct ch_result *ret)
{
	struct exchange x = { .request = q, .handle = handle_take(c), .in.cap = CH_ROW_MAX };
	struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
	struct buf url = { 0 };
	CURLcode rc = CURLE_OUT_OF_MEMORY;
	long ms = left_ms(q);

	*ret = (struct ch_result){ 0 };
	if (!x.handle || !headers || make_url(c, q, x.handle, ms, &url)) {
		ret->err = -ENOMEM;
		goto out;
	}
	if (ms <= 0) { /* to libcurl that would be no limit */
		ret->err = -ETIMEDOUT;
		goto out;
	}
	rc = set_options(c, &x, url.p, ms, headers);
	if (!rc)
		rc = curl_easy_perform(x.handle);
	read_end(c, &x, rc, ret);
out:
	if (x.handle) {
		curl_easy_setopt(x.handle, CURLOPT_ERRORBUFFER, NULL);
		handle_give(c, x.handle);
	}
	curl_slist_free_all(headers);
	buf_fini(&url);
	buf_fini(&x.in);
}

int http_read(struct clickhouse *c, const struct ch_request *q)
{
	struct ch_result r;
	bool said;

	http_ask(c, q, &r);
	pthread_mutex_lock(&c->pool_lock);
	said = c->read_failed;
	/* a question that took too long says nothing about the server */
	c->read_failed = r.err && r.err != -ETIMEDOUT;
	pthread_mutex_unlock(&c->pool_lock);
	if (r.err && r.err != -ETIMEDOUT && !said)
		log_error("store: %s: reading failed: %s", c->shown, r.text);
	return !r.err || r.err == -ETIMEDOUT || r.err == -ENOMEM ? r.err : -EIO;
}
