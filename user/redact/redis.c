/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis commands: command, sub-command and keys stay, every other argument becomes ?. The text is
 * arguments between white space; in double quotes, with backslash escapes, where they hold other
 * than plain characters. The output is never longer than the text.
 */
#include "redact/internal.h"
#include "redact/redis.h"

#define TEXT_MAX     (1u << 30) /* arguments are counted in an int */
#define COUNT_DIGITS 4		/* a count of keys longer than this is no count */

struct arg {
	struct str raw; /* as it stands, quotes included */
	bool cut;	/* its closing quote is missing */
};

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The argument at or after *at; false at the end. */
static bool next_arg(struct str text, size_t *at, struct arg *arg)
{
	size_t i = *at, begin;

	while (i < text.len && is_blank(text.p[i]))
		i++;
	if (i == text.len)
		return false;
	begin = i;
	arg->cut = false;
	if (text.p[i] == '"') {
		for (i++; i < text.len && text.p[i] != '"'; i++)
			i += text.p[i] == '\\';
		arg->cut = i >= text.len;
		i = MIN(i + 1, text.len);
	}
	while (i < text.len && !is_blank(text.p[i]))
		i++;
	arg->raw = (struct str){ text.p + begin, i - begin };
	*at = i;
	return true;
}

/* A command's word: nothing that could be a value in the wrong place. */
static bool is_plain_word(struct str s)
{
	if (!s.len || s.len > REDIS_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(i && (c == '-' || c == '_' || c == '.')))
			return false;
	}
	return true;
}

/* What a command's arguments are, found in a first pass. */
struct shape {
	const struct redis_command *cmd; /* NULL: unknown */
	int args;			 /* after the command */
	int first, last, step;		 /* keys */
	int counted_first, counted_last;
	int keep; /* an argument that tells where the keys are: the count, STREAMS; 0: none */
};

static void shape_counted(struct shape *s, int i, struct str arg)
{
	uint64_t cnt;

	if (i != s->cmd->count_at || arg.len > COUNT_DIGITS || !str_to_u64(arg, &cnt))
		return;
	s->keep = i;
	s->counted_first = s->cmd->step;
	s->counted_last = s->cmd->step + (int)cnt - 1;
}

static struct shape shape_of(struct str text, size_t at, const struct redis_command *cmd)
{
	struct shape s = { .cmd = cmd, .step = 1 };
	struct arg arg;

	if (!cmd)
		return s;
	while (next_arg(text, &at, &arg)) {
		s.args++;
		if (cmd->shape == REDIS_COUNTED)
			shape_counted(&s, s.args, arg.raw);
		else if (cmd->shape == REDIS_STREAMS && !s.keep &&
			 str_eq_nocase(arg.raw, STR("STREAMS")))
			s.keep = s.args;
	}
	s.first = cmd->first;
	s.last = cmd->last < 0 ? s.args + 1 + cmd->last : cmd->last;
	if (cmd->shape != REDIS_COUNTED && cmd->step)
		s.step = cmd->step;
	if (cmd->shape == REDIS_STREAMS && s.keep) {
		s.first = s.keep + 1;
		s.last = s.keep + (s.args - s.keep) / 2;
	}
	return s;
}

static bool stays(const struct shape *s, int i, const struct arg *arg)
{
	if (arg->cut || !s->cmd)
		return false;
	if (i == s->keep)
		return true;
	if (i == 1 && s->cmd->shape == REDIS_SUB)
		return is_plain_word(arg->raw);
	if (s->first && i >= s->first && i <= s->last && (i - s->first) % s->step == 0)
		return true;
	return s->counted_first && i >= s->counted_first && i <= s->counted_last;
}

struct str redact_redis(struct arena *mem, struct str text)
{
	struct out out = out_of(mem, text, text.len);
	size_t at = 0, done;
	struct shape shape;
	struct arg arg;

	if (text.len > TEXT_MAX)
		return STR("?");
	if (!next_arg(text, &at, &arg))
		return text;
	done = (size_t)(arg.raw.p - text.p);
	out_add(&out, text.p, done);
	out_replace(&out, arg.raw.p, arg.raw.len, is_plain_word(arg.raw) ? arg.raw : STR("?"));
	done = at;
	shape = shape_of(text, at, is_plain_word(arg.raw) ? redis_command_find(arg.raw) : NULL);
	for (int i = 1; next_arg(text, &at, &arg); i++) {
		size_t begin = (size_t)(arg.raw.p - text.p);

		out_add(&out, text.p + done, begin - done);
		out_replace(&out, arg.raw.p, arg.raw.len,
			    stays(&shape, i, &arg) ? arg.raw : STR("?"));
		done = at;
	}
	out_add(&out, text.p + done, text.len - done);
	return out_end(&out);
}
