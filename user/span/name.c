/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of URL paths: variable segments become placeholders, few templates a service. */
#include "span/internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <xxhash.h>

#define SEGMENTS_MAX   16 /* more become one star */
#define SEGMENT_MAX    64 /* longer ones are ids */
#define HASH_MIN       16 /* hex digits that make a hash */
#define ASSET_HASH_MIN 8  /* the same in the name of a static file */
#define TOKEN_MIN      16

struct template
{
	char *text;
	UT_hash_handle hh;
};

/* A literal value seen at one place of a service's paths. */
struct literal {
	uint64_t hash; /* of depth and value */
	UT_hash_handle hh;
};

struct service {
	char *name;
	struct template *templates;
	struct literal *literals;
	uint32_t template_cnt;
	uint32_t literal_cnt[SEGMENTS_MAX];
	UT_hash_handle hh;
};

struct templates {
	struct service *services;
	uint32_t cnt;
};

/* ---- one segment ---------------------------------------------------------------------------- */

struct shape {
	size_t digits, lower, upper, hex, other;
};

static struct shape shape_of(struct str s)
{
	struct shape sh = { 0 };

	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.p[i];

		sh.hex += isxdigit(ch) != 0;
		if (isdigit(ch))
			sh.digits++;
		else if (islower(ch))
			sh.lower++;
		else if (isupper(ch))
			sh.upper++;
		else
			sh.other++;
	}
	return sh;
}

static bool all_digits(struct str s)
{
	return s.len && shape_of(s).digits == s.len;
}

static bool is_uuid(struct str s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s.p[i] != '-' : !isxdigit((unsigned char)s.p[i]))
			return false;
	}
	return true;
}

/* 2024-05-17, and with a time after it */
static bool is_date(struct str s)
{
	return s.len >= 10 && all_digits((struct str){ s.p, 4 }) && s.p[4] == '-' &&
	       all_digits((struct str){ s.p + 5, 2 }) && s.p[7] == '-' &&
	       all_digits((struct str){ s.p + 8, 2 }) &&
	       (s.len == 10 || !isalpha(s.p[10]) || s.p[10] == 'T');
}

/* Words, and words with a short number at their end ("oauth2", "v10"), joined by - _ . */
static bool is_wordy(struct str s)
{
	size_t i = 0;

	while (i < s.len) {
		size_t letters = 0, digits = 0;

		for (; i < s.len && isalpha((unsigned char)s.p[i]); i++)
			letters++;
		for (; i < s.len && isdigit((unsigned char)s.p[i]); i++)
			digits++;
		if (digits > 2 || (i < s.len && isalnum((unsigned char)s.p[i])))
			return false;
		if (i < s.len && !strchr("-_.", s.p[i]))
			return false;
		i++;
	}
	return true;
}

/* Base64 and its kin: long, of its alphabet, with digits, and no run of words. */
static bool is_token(struct str s)
{
	struct shape sh = shape_of(s);

	if (s.len < TOKEN_MIN || !sh.digits || !(sh.lower + sh.upper) || is_wordy(s))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.p[i]) && !memchr("-_=+.~", s.p[i], 6))
			return false;
	return true;
}

/* "order-1234", "user_7": the length of what stays before the number; 0: not of this kind. */
static size_t numbered_prefix(struct str s)
{
	size_t at = s.len;

	while (at && isdigit((unsigned char)s.p[at - 1]))
		at--;
	if (at == s.len || at < 2 || !memchr("-_:.", s.p[at - 1], 4))
		return 0;
	return shape_of((struct str){ s.p, at }).digits ? 0 : at;
}

/* The placeholder for a whole segment, or NULL: it stays. */
static const char *placeholder(struct str s)
{
	struct shape sh = shape_of(s);

	if (sh.digits == s.len || is_date(s))
		return "{id}";
	if (is_uuid(s))
		return "{uuid}";
	if (s.len >= HASH_MIN && sh.hex == s.len)
		return "{hash}";
	if (is_token(s))
		return "{hash}";
	if (s.len > SEGMENT_MAX)
		return "{id}";
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.p[i];

		/* escapes, addresses, lists: values, not names; braces would fake placeholders */
		if (ch <= ' ' || ch >= 0x7f || memchr("%@,=&{}\"'<>\\", ch, 12))
			return "{id}";
	}
	return NULL;
}

/* ---- a path --------------------------------------------------------------------------------- */

struct writer {
	char *p;
	size_t len;
};

static void put(struct writer *w, const char *p, size_t len)
{
	if (w->len + len > TEMPLATE_LEN_MAX)
		return;
	memcpy(w->p + w->len, p, len);
	w->len += len;
}

/* Where a static file's extension begins (its dot), or -1. */
static ptrdiff_t asset_extension(struct str s)
{
	static const char *const known[] = { "css",  "js",   "mjs", "map",  "png",  "jpg", "jpeg",
					     "gif",  "svg",  "ico", "webp", "woff", "ttf", "woff2",
					     "html", "htm",  "txt", "json", "xml",  "pdf", "avif",
					     "mp4",  "webm", "zip", "gz",   "wasm" };
	ptrdiff_t dot = -1;

	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] == '.')
			dot = (ptrdiff_t)i;
	if (dot < 1)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq_nocase(str_from(s, (size_t)dot + 1), str_of(known[i])))
			return dot;
	return -1;
}

/* "app.3f2a9c1b.js": pieces of a file's name that are hashes or numbers. */
static void put_asset(struct writer *w, struct str stem)
{
	size_t from = 0;

	for (size_t i = 0; i <= stem.len; i++) {
		struct str piece = { stem.p + from, i - from };
		struct shape sh;

		if (i < stem.len && !memchr(".-_", stem.p[i], 3))
			continue;
		sh = shape_of(piece);
		if (piece.len >= ASSET_HASH_MIN && sh.hex == piece.len && sh.digits)
			put(w, "{hash}", 6);
		else if (piece.len && sh.digits == piece.len)
			put(w, "{id}", 4);
		else
			put(w, piece.p, piece.len);
		if (i < stem.len)
			put(w, &stem.p[i], 1);
		from = i + 1;
	}
}

static void put_segment(struct writer *w, struct str s, bool last)
{
	ptrdiff_t param = str_find(s, ';'), dot;
	const char *holder;
	size_t prefix;

	if (param >= 0)
		s.len = (size_t)param; /* ";jsessionid=..." */
	dot = last ? asset_extension(s) : -1;
	if (dot > 0) {
		struct str stem = { s.p, (size_t)dot };

		holder = is_uuid(stem) ? "{uuid}" : placeholder(stem);
		if (holder)
			put(w, holder, strlen(holder));
		else
			put_asset(w, stem);
		put(w, s.p + dot, s.len - (size_t)dot);
		return;
	}
	holder = s.len ? placeholder(s) : NULL;
	prefix = holder ? 0 : numbered_prefix(s);
	if (holder) {
		put(w, holder, strlen(holder));
	} else if (prefix) {
		put(w, s.p, prefix);
		put(w, "{id}", 4);
	} else {
		put(w, s.p, s.len);
	}
}

/* The path alone, of what may be an absolute URL with a query. */
static struct str path_only(struct str path)
{
	for (size_t i = 0; i < path.len; i++) {
		if (path.p[i] == '?' || path.p[i] == '#') {
			path.len = i;
			break;
		}
	}
	if (path.len && path.p[0] != '/') {
		for (size_t i = 0; i + 3 <= path.len; i++) {
			if (memcmp(path.p + i, "://", 3) == 0) {
				struct str rest = str_from(path, i + 3);
				ptrdiff_t slash = str_find(rest, '/');
				return slash < 0 ? STR("/") : str_from(rest, (size_t)slash);
			}
		}
	}
	return path;
}

size_t template_make(struct str path, char out[TEMPLATE_LEN_MAX])
{
	struct writer w = { .p = out };
	unsigned int depth = 0;

	path = path_only(path);
	if (path.len && path.p[0] != '/') {
		/* "*" of OPTIONS, an authority of CONNECT: nothing to make a template of */
		if (path.len == 1 && path.p[0] == '*')
			put(&w, "*", 1);
		return w.len;
	}
	while (path.len) {
		struct str rest = str_from(path, 1), segment = rest;
		ptrdiff_t slash = str_find(rest, '/');

		if (slash >= 0)
			segment.len = (size_t)slash;
		put(&w, "/", 1);
		if (++depth > SEGMENTS_MAX) {
			put(&w, "*", 1);
			break;
		}
		put_segment(&w, segment, slash < 0);
		path = slash < 0 ? (struct str){ NULL, 0 } : str_from(rest, (size_t)slash);
	}
	return w.len;
}

/* ---- the templates of services -------------------------------------------------------------- */

struct templates *templates_new(void)
{
	return calloc(1, sizeof(struct templates));
}

static void service_free(struct service *s)
{
	struct template *t, *t_next;
	struct literal *p, *p_next;

	HASH_ITER (hh, s->templates, t, t_next) {
		HASH_DEL(s->templates, t);
		free(t->text);
		free(t);
	}
	HASH_ITER (hh, s->literals, p, p_next) {
		HASH_DEL(s->literals, p);
		free(p);
	}
	free(s->name);
	free(s);
}

void templates_free(struct templates *t)
{
	struct service *s, *next;

	if (!t)
		return;
	HASH_ITER (hh, t->services, s, next) {
		HASH_DEL(t->services, s);
		service_free(s);
	}
	free(t);
}

static struct service *service_of(struct templates *t, struct str name)
{
	struct service *s;

	HASH_FIND(hh, t->services, name.p, (unsigned int)name.len, s);
	if (s || t->cnt >= TEMPLATE_SERVICES)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->name = strndup(name.p, name.len);
	if (!s->name) {
		free(s);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, t->services, s->name, (unsigned int)name.len, s);
	t->cnt++;
	return s;
}

static uint64_t literal_hash(struct str value, unsigned int depth)
{
	return XXH3_64bits_withSeed(value.p, value.len, depth + 1);
}

/* Every segment's value is known at its place, or there is room for it there. */
static bool literals_take(struct service *s, struct str text)
{
	for (int add = 0; add < 2; add++) {
		struct str rest = text;

		for (unsigned int depth = 0; rest.len && depth < SEGMENTS_MAX; depth++) {
			struct str value = str_from(rest, 1);
			ptrdiff_t slash = str_find(value, '/');
			struct literal *p;
			uint64_t hash;

			rest = slash < 0 ? (struct str){ NULL, 0 } : str_from(value, (size_t)slash);
			if (slash >= 0)
				value.len = (size_t)slash;
			hash = literal_hash(value, depth);
			HASH_FIND(hh, s->literals, &hash, sizeof(hash), p);
			if (p)
				continue;
			if (!add && s->literal_cnt[depth] >= TEMPLATE_VALUES_MAX)
				return false;
			p = add ? calloc(1, sizeof(*p)) : NULL;
			if (!p)
				continue;
			p->hash = hash;
			HASH_ADD(hh, s->literals, hash, sizeof(p->hash), p);
			s->literal_cnt[depth]++;
		}
	}
	return true;
}

struct str templates_get(struct templates *t, struct str service, struct str path)
{
	struct str none = { NULL, 0 };
	char text[TEMPLATE_LEN_MAX];
	struct service *s = path.len ? service_of(t, service) : NULL;
	struct template *found;
	size_t len;

	if (!s)
		return none;
	/* a known template without placeholders is its own: most paths are none or few */
	if (path.len < TEMPLATE_LEN_MAX && str_find(path, '{') < 0) {
		HASH_FIND(hh, s->templates, path.p, (unsigned int)path.len, found);
		if (found)
			return (struct str){ found->text, path.len };
	}
	len = template_make(path, text);
	if (!len)
		return none;
	HASH_FIND(hh, s->templates, text, (unsigned int)len, found);
	if (found)
		return (struct str){ found->text, len };
	if (s->template_cnt >= TEMPLATES_MAX || !literals_take(s, (struct str){ text, len }))
		return none;
	found = calloc(1, sizeof(*found));
	if (!found)
		return none;
	found->text = strndup(text, len);
	if (!found->text) {
		free(found);
		return none;
	}
	HASH_ADD_KEYPTR(hh, s->templates, found->text, (unsigned int)len, found);
	s->template_cnt++;
	return (struct str){ found->text, len };
}
