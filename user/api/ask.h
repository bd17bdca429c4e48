/* SPDX-License-Identifier: Apache-2.0 */
/* Questions that several rows put to the store; private to the room. */
#ifndef API_ASK_H
#define API_ASK_H

#include "api/call.h"
#include "api/search.h"
#include "api/shape.h"

/* ---- traces as they are shown --------------------------------------------------------------- */

/* The one place where a trace from the store is made fit to be shown: clocks of several hosts made
 * to agree, calls seen twice marked. 0 or -ENOENT, -EIO, -ENOMEM; the caller puts it. */
int api_trace_load(struct call *c, const struct trace_id *id, struct trace **ret_trace);

/* Loads the trace that the path names into *ret; answers with an error and false when it cannot. */
bool ask_trace(struct call *c, const char *param, struct trace **ret);

/* ---- conditions -------------------------------------------------------------------------------
 */

/* One more condition that must hold; a step that fails leaves 'failed' set. */
struct asked {
	struct arena *mem;
	const struct cond *where; /* NULL: none yet */
	bool failed;
};

void asked_and(struct asked *a, const struct cond *c);
void asked_str(struct asked *a, enum field_kind kind, struct str text);
void asked_int(struct asked *a, enum field_kind kind, enum cmp cmp, int64_t v);
/* An attribute whose value is given as text only: it is looked for as text, and as the number or
 * truth value that the text may mean. */
const struct cond *cond_loose(struct arena *mem, struct field f, struct str text);

/* ---- ranges ------------------------------------------------------------------------------------
 */

/* From the parameters start and end: all, when they are not there. False: answered with a 400. */
bool ask_range(struct call *c, const char *start, const char *end, uint64_t lookback_ns,
	       struct time_range *ret);

/* ---- searches ----------------------------------------------------------------------------------
 */

/* The parameter q as TraceQL, of metrics or for a search. False: answered with a 400. *ret is the
 * caller's to free either way. */
bool ask_traceql(struct call *c, bool metrics, struct traceql **ret);

/* Runs one and has each trace, made fit as above, written by row; what a deadline left over is in
 * *ret_end and *ret_late. False: answered with an error. */
bool ask_search(struct call *c, struct search *q,
		bool (*row)(void *ctx, const struct search_trace *t), void *ctx,
		struct search_end *ret_end, bool *ret_late);

/* ---- names -------------------------------------------------------------------------------------
 */

/* Names from the store's indexes, written as a JSON list of strings. 0 or -errno. */
int ask_services(struct call *c, struct time_range r, struct json *j, uint32_t *ret_cnt);

/* One operation; kinds of one name follow each other. */
struct operation {
	struct str service, name;
	enum span_kind kind;
};
struct operations {
	struct arena *mem;
	struct operation *row; /* in mem */
	size_t cnt, size;
	bool failed;
};
/* At most 100,000. */
int ask_operations(struct call *c, struct str service, struct time_range r, struct operations *ret);

#endif
