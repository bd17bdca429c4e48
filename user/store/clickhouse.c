/* SPDX-License-Identifier: Apache-2.0 */
/* The ClickHouse engine: its address, its tables, opening and closing. */
#include "store/clickhouse.h"

#include "core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SCHEME "clickhouse+"

/* ---- the address ------------------------------------------------------------------------------
 */

static int part_of(CURLU *u, CURLUPart what, char **ret)
{
	char *text = NULL;
	CURLUcode rc = curl_url_get(u, what, &text, CURLU_URLDECODE);

	if (rc == CURLUE_NO_USER || rc == CURLUE_NO_PASSWORD)
		return 0;
	if (rc)
		return rc == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
	*ret = strdup(text);
	curl_free(text);
	return *ret ? 0 : -ENOMEM;
}

/* The URL with neither user, password nor database. */
static int bare_url(CURLU *u, char **ret)
{
	char *text = NULL;

	if (curl_url_set(u, CURLUPART_USER, NULL, 0) ||
	    curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) ||
	    curl_url_set(u, CURLUPART_PATH, "/", 0) || curl_url_get(u, CURLUPART_URL, &text, 0))
		return -ENOMEM;
	*ret = strdup(text);
	curl_free(text);
	return *ret ? 0 : -ENOMEM;
}

static int read_parts(struct clickhouse *c, CURLU *u, const char *url)
{
	char *path = NULL, *query = NULL;
	int err = curl_url_set(u, CURLUPART_URL, url, 0) ? -EINVAL : 0;

	if (!err)
		err = part_of(u, CURLUPART_USER, &c->user);
	if (!err)
		err = part_of(u, CURLUPART_PASSWORD, &c->password);
	if (!err)
		err = part_of(u, CURLUPART_PATH, &path);
	if (!err && (!path[0] || !path[1] || strchr(path + 1, '/') ||
		     !curl_url_get(u, CURLUPART_QUERY, &query, 0)))
		err = -EINVAL;
	if (!err) {
		c->database = strdup(path + 1);
		err = c->database ? bare_url(u, &c->url) : -ENOMEM;
	}
	curl_free(query);
	free(path);
	return err;
}

static int read_address(struct clickhouse *c, const char *where, char why[STORE_WHY_MAX])
{
	const char *url = where + sizeof(SCHEME) - 1;
	CURLU *u = curl_url();
	int err = u ? -EINVAL : -ENOMEM;

	if (u &&
	    (str_starts(str_of(url), STR("http://")) || str_starts(str_of(url), STR("https://"))))
		err = read_parts(c, u, url);
	curl_url_cleanup(u);
	if (!err && asprintf(&c->shown, "%s%s", c->url, c->database) < 0) {
		c->shown = NULL;
		err = -ENOMEM;
	}
	if (err == -EINVAL) /* what was given may hold a password */
		snprintf(why, STORE_WHY_MAX,
			 "the store's address is not of the form " SCHEME
			 "http[s]://[USER[:PASSWORD]@]HOST:PORT/DATABASE");
	return err;
}

/* ---- the tables: as the exporter makes them ---------------------------------------------------
 */

static const char trace_table[] =
	"CREATE TABLE IF NOT EXISTS otel_traces ("
	"Timestamp DateTime64(9) CODEC(Delta, ZSTD(1)),"
	"TraceId String CODEC(ZSTD(1)),"
	"SpanId String CODEC(ZSTD(1)),"
	"ParentSpanId String CODEC(ZSTD(1)),"
	"TraceState String CODEC(ZSTD(1)),"
	"SpanName LowCardinality(String) CODEC(ZSTD(1)),"
	"SpanKind LowCardinality(String) CODEC(ZSTD(1)),"
	"ServiceName LowCardinality(String) CODEC(ZSTD(1)),"
	"ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),"
	"ScopeName String CODEC(ZSTD(1)),"
	"ScopeVersion String CODEC(ZSTD(1)),"
	"SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),"
	"Duration UInt64 CODEC(ZSTD(1)),"
	"StatusCode LowCardinality(String) CODEC(ZSTD(1)),"
	"StatusMessage String CODEC(ZSTD(1)),"
	"Events Nested (Timestamp DateTime64(9), Name LowCardinality(String),"
	" Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),"
	"Links Nested (TraceId String, SpanId String, TraceState String,"
	" Attributes Map(LowCardinality(String), String)) CODEC(ZSTD(1)),"
	"INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,"
	"INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,"
	"INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01)"
	" GRANULARITY 1,"
	"INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,"
	"INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,"
	"INDEX idx_duration Duration TYPE minmax GRANULARITY 1"
	") ENGINE = MergeTree PARTITION BY toDate(Timestamp)"
	" ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))%s"
	" SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1,"
	" non_replicated_deduplication_window = 1000";

static const char time_table[] =
	"CREATE TABLE IF NOT EXISTS otel_traces_trace_id_ts ("
	"TraceId String CODEC(ZSTD(1)),"
	"Start DateTime CODEC(Delta, ZSTD(1)),"
	"End DateTime CODEC(Delta, ZSTD(1)),"
	"INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1"
	") ENGINE = MergeTree PARTITION BY toDate(Start) ORDER BY (TraceId, Start)%s"
	" SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1";

static const char time_view[] = "CREATE MATERIALIZED VIEW IF NOT EXISTS otel_traces_trace_id_ts_mv"
				" TO otel_traces_trace_id_ts AS"
				" SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End"
				" FROM otel_traces WHERE TraceId != '' GROUP BY TraceId";

static void run(struct clickhouse *c, struct str sql, bool no_database, struct ch_result *ret)
{
	const struct ch_request q = { .sql = sql, .no_database = no_database };

	http_ask(c, &q, ret);
}

static void make_table(struct clickhouse *c, const char *form, const char *time,
		       struct ch_result *ret)
{
	struct buf sql = { 0 };
	char ttl[96] = "";

	if (c->cfg.retention_ns)
		snprintf(ttl, sizeof(ttl), " TTL toDateTime(%s) + toIntervalSecond(%llu)", time,
			 (unsigned long long)MAX(c->cfg.retention_ns / NS_PER_S, 1));
	*ret = (struct ch_result){ .err = -ENOMEM };
	if (!buf_printf(&sql, form, ttl))
		run(c, buf_str(&sql), false, ret);
	buf_fini(&sql);
}

/* Quoted as a string is: inside backticks the same escapes hold. */
static void make_database(struct clickhouse *c, struct ch_result *ret)
{
	struct buf name = { 0 }, sql = { 0 };

	*ret = (struct ch_result){ .err = -ENOMEM };
	if (!sql_text(&name, str_of(c->database)) &&
	    !buf_printf(&sql, "CREATE DATABASE IF NOT EXISTS `%.*s`", (int)name.len - 2,
			name.p + 1))
		run(c, buf_str(&sql), true, ret);
	buf_fini(&name);
	buf_fini(&sql);
}

/* Are the columns there, in types that can be compared as we do? */
static void try_tables(struct clickhouse *c, struct ch_result *ret)
{
	struct buf sql = { 0 };
	int err = row_select(&sql, (struct ch_columns){ true, true, true, true });

	*ret = (struct ch_result){ .err = -ENOMEM };
	if (!err)
		err = buf_printf(&sql, "Timestamp < fromUnixTimestamp64Nano(toInt64(0)) AND"
				       " has(mapKeys(SpanAttributes), '') AND TraceId IN (SELECT"
				       " TraceId FROM otel_traces_trace_id_ts WHERE Start > End)"
				       " LIMIT 0 FORMAT RowBinary");
	if (!err)
		run(c, buf_str(&sql), false, ret);
	buf_fini(&sql);
}

static void prepare(struct clickhouse *c, struct ch_result *ret)
{
	run(c, STR("SELECT 1 FORMAT Null"), false, ret);
	if (ret->code == 81 && !c->cfg.read_only)
		make_database(c, ret);
	if (!ret->err && !c->cfg.read_only)
		make_table(c, trace_table, "Timestamp", ret);
	if (!ret->err && !c->cfg.read_only)
		make_table(c, time_table, "Start", ret);
	if (!ret->err && !c->cfg.read_only)
		run(c, STR(time_view), false, ret);
	if (!ret->err)
		try_tables(c, ret);
}

static int explain(const struct clickhouse *c, const struct ch_result *r, char why[STORE_WHY_MAX])
{
	static const struct {
		int err;
		const char *text;
	} row[] = {
		{ -ECONNREFUSED,
		  "cannot connect; is ClickHouse there, and is this its HTTP port?" },
		{ -EKEYREJECTED, "wrong user or password" },
		{ -ETIMEDOUT, "no answer" },
		{ -ENOENT, "no such database or table" },
	};

	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		if (row[i].err != r->err)
			continue;
		snprintf(why, STORE_WHY_MAX, "store %s: %s", c->shown, row[i].text);
		return r->err;
	}
	snprintf(why, STORE_WHY_MAX, "store %s: %s", c->shown,
		 r->text[0] ? r->text : strerror(-r->err));
	return r->err;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void ch_close(struct store *s)
{
	struct clickhouse *c = (struct clickhouse *)s;
	struct ch_batch *b;

	ch_stop(c);
	while ((b = c->first)) {
		c->first = b->next;
		batch_free(b);
	}
	batch_free(c->open);
	again_fini(&c->again);
	for (unsigned int i = 0; i < c->idle_cnt; i++)
		curl_easy_cleanup(c->idle[i]);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->pool_lock);
	pthread_cond_destroy(&c->wake);
	if (c->password)
		explicit_bzero(c->password, strlen(c->password));
	free(c->password);
	free(c->user);
	free(c->ca_file);
	free(c->cert_file);
	free(c->key_file);
	free(c->database);
	free(c->url);
	free(c->shown);
	free(c);
}

static struct clickhouse *ch_new(const struct store_cfg *cfg)
{
	struct clickhouse *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->base.ops = &engine_clickhouse;
	c->cfg = *cfg;
	c->cfg.where = c->cfg.key_file = c->cfg.key = NULL;
	c->cfg.ca_file = c->cfg.client_cert_file = c->cfg.client_key_file = NULL;
	c->run = clock_real_ns();
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->pool_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

/* The files are read at each connection: what can be said of them is said now. */
static int take_files(struct clickhouse *c, const struct store_cfg *cfg, char why[STORE_WHY_MAX])
{
	const char *const file[] = { cfg->ca_file, cfg->client_cert_file, cfg->client_key_file };
	char **const to[] = { &c->ca_file, &c->cert_file, &c->key_file };

	if (!cfg->client_cert_file != !cfg->client_key_file) {
		snprintf(why, STORE_WHY_MAX,
			 "store: a client's certificate needs its key, and a key its certificate");
		return -EINVAL;
	}
	for (size_t i = 0; i < ARRAY_LEN(file); i++) {
		if (!file[i])
			continue;
		if (access(file[i], R_OK)) {
			snprintf(why, STORE_WHY_MAX, "store: %s: %s", file[i], strerror(errno));
			return -EINVAL;
		}
		*to[i] = strdup(file[i]);
		if (!*to[i])
			return -ENOMEM;
	}
	return 0;
}

static int ch_open(const struct store_cfg *cfg, struct store **ret_store, char why[STORE_WHY_MAX])
{
	struct clickhouse *c;
	struct ch_result r;
	int err;

	if (cfg->key_file || cfg->key) {
		snprintf(why, STORE_WHY_MAX, "ClickHouse encrypts by itself: no key is taken here");
		return -EINVAL;
	}
	c = http_init() ? NULL : ch_new(cfg);
	if (!c)
		return -ENOMEM;
	err = take_files(c, cfg, why);
	if (!err)
		err = read_address(c, cfg->where, why);
	if (!err) {
		prepare(c, &r);
		if (r.err)
			err = explain(c, &r, why);
	}
	if (!err && !cfg->read_only)
		err = ch_start(c);
	if (err) {
		ch_close(&c->base);
		return err;
	}
	*ret_store = &c->base;
	return 0;
}

static int ch_archive(struct store *s, const struct trace_id *id, bool keep)
{
	return -EOPNOTSUPP;
}

/* Nothing is summed up: what the TTL drops has gone. */
static int ch_rollups(struct store *s, struct time_range r,
		      void (*visit)(void *ctx, const struct store_rollup *row), void *ctx)
{
	return 0;
}

const struct store_ops engine_clickhouse = {
	.scheme = SCHEME,
	.open = ch_open,
	.close = ch_close,
	.writer_new = ch_writer_new,
	.writer_push = ch_writer_push,
	.writer_sync = ch_writer_sync,
	.writer_free = ch_writer_free,
	.admits = ch_admits,
	.traces = ch_traces,
	.scan = ch_scan,
	.services = ch_services,
	.operations = ch_operations,
	.tags = ch_tags,
	.values = ch_values,
	.stats = ch_stats,
	.archive = ch_archive,
	.check = ch_check,
	.rollups = ch_rollups,
};
