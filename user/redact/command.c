/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords in command lines that no name announces: mysql -pX, curl -u user:X, redis-cli -a X.
 * Known are the flags of some programs; what follows --password and the like, rules find.
 */
#include "redact/internal.h"

struct command_flag {
	const char *program; /* its file's name; ends with * where more may follow */
	const char *flag;
	bool next;  /* the value may be the next word; else it is in the flag's own */
	char after; /* the secret begins behind this; 0: all of it */
};

/* A word of two, "docker login", is the program of what follows. */
static const struct command_flag flags[] = {
	{ "mysql*", "-p", false, 0 },
	{ "mariadb*", "-p", false, 0 },
	{ "curl", "-u", true, ':' },
	{ "curl", "-U", true, ':' },
	{ "curl", "--user", true, ':' },
	{ "curl", "--proxy-user", true, ':' },
	{ "http", "-a", true, ':' },
	{ "https", "-a", true, ':' },
	{ "redis-cli", "-a", true, 0 },
	{ "redis-cli", "--pass", true, 0 },
	{ "valkey-cli", "-a", true, 0 },
	{ "valkey-cli", "--pass", true, 0 },
	{ "sshpass", "-p", true, 0 },
	{ "mongo*", "-p", true, 0 },
	{ "ldap*", "-w", true, 0 },
	{ "sqlcmd", "-P", true, 0 },
	{ "bcp", "-P", true, 0 },
	{ "smbclient", "-U", true, '%' },
	{ "rpcclient", "-U", true, '%' },
	{ "openssl", "-passin", true, ':' },
	{ "openssl", "-passout", true, ':' },
	{ "openssl", "-pass", true, ':' },
	{ "zip", "-P", true, 0 },
	{ "unzip", "-P", true, 0 },
	{ "7z*", "-p", false, 0 },
	{ "login", "-p", true, 0 },
};

static struct str file_name(struct str path)
{
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;

	return slash ? str_from(path, (size_t)(slash - path.p) + 1) : path;
}

static bool is_program(struct str name, const char *program)
{
	size_t len = strlen(program);

	return program[len - 1] == '*' ? str_starts(name, (struct str){ program, len - 1 })
				       : str_eq(name, str_of(program));
}

/* A text that was cut may lack the quote that closes. */
static struct str unquoted(struct str text)
{
	char quote = text.len ? text.p[0] : 0;

	if (quote != '\'' && quote != '"')
		return text;
	text = str_from(text, 1);
	if (text.len && text.p[text.len - 1] == quote)
		text.len--;
	return text;
}

static struct str behind(struct str value, char after)
{
	struct str text = unquoted(value);
	ptrdiff_t at = after ? str_find(text, after) : -1;

	if (!after)
		return text;
	return at < 0 ? (struct str){ text.p, 0 } : unquoted(str_from(text, (size_t)at + 1));
}

/* -sSu: a flag at the end of several of one letter; only curl's users write it so. */
static bool ends_cluster(struct str word, struct str flag, char after)
{
	if (after != ':' || flag.len != 2 || word.len < 3 || word.p[0] != '-')
		return false;
	for (size_t i = 1; i < word.len; i++)
		if (!((word.p[i] | 0x20) >= 'a' && (word.p[i] | 0x20) <= 'z'))
			return false;
	return word.p[word.len - 1] == flag.p[1];
}

/* What of the word is the flag's value; *ret_next: the next word is. */
static struct str value_of(const struct command_flag *f, struct str word, bool *ret_next)
{
	struct str flag = str_of(f->flag), none = { word.p, 0 };

	*ret_next = f->next && (str_eq(word, flag) || ends_cluster(word, flag, f->after));
	if (*ret_next || !str_starts(word, flag) || word.len == flag.len)
		return none;
	word = str_from(word, flag.len);
	if (flag.len == 2 && f->flag[1] != '-')
		return behind(word.p[0] == '=' ? str_from(word, 1) : word, f->after);
	return word.p[0] == '=' ? behind(str_from(word, 1), f->after) : none;
}

/* The part of the word that is a secret, empty for none. */
static struct str command_secret(struct command *c, struct str word)
{
	struct str none = { word.p, 0 };
	const struct command_flag *waits = c->waits;

	c->waits = NULL;
	if (!word.len || (waits && word.p[0] != '-'))
		return waits ? behind(word, waits->after) : none;
	for (size_t i = 0; word.p[0] == '-' && c->program.len && i < ARRAY_LEN(flags); i++) {
		struct str value;
		bool next;

		if (!is_program(c->program, flags[i].program))
			continue;
		value = value_of(&flags[i], word, &next);
		if (next)
			c->waits = &flags[i];
		if (next || value.len)
			return value;
	}
	for (size_t i = 0; word.p[0] != '-' && i < ARRAY_LEN(flags); i++) {
		if (is_program(file_name(word), flags[i].program)) {
			c->program = file_name(word);
			break;
		}
	}
	return none;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || !c;
}

/* A quote that begins a value: the word's, or that of a flag in it. */
static bool opens(struct str word, size_t at)
{
	return !at || word.p[at - 1] == '=' || word.p[at - 1] == ':' ||
	       (at == 2 && word.p[0] == '-');
}

/* The next word. Quotes around several words count only where they hold a value. */
static struct str take_word(const struct command *c, struct str *rest)
{
	struct str word = *rest;
	size_t i = 0;

	while (word.len &&
	       (is_blank(word.p[0]) || (!c->waits && (word.p[0] == '\'' || word.p[0] == '"'))))
		word = str_from(word, 1);
	for (; i < word.len && !is_blank(word.p[i]); i++) {
		const char *end;

		if (word.p[i] != '\'' && word.p[i] != '"')
			continue;
		if (!opens(word, i))
			break;
		end = memchr(word.p + i + 1, word.p[i], word.len - i - 1);
		i = end ? (size_t)(end - word.p) : word.len - 1;
	}
	*rest = str_from(word, i);
	return (struct str){ word.p, i };
}

/* The text so far, and what stands for the part of it that is a secret. */
static void replace(struct redact *r, struct str text, size_t *done, struct str secret)
{
	struct buf *work = &r->scanner.work;
	struct str masked = mask_whole(r->rules, r->scratch, r->rules->rule[RULE_PASSWORD].action,
				       secret, &r->drop);

	if (masked.p == secret.p)
		return;
	buf_add(work, text.p + *done, (size_t)(secret.p - text.p) - *done);
	buf_add_str(work, masked);
	*done = (size_t)(secret.p - text.p) + secret.len;
}

static struct str replaced(struct redact *r, struct str text, size_t done)
{
	struct buf *work = &r->scanner.work;
	struct str copy;

	if (!done)
		return text;
	buf_add(work, text.p + done, text.len - done);
	if (work->failed)
		return MASKED;
	copy = arena_str(r->scratch, buf_str(work));
	return copy.p ? copy : MASKED;
}

struct str mask_command(struct redact *r, struct command *c, struct str text)
{
	struct str rest = text, word;
	size_t done = 0;

	buf_clear(&r->scanner.work);
	while (rest.len) {
		struct str secret;

		word = take_word(c, &rest);
		if (!word.len) {
			rest = str_from(rest, 1); /* a quote that closes */
			continue;
		}
		secret = command_secret(c, word);
		if (secret.len)
			replace(r, text, &done, secret);
	}
	return replaced(r, text, done);
}

struct str mask_argument(struct redact *r, struct command *c, struct str text)
{
	struct str secret;
	size_t done = 0;

	/* sh -c "..." */
	if (!c->waits && text.len && text.p[0] != '-' && memchr(text.p, ' ', text.len))
		return mask_command(r, c, text);
	buf_clear(&r->scanner.work);
	secret = command_secret(c, text);
	if (secret.len)
		replace(r, text, &done, secret);
	return replaced(r, text, done);
}
