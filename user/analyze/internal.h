/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the room: tables of interned names, series, and pairs of services. */
#ifndef ANALYZE_INTERNAL_H
#define ANALYZE_INTERNAL_H

#include <pthread.h>

#include "analyze/analyze.h"

/* OpenTelemetry's buckets of HTTP durations, seconds, and one for the rest. */
#define BOUNDS	14
#define BUCKETS (BOUNDS + 1)
extern const double analyze_bounds[BOUNDS];

struct exemplar {
	struct trace_id trace_id; /* unset: none */
	struct span_id span_id;	  /* unset: not known */
	double value;
	uint64_t time_ns;
};

struct histogram {
	double bucket[BUCKETS]; /* spans, each by its own count */
	double sum_s;
	struct exemplar exemplar[BUCKETS];
};

/* One row of a table: open addressing by hash, all rows in order of arrival beside it. */
struct row {
	uint64_t hash;
};

struct table {
	struct row **slot; /* power of two, at least twice max */
	struct row **row;
	uint32_t cnt, max;
	uint32_t mask;
};
int rows_init(struct table *t, uint32_t max);
/* The row of that hash, or a new zeroed one of that size; NULL: full, or no memory. */
struct row *rows_get(struct table *t, uint64_t hash, size_t size);
void rows_fini(struct table *t, void (*row_free)(struct row *r));

struct series { /* of one operation */
	struct row row;
	char *service, *name; /* owned */
	enum span_kind kind;
	enum span_status status;
	double calls;
	double bytes; /* of spans as OTLP */
	struct histogram latency;
};

struct target {		/* who produces spans */
	struct row row; /* by the resource's hash */
	char *labels;	/* as they are written; owned */
	uint64_t labels_hash;
	uint64_t seen_ns; /* monotonic */
	bool twin;	  /* another row has the same labels */
};

/* Of one span as OTLP, without its resource and scope. */
size_t analyze_size(const struct span *s);

enum connection { CONNECTION_NONE, CONNECTION_VIRTUAL, CONNECTION_DATABASE, CONNECTION_MESSAGING };

struct edge { /* one service calling another */
	struct row row;
	char *client, *server; /* owned */
	enum connection connection;
	double calls, failed;
	struct histogram seen_by_server, seen_by_client;
};

struct unpaired {
	struct row row;
	char *client, *server; /* one of them is empty */
	double spans;
};

#define WAITING_NAME 64 /* longer names of services are cut in the graph */

/* A span that waits for its other end. */
struct waiting {
	uint64_t key; /* of trace and span id; 0: taken, or never used */
	uint64_t since_ns;
	uint64_t duration_ns;
	double count;
	struct trace_id trace_id;
	struct span_id span_id;
	char service[WAITING_NAME];
	char peer[WAITING_NAME]; /* of a client: what it called, as far as it says */
	bool client, failed;
	enum connection connection; /* of the peer, if nobody else comes */
	uint32_t next, prev;	    /* of the same slot, +1; 0: none */
};

struct analyze {
	struct analyze_cfg cfg;
	pthread_mutex_t lock;
	uint64_t now_ns;
	struct table series, edges, unpaired, targets;
	uint64_t swept_ns; /* targets: when those that fell silent went */
	struct series *other;
	struct edge *other_edge;
	struct waiting *ring; /* waiting_max of them, the oldest at 'first' */
	uint32_t first, used;
	uint32_t *slot; /* heads of chains of ring indexes, +1 */
	uint32_t slot_mask;
	double dropped;
};

/* span: unset where it is not known. */
void histogram_add(struct histogram *h, const struct trace_id *trace, const struct span_id *span,
		   double value_s, double count, uint64_t time_ns);
/* What of a name may be a label: up to a NUL, whole characters of at most so many bytes. */
struct str label_cut(struct str s, size_t max);
/* As both formats escape label values: {name="value" with before instead of the brace. */
void label_write(struct buf *out, const char *name, struct str value, const char *before);
/* target.c */
void target_push(struct analyze *a, const struct resource *r);
void target_tick(struct analyze *a);
void target_free(struct row *r);
/* graph.c */
void graph_push(struct analyze *a, const struct span *s);
void graph_tick(struct analyze *a);
char *analyze_strdup(struct str s);

#endif
