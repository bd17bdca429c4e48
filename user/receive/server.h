/* SPDX-License-Identifier: Apache-2.0 */
/* What both servers share: limits, a request's body, its answer, listening. Private to the room. */
#ifndef RECEIVE_SERVER_H
#define RECEIVE_SERVER_H

#include <pthread.h>
#include <sys/socket.h>

#include "receive/decode.h"
#include "receive/receive.h"

/* ---- the gate: limits that all server threads share, and the counters of requests ---- */

enum outcome {
	OUTCOME_ACCEPTED,
	OUTCOME_PARTIAL,
	OUTCOME_INVALID,
	OUTCOME_THROTTLED,
	OUTCOME_UNAVAILABLE,
	OUTCOME_CNT
};

/* Fills with 'rate' a second up to 'rate'; may be overdrawn, then it stays shut until it is even.
 */
struct bucket {
	uint64_t rate; /* 0: no limit */
	double level;
	uint64_t filled_ns;
};

#define GATE_GAUGES (OUTCOME_CNT + 3)

struct gate {
	struct receive_cfg cfg; /* defaults filled in */
	pthread_mutex_t lock;	/* of the buckets */
	struct bucket requests, bytes;
	uint64_t held;	      /* bytes of bodies in memory */
	uint64_t connections; /* of the gRPC server; the other counts its own */
	uint64_t late;	      /* connections and calls that missed a deadline */
	uint64_t cnt[OUTCOME_CNT];
	struct gauge gauge[GATE_GAUGES];
};

void gate_init(struct gate *g, const struct receive_cfg *cfg);
void gate_fini(struct gate *g);
/* May one more request come? 0, or the seconds after which it may. */
uint32_t gate_admit(struct gate *g);
void gate_charge(struct gate *g, size_t bytes);
/* Memory of a body. False past cfg.memory_max. */
bool gate_hold(struct gate *g, size_t bytes);
void gate_release(struct gate *g, size_t bytes);
void gate_count(struct gate *g, enum outcome o);

/* ---- a request's body, decompressed as it comes ---- */

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD, CODING_UNKNOWN };

/* An empty name is identity. */
enum coding coding_of(struct str name);

struct body {
	struct gate *gate;
	enum coding coding;
	struct buf data;
	size_t wire;	    /* bytes that came */
	void *decompressor; /* z_stream or ZSTD_DStream */
	bool ended;	    /* the compressed stream has */
};

/* A zeroed body is none. */
void body_init(struct body *b, struct gate *g, enum coding c);
/* 0; -EFBIG: past the limit; -EBADMSG: not of that coding; -ENOBUFS: past cfg.memory_max;
 * -ENOMEM. */
int body_add(struct body *b, const void *p, size_t len);
/* 0, or -EBADMSG: cut short. */
int body_end(const struct body *b);
void body_fini(struct body *b);

/* ---- answers ---- */

enum encoding { ENCODING_PROTOBUF, ENCODING_JSON };

struct answer {
	unsigned int http; /* status; 0: there is no answer yet */
	uint32_t retry_s;  /* 0: not said */
	uint64_t rejected;
	char text[WHY_MAX];
};

void answer_set(struct answer *a, unsigned int http, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* By the result of body_add(), body_end(), a decoder or an acknowledgement; not 0. */
void answer_error(struct answer *a, const struct gate *g, int err, const char *why);
/* Of a request that was read to its end. */
void answer_intake(struct answer *a, const struct intake *in);
/* Spans of it were not kept by whoever acknowledged. */
void answer_not_kept(struct answer *a, unsigned int cnt);
/* Whether a request may come at all: rate, the producer. False: a is set. */
bool answer_admits(struct answer *a, struct gate *g, const struct receive_producer *p);
enum outcome answer_outcome(const struct answer *a);
/* ExportTraceServiceResponse, or google.rpc.Status. */
void answer_body(const struct answer *a, enum encoding e, struct buf *out);
/* google.rpc.Code. */
unsigned int answer_code(const struct answer *a);
/* google.rpc.Status with the RetryInfo that says when to come back. */
void answer_details(const struct answer *a, struct buf *out);

/* ---- the servers ---- */

struct http_server; /* one thread */
int http_server_new(struct gate *g, int listen_fd, struct http_server **ret,
		    char why[RECEIVE_WHY_MAX]);
/* Waits for acknowledgements. NULL is fine. */
void http_server_free(struct http_server *s);

struct grpc_server; /* one thread */
int grpc_server_new(struct gate *g, int listen_fd, struct grpc_server **ret,
		    char why[RECEIVE_WHY_MAX]);
void grpc_server_free(struct grpc_server *s);

#endif
