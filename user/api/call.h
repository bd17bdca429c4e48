/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer, apart from the transport; private to the room. Endpoints are rows:
 * method, path, parameters with their types and limits. The router finds the row, checks the
 * parameters and only then calls the row's function, so that no function sees a malformed one.
 */
#ifndef API_CALL_H
#define API_CALL_H

#include "api/api.h"
#include "core/json.h"
#include "store/store.h"

struct api_live;
struct live_client;

/* ---- what is asked ------------------------------------------------------------------------ */

/* As it came; strings are borrowed for as long as the call lives. */
struct request {
	struct str method;
	struct str target; /* path and query, still percent-encoded */
	struct str accept; /* headers; empty when absent */
	struct str host;
	struct str origin;
	struct str tenant; /* X-Scope-OrgID */
	struct str body_type;
	struct str body;
	char peer[64];
};

enum param_type {
	PARAM_TEXT,	/* min to max bytes of UTF-8 */
	PARAM_UINT,	/* min to max */
	PARAM_BOOL,	/* true, false, 1, 0 */
	PARAM_CHOICE,	/* one of 'choices', separated by | */
	PARAM_DURATION, /* "1.5s", "10ms", "1h30m", "7d"; nanoseconds */
	PARAM_LOOKBACK, /* as PARAM_DURATION, or "custom": then start and end count */
	PARAM_STEP,	/* as PARAM_DURATION, or a number of seconds */
	PARAM_TRACE_ID,
	PARAM_TIME, /* RFC 3339, or Unix time whose unit its size tells */
	PARAM_TIME_US,
	PARAM_TIME_MS,
};

struct param {
	const char *name;
	enum param_type type;
	bool required;
	bool repeated; /* may come several times */
	uint64_t min, max;
	const char *choices;
	const char *alias; /* another name of the same; NULL */
};

/* One that came, checked: number for UINT, BOOL, DURATION (ns) and times (ns). */
struct arg {
	const struct param *param;
	struct str text;
	uint64_t number;
	struct trace_id id;
};

#define ARGS_MAX 32

/* ---- who answers -------------------------------------------------------------------------- */

/* In whose form errors are told, and under which prefix the path is found too. */
enum family { FAMILY_OWN, FAMILY_JAEGER, FAMILY_JAEGER3, FAMILY_TEMPO };

struct call;

struct endpoint {
	const char *method; /* GET stands for HEAD too */
	const char *path;   /* "/traces/{id}": a name in braces is one segment, the first params */
	void (*answer)(struct call *c);
	enum family family;
	bool slow;		    /* may take long: runs on a worker */
	bool stored;		    /* needs a store; slow too */
	size_t body_max;	    /* a JSON body of at most so many bytes; 0: none is taken */
	const struct param *params; /* those in the path first, in order */
	size_t param_cnt;
};

#define PARAMS(list) .params = (list), .param_cnt = ARRAY_LEN(list)

struct endpoints {
	const struct endpoint *row;
	size_t cnt;
};

/* All tables. */
extern const struct endpoints *const endpoints_all[];
extern const size_t endpoints_all_cnt;

extern const struct endpoints endpoints_self, endpoints_newest, endpoints_sources, endpoints_find,
	endpoints_chains, endpoints_traces, endpoints_jaeger, endpoints_jaeger_metrics,
	endpoints_jaeger3, endpoints_dependencies, endpoints_tempo, endpoints_tempo_tags,
	endpoints_tempo_metrics;

/* ---- the call ----------------------------------------------------------------------------- */

#define CALL_MEMORY    (64u << 20) /* of the arena of one call */
#define PAGE_BYTES_MAX (64u << 20)
#define BODY_MAX       (256u << 10)

struct call {
	const struct api_cfg *cfg;
	struct api_live *live; /* NULL: nobody can follow */
	bool loopback;	       /* the server listens on such an address only */
	struct request req;
	struct arena *mem;
	const struct endpoint *end; /* NULL: none was found */
	enum family family;	    /* of the path asked for */
	struct arg args[ARGS_MAX];
	size_t arg_cnt;
	struct str body;	  /* checked to be short enough and UTF-8 */
	struct patterns patterns; /* of conditions; freed with the call */
	uint64_t deadline_ns;	  /* monotonic */
	/* the answer */
	unsigned int status;
	const char *type;
	const char *allow; /* of a 405 */
	struct buf page;
	struct live_client *follow; /* instead of a page: what comes from now on */
};

/* mem is made here; false without memory. call_fini() frees it and the page. */
bool call_init(struct call *c, const struct api_cfg *cfg);
void call_fini(struct call *c);

/* Finds the endpoint and checks all that is known before the body: the answer is there already when
 * it returns false. */
bool call_route(struct call *c);
/* Checks the body, then answers. */
void call_answer(struct call *c);

/* The argument of that name, or NULL; 'after' the first: the next of a repeated one, or NULL. */
const struct arg *arg_get(const struct call *c, const char *name);
const struct arg *arg_next(const struct call *c, const struct arg *after);
struct str arg_text(const struct call *c, const char *name);
uint64_t arg_number(const struct call *c, const char *name, uint64_t otherwise);

/* Replaces the page by an error in the family's form. */
void call_error(struct call *c, unsigned int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* For what a store or search returned: -ENOENT is 404 and so on. */
void call_failed(struct call *c, int err, const char *what);
/* Starts the JSON of a page. */
struct json call_json(struct call *c);
/* Whether Accept names this type before any other of them. */
bool call_accepts(const struct call *c, const char *type);

/* ---- parts that need no call -------------------------------------------------------------- */

/* One percent-decoded copy in mem; '+' is a space in a query. False: bad escapes, NUL, not UTF-8.
 */
bool uri_decode(struct arena *mem, struct str s, bool query, struct str *ret);
/* Takes the first "name=value" off a query; false at its end. */
bool uri_take_pair(struct str *query, struct str *ret_name, struct str *ret_value);
/* 0 or -EINVAL with one line in why. */
#define PARAM_WHY_MAX 160
int param_read(const struct param *p, struct str text, struct arg *ret, char why[PARAM_WHY_MAX]);
/* Durations as Go and Prometheus write them, nanoseconds. */
bool duration_parse(struct str s, uint64_t *ret_ns);
/* RFC 3339, nanoseconds of Unix time; before 1970 and past 2262 are refused. */
bool rfc3339_parse(struct str s, uint64_t *ret_ns);
void rfc3339_write(uint64_t ns, char out[32]);

#endif
