/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces put together from several blocks. Each block adds rows: times, ids, and which of the
 * need's conditions the span satisfies, so that nothing else of it is needed later. When all are
 * there, they are brought in the order of their traces, parents are found by their ids, and the
 * need is asked as it is in a block.
 */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

#define ROWS_STEP 4096u
/* Rows of complete traces that are judged at once. */
#define JUDGE_ROWS 16384u

struct stitch_row {
	uint64_t start_ns, lasts_ns;
	uint64_t id, parent; /* 0: none */
	uint32_t trace;	     /* which of those that are put together */
	uint16_t bits;	     /* 1 << need.bit */
};

/* Of a trace. */
struct stitch_part {
	uint64_t hash;	       /* of its id; 0: there was no row */
	uint32_t rows;	       /* that are kept */
	uint32_t place : 23;   /* among those that are judged, + 1 */
	uint32_t given_up : 1; /* it passes, as when there is no room; or it was judged */
	uint32_t parts : 8;    /* blocks that were there */
};

struct stitch {
	const struct need *need;
	const struct apart *of;
	bool *passes;
	struct stitch_part *part; /* by trace */
	struct stitch_row *row;
	uint32_t rows, size, rows_max;
	uint32_t complete; /* of the rows */
};

struct stitch *stitch_new(const struct need *need, const struct apart *of, bool *passes,
			  uint32_t rows_max)
{
	struct stitch *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct stitch){ .need = need, .of = of, .passes = passes, .rows_max = rows_max };
	s->part = calloc((size_t)of->cnt + 1, sizeof(*s->part));
	if (s->part)
		return s;
	free(s);
	return NULL;
}

void stitch_free(struct stitch *s)
{
	if (!s)
		return;
	free(s->row);
	free(s->part);
	free(s);
}

/* ---- a block's rows ------------------------------------------------------------------------- */

/* Room for so many more; what is there passes if there is none. */
static int reserve(struct stitch *s, uint32_t cnt)
{
	uint32_t size = MAX(2 * s->size, ROWS_STEP);
	struct stitch_row *more;

	if (s->rows + cnt > s->rows_max) {
		for (uint32_t i = 0; i < s->rows; i++)
			s->part[s->row[i].trace].given_up = true;
		s->rows = s->complete = 0;
	}
	if (s->size - s->rows >= cnt)
		return 0;
	size = MIN(MAX(size, s->rows + cnt), MAX(s->rows_max, cnt));
	more = realloc(s->row, size * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->row = more;
	s->size = size;
	return 0;
}

static bool is_awaited(const struct stitch *s, uint32_t trace)
{
	return !s->part[trace].given_up && s->part[trace].parts < s->of->parts[trace] &&
	       s->of->parts[trace] < UINT8_MAX;
}

static bool is_complete(const struct stitch *s, uint32_t trace)
{
	return !s->part[trace].given_up && s->part[trace].parts == s->of->parts[trace];
}

static uint64_t number_of(const struct span_id *id)
{
	return load_u64(id->b);
}

/* Of trace t of the block, which is the stitch's 'trace'; their bits follow. */
static int add_trace(struct block *b, uint32_t t, uint32_t trace, struct stitch *s)
{
	int err = 0;

	for (uint32_t i = b->trace_first[t]; i < b->trace_first[t + 1] && !err; i++) {
		struct span ids = { 0 };

		err = read_ids(b, i, &ids);
		s->row[s->rows] = (struct stitch_row){
			.start_ns = b->start[i],
			.lasts_ns = ints_at(&b->ints[INTS_DURATION], i),
			.id = number_of(&ids.span_id),
			.parent = number_of(&ids.parent_id),
			.trace = trace,
			.bits = 1u << NEED_BIT_OF_ALL,
		};
		s->rows += !err;
	}
	return err;
}

/* Marks the block's rows in 'in', in whose order they are added. */
static int add_traces(struct block *b, const uint8_t *ids, struct stitch *s, uint8_t *in)
{
	int err = 0;

	for (uint32_t t = 0; t < b->traces && !err; t++) {
		uint64_t hash = trace_hash(ids, t);
		uint32_t at = apart_find(s->of, trace_long_mark(hash));

		if (at == APART_NOT || !s->passes[at] || !is_awaited(s, at))
			continue;
		if (s->part[at].hash && s->part[at].hash != hash)
			s->part[at].given_up = true;
		s->part[at].hash = hash;
		memset(in + b->trace_first[t], 1, trace_rows(b, t));
		err = add_trace(b, t, at, s);
	}
	return err;
}

/* The rows from 'first' on are there with all that is asked for. */
static void count_part(struct stitch *s, uint32_t first)
{
	uint32_t begin = first;

	for (uint32_t i = first; i < s->rows; i++) {
		struct stitch_part *part = &s->part[s->row[i].trace];

		if (i + 1 < s->rows && s->row[i + 1].trace == s->row[i].trace)
			continue;
		part->rows += i + 1 - begin;
		part->parts += part->parts < UINT8_MAX;
		if (is_complete(s, s->row[i].trace))
			s->complete += part->rows;
		begin = i + 1;
	}
}

/* Which of the rows from 'first' on, those in 'in', satisfy each condition of the need. */
static int add_bits(struct block *b, const struct need *n, struct stitch *s, uint32_t first,
		    uint64_t deadline_ns, const uint8_t *in, uint8_t *mask)
{
	uint32_t at = first;
	int err = 0;

	if (n->op == NEED_SPANS || n->op == NEED_ROOT) {
		err = n->where ? match_among(b, n->where, deadline_ns, in, mask) : 0;
		for (uint32_t i = 0; i < b->rows && !err && n->where; i++)
			if (in[i])
				s->row[at++].bits |= (uint16_t)(mask[i] << n->bit);
		return err;
	}
	if (n->left)
		err = add_bits(b, n->left, s, first, deadline_ns, in, mask);
	if (!err && n->right)
		err = add_bits(b, n->right, s, first, deadline_ns, in, mask);
	return err;
}

int block_stitch(struct block *b, struct stitch *s, uint64_t deadline_ns)
{
	uint8_t *in = calloc((size_t)b->rows + 1, 1), *mask = malloc((size_t)b->rows + 1);
	const uint8_t *ids;
	int err = in && mask ? reserve(s, b->rows) : -ENOMEM;
	uint32_t first = s->rows;

	if (!err)
		err = load_starts(b);
	if (!err)
		err = load_ints(b, &b->ints[INTS_DURATION]);
	if (!err)
		err = load_ids(b);
	if (!err)
		err = load_section(b, b->bytes[BYTES_TRACE_IDS], &ids);
	if (!err)
		err = add_traces(b, ids, s, in);
	if (!err && s->rows > first)
		err = add_bits(b, s->need, s, first, deadline_ns, in, mask);
	if (err)
		s->rows = first;
	else
		count_part(s, first);
	free(in);
	free(mask);
	return err;
}

/* ---- all together --------------------------------------------------------------------------- */

/* A block of nothing but what the need is asked of. */
struct together {
	struct block b;
	uint32_t *trace; /* by its place */
	uint32_t *first; /* by its place; one more */
	uint64_t *start, *lasts, *parent;
	uint16_t *bits;
	struct stitch_row *row; /* in the order of their traces */
	uint8_t *in, *out;
};

static void together_fini(struct together *t)
{
	free(t->trace);
	free(t->first);
	free(t->start);
	free(t->lasts);
	free(t->parent);
	free(t->bits);
	free(t->row);
	free(t->in);
	free(t->out);
}

static struct ints plain_ints(const uint64_t *v)
{
	return (struct ints){ .p = (const uint8_t *)v, .mask = UINT64_MAX, .width = 64 };
}

static int together_init(struct together *t, const struct stitch *s)
{
	size_t rows = (size_t)s->complete + 1;

	*t = (struct together){
		.trace = malloc(rows * sizeof(*t->trace)),
		.first = calloc(rows + 1, sizeof(*t->first)),
		.start = malloc(rows * sizeof(*t->start)),
		.lasts = malloc(rows * sizeof(*t->lasts)),
		.parent = malloc(rows * sizeof(*t->parent)),
		.bits = malloc(rows * sizeof(*t->bits)),
		.row = malloc(rows * sizeof(*t->row)),
		.in = malloc(rows),
		.out = malloc(rows),
		.b = { .rows = s->complete },
	};
	if (!t->trace || !t->first || !t->start || !t->lasts || !t->parent || !t->bits || !t->row ||
	    !t->in || !t->out)
		return -ENOMEM;
	t->b.trace_first = t->first;
	t->b.ints[INTS_START] = plain_ints(t->start);
	t->b.ints[INTS_DURATION] = plain_ints(t->lasts);
	t->b.ints[INTS_PARENT] = plain_ints(t->parent);
	memset(t->in, 1, rows);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct stitch_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Most traces are so small that sorting them does not pay. */
#define SMALL 24u

/* The place of a span of the trace; cnt: it is not there. Larger ones stand by their ids. */
static uint32_t find_id(const struct stitch_row *row, uint32_t cnt, uint64_t id)
{
	uint32_t low = 0, high = cnt;

	if (cnt <= SMALL) {
		while (low < cnt && row[low].id != id)
			low++;
		return low;
	}
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (row[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low < cnt && row[low].id == id ? low : cnt;
}

/* Have two spans of it one id? */
static bool order_ids(struct stitch_row *row, uint32_t cnt)
{
	if (cnt <= SMALL) {
		for (uint32_t i = 1; i < cnt; i++)
			if (find_id(row, i, row[i].id) < i)
				return true;
		return false;
	}
	qsort(row, cnt, sizeof(*row), by_id);
	for (uint32_t i = 1; i < cnt; i++)
		if (row[i].id == row[i - 1].id)
			return true;
	return false;
}

/* As in a block: 0 has no parent, 1 has one elsewhere, else its place in the trace + 2. */
static void fill_trace(struct together *t, struct stitch *s, uint32_t place)
{
	uint32_t first = t->first[place], cnt = t->first[place + 1] - first;
	struct stitch_row *row = t->row + first;
	uint64_t begin = UINT64_MAX;

	if (order_ids(row, cnt))
		s->part[t->trace[place]].given_up = true;
	for (uint32_t i = 0; i < cnt; i++)
		begin = MIN(begin, row[i].start_ns);
	for (uint32_t i = 0; i < cnt; i++) {
		uint32_t up = row[i].parent ? find_id(row, cnt, row[i].parent) : cnt;

		t->start[first + i] = row[i].start_ns - begin;
		t->lasts[first + i] = row[i].lasts_ns;
		t->bits[first + i] = row[i].bits;
		t->parent[first + i] = up < cnt ? up + 2 : row[i].parent != 0;
	}
}

/* Takes the rows of complete traces, in their order; the others stay. */
static void take_complete(struct together *t, struct stitch *s)
{
	uint32_t traces = 0, kept = 0;

	for (uint32_t i = 0; i < s->rows; i++) {
		struct stitch_part *part = &s->part[s->row[i].trace];

		if (part->place || !is_complete(s, s->row[i].trace))
			continue;
		t->trace[traces++] = s->row[i].trace;
		t->first[traces] = t->first[traces - 1] + part->rows;
		part->place = traces;
	}
	for (uint32_t i = 0; i < s->rows; i++) {
		struct stitch_part *part = &s->part[s->row[i].trace];

		if (part->place)
			t->row[t->first[part->place] - part->rows--] = s->row[i];
		else
			s->row[kept++] = s->row[i];
	}
	s->rows = kept;
	t->b.traces = traces;
	t->b.rows = t->first[traces]; /* fewer than counted where a bad body names a trace twice */
	for (uint32_t i = 0; i < traces; i++)
		fill_trace(t, s, i);
}

int stitch_judge(struct stitch *s, bool all)
{
	struct together t;
	struct needing x = { .b = &t.b };
	int err;

	if (!s->complete || (!all && s->complete < JUDGE_ROWS))
		return 0;
	err = together_init(&t, s);
	if (!err) {
		take_complete(&t, s);
		s->complete = 0;
		x.bits = t.bits;
		err = rows_of(&x, s->need, t.in, t.out);
	}
	for (uint32_t i = 0; i < t.b.traces && !err; i++) {
		struct stitch_part *part = &s->part[t.trace[i]];

		if (!part->given_up)
			s->passes[t.trace[i]] =
				memchr(t.out + t.first[i], 1, t.first[i + 1] - t.first[i]) != NULL;
		part->given_up = true;
	}
	together_fini(&t);
	return err;
}
