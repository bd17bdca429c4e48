/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs without credentials: user and password before the host, and the values of query parameters
 * whose names say that they are secret (the list of OpenTelemetry's HTTP conventions, and more).
 */
#include "redact/internal.h"

#define STR_INIT(s)              \
	{                        \
		s, sizeof(s) - 1 \
	}
#define KEY_MAX	 64 /* bytes of a parameter's name that are looked at, from its end */
#define MASK	 "REDACTED"
#define USERINFO MASK ":" MASK

/* Whole names; compared in lower case. */
static const struct str secret_names[] = {
	STR_INIT("awsaccesskeyid"),
	STR_INIT("sig"),
	STR_INIT("key"),
	STR_INIT("auth"),
	STR_INIT("authorization"),
	STR_INIT("code"),
	STR_INIT("sid"),
	STR_INIT("jwt"),
	STR_INIT("pwd"),
	STR_INIT("pass"),
	STR_INIT("otp"),
	STR_INIT("pin"),
	STR_INIT("bearer"),
};

/* Also as the end of a longer name: client_secret, newPassword, X-Amz-Signature. */
static const struct str secret_endings[] = {
	STR_INIT("password"),	 STR_INIT("passwd"),	STR_INIT("passphrase"),
	STR_INIT("secret"),	 STR_INIT("token"),	STR_INIT("apikey"),
	STR_INIT("api_key"),	 STR_INIT("api-key"),	STR_INIT("access_key"),
	STR_INIT("accesskey"),	 STR_INIT("secretkey"), STR_INIT("private_key"),
	STR_INIT("signature"),	 STR_INIT("assertion"), STR_INIT("credential"),
	STR_INIT("credentials"), STR_INIT("session"),	STR_INIT("sessionid"),
	STR_INIT("session_id"),
};

/* The name's last part, decoded and in lower case: user[pass%77ord] gives password. */
static struct str clean_name(struct str name, char out[KEY_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];

		if (c == '%' && i + 2 < name.len && char_hex(name.p[i + 1]) >= 0 &&
		    char_hex(name.p[i + 2]) >= 0) {
			c = (char)(char_hex(name.p[i + 1]) << 4 | char_hex(name.p[i + 2]));
			i += 2;
		}
		if (c == '[' || c == '.' || c == '/') {
			len = 0;
			continue;
		}
		if (c == ']')
			continue;
		if (len == KEY_MAX)
			memmove(out, out + 1, --len);
		out[len++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	return (struct str){ out, len };
}

static bool ends_with(struct str s, struct str end)
{
	return s.len >= end.len && s.p[s.len - 1] == end.p[end.len - 1] &&
	       memcmp(s.p + s.len - end.len, end.p, end.len) == 0;
}

static bool is_secret(struct str name)
{
	char buf[KEY_MAX];

	name = clean_name(name, buf);
	if (!name.len)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(secret_names); i++)
		if (name.len == secret_names[i].len && ends_with(name, secret_names[i]))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(secret_endings); i++)
		if (ends_with(name, secret_endings[i]))
			return true;
	return false;
}

/* Ends a value; a name too. */
static bool ends_value(char c)
{
	return c == '&' || c == ';' || c == '#' || c == '?';
}

/* Ends the part that holds user, password and host. A password may hold & and the like; in a URL
 * that is itself a parameter they end it. */
static bool ends_host(char c, bool nested)
{
	return c == '/' || c == '?' || c == '#' || c == ' ' || c == '"' || c == '<' || c == '>' ||
	       (nested && (c == '&' || c == ';' || c == ',' || c == '\''));
}

/* Masks user and password before each host. */
static struct str mask_userinfo(struct arena *mem, struct str url, size_t grows)
{
	struct out out = out_of(mem, url, url.len + grows);
	const char *p = url.p, *end = url.p + url.len;
	const char *first = memmem(p, url.len, "://", 3);
	/* a query without its ? */
	bool bare = first && memchr(p, '=', (size_t)(first - p));

	while (p < end) {
		const char *host = memmem(p, (size_t)(end - p), "://", 3), *stop, *sign = NULL;
		bool nested;

		if (!host)
			break;
		host += 3;
		nested = bare || memchr(url.p, '?', (size_t)(host - url.p)) ||
			 memchr(url.p, '#', (size_t)(host - url.p));
		for (stop = host; stop < end && !ends_host(*stop, nested); stop++)
			if (*stop == '@')
				sign = stop;
		out_add(&out, p, (size_t)(host - p));
		p = host;
		if (sign && sign > host) {
			out_replace(&out, host, (size_t)(sign - host), STR(USERINFO));
			p = sign;
		}
	}
	out_add(&out, p, (size_t)(end - p));
	return out_end(&out);
}

/* Where parameters begin: after the first ?, ; or #, or at once in a query without its ?. */
static size_t params_start(struct str url)
{
	ptrdiff_t equals = str_find(url, '=');

	if (equals < 0)
		return url.len;
	for (size_t i = 0; i < url.len; i++) {
		if (url.p[i] == '?' || url.p[i] == ';' || url.p[i] == '#')
			return i + 1;
		if (url.p[i] == '/')
			equals = -1; /* a path: its = is none of ours */
		if ((ptrdiff_t)i == equals)
			return 0;
	}
	return url.len;
}

/* name=value pairs. A secret value reaches to the next & or #, whatever else is in it; before the
 * query, in a path, to the ? as well. */
static void add_params(struct out *o, struct str params, bool in_path)
{
	const char *p = params.p, *end = params.p + params.len;

	while (p < end) {
		const char *name_end = p, *value_end;
		struct str name;

		while (name_end < end && *name_end != '=' && !ends_value(*name_end))
			name_end++;
		name = (struct str){ p, (size_t)(name_end - p) };
		value_end = name_end;
		if (name_end < end && *name_end == '=' && is_secret(name)) {
			while (value_end < end && *value_end != '&' && *value_end != '#' &&
			       !(in_path && *value_end == '?'))
				value_end++;
			out_add(o, p, name.len + 1);
			if (value_end > name_end + 1)
				out_replace(o, name_end + 1, (size_t)(value_end - name_end - 1),
					    STR(MASK));
		} else {
			while (value_end < end && !ends_value(*value_end))
				value_end++;
			out_add(o, p, (size_t)(value_end - p));
		}
		if (value_end < end) {
			in_path &= *value_end != '?' && *value_end != '#';
			out_add(o, value_end++, 1);
		}
		p = value_end;
	}
}

struct str redact_userinfo(struct arena *mem, struct str text)
{
	size_t users = 0;

	for (size_t i = 0; i < text.len; i++)
		users += text.p[i] == '@';
	return users ? mask_userinfo(mem, text, users * sizeof(USERINFO)) : text;
}

struct str redact_url(struct arena *mem, struct str url)
{
	size_t start, names = 0, users = 0;
	struct out out;

	for (size_t i = 0; i < url.len; i++) {
		names += url.p[i] == '=';
		users += url.p[i] == '@';
	}
	if (users)
		url = mask_userinfo(mem, url, users * sizeof(USERINFO));
	if (!names)
		return url;
	start = params_start(url);
	out = out_of(mem, url, url.len + names * sizeof(MASK));
	out_add(&out, url.p, start);
	add_params(&out, str_from(url, start), start && url.p[start - 1] == ';');
	return out_end(&out);
}
