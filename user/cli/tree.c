/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trace as text, one line per span:
 *
 *     time     self     %  where in the trace   kind    * service  name  status  notes
 *
 * The star (or dot) marks the critical path. Columns come first so that they align; the part of
 * unknown length comes last and is cut at the terminal's edge.
 */
#include "cli/cli.h"
#include "cli/tree.h"
#include "core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BAR_CELLS    12
#define DEPTH_SHOWN  48 /* deeper spans are drawn at this depth */
#define COLUMNS_LEFT 49 /* of everything before the service's tree */

enum style { STYLE_PLAIN, STYLE_DIM, STYLE_BOLD, STYLE_ERROR, STYLE_SERVICE };

static const char *const style_on[] = { "", "\033[2m", "\033[1m", "\033[31m", "\033[36m" };

/* The line being written. */
struct line {
	struct buf *out;
	const struct term *term;
	unsigned int cols;
	bool full; /* the edge was reached: the rest is left out */
};

struct frame {
	uint32_t node; /* next to show at this depth; NODE_NONE: none */
};

struct printer {
	const struct trace *trace;
	const struct tree_opts *opts;
	struct tree tree;
	struct line line;
	struct frame *frames;
	uint32_t depth;
};

/* ---- text with a width ---- */

/* Length of the well-formed UTF-8 sequence at the head of s (RFC 3629), 0: there is none. */
static size_t utf8_len(struct str s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char head = (unsigned char)s.p[0];
	size_t len = head < 0x80 ? 1 : head < 0xc2 ? 0 : head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
	uint32_t code = head & (0xff >> (len + 1));

	if (head > 0xf4 || len == 0 || len > s.len)
		return 0;
	if (len == 1)
		return 1;
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | ((unsigned char)s.p[i] & 0x3f);
	}
	if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	/* C1 controls and the marks that change the direction of text would upset a terminal */
	if (code < 0xa0 || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return len;
}

static void line_char(struct line *l, struct str one)
{
	if (l->full)
		return;
	if (l->term->width && l->cols + 1 >= l->term->width) {
		buf_add_str(l->out, l->term->utf8 ? STR("…") : STR(">"));
		l->full = true;
		return;
	}
	buf_add_str(l->out, one);
	l->cols++;
}

/* Adds text that may be anything; what a terminal would act upon becomes a question mark. */
static void line_str(struct line *l, enum style style, struct str s)
{
	bool colored = l->term->color && style != STYLE_PLAIN && s.len && !l->full;

	if (colored)
		buf_add_str(l->out, str_of(style_on[style]));
	while (s.len) {
		size_t len = utf8_len(s);
		bool shown = len > 1 ? l->term->utf8 : len == 1 && s.p[0] >= 0x20 && s.p[0] != 0x7f;

		line_char(l, shown ? (struct str){ s.p, len } : STR("?"));
		s = str_from(s, len ? len : 1);
	}
	if (colored)
		buf_add_str(l->out, STR("\033[0m"));
}

static void line_text(struct line *l, enum style style, const char *text)
{
	line_str(l, style, str_of(text));
}

static void line_end(struct line *l)
{
	while (l->out->len && l->out->p[l->out->len - 1] == ' ')
		l->out->len--;
	buf_add_char(l->out, '\n');
	l->cols = 0;
	l->full = false;
}

static const char *art(const struct line *l, const char *utf8, const char *ascii)
{
	return l->term->utf8 ? utf8 : ascii;
}

void duration_text(uint64_t ns, bool utf8, char out[16])
{
	static const struct {
		uint64_t below, unit;
		const char *name;
	} units[] = {
		{ NS_PER_US, 1, "ns" },
		{ 999500, NS_PER_US, "us" },
		{ 999500000, NS_PER_MS, "ms" },
		{ UINT64_MAX, NS_PER_S, "s" },
	};
	size_t i = 0;
	double v;
	const char *name;

	while (ns >= units[i].below && i + 1 < ARRAY_LEN(units))
		i++;
	v = (double)ns / (double)units[i].unit;
	name = utf8 && i == 1 ? "µs" : units[i].name;
	if (i == 0)
		snprintf(out, 16, "%u ns", (unsigned int)ns);
	else if (v >= 1e6)
		snprintf(out, 16, "%.3g %s", v, name);
	else
		snprintf(out, 16, "%.*f %s", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, name);
}

static void column_duration(struct line *l, uint64_t ns)
{
	char text[16], padded[24];
	int micro;

	duration_text(ns, l->term->utf8, text);
	micro = strstr(text, "µ") ? 1 : 0; /* two bytes, one column */
	snprintf(padded, sizeof(padded), "%*s ", 8 + micro, text);
	line_text(l, STYLE_PLAIN, padded);
}

static void column_percent(struct line *l, uint64_t part, uint64_t total)
{
	char text[16];

	snprintf(text, sizeof(text), "%3u%% ",
		 total ? (unsigned int)((double)part * 100 / (double)total + 0.5) : 100);
	line_text(l, STYLE_PLAIN, text);
}

/* ---- the bar ---- */

static void bar_cover(const struct tree *tree, uint32_t node, bool cell[BAR_CELLS])
{
	const struct node *all = &tree->node[tree->cnt], *n = &tree->node[node];
	double total = (double)(all->end_ns - all->start_ns);
	int from = 0, to = BAR_CELLS;

	if (total > 0) {
		from = (int)((double)(n->start_ns - all->start_ns) * BAR_CELLS / total);
		to = (int)((double)(n->end_ns - all->start_ns) * BAR_CELLS / total + 0.999);
	}
	from = MIN(from, BAR_CELLS - 1);
	to = MAX(MIN(to, BAR_CELLS), from + 1);
	for (int i = from; i < to; i++)
		cell[i] = true;
}

static void column_bar(struct printer *p, uint32_t node, const struct fold *f)
{
	bool cell[BAR_CELLS] = { false };

	if (f) {
		uint32_t id = p->tree.node[f->first].fold;

		for (uint32_t n = f->first; n != NODE_NONE; n = p->tree.node[n].next)
			if (p->tree.node[n].fold == id)
				bar_cover(&p->tree, n, cell);
	} else {
		bar_cover(&p->tree, node, cell);
	}
	line_text(&p->line, STYLE_DIM, art(&p->line, "▕", "|"));
	for (int i = 0; i < BAR_CELLS; i++)
		line_text(&p->line, STYLE_PLAIN, cell[i] ? art(&p->line, "█", "=") : " ");
	line_text(&p->line, STYLE_DIM, art(&p->line, "▏", "|"));
	line_text(&p->line, STYLE_PLAIN, " ");
}

/* ---- one span ---- */

static uint32_t next_shown(const struct tree *tree, uint32_t node)
{
	while (node != NODE_NONE && tree->node[node].fold != NODE_NONE &&
	       tree->folds[tree->node[node].fold].first != node)
		node = tree->node[node].next;
	return node;
}

/* The branches in front of a line; 'below' draws those of a note under the span. */
static void line_branches(struct printer *p, bool below)
{
	struct line *l = &p->line;
	uint32_t depth = MIN(p->depth, DEPTH_SHOWN);

	for (uint32_t d = 1; d <= depth; d++) {
		bool more = p->frames[d].node != NODE_NONE;

		if (d == depth && !below)
			line_text(l, STYLE_DIM, more ? art(l, "├─ ", "|- ") : art(l, "└─ ", "`- "));
		else
			line_text(l, STYLE_DIM, more ? art(l, "│  ", "|  ") : "   ");
	}
}

static void put_status(struct line *l, const struct span *s)
{
	char code_buf[24];
	struct str code = span_code(s, code_buf), type = attrs_str(&s->attrs, "error.type");
	enum style style = s->status == STATUS_ERROR ? STYLE_ERROR : STYLE_PLAIN;

	if (s->status == STATUS_ERROR)
		line_text(l, style, art(l, "  ✗", "  ERROR"));
	if (code.len) {
		line_text(l, style, s->status == STATUS_ERROR ? " " : "  ");
		line_str(l, style, code);
	}
	if (s->status != STATUS_ERROR)
		return;
	if (type.len && !str_eq(type, code)) {
		line_text(l, style, " ");
		line_str(l, style, type);
	}
	if (s->status_message.len && !str_eq(s->status_message, type)) {
		line_text(l, style, ": ");
		line_str(l, style, s->status_message);
	}
}

/* "~0.95 thread-turn": how sure the tracer is of it, and the method that said so. */
static bool put_confidence(struct line *l, const struct attrs *a, bool certain_too)
{
	struct str method = attrs_str(a, "telltale.parent.method");
	const struct attr *confidence = attrs_find(a, STR("telltale.parent.confidence"));
	char text[24];

	if (!method.len || !confidence || confidence->value.type != VALUE_DOUBLE)
		return false;
	if (confidence->value.d >= 1 && !certain_too)
		return false;
	snprintf(text, sizeof(text), "  ~%.2f ", confidence->value.d);
	line_text(l, STYLE_DIM, text);
	line_str(l, STYLE_DIM, method);
	return true;
}

static void put_fold(struct line *l, const struct fold *f)
{
	char p50[16], max[16], text[80];

	duration_text(f->p50_ns, l->term->utf8, p50);
	duration_text(f->max_ns, l->term->utf8, max);
	snprintf(text, sizeof(text), "  %s%u p50 %s, max %s", art(l, "×", "x"), f->cnt, p50, max);
	line_text(l, STYLE_BOLD, text);
}

static void put_link(struct printer *p, const struct span_link *link)
{
	struct line *l = &p->line;
	const struct span *to = p->tree.node[tree_find(&p->tree, &link->span_id)].span;
	char trace[33], span[17], blank[COLUMNS_LEFT + 1];

	memset(blank, ' ', COLUMNS_LEFT);
	blank[COLUMNS_LEFT] = '\0';
	line_text(l, STYLE_PLAIN, blank);
	line_branches(p, true);
	line_text(l, STYLE_DIM, art(l, "   ↪ link ", "   > link "));
	if (memcmp(&link->trace_id, &p->trace->id, sizeof(link->trace_id)) != 0) {
		trace_id_hex(&link->trace_id, trace);
		line_text(l, STYLE_DIM, "trace ");
		line_text(l, STYLE_DIM, trace);
		line_text(l, STYLE_DIM, " ");
	}
	span_id_hex(&link->span_id, span);
	line_text(l, STYLE_DIM, "span ");
	line_text(l, STYLE_DIM, span);
	if (to) {
		line_text(l, STYLE_DIM, " ");
		line_str(l, STYLE_DIM, to->resource->service);
		line_text(l, STYLE_DIM, " ");
		line_str(l, STYLE_DIM, to->name);
	}
	put_confidence(l, &link->attrs, true);
	line_end(l);
}

static void put_span(struct printer *p, uint32_t node, const struct fold *f)
{
	const struct node *n = &p->tree.node[node], *all = &p->tree.node[p->tree.cnt];
	const struct span *s = n->span;
	struct line *l = &p->line;
	uint64_t wall = f ? f->wall_ns : n->end_ns - n->start_ns;
	bool critical = f ? f->critical : n->critical;
	char kind[16];

	column_duration(l, wall);
	column_duration(l, f ? f->self_ns : n->self_ns);
	column_percent(l, wall, all->end_ns - all->start_ns);
	column_bar(p, node, f);
	snprintf(kind, sizeof(kind), "%-9s", s->kind ? span_kind_name(s->kind) : "-");
	line_text(l, STYLE_DIM, kind);
	line_text(l, STYLE_BOLD, critical ? art(l, "● ", "* ") : "  ");
	line_branches(p, false);
	line_str(l, STYLE_SERVICE, s->resource->service);
	line_text(l, STYLE_PLAIN, "  ");
	line_str(l, critical ? STYLE_BOLD : STYLE_PLAIN, s->name);
	put_status(l, s);
	if (f)
		put_fold(l, f);
	put_confidence(l, &s->attrs, false);
	line_end(l);
	for (uint32_t i = 0; i < s->link_cnt; i++)
		put_link(p, &s->links[i]);
}

/* ---- the whole ---- */

/* Goes down and along without recursion: frames[d].node is the next to show at depth d. */
static void put_spans(struct printer *p)
{
	struct tree *tree = &p->tree;

	p->depth = 0;
	p->frames[0].node = next_shown(tree, tree->node[tree->cnt].first);
	for (;;) {
		uint32_t at = p->frames[p->depth].node;
		const struct fold *f;

		if (at == NODE_NONE) {
			if (p->depth == 0)
				return;
			p->depth--;
			continue;
		}
		p->frames[p->depth].node = next_shown(tree, tree->node[at].next);
		f = tree->node[at].fold == NODE_NONE ? NULL : &tree->folds[tree->node[at].fold];
		if (f)
			at = f->slowest;
		put_span(p, at, f);
		p->depth++;
		p->frames[p->depth].node = next_shown(tree, tree->node[at].first);
	}
}

static void put_head(struct printer *p)
{
	const struct node *all = &p->tree.node[p->tree.cnt];
	struct line *l = &p->line;
	char id[33], text[96], total[16];
	time_t seconds = (time_t)(all->start_ns / NS_PER_S);
	struct tm tm;
	uint32_t errors = 0;

	for (uint32_t i = 0; i < p->trace->span_cnt; i++)
		errors += p->trace->spans[i]->status == STATUS_ERROR;
	trace_id_hex(&p->trace->id, id);
	gmtime_r(&seconds, &tm);
	duration_text(all->end_ns - all->start_ns, l->term->utf8, total);
	line_text(l, STYLE_BOLD, "trace ");
	line_text(l, STYLE_BOLD, id);
	strftime(text, sizeof(text), "  %Y-%m-%d %H:%M:%S", &tm);
	line_text(l, STYLE_PLAIN, text);
	snprintf(text, sizeof(text), ".%06uZ  %s  %u span%s",
		 (unsigned int)(all->start_ns % NS_PER_S / NS_PER_US), total, p->trace->span_cnt,
		 p->trace->span_cnt == 1 ? "" : "s");
	line_text(l, STYLE_PLAIN, text);
	if (errors) {
		snprintf(text, sizeof(text), ", %u error%s", errors, errors == 1 ? "" : "s");
		line_text(l, STYLE_ERROR, text);
	}
	if (p->trace->late)
		line_text(l, STYLE_DIM, "  (late)");
	else if (!p->trace->complete)
		line_text(l, STYLE_DIM, "  (incomplete)");
	line_end(l);
}

int tree_print(const struct trace *t, const struct tree_opts *opts, struct buf *out)
{
	struct printer p = { .trace = t, .opts = opts, .line = { out, &opts->term, 0, false } };
	int err = tree_build(t, &p.tree);

	if (err)
		return err;
	p.frames = calloc(p.tree.cnt + 2u, sizeof(*p.frames));
	if (!p.frames) {
		tree_fini(&p.tree);
		return -ENOMEM;
	}
	if (opts->labels) {
		char labels[96];

		snprintf(labels, sizeof(labels), "%8s %8s %4s %-14s %-9s  service  name  status",
			 "time", "self", "%", "where", "kind");
		line_text(&p.line, STYLE_DIM, labels);
		line_end(&p.line);
	}
	put_head(&p);
	put_spans(&p);
	free(p.frames);
	tree_fini(&p.tree);
	return out->failed ? -ENOMEM : 0;
}
