/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One POST at a time over one kept connection. libcurl's multi interface is used for its waiting:
 * curl_multi_poll() ends when another thread wants an end, whatever the endpoint does.
 */
#include "export/internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "core/clock.h"

#define GZIP_LEVEL  1  /* a third of the time of level 6 for a tenth more bytes */
#define GZIP_WINDOW 31 /* 15 bits; 16 more ask for the gzip frame */
#define GZIP_MEMORY 8
#define HEADERS_MAX 64
#define POLL_MS_MAX 1000

struct poster {
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool gzip;
	z_stream z;
	struct buf packed;
	struct buf reply;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_start(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
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

int url_without_secrets(const char *url, char **ret_url)
{
	static const CURLUPart secret[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
					    CURLUPART_FRAGMENT };
	CURLU *u = curl_url();
	char *text = NULL;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, 0))
		goto out;
	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		curl_url_set(u, secret[i], NULL, 0);
	if (curl_url_get(u, CURLUPART_URL, &text, 0))
		goto out;
	*ret_url = strdup(text);
	err = *ret_url ? 0 : -ENOMEM;
out:
	curl_free(text);
	curl_url_cleanup(u);
	return err;
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("()<>@,;:\\\"/[]?={}", s.p[i]))
			return false;
	return s.len > 0;
}

/* "name=value", the value percent-encoded; a decoded line end would forge another header. */
static int add_header(struct poster *p, struct str pair)
{
	ptrdiff_t eq = str_find(pair, '=');
	struct str name, value;
	struct curl_slist *list;
	char *plain, *line = NULL;
	int len, err = -EBADMSG;

	if (eq < 0)
		return -EBADMSG;
	name = str_trim((struct str){ pair.p, (size_t)eq });
	value = str_trim(str_from(pair, (size_t)eq + 1));
	plain = curl_easy_unescape(p->easy, value.len ? value.p : "", (int)value.len, &len);
	if (!plain)
		return -ENOMEM;
	for (int i = 0; i < len; i++)
		if ((uint8_t)plain[i] < ' ' && plain[i] != '\t')
			goto out;
	if (!is_token(name))
		goto out;
	/* libcurl's form for a header without a value ends in a semicolon. */
	err = asprintf(&line, STR_FMT "%s%s", STR_ARG(name), len ? ": " : ";", plain) < 0 ? -ENOMEM
											  : 0;
	if (err)
		goto out;
	list = curl_slist_append(p->headers, line);
	free(line);
	if (list)
		p->headers = list;
	else
		err = -ENOMEM;
out:
	curl_free(plain);
	return err;
}

static int add_headers(struct poster *p, const char *list)
{
	static const char *const own[] = { "Content-Type: application/x-protobuf", "Expect:" };
	struct str left = str_of(list);
	struct curl_slist *more;
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(own) + p->gzip; i++) {
		more = curl_slist_append(p->headers,
					 i < ARRAY_LEN(own) ? own[i] : "Content-Encoding: gzip");
		if (!more)
			return -ENOMEM;
		p->headers = more;
	}
	for (int i = 0; !err && left.len; i++) {
		ptrdiff_t comma = str_find(left, ',');
		struct str pair = { left.p, comma < 0 ? left.len : (size_t)comma };

		left = str_from(left, pair.len + 1);
		if (str_trim(pair).len)
			err = i < HEADERS_MAX ? add_header(p, pair) : -EBADMSG;
	}
	return err;
}

static size_t on_reply(char *data, size_t size, size_t cnt, void *ctx)
{
	struct poster *p = ctx;

	return buf_add(&p->reply, data, size * cnt) ? 0 : size * cnt;
}

static int set_options(struct poster *p, const struct otlp_http_cfg *cfg)
{
	static const char agent[] =
		"telltale/" TELLTALE_VERSION " OTel-OTLP-Exporter-C/" TELLTALE_VERSION;
	CURL *e = p->easy;
	CURLcode bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_URL, cfg->url);
	bad |= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	bad |= curl_easy_setopt(e, CURLOPT_HTTPHEADER, p->headers);
	bad |= curl_easy_setopt(e, CURLOPT_USERAGENT, agent);
	bad |= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)cfg->timeout_ms);
	bad |= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_POST, 1L);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_reply);
	bad |= curl_easy_setopt(e, CURLOPT_WRITEDATA, p);
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

static int check_files(const struct otlp_http_cfg *cfg)
{
	const char *const file[] = { cfg->ca_file, cfg->cert_file, cfg->key_file };

	for (size_t i = 0; i < ARRAY_LEN(file); i++)
		if (file[i] && access(file[i], R_OK))
			return -errno;
	return 0;
}

int poster_new(const struct otlp_http_cfg *cfg, struct poster **ret_poster)
{
	struct poster *p;
	int err;

	pthread_once(&curl_once, curl_start);
	err = curl_ready ? -ENOMEM : check_url(cfg->url);
	if (!err)
		err = check_files(cfg);
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->reply.cap = REPLY_BYTES_MAX;
	err = -ENOMEM;
	if (cfg->gzip && deflateInit2(&p->z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
				      Z_DEFAULT_STRATEGY))
		goto fail;
	p->gzip = cfg->gzip;
	p->easy = curl_easy_init();
	p->multi = curl_multi_init();
	if (!p->easy || !p->multi)
		goto fail;
	err = add_headers(p, cfg->headers);
	if (!err)
		err = set_options(p, cfg);
	if (err)
		goto fail;
	*ret_poster = p;
	return 0;
fail:
	poster_free(p);
	return err;
}

void poster_free(struct poster *p)
{
	if (!p)
		return;
	curl_easy_cleanup(p->easy);
	curl_multi_cleanup(p->multi);
	curl_slist_free_all(p->headers);
	if (p->gzip)
		deflateEnd(&p->z);
	buf_fini(&p->packed);
	buf_fini(&p->reply);
	free(p);
}

/* ---- posting ---- */

static int compress_body(struct poster *p, struct str *body)
{
	size_t most = deflateBound(&p->z, body->len);
	int err;

	buf_clear(&p->packed);
	err = buf_reserve(&p->packed, most);
	if (err)
		return err;
	deflateReset(&p->z);
	p->z.next_in = (Bytef *)body->p;
	p->z.avail_in = (uInt)body->len;
	p->z.next_out = (Bytef *)p->packed.p;
	p->z.avail_out = (uInt)most;
	if (deflate(&p->z, Z_FINISH) != Z_STREAM_END)
		return -EIO;
	*body = (struct str){ p->packed.p, p->z.total_out };
	return 0;
}

/* Milliseconds to wait at most, 0 when the end has come. */
static int poll_ms(const uint64_t *stop_ns)
{
	uint64_t stop = __atomic_load_n(stop_ns, __ATOMIC_ACQUIRE), now = clock_mono_ns();

	if (!stop)
		return POLL_MS_MAX;
	return now >= stop ? 0 : (int)MIN((stop - now) / NS_PER_MS + 1, POLL_MS_MAX);
}

static CURLcode perform(struct poster *p, const uint64_t *stop_ns)
{
	CURLcode result = CURLE_OPERATION_TIMEDOUT;
	int running = 1, wait_ms, left;
	CURLMsg *msg;

	if (curl_multi_add_handle(p->multi, p->easy))
		return CURLE_OUT_OF_MEMORY;
	while (!curl_multi_perform(p->multi, &running) && running) {
		wait_ms = poll_ms(stop_ns);
		if (!wait_ms || curl_multi_poll(p->multi, NULL, 0, wait_ms, NULL))
			break;
	}
	while ((msg = curl_multi_info_read(p->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			result = msg->data.result;
	curl_multi_remove_handle(p->multi, p->easy);
	return result;
}

static void read_reply(struct poster *p, struct reply *ret)
{
	const char *type = NULL;
	curl_off_t after = 0;

	curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &after);
	curl_easy_getinfo(p->easy, CURLINFO_CONTENT_TYPE, &type);
	ret->retry_after_s = after > 0 ? after : 0;
	ret->protobuf = type && !strncasecmp(type, "application/x-protobuf", 22);
	ret->body = buf_str(&p->reply);
}

void poster_post(struct poster *p, struct str body, const uint64_t *stop_ns, struct reply *ret)
{
	CURLcode result;

	*ret = (struct reply){ 0 };
	buf_clear(&p->reply);
	if (p->gzip && compress_body(p, &body)) {
		snprintf(ret->error, sizeof(ret->error), "no memory to compress");
		return;
	}
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, body.p ? body.p : "");
	result = perform(p, stop_ns);
	if (result)
		snprintf(ret->error, sizeof(ret->error), "%s", curl_easy_strerror(result));
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
