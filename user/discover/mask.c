/* SPDX-License-Identifier: Apache-2.0 */
/* A command line that may be shown: whatever looks like a secret is left out. */
#include "discover/internal.h"

#include <ctype.h>

static const struct str masked = { "REDACTED", 8 };

/* Parts of option and parameter names whose value nobody should see. */
static const char *const sensitive_words[] = {
	"pass",	     "pwd",	   "secret", "token",  "apikey",     "api-key",	    "api_key",
	"accesskey", "access-key", "auth",   "cookie", "access_key", "private-key", "credential",
};

/* How names end that hold one of the words above but no secret. */
static const char *const harmless_ends[] = { "author", "authors", "bypass", "passive",
					     "passthrough" };

/* Programs with short options that carry secrets. */
static const struct {
	const char *program; /* how its name begins */
	char letter;
	bool attached; /* -pSECRET */
	bool next;     /* -p SECRET */
} secret_letters[] = {
	{ "mysql", 'p', true, false },	  { "mariadb", 'p', true, false },
	{ "redis-cli", 'a', true, true }, { "sshpass", 'p', true, true },
	{ "mongo", 'p', true, true },	  { "ldap", 'w', true, true },
	{ "curl", 'u', true, true },	  { "docker", 'p', true, true },
	{ "smbclient", 'U', true, true }, { "sqlcmd", 'P', true, true },
};

struct line {
	char *out;
	size_t len, size;
};

static void put(struct line *l, struct str s)
{
	size_t n = MIN(s.len, l->size - 1 - l->len);

	if (n)
		memcpy(l->out + l->len, s.p, n);
	l->len += n;
}

static bool contains_word(struct str s, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i + len <= s.len; i++) {
		if (strncasecmp(s.p + i, word, len) == 0)
			return true;
	}
	return false;
}

static bool is_sensitive(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(harmless_ends); i++) {
		struct str end = str_of(harmless_ends[i]);
		if (name.len >= end.len && str_eq_nocase(str_from(name, name.len - end.len), end))
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(sensitive_words); i++) {
		if (contains_word(name, sensitive_words[i]))
			return true;
	}
	return false;
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* End of a value that begins at 'at': a quote's end, or where the next parameter may begin. */
static size_t value_end(struct str s, size_t at, bool to_end)
{
	if (to_end || at >= s.len)
		return s.len;
	if (s.p[at] == '\'' || s.p[at] == '"') {
		ptrdiff_t close = str_find(str_from(s, at + 1), s.p[at]);
		return close < 0 ? s.len : at + 2 + (size_t)close;
	}
	while (at < s.len && !strchr(" ;&", s.p[at]))
		at++;
	return at;
}

/* scheme://user:secret@host: the end of the userinfo, or 0. at: after "://". */
static size_t userinfo_end(struct str s, size_t at)
{
	size_t end = 0;

	for (size_t i = at; i < s.len && !strchr("/?# ", s.p[i]); i++) {
		if (s.p[i] == '@')
			end = i;
	}
	return end;
}

/* name=value, name:value anywhere in an argument, and URLs. */
static void put_masked(struct line *l, struct str s)
{
	size_t shown = 0, name = 0;

	for (size_t i = 0; i < s.len; i++) {
		size_t end = 0, from = i + 1;

		if (s.p[i] == ':' && s.len - i > 3 && memcmp(s.p + i, "://", 3) == 0) {
			from = i + 3;
			end = userinfo_end(s, from);
		} else if (s.p[i] == '=' || s.p[i] == ':') {
			/* headers ("Authorization: Basic x") are secret to their end */
			if (is_sensitive((struct str){ s.p + name, i - name }))
				end = value_end(s, from, s.p[i] == ':' || s.p[0] == '-');
		}
		if (end > from) {
			put(l, (struct str){ s.p + shown, from - shown });
			put(l, masked);
			shown = end;
			i = end - 1;
		}
		if (!is_name_char(s.p[i]))
			name = i + 1;
	}
	put(l, str_from(s, shown));
}

/* --password VALUE, -password VALUE */
static bool hides_next(struct str arg)
{
	return arg.len > 2 && arg.p[0] == '-' && str_find(arg, '=') < 0 && is_sensitive(arg);
}

enum letter { LETTER_NONE, LETTER_NEXT, LETTER_ATTACHED };

static enum letter secret_letter(struct str program, struct str arg)
{
	for (size_t i = 0; i < ARRAY_LEN(secret_letters); i++) {
		if (!str_starts(program, str_of(secret_letters[i].program)) || arg.len < 2 ||
		    arg.p[0] != '-' || arg.p[1] != secret_letters[i].letter)
			continue;
		if (arg.len == 2)
			return secret_letters[i].next ? LETTER_NEXT : LETTER_NONE;
		return secret_letters[i].attached ? LETTER_ATTACHED : LETTER_NONE;
	}
	return LETTER_NONE;
}

size_t mask_command_line(struct str args, char *out, size_t size)
{
	struct line l = { out, 0, size };
	struct str program = { NULL, 0 }, arg;
	bool hide = false;

	while (l.len + 1 < size && args_next(&args, &arg)) {
		enum letter letter = secret_letter(program, arg);

		if (program.p)
			put(&l, STR(" "));
		else
			program = path_base(arg);
		/* an option that only sounds secret may be followed by another option */
		if (hide && !(arg.len > 1 && arg.p[0] == '-' && arg.p[1] == '-')) {
			put(&l, masked);
			hide = false;
			continue;
		}
		hide = letter == LETTER_NEXT || (letter == LETTER_NONE && hides_next(arg));
		if (letter == LETTER_ATTACHED) {
			put(&l, (struct str){ arg.p, 2 });
			put(&l, masked);
		} else {
			put_masked(&l, arg);
		}
	}
	out[l.len] = '\0';
	return l.len;
}
