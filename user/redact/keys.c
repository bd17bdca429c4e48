/* SPDX-License-Identifier: Apache-2.0 */
/* What an attribute's key says about its value: the user's lists first, then what is known. */
#include "redact/internal.h"

#define NAME_PART_MAX 64 /* bytes of a name's last part that are looked at, from its end */

/* Whole last parts of a name; in lower case, with - for _. */
static const char *const secret_parts[] = {
	"authorization",
	"proxy-authorization",
	"x-forwarded-authorization",
	"cookie",
	"cookie2",
	"cookies",
	"set-cookie",
	"set-cookie2",
	"pwd",
	"x-goog-iap-jwt-assertion",
	"cf-access-jwt-assertion",
	"x-amz-credential",
	"x-amz-signature",
	"x-hub-signature",
	"x-hub-signature-256",
};

/* Also as the end of a longer one: db.password, X-Auth-Token, clientSecret. */
static const char *const secret_endings[] = {
	"password",   "passwd",	     "passphrase",  "secret",	   "token",
	"apikey",     "api-key",     "access-key",  "accesskey",   "secret-key",
	"secretkey",  "private-key", "privatekey",  "account-key", "accountkey",
	"credential", "credentials", "session-key", "sessionid",
};

/* Keys whose values are ids, addresses or words of a list: nothing to find, much to spoil. */
static const char *const safe_keys[] = {
	"client.address",
	"container.id",
	"db.operation.name",
	"db.system",
	"db.system.name",
	"destination.address",
	"enduser.role",
	"host.arch",
	"host.id",
	"http.flavor",
	"http.method",
	"http.request.method",
	"http.scheme",
	"messaging.system",
	"network.local.address",
	"network.peer.address",
	"network.protocol.name",
	"network.protocol.version",
	"network.transport",
	"network.type",
	"os.type",
	"rpc.system",
	"service.instance.id",
	"source.address",
	"telemetry.sdk.language",
	"telemetry.sdk.name",
	"telemetry.sdk.version",
	"url.scheme",
};

/* Ends of keys that name ids of traces and Kubernetes objects. */
static const char *const id_endings[] = {
	"trace_id", "trace.id", "traceid", "span_id", "span.id", "spanid", ".uid",
};

/* Ends of keys whose integers are no card numbers, however they look: ids, times, amounts. */
static const char *const number_endings[] = {
	"id",	     "-ns",	 "-us", "-ms",	 "nano",   "nanos",  "micros",	 "millis",  "time",
	"timestamp", "date",	 "-at", "bytes", "size",   "length", "offset",	 "count",   "total",
	"duration",  "sequence", "seq", "epoch", "cursor", "hash",   "revision", "version",
};

static bool ends_with_any(struct str s, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (str_ends(s, str_of(list[i])))
			return true;
	return false;
}

static bool in_list(struct str s, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (str_eq(s, str_of(list[i])))
			return true;
	return false;
}

/* After the last point, slash or bracket, in lower case, with - for _. */
static struct str last_part(struct str name, char out[NAME_PART_MAX])
{
	size_t begin, len;

	while (name.len && name.p[name.len - 1] == ']')
		name.len--;
	for (begin = name.len; begin; begin--) {
		char c = name.p[begin - 1];

		if (c == '.' || c == '/' || c == '[' || name.len - begin == NAME_PART_MAX)
			break;
	}
	len = name.len - begin;
	for (size_t i = 0; i < len; i++) {
		char c = name.p[begin + i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 'a' - 'A');
		out[i] = c == '_' ? '-' : c;
	}
	return (struct str){ out, len };
}

bool name_is_secret(struct str name)
{
	char buf[NAME_PART_MAX];
	struct str part = last_part(name, buf);

	return in_list(part, secret_parts, ARRAY_LEN(secret_parts)) ||
	       ends_with_any(part, secret_endings, ARRAY_LEN(secret_endings));
}

bool key_matches(struct str glob, struct str text)
{
	size_t g = 0, t = 0, star = SIZE_MAX, from = 0;

	while (t < text.len) {
		if (g < glob.len && glob.p[g] == '*') {
			star = g++;
			from = t;
		} else if (g < glob.len && (glob.p[g] == '?' || glob.p[g] == text.p[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX) { /* let the last star take one more */
			g = star + 1;
			t = ++from;
		} else {
			return false;
		}
	}
	while (g < glob.len && glob.p[g] == '*')
		g++;
	return g == glob.len;
}

static const struct key_entry *list_find(const struct key_list *list, struct str key, bool glob)
{
	for (size_t i = 0; i < list->cnt; i++) {
		const struct key_entry *at = &list->item[i];

		if (at->is_glob == glob &&
		    (glob ? key_matches(at->key, key) : str_eq(at->key, key)))
			return at;
	}
	return NULL;
}

static bool contains_nocase(struct str s, const char *what)
{
	size_t len = strlen(what);

	for (; s.len >= len; s = str_from(s, 1))
		if (str_eq_nocase((struct str){ s.p, len }, str_of(what)))
			return true;
	return false;
}

/* sql.query, db.sql, cassandra.statement: whatever an instrumentation calls it. */
static bool names_statement(struct str key)
{
	return (contains_nocase(key, "sql") || contains_nocase(key, "query") ||
		contains_nocase(key, "statement")) &&
	       !str_eq(key, STR("db.query.summary")); /* has no literals by its definition */
}

static bool names_command(struct str key)
{
	return str_starts(key, STR("process.command")) || str_eq(key, STR("process.args")) ||
	       str_ends(key, STR("command_line")) || str_ends(key, STR("cmdline")) ||
	       str_ends(key, STR("command_args"));
}

static bool names_number(struct str key)
{
	char buf[NAME_PART_MAX];

	return ends_with_any(last_part(key, buf), number_endings, ARRAY_LEN(number_endings));
}

/* Names of the conventions as they are and, for spans of older libraries, as they were. */
static enum key_kind known_kind(struct str key)
{
	if (str_eq(key, STR("db.query.text")) || str_eq(key, STR("db.statement")))
		return KEY_QUERY;
	if (str_starts(key, STR("db.query.parameter.")))
		return KEY_PARAMETER;
	if (in_list(key, safe_keys, ARRAY_LEN(safe_keys)) ||
	    ends_with_any(key, id_endings, ARRAY_LEN(id_endings)))
		return KEY_SAFE;
	if (name_is_secret(key))
		return KEY_SECRET;
	if (str_starts(key, STR("url.")) || str_eq(key, STR("http.url")) ||
	    str_eq(key, STR("http.target")))
		return KEY_URL;
	if (str_starts(key, STR("http.request.header.")) ||
	    str_starts(key, STR("http.response.header.")))
		return KEY_HEADER;
	if (names_command(key))
		return KEY_COMMAND;
	if (names_statement(key))
		return KEY_STATEMENT;
	return str_eq(key, STR("exception.message")) ? KEY_MESSAGE : KEY_TEXT;
}

struct verdict key_verdict(const struct redact_rules *rules, struct str key)
{
	for (int glob = 0; glob < 2; glob++) {
		const struct key_entry *denied = list_find(&rules->deny, key, glob);

		if (denied)
			return (struct verdict){ .kind = KEY_DENIED,
						 .action = (uint8_t)denied->action };
		if (list_find(&rules->allow, key, glob))
			return (struct verdict){ .kind = KEY_ALLOWED };
	}
	return (struct verdict){ .kind = (uint8_t)known_kind(key),
				 .action = (uint8_t)rules->rule[RULE_CREDENTIAL].action,
				 .cards = known_kind(key) != KEY_SAFE && !names_number(key) };
}
