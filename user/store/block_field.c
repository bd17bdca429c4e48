/* SPDX-License-Identifier: Apache-2.0 */
/* Where the values of an attribute are: a key may have a column for each type. */
#include "store/block_read.h"

#include <errno.h>
#include <stdlib.h>

void field_columns(struct block *b, struct str key, struct attr_field *ret)
{
	*ret = (struct attr_field){ 0 };
	for (uint32_t i = 0; i < b->column_cnt && ret->cnt < FIELD_TYPES_MAX; i++)
		if (str_eq(b->column[i].key, key))
			ret->column[ret->cnt++] = &b->column[i];
}

/* How a shape uses the field's columns. */
struct shape_use {
	uint32_t cnt[FIELD_TYPES_MAX]; /* times each */
	uint8_t first;		       /* the one that counts; FIELD_TYPES_MAX: none */
};

static void find_use(const struct block *b, const struct attr_field *f,
		     const struct read_shape *shape, struct shape_use *ret)
{
	bool found = false;

	*ret = (struct shape_use){ .first = FIELD_TYPES_MAX };
	for (uint32_t k = 0; k < shape->cnt; k++) {
		const struct read_column *c = &b->column[b->shape_column[shape->first + k]];

		for (uint8_t i = 0; i < f->cnt; i++) {
			if (f->column[i] != c)
				continue;
			ret->cnt[i]++;
			if (!found && c->type != VALUE_EMPTY)
				ret->first = i;
			found = true;
		}
	}
}

int field_locate(struct block *b, struct str key, struct attr_field *f)
{
	uint32_t passed[FIELD_TYPES_MAX] = { 0 };
	struct shape_use *use;
	int err;

	field_columns(b, key, f);
	err = load_shapes(b);
	if (err)
		return err;
	f->at = malloc(((size_t)b->rows + 1) * sizeof(*f->at));
	f->which = malloc((size_t)b->rows + 1);
	use = calloc((size_t)b->shape_cnt + 1, sizeof(*use));
	if (!f->at || !f->which || !use) {
		free(use);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < b->shape_cnt; i++)
		find_use(b, f, &b->shape[i], &use[i]);
	for (uint32_t row = 0; row < b->rows; row++) {
		const struct shape_use *u = &use[ints_at(&b->ints[INTS_SHAPE], row)];

		f->which[row] = u->first;
		f->at[row] = u->first < FIELD_TYPES_MAX ? passed[u->first] : ROW_NONE;
		for (uint32_t i = 0; i < f->cnt; i++)
			passed[i] += u->cnt[i];
	}
	free(use);
	return 0;
}

void field_fini(struct attr_field *f)
{
	free(f->at);
	free(f->which);
	f->at = NULL;
	f->which = NULL;
}
