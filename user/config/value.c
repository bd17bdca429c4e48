/* SPDX-License-Identifier: Apache-2.0 */
/* Text to typed values and back. */
#include "config/internal.h"
#include "core/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOWN_MAX   64 /* bytes of a refused value that are repeated in the message */
#define NUMBER_MAX  20 /* digits */
#define EXPECTS_MAX 200
#define VALUE_MAX   65536 /* bytes of one value */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 },
	{ "K", 1ull << 10 },
	{ "M", 1ull << 20 },
	{ "G", 1ull << 30 },
	{ "KiB", 1ull << 10 },
	{ "MiB", 1ull << 20 },
	{ "GiB", 1ull << 30 },
	{ "k", 1ull << 10 },
};

static const struct unit time_units[] = {
	{ "d", 86400 * NS_PER_S },
	{ "h", 3600 * NS_PER_S },
	{ "m", 60 * NS_PER_S },
	{ "s", NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
};

struct str choice_next(struct str *choices)
{
	ptrdiff_t bar = str_find(*choices, '|');
	struct str one = bar < 0 ? *choices : (struct str){ choices->p, (size_t)bar };

	*choices = bar < 0 ? str_from(*choices, choices->len) : str_from(*choices, (size_t)bar + 1);
	return one;
}

static int choice_index(const char *choices, struct str text)
{
	struct str left = str_of(choices);

	for (int i = 0; left.len; i++) {
		if (str_eq(choice_next(&left), text))
			return i;
	}
	return -1;
}

bool check_ring_size(struct str s);

static const struct unit *unit_find(const struct unit *units, size_t cnt, struct str name)
{
	for (size_t i = 0; i < cnt; i++) {
		if (str_eq(str_of(units[i].name), name))
			return &units[i];
	}
	return NULL;
}

static bool parse_scaled(struct str text, const struct unit *units, size_t cnt, uint64_t *ret)
{
	const struct unit *unit;
	size_t digits = 0;
	uint64_t n;

	while (digits < text.len && isdigit((unsigned char)text.p[digits]))
		digits++;
	unit = unit_find(units, cnt, str_from(text, digits));
	if (digits > NUMBER_MAX || !str_to_u64((struct str){ text.p, digits }, &n))
		return false;
	if (n == 0 && digits == text.len) {
		*ret = 0;
		return true;
	}
	if (!unit || n > UINT64_MAX / unit->factor)
		return false;
	*ret = n * unit->factor;
	return true;
}

static bool parse_size(struct str text, uint64_t *ret)
{
	return parse_scaled(text, size_units, ARRAY_LEN(size_units), ret);
}

static bool parse_duration(struct str text, uint64_t *ret)
{
	return parse_scaled(text, time_units, ARRAY_LEN(time_units), ret);
}

bool check_ring_size(struct str s)
{
	uint64_t size;

	return parse_size(s, &size) && size && !(size & (size - 1)) &&
	       size >= (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The largest unit that says it without a rest. */
static void format_scaled(char *out, size_t size, uint64_t v, const struct unit *units, size_t cnt)
{
	const struct unit *best = NULL;

	for (size_t i = 0; i < cnt; i++) {
		if (v && v % units[i].factor == 0 && (!best || units[i].factor > best->factor))
			best = &units[i];
	}
	snprintf(out, size, "%llu%s", (unsigned long long)(best ? v / best->factor : v),
		 best ? best->name : "");
}

static void expects_choices(char *out, size_t size, const struct option *o)
{
	struct str left = str_of(o->choices);
	size_t len = (size_t)snprintf(out, size, "%s",
				      o->type == OPT_WORDS && o->max > 1 ? "some of" : "one of");

	for (const char *sep = " "; left.len && len < size; sep = ", ") {
		struct str one = choice_next(&left);
		len += (size_t)snprintf(out + len, size - len, "%s" STR_FMT, sep, STR_ARG(one));
	}
}

static void expects_text(char *out, size_t size, const struct option *o)
{
	char min[32], max[32];

	if (o->expects) {
		snprintf(out, size, "%s", o->expects);
	} else if (o->choices) {
		expects_choices(out, size, o);
	} else if (o->type == OPT_BOOL) {
		snprintf(out, size, "true or false");
	} else if (o->type == OPT_SIZE) {
		format_scaled(min, sizeof(min), o->min, size_units, 4);
		format_scaled(max, sizeof(max), o->max, size_units, 4);
		snprintf(out, size, "a number from %s to %s, such as %s", min, max, o->fallback);
	} else if (o->type == OPT_DURATION) {
		format_scaled(min, sizeof(min), o->min, time_units, ARRAY_LEN(time_units));
		format_scaled(max, sizeof(max), o->max, time_units, ARRAY_LEN(time_units));
		snprintf(out, size, "a time from %s to %s, such as 100ms, 5s or 2m", min, max);
	} else if (o->type == OPT_RATIO) {
		snprintf(out, size, "a ratio from 0 to 1, such as 0.1");
	} else if (o->type == OPT_PIDS) {
		snprintf(out, size, "process ids, such as 12 or 12,34");
	} else if (o->type == OPT_PORTS) {
		snprintf(out, size, "ports from 1 to 65535, such as 80 or 80,8080");
	} else {
		snprintf(out, size, "%s", o->arg ? o->arg : "text");
	}
}

static int refuse(const struct option *o, const struct source *src, struct str text,
		  char why[CONFIG_WHY_MAX])
{
	struct suggest s = suggest_for(text);
	char expects[EXPECTS_MAX], hint[NAME_MAX_LEN + 32], shown[SHOWN_MAX + 4];
	char url[SHOWN_MAX * 2];
	struct str left = str_of(o->choices);
	size_t len;

	if (o->flags & OPTION_URLS) {
		config_show_urls(text, url, sizeof(url));
		text = str_of(url);
	}
	len = MIN(text.len, (size_t)SHOWN_MAX);
	while (left.len)
		suggest_offer(&s, choice_next(&left));
	for (size_t i = 0; i < len; i++)
		shown[i] = (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : text.p[i];
	snprintf(shown + len, sizeof(shown) - len, "%s", text.len > len ? "..." : "");
	expects_text(expects, sizeof(expects), o);
	snprintf(why, CONFIG_WHY_MAX, "%s: %s%sexpected %s%s%s%s%s", src->where,
		 src->rank == RANK_FILE ? o->name : "", src->rank == RANK_FILE ? ": " : "", expects,
		 o->flags & OPTION_SECRET ? "" : ", found \"",
		 o->flags & OPTION_SECRET ? "" : shown, o->flags & OPTION_SECRET ? "" : "\"",
		 suggest_text(&s, "", hint));
	return -EINVAL;
}

static int refuse_more(const struct option *o, const struct source *src, char why[CONFIG_WHY_MAX])
{
	snprintf(why, CONFIG_WHY_MAX, "%s: %s: at most %llu are possible", src->where, o->name,
		 (unsigned long long)o->max);
	return -EINVAL;
}

/* What separates a list's items: commas, for numbers spaces too ("$(pidof x)"). */
static bool separates(const struct option *o, char c)
{
	return !(o->flags & OPTION_WHOLE) &&
	       (c == ',' ||
		((o->type == OPT_PIDS || o->type == OPT_PORTS) && isspace((unsigned char)c)));
}

static bool item_next(const struct option *o, struct str *text, struct str *ret_item)
{
	while (text->len) {
		size_t end = 0;

		while (end < text->len && !separates(o, text->p[end]))
			end++;
		*ret_item = str_trim((struct str){ text->p, end });
		*text = str_from(*text, end + 1);
		if (ret_item->len)
			return true;
	}
	return false;
}

static bool item_valid(const struct option *o, struct str item)
{
	uint64_t n;

	if (o->type == OPT_PIDS || o->type == OPT_PORTS)
		return str_to_u64(item, &n) && n >= 1 &&
		       n <= (o->type == OPT_PIDS ? INT32_MAX : UINT16_MAX);
	if (o->type == OPT_WORDS)
		return choice_index(o->choices, item) >= 0;
	return !o->check || o->check(item);
}

/* Appends to a list of pointers, pids or ports, whose structs begin alike: array, then count. */
static int list_add(struct config *c, const struct option *o, void *field, struct str item)
{
	uint64_t n = 0;

	if (o->type == OPT_LIST) {
		struct config_list *l = field;
		if (!l->v)
			l->v = arena_alloc(c->private->mem, (o->max + 1) * sizeof(*l->v));
		struct str copy = arena_str(c->private->mem, item);
		if (!l->v || !copy.p)
			return -ENOMEM;
		l->v[l->cnt++] = copy.p;
		return 0;
	}
	str_to_u64(item, &n);
	if (o->type == OPT_PIDS) {
		struct config_pids *l = field;
		if (!l->v)
			l->v = arena_alloc(c->private->mem, o->max * sizeof(*l->v));
		if (!l->v)
			return -ENOMEM;
		l->v[l->cnt++] = (uint32_t)n;
	} else {
		struct config_ports *l = field;
		if (!l->v)
			l->v = arena_alloc(c->private->mem, o->max * sizeof(*l->v));
		if (!l->v)
			return -ENOMEM;
		l->v[l->cnt++] = (uint16_t)n;
	}
	return 0;
}

static uint32_t *list_cnt(const struct option *o, void *field)
{
	if (o->type == OPT_LIST)
		return &((struct config_list *)field)->cnt;
	if (o->type == OPT_PIDS)
		return &((struct config_pids *)field)->cnt;
	return &((struct config_ports *)field)->cnt;
}

static int set_list(struct config *c, const struct option *o, const struct source *src,
		    struct str text, char why[CONFIG_WHY_MAX])
{
	bool again = c->private->rank[o - config_table] == src->rank;
	void *field = (char *)c + o->offset;
	uint32_t *cnt = list_cnt(o, field), items = 0;
	struct str left = text, item;
	int err = 0;

	while (item_next(o, &left, &item)) {
		if (!item_valid(o, item))
			return refuse(o, src, item, why);
		items++;
	}
	if (!items)
		return refuse(o, src, text, why);
	if ((again ? *cnt : 0) + items > o->max)
		return refuse_more(o, src, why);
	if (!again)
		*cnt = 0;
	for (left = text; !err && item_next(o, &left, &item);)
		err = list_add(c, o, field, item);
	return err;
}

/* Several words become one text, comma-separated, each once. */
static int set_words(struct config *c, const struct option *o, const struct source *src,
		     struct str text, char why[CONFIG_WHY_MAX])
{
	const char **field = (const char **)((char *)c + o->offset);
	bool again = o->max > 1 && c->private->rank[o - config_table] == src->rank && *field;
	struct str sum = again ? str_of(*field) : (struct str){ NULL, 0 };
	struct str left = text, item;
	uint64_t items = 0;

	while (item_next(o, &left, &item)) {
		struct str seen = sum, one;
		bool twice = false;

		if (!item_valid(o, item) || (o->max == 1 && items))
			return refuse(o, src, item_valid(o, item) ? text : item, why);
		items++;
		while (item_next(o, &seen, &one))
			twice |= str_eq(one, item);
		if (!twice)
			sum = arena_printf(c->private->mem, STR_FMT "%s" STR_FMT, STR_ARG(sum),
					   sum.len ? "," : "", STR_ARG(item));
		if (!sum.p)
			return -ENOMEM;
	}
	if (!items)
		return refuse(o, src, text, why);
	*field = sum.p;
	return 0;
}

static int set_number(struct config *c, const struct option *o, const struct source *src,
		      struct str text, char why[CONFIG_WHY_MAX])
{
	void *field = (char *)c + o->offset;
	uint64_t v;
	bool ok = o->type == OPT_SIZE ? parse_size(text, &v) : parse_duration(text, &v);

	if (!ok || v < o->min || v > o->max || (o->check && !o->check(text)))
		return refuse(o, src, text, why);
	if (o->width == sizeof(uint32_t))
		*(uint32_t *)field = (uint32_t)v;
	else
		*(uint64_t *)field = v;
	return 0;
}

static int set_ratio(struct config *c, const struct option *o, const struct source *src,
		     struct str text, char why[CONFIG_WHY_MAX])
{
	char number[NUMBER_MAX + 1], *end;
	double v, *field;

	if (!text.len || text.len > NUMBER_MAX)
		return refuse(o, src, text, why);
	memcpy(number, text.p, text.len);
	number[text.len] = '\0';
	v = strtod(number, &end);
	if (*end || !(v >= 0 && v <= 1))
		return refuse(o, src, text, why);
	field = (void *)((char *)c + o->offset);
	*field = v;
	return 0;
}

static int set_string(struct config *c, const struct option *o, const struct source *src,
		      struct str text, char why[CONFIG_WHY_MAX])
{
	struct str copy;

	if (!text.len || memchr(text.p, '\0', text.len) || (o->check && !o->check(text)))
		return refuse(o, src, text, why);
	copy = arena_str(c->private->mem, text);
	if (!copy.p)
		return -ENOMEM;
	*(const char **)((char *)c + o->offset) = copy.p;
	return 0;
}

static int set_any(struct config *c, const struct option *o, const struct source *src,
		   struct str text, char why[CONFIG_WHY_MAX])
{
	void *field = (char *)c + o->offset;
	int at;

	switch (o->type) {
	case OPT_BOOL:
		if (!str_eq(text, STR("true")) && !str_eq(text, STR("false")))
			return refuse(o, src, text, why);
		*(bool *)field = text.p[0] == 't';
		return 0;
	case OPT_SIZE:
	case OPT_DURATION: return set_number(c, o, src, text, why);
	case OPT_ENUM:
		at = choice_index(o->choices, text);
		if (at < 0)
			return refuse(o, src, text, why);
		*(int *)field = at;
		return 0;
	case OPT_RATIO: return set_ratio(c, o, src, text, why);
	case OPT_STRING: return set_string(c, o, src, text, why);
	case OPT_WORDS: return set_words(c, o, src, text, why);
	case OPT_LIST:
	case OPT_PIDS:
	case OPT_PORTS: return set_list(c, o, src, text, why);
	default: return refuse(o, src, text, why);
	}
}

int option_set(struct config *c, const struct option *o, const struct source *src, struct str text,
	       char why[CONFIG_WHY_MAX])
{
	size_t row = (size_t)(o - config_table);
	int err;

	if (text.len > VALUE_MAX)
		return refuse(o, src, text, why);
	err = set_any(c, o, src, text, why);
	if (err == -ENOMEM)
		snprintf(why, CONFIG_WHY_MAX, "%s: %s: out of memory", src->where, o->name);
	if (err)
		return err;
	c->private->rank[row] = (uint8_t)src->rank;
	c->private->origin[row] = src->where;
	return 0;
}

static struct str list_text(const void *field, const struct option *o, struct arena *mem)
{
	struct str sum = { "", 0 };

	for (uint32_t i = 0; i < *list_cnt(o, (void *)field); i++) {
		const char *comma = i ? "," : "";

		if (o->type == OPT_LIST)
			sum = arena_printf(mem, STR_FMT "%s%s", STR_ARG(sum), comma,
					   ((const struct config_list *)field)->v[i]);
		else
			sum = arena_printf(mem, STR_FMT "%s%u", STR_ARG(sum), comma,
					   o->type == OPT_PIDS
						   ? ((const struct config_pids *)field)->v[i]
						   : ((const struct config_ports *)field)->v[i]);
	}
	return sum;
}

struct str option_text(const struct config *c, const struct option *o, struct arena *mem)
{
	const void *field = (const char *)c + o->offset;
	struct str left = str_of(o->choices), one = { "", 0 };
	char number[32] = "";
	uint64_t v;

	switch (o->type) {
	case OPT_BOOL: return *(const bool *)field ? STR("true") : STR("false");
	case OPT_SIZE:
	case OPT_DURATION:
		v = o->width == sizeof(uint32_t) ? *(const uint32_t *)field
						 : *(const uint64_t *)field;
		if (o->type == OPT_SIZE)
			format_scaled(number, sizeof(number), v, size_units, 4);
		else
			format_scaled(number, sizeof(number), v, time_units, ARRAY_LEN(time_units));
		return arena_str(mem, str_of(number));
	case OPT_RATIO: return arena_printf(mem, "%.15g", *(const double *)field);
	case OPT_ENUM:
		for (int i = 0; i <= *(const int *)field; i++)
			one = choice_next(&left);
		return one;
	case OPT_STRING:
	case OPT_WORDS: return str_of(*(const char *const *)field);
	case OPT_LIST:
	case OPT_PIDS:
	case OPT_PORTS: return list_text(field, o, mem);
	default: return one;
	}
}
