/* SPDX-License-Identifier: Apache-2.0 */
/* A trace as a tree with what its lines need; private to the cli room. */
#ifndef CLI_TREE_H
#define CLI_TREE_H

#include "trace/trace.h"

#define NODE_NONE UINT32_MAX

/* Siblings that look alike are shown as one line from this many on. */
#define FOLD_MIN 4

struct node {
	const struct span *span; /* NULL: the one above all others */
	uint32_t parent;	 /* index; NODE_NONE above all others */
	uint32_t first, last;	 /* children, by start time */
	uint32_t next;		 /* sibling */
	uint32_t fold;		 /* index into tree.folds; NODE_NONE: stands alone */
	uint32_t mark;		 /* scratch */
	uint64_t start_ns, end_ns;
	uint64_t self_ns; /* duration less the union of the children's */
	uint64_t shape;	  /* equal for subtrees that look alike */
	bool critical;
};

/* Siblings shown as one line, at the place of the first. */
struct fold {
	uint32_t first;	  /* its node */
	uint32_t slowest; /* the one whose children are shown */
	uint32_t cnt;
	uint64_t wall_ns; /* union of their durations */
	uint64_t self_ns; /* sum */
	uint64_t p50_ns, max_ns;
	bool critical; /* one of them is */
};

struct id_index {
	struct span_id id;
	uint32_t node;
};

struct tree {
	struct node *node; /* cnt + 1: the last is above all others */
	uint32_t cnt;
	struct fold *folds;
	uint32_t fold_cnt;
	struct id_index *ids; /* cnt, sorted */
	uint32_t *order;      /* node indices, parents before children */
	uint32_t *scratch;    /* cnt + 1 */
};

/* 0 or -ENOMEM. Cycles and parents that are missing make a span a top one. */
int tree_build(const struct trace *t, struct tree *tree);
void tree_fini(struct tree *tree);

/* The node of that span, or tree->cnt. */
uint32_t tree_find(const struct tree *tree, const struct span_id *id);

/* The http or database status code as text, empty: none. buf holds it where needed. */
struct str span_code(const struct span *s, char buf[24]);

#endif
