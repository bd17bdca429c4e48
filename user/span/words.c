/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds and statuses in words: ours, and those of trace.proto. */
#include "span/span.h"

#define WORD(words, i) ((words)[(size_t)(i) < ARRAY_LEN(words) ? (i) : 0])

struct word {
	const char *name, *otlp;
};

static const struct word kinds[] = {
	{ "unspecified", "SPAN_KIND_UNSPECIFIED" }, { "internal", "SPAN_KIND_INTERNAL" },
	{ "server", "SPAN_KIND_SERVER" },	    { "client", "SPAN_KIND_CLIENT" },
	{ "producer", "SPAN_KIND_PRODUCER" },	    { "consumer", "SPAN_KIND_CONSUMER" },
};
static const struct word statuses[] = {
	{ "unset", "STATUS_CODE_UNSET" },
	{ "ok", "STATUS_CODE_OK" },
	{ "error", "STATUS_CODE_ERROR" },
};

const char *span_kind_name(enum span_kind kind)
{
	return WORD(kinds, kind).name;
}

const char *span_kind_otlp(enum span_kind kind)
{
	return WORD(kinds, kind).otlp;
}

const char *span_status_name(enum span_status status)
{
	return WORD(statuses, status).name;
}

const char *span_status_otlp(enum span_status status)
{
	return WORD(statuses, status).otlp;
}

static bool find(struct str text, const struct word *words, size_t cnt, unsigned int *ret)
{
	for (size_t i = 0; i < cnt; i++)
		if (str_eq_nocase(text, str_of(words[i].name)) ||
		    str_eq_nocase(text, str_of(words[i].otlp))) {
			*ret = (unsigned int)i;
			return true;
		}
	return false;
}

bool span_kind_parse(struct str text, enum span_kind *ret)
{
	return find(text, kinds, ARRAY_LEN(kinds), ret);
}

bool span_status_parse(struct str text, enum span_status *ret)
{
	return find(text, statuses, ARRAY_LEN(statuses), ret);
}
