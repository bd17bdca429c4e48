/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct span: everything OTLP can say about a span (opentelemetry-proto 1.x, trace.proto), in the
 * form all rooms from here on share. Capture produces it, receiving produces it, and redaction,
 * sampling, store, analysis and export take it.
 *
 * Ownership: a pushed span is borrowed for the call. A room that keeps it calls span_copy(). All
 * strings and arrays live in the producer's arena; the resource is counted and shared.
 */
#ifndef SPAN_SPAN_H
#define SPAN_SPAN_H

#include "core/arena.h"

enum value_type {
	VALUE_EMPTY,
	VALUE_STR,
	VALUE_BOOL,
	VALUE_INT,
	VALUE_DOUBLE,
	VALUE_BYTES,
	VALUE_ARRAY,
	VALUE_KVLIST,
};

struct attr;

/* AnyValue. Nesting is at most VALUE_DEPTH_MAX; producers refuse deeper ones. */
#define VALUE_DEPTH_MAX 64
struct value {
	enum value_type type;
	union {
		struct str str; /* VALUE_STR, VALUE_BYTES */
		bool b;
		int64_t i;
		double d;
		struct {
			struct value *item;
			size_t cnt;
		} array;
		struct {
			struct attr *item;
			size_t cnt;
		} kvlist;
	};
};

struct attr {
	struct str key;
	struct value value;
};

struct attrs {
	struct attr *item;
	uint32_t cnt;
	uint32_t size;	  /* items allocated */
	uint32_t dropped; /* refused for a limit: dropped_attributes_count */
};

enum span_kind {
	SPAN_UNSPECIFIED = 0,
	SPAN_INTERNAL = 1,
	SPAN_SERVER = 2,
	SPAN_CLIENT = 3,
	SPAN_PRODUCER = 4,
	SPAN_CONSUMER = 5,
};

enum span_status { STATUS_UNSET = 0, STATUS_OK = 1, STATUS_ERROR = 2 };

/* "server", "error"; OTLP's "SPAN_KIND_SERVER", "STATUS_CODE_ERROR". What OTLP does not know is
 * unspecified, or unset. */
const char *span_kind_name(enum span_kind kind);
const char *span_kind_otlp(enum span_kind kind);
const char *span_status_name(enum span_status status);
const char *span_status_otlp(enum span_status status);
/* Either word, in any case. False for anything else; *ret stays then. */
bool span_kind_parse(struct str text, enum span_kind *ret);
bool span_status_parse(struct str text, enum span_status *ret);

struct trace_id {
	uint8_t b[16]; /* all zero: none */
};

struct span_id {
	uint8_t b[8]; /* all zero: none */
};

struct span_event {
	uint64_t time_ns; /* Unix time */
	struct str name;
	struct attrs attrs;
};

struct span_link {
	struct trace_id trace_id;
	struct span_id span_id;
	struct str trace_state;
	uint32_t flags;
	struct attrs attrs;
};

/* Who produced spans: shared by all spans of one process. Counted; never changed once shared. */
struct resource {
	struct attrs attrs; /* service.name among them */
	struct str service; /* the value of service.name, never empty */
	struct str schema_url;
	uint64_t hash; /* of attrs in order: equal resources have equal hashes */
	uint32_t refs;
	struct arena *arena; /* owns all of it */
};

struct scope {
	struct str name;
	struct str version;
	struct attrs attrs;
	struct str schema_url;
};

struct span {
	struct trace_id trace_id;
	struct span_id span_id;
	struct span_id parent_id;
	struct str trace_state; /* W3C tracestate */
	uint32_t flags; /* W3C trace flags in the low 8 bits; bits 8, 9 as trace.proto says */
	enum span_kind kind;
	struct str name;
	uint64_t start_ns; /* Unix time */
	uint64_t end_ns;   /* >= start_ns */
	struct attrs attrs;
	struct span_event *events;
	uint32_t event_cnt;
	uint32_t dropped_events;
	struct span_link *links;
	uint32_t link_cnt;
	uint32_t dropped_links;
	enum span_status status;
	struct str status_message;
	struct resource *resource; /* never NULL */
	const struct scope *scope; /* never NULL */
};

/* Where spans go. push borrows the span for the call and never fails: what is not kept is counted.
 */
struct span_sink {
	void *ctx;
	void (*push)(void *ctx, const struct span *s);
};

/* Most attributes of one span, event or link that is built here. */
#define SPAN_ATTRS_MAX 128

/*
 * Appends to a list in an arena. Key and value are not copied: they must live as long as the
 * arena or be literals. Past SPAN_ATTRS_MAX, or without room, 'dropped' is counted.
 */
void attrs_add(struct attrs *a, struct arena *mem, struct str key, struct value value);

/* These are inline so that the length of a literal key is known when compiling. */
static inline void attrs_add_str(struct attrs *a, struct arena *mem, const char *key,
				 struct str value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_STR, .str = value });
}

static inline void attrs_add_int(struct attrs *a, struct arena *mem, const char *key, int64_t value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_INT, .i = value });
}

static inline void attrs_add_double(struct attrs *a, struct arena *mem, const char *key,
				    double value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_DOUBLE, .d = value });
}

static inline void attrs_add_bool(struct attrs *a, struct arena *mem, const char *key, bool value)
{
	attrs_add(a, mem, str_of(key), (struct value){ .type = VALUE_BOOL, .b = value });
}

/* The first attribute of that key, or NULL. */
struct attr *attrs_find(const struct attrs *a, struct str key);
/* Its string, empty when absent or of another type. */
struct str attrs_str(const struct attrs *a, const char *key);

struct json;
/* A value as plain JSON: bytes in base64, for an empty value the JSON 'empty'. */
void value_json(struct json *j, const struct value *v, struct str empty);
/* The same as text in mem, "" where one is empty, for models that have only scalars. Without room
 * it is empty. */
struct str value_json_text(const struct value *v, struct arena *mem);
/* OTLP/JSON's AnyValue, right behind its key. Where j is strict, empty is "" and a double that is
 * not finite is a string. */
void value_json_otlp(struct json *j, const struct value *v);
/* OTLP/JSON's members "attributes" and "droppedAttributesCount", each where there are any. */
void attrs_json_otlp(struct json *j, const struct attrs *a);

/* A deep copy of a list into mem, keys included. False without room: the result is empty and
 * counts all as dropped. */
bool attrs_copy(const struct attrs *from, struct arena *mem, struct attrs *ret_to);

/* OTLP's own form: ids in hex, enums as numbers (OTLP specification 1.x, "JSON Protobuf Encoding").
 * Protobuf's mapping, as Tempo has it: ids in base64, enums as names. */
enum span_json { SPAN_JSON_OTLP, SPAN_JSON_PROTOBUF };
/* OTLP's message Span, right behind its key or in an array. */
void span_json(struct json *j, const struct span *s, enum span_json form);
/* The members "scope" of ScopeSpans and "resource" of ResourceSpans. */
void scope_json(struct json *j, const struct scope *s);
void resource_json(struct json *j, const struct resource *r);

/* A deep copy into mem (the resource is counted, the scope shared). NULL without room. */
struct span *span_copy(const struct span *s, struct arena *mem);
/* Lets go of the resource of a copy; the arena is the caller's to free. */
void span_release(struct span *s);

/* A resource owns its arena. new: refs is 1, empty attrs; fill in, then resource_seal() once. */
struct resource *resource_new(void);
void resource_seal(struct resource *r); /* sets service and hash */
struct resource *resource_get(struct resource *r);
void resource_put(struct resource *r); /* NULL is fine; frees with the last */

bool trace_id_is_set(const struct trace_id *id);
bool span_id_is_set(const struct span_id *id);
/* Lower-case hex; out takes 32 or 16 bytes and a NUL. */
void trace_id_hex(const struct trace_id *id, char out[33]);
void span_id_hex(const struct span_id *id, char out[17]);
/* Every accepted way of writing an id: 32 (16) hex digits of either case; fewer, as Jaeger trims
 * leading zeros; more only for zeros in front; a trace id as a UUID with dashes, too. False for
 * anything else and for zero; *ret stays then. */
bool trace_id_parse(struct str text, struct trace_id *ret);
bool span_id_parse(struct str text, struct span_id *ret);

/*
 * OpenTelemetry's member "ot" of the tracestate ("TraceState: Probability Sampling"). A trace with
 * randomness R is kept at a rejection threshold T when R >= T; both have 56 bits. A span so kept
 * stands for 2^56 / (2^56 - T) of its kind.
 */
#define THRESHOLD_ALL (1ull << 56) /* rejects every trace */
/* Of the member; without one, 0: nothing was rejected. */
uint64_t tracestate_threshold(struct str trace_state);
/* Of the member's rv, else the last 7 bytes of the trace id. */
uint64_t trace_randomness(const struct trace_id *id, struct str trace_state);
/* The state with this threshold in it, the member first, in buf; empty when it does not fit. */
#define TRACESTATE_MAX 512
struct str tracestate_with_threshold(struct str trace_state, uint64_t threshold,
				     char buf[TRACESTATE_MAX]);
/* How many spans it stands for; 1 where nothing was sampled away. */
double span_adjusted_count(const struct span *s);

/* The scope of spans that capture makes. */
extern const struct scope scope_capture;

#endif
