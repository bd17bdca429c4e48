/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine a store has, and the calls passed on to it. */
#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <xxhash.h>

static const struct store_ops *const engines[] = {
	&engine_clickhouse, &engine_embedded, /* takes what no scheme of another claims */
};

static const struct store_ops *engine_of(const char *where)
{
	for (size_t i = 0; i < ARRAY_LEN(engines); i++)
		if (engines[i]->scheme && str_starts(str_of(where), str_of(engines[i]->scheme)))
			return engines[i];
	return strstr(where, "://") ? NULL : &engine_embedded;
}

int store_open(const struct store_cfg *cfg, struct store **ret_store, char why[STORE_WHY_MAX])
{
	struct store_cfg full = *cfg;
	const struct store_ops *ops;

	why[0] = 0;
	if (!cfg->where || !cfg->where[0]) {
		snprintf(why, STORE_WHY_MAX, "no place for the store was named");
		return -EINVAL;
	}
	ops = engine_of(cfg->where);
	if (!ops) {
		snprintf(why, STORE_WHY_MAX,
			 "%s: no engine for this kind of store; name a directory "
			 "or clickhouse+http://HOST:8123/DATABASE",
			 cfg->where);
		return -EINVAL;
	}
	if (ops != &engine_clickhouse &&
	    (cfg->ca_file || cfg->client_cert_file || cfg->client_key_file)) {
		snprintf(why, STORE_WHY_MAX,
			 "%s: certificates of a store are for one of ClickHouse by HTTPS",
			 cfg->where);
		return -EINVAL;
	}
	if (!full.commit_ms)
		full.commit_ms = STORE_DEFAULT_COMMIT_MS;
	if (!full.queue_bytes)
		full.queue_bytes = STORE_DEFAULT_QUEUE_BYTES;
	return ops->open(&full, ret_store, why);
}

void store_close(struct store *s)
{
	if (s)
		s->ops->close(s);
}

struct store_writer *store_writer_new(struct store *s)
{
	return s->ops->writer_new(s);
}

void store_writer_push(struct store_writer *w, const struct span *s)
{
	w->store->ops->writer_push(w, s);
}

void store_writer_sync(struct store_writer *w, struct store_ack ack)
{
	w->store->ops->writer_sync(w, ack);
}

void store_writer_free(struct store_writer *w)
{
	if (w)
		w->store->ops->writer_free(w);
}

int store_admits(struct store *s)
{
	return s->ops->admits(s);
}

static void keep_trace(void *ctx, const struct trace *t)
{
	struct trace **ret_trace = ctx;

	*ret_trace = trace_get(t);
}

int store_trace(struct store *s, const struct trace_id *id, struct trace **ret_trace)
{
	struct trace *t = NULL;
	int err = s->ops->traces(s, id, 1, (struct trace_sink){ &t, keep_trace });

	if (err) {
		trace_put(t);
		return err;
	}
	if (!t)
		return -ENOENT;
	*ret_trace = t;
	return 0;
}

int store_traces(struct store *s, const struct trace_id *ids, size_t cnt, struct trace_sink out)
{
	return cnt ? s->ops->traces(s, ids, cnt, out) : 0;
}

int store_trace_fields(struct store *s, const struct trace_id *ids, size_t cnt,
		       const struct field *fields, size_t field_cnt, struct trace_sink out)
{
	if (!s->ops->trace_fields)
		return store_traces(s, ids, cnt, out);
	return cnt ? s->ops->trace_fields(s, ids, cnt, fields, field_cnt, out) : 0;
}

int store_scan(struct store *s, const struct scan *q,
	       bool (*visit)(void *ctx, const struct span *sp), void *ctx)
{
	return s->ops->scan(s, q, visit, ctx);
}

int store_sieve_new(struct store *s, const struct need *need, uint64_t deadline_ns,
		    struct sieve **ret_sieve)
{
	return s->ops->sieve_new ? s->ops->sieve_new(s, need, deadline_ns, ret_sieve) : -EOPNOTSUPP;
}

int store_sieve_narrow(struct store *s, struct sieve *sieve, uint32_t spans, uint64_t deadline_ns)
{
	return s->ops->sieve_narrow(s, sieve, spans, deadline_ns);
}

void store_sieve_free(struct sieve *sieve)
{
	sieve_free(sieve);
}

int store_services(struct store *s, struct time_range r,
		   void (*visit)(void *ctx, struct str service), void *ctx)
{
	return s->ops->services(s, r, visit, ctx);
}

int store_operations(struct store *s, struct str service, struct time_range r,
		     void (*visit)(void *ctx, struct str service, struct str name,
				   enum span_kind kind),
		     void *ctx)
{
	return s->ops->operations(s, service, r, visit, ctx);
}

int store_tags(struct store *s, struct time_range r,
	       void (*visit)(void *ctx, enum field_kind kind, struct str key), void *ctx)
{
	return s->ops->tags(s, r, visit, ctx);
}

int store_values(struct store *s, const struct field *f, const struct cond *where,
		 struct time_range r, uint32_t limit,
		 void (*visit)(void *ctx, const struct value *v), void *ctx)
{
	return limit ? s->ops->values(s, f, where, r, limit, visit, ctx) : 0;
}

int store_stats(struct store *s, struct store_stats *ret)
{
	return s->ops->stats(s, ret);
}

int store_archive(struct store *s, const struct trace_id *id, bool keep)
{
	return s->ops->archive(s, id, keep);
}

int store_archived(struct store *s, void (*visit)(void *ctx, const struct trace_id *id), void *ctx)
{
	return s->ops->archived ? s->ops->archived(s, visit, ctx) : -EOPNOTSUPP;
}

int64_t store_check(struct store *s, void (*report)(void *ctx, const char *line), void *ctx)
{
	return s->ops->check(s, report, ctx);
}

int store_rollups(struct store *s, struct time_range r,
		  void (*visit)(void *ctx, const struct store_rollup *row), void *ctx)
{
	return s->ops->rollups(s, r, visit, ctx);
}
