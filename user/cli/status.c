/* SPDX-License-Identifier: Apache-2.0 */
/* `telltale status`: asks a running agent for its books. */
#include "cli/cli.h"
#include "cli/status.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#define ANSWER_MAX (4u << 20)
#define TIMEOUT_MS 5000L
#define PLACES	   14 /* stages whose order is known */

/* ---- the table ---- */

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void add_dropped(const json_t *dropped, struct buf *out)
{
	const char *reason;
	json_int_t sum = 0;
	json_t *n;

	if (json_is_integer(dropped)) {
		buf_printf(out, " %12lld\n", (long long)json_integer_value(dropped));
		return;
	}
	json_object_foreach((json_t *)dropped, reason, n) sum += json_integer_value(n);
	buf_printf(out, " %12lld", (long long)sum);
	json_object_foreach((json_t *)dropped, reason, n) if (json_integer_value(n))
		buf_printf(out, "  %s %lld", reason, (long long)json_integer_value(n));
	buf_add_char(out, '\n');
}

static const char *string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static void add_stage(const json_t *s, struct buf *out)
{
	buf_printf(out, "%-14s %-8s %14lld %14lld %10lld", string(s, "stage"), string(s, "unit"),
		   (long long)number(s, "in"), (long long)number(s, "out"),
		   (long long)number(s, "held"));
	add_dropped(json_object_get(s, "dropped"), out);
}

/* Where a stage stands on the way of the data; those that are not known come last. */
static size_t place(const json_t *s)
{
	static const char *const order[PLACES] = { "kernel",	  "discover", "process", "ring",
						   "stream",	  "proto",    "message", "span",
						   "redact",	  "receive",  "sample",	 "trace",
						   "sample_tail", "store" };
	size_t i = 0;

	while (i < PLACES && strcmp(order[i], string(s, "stage")) != 0)
		i++;
	return i;
}

int status_table(struct str json, struct buf *out)
{
	json_t *all = json_loadb(json.p ? json.p : "", json.len, 0, NULL);
	json_t *stages = json_object_get(all, "stages"), *s;
	size_t i;

	if (!json_is_array(stages)) {
		json_decref(all);
		return -EBADMSG;
	}
	buf_printf(out, "%-14s %-8s %14s %14s %10s %12s\n", "stage", "unit", "in", "out", "held",
		   "dropped");
	for (size_t at = 0; at <= PLACES; at++)
		json_array_foreach(stages, i, s) if (place(s) == at) add_stage(s, out);
	json_decref(all);
	return out->failed ? -ENOMEM : 0;
}

/* ---- asking ---- */

static size_t on_body(char *p, size_t size, size_t cnt, void *ctx)
{
	return buf_add(ctx, p, size * cnt) ? 0 : size * cnt;
}

static CURLcode get_status(CURL *curl, const char *listen, struct buf *body, long *ret_code)
{
	char url[512];
	CURLcode err;

	snprintf(url, sizeof(url), "http://%s/status", listen);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the agent is near; never ask through one */
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	err = curl_easy_perform(curl);
	if (!err)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_code);
	return err;
}

static int show(struct str body, bool json)
{
	struct buf table = { 0 };
	int err = 0;

	if (json) {
		fwrite(body.p, 1, body.len, stdout);
		if (!body.len || body.p[body.len - 1] != '\n')
			putchar('\n');
	} else {
		err = status_table(body, &table);
		if (!err)
			fwrite(table.p, 1, table.len, stdout);
		buf_fini(&table);
	}
	return err;
}

int status_show(const char *listen, bool json)
{
	CURL *curl = curl_easy_init();
	struct buf body = { .cap = ANSWER_MAX };
	long code = 0;
	CURLcode err;
	int status = 1;

	if (!curl)
		return 1;
	err = get_status(curl, listen, &body, &code);
	if (err == CURLE_COULDNT_CONNECT)
		fprintf(stderr,
			"telltale: no agent answers on %s; start one with: sudo telltale run\n",
			listen);
	else if (err)
		fprintf(stderr, "telltale: asking the agent on %s: %s\n", listen,
			curl_easy_strerror(err));
	else if (code != 200)
		fprintf(stderr, "telltale: %s/status answers %ld; is that telltale?\n", listen,
			code);
	else if (show(buf_str(&body), json))
		fprintf(stderr, "telltale: %s/status is no status; is that telltale?\n", listen);
	else
		status = 0;
	curl_easy_cleanup(curl);
	buf_fini(&body);
	return status;
}
