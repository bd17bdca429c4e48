/* SPDX-License-Identifier: Apache-2.0 */
/* The gate itself: every place of a span that has text, and a copy for as far as it changed. */
#include "redact/internal.h"

#include <sodium.h>
#include <stdlib.h>

static bool mask_events(struct redact *r, struct span *s)
{
	struct span_event *events = NULL;

	for (uint32_t i = 0; i < s->event_cnt; i++) {
		struct span_event one = s->events[i];
		bool changed = mask_attrs(r, &one.attrs);

		changed |= mask_plain(r, KEY_TEXT, &one.name);
		if (!changed)
			continue;
		if (!events)
			events = scratch_copy(r, s->events, s->event_cnt * sizeof(*events));
		if (!events)
			return false;
		events[i] = one;
	}
	if (events)
		s->events = events;
	return events;
}

/* Without the members in which something was found: others may delete them, too. Ours says for how
 * many the span stands, and stays. */
static bool mask_state(struct redact *r, struct str *state)
{
	struct str all = *state, rest = *state, member;
	size_t len = 0;
	char *copy;

	if (!all.len || !mask_plain(r, KEY_TEXT, &all))
		return false;
	copy = scratch_copy(r, state->p, state->len);
	if (!copy)
		return false;
	for (; rest.len; rest = str_from(rest, member.len + 1)) {
		const char *comma = memchr(rest.p, ',', rest.len);
		struct str found;

		member = (struct str){ rest.p, comma ? (size_t)(comma - rest.p) : rest.len };
		found = member;
		if (!str_starts(str_trim(member), STR("ot=")) && mask_plain(r, KEY_TEXT, &found))
			continue;
		if (len)
			copy[len++] = ',';
		memcpy(copy + len, member.p, member.len);
		len += member.len;
	}
	*state = (struct str){ copy, len };
	return true;
}

static bool mask_links(struct redact *r, struct span *s)
{
	struct span_link *links = NULL;

	for (uint32_t i = 0; i < s->link_cnt; i++) {
		struct span_link one = s->links[i];
		bool changed = mask_attrs(r, &one.attrs);

		changed |= mask_state(r, &one.trace_state);
		if (!changed)
			continue;
		if (!links)
			links = scratch_copy(r, s->links, s->link_cnt * sizeof(*links));
		if (!links)
			return false;
		links[i] = one;
	}
	if (links)
		s->links = links;
	return links;
}

struct redact *redact_new(const struct redact_cfg *cfg, struct span_sink out)
{
	static const struct redact_rules_cfg builtin;
	struct redact *r = calloc(1, sizeof(*r));
	char why[REDACT_WHY_MAX];

	if (!r)
		return NULL;
	r->cfg = *cfg;
	r->out = out;
	if (cfg->rules)
		r->rules = redact_rules_get(cfg->rules);
	else if (redact_rules_new(&builtin, &r->rules, why))
		goto fail;
	r->scratch = arena_new(SCRATCH_MAX);
	if (!r->scratch || scanner_init(&r->scanner, r->rules))
		goto fail;
	randombytes_buf(&r->seed, sizeof(r->seed));
	r->books = (struct books){ .stage = "redact", .unit = "span", .reason = { "no_memory" } };
	books_register(&r->books);
	return r;
fail:
	arena_free(r->scratch);
	redact_rules_put(r->rules);
	free(r);
	return NULL;
}

void redact_push(struct redact *r, const struct span *s)
{
	struct span masked = *s;
	bool changed;

	book_add(&r->books.in, 1);
	r->failed = r->drop = false;
	r->span = s;
	r->system = SYSTEM_UNASKED;
	changed = mask_attrs(r, &masked.attrs);
	changed |= mask_events(r, &masked);
	changed |= mask_links(r, &masked);
	changed |= mask_state(r, &masked.trace_state);
	changed |= mask_plain(r, KEY_TEXT, &masked.name);
	changed |= mask_plain(r, KEY_MESSAGE, &masked.status_message);
	changed |= mask_resource(r, &masked.resource, &masked.scope);
	if (r->failed) {
		book_add(&r->books.dropped[0], 1);
	} else {
		r->out.push(r->out.ctx, changed ? &masked : s);
		book_add(&r->books.out, 1);
	}
	rules_count(r->rules, changed && !r->failed, r->scanner.gave_up);
	r->scanner.gave_up = 0;
	if (changed || r->used)
		arena_reset(r->scratch);
	r->used = false;
}

void redact_free(struct redact *r)
{
	if (!r)
		return;
	books_unregister(&r->books);
	resources_forget(r);
	scanner_fini(&r->scanner);
	arena_free(r->scratch);
	redact_rules_put(r->rules);
	free(r);
}
