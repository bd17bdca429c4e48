/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for values that a type alone does not express. */
#include "config/internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>

#include "core/listen.h"

#define HOST_MAX 255

static bool printable(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	}
	return true;
}

bool check_name(struct str s)
{
	return s.len > 0 && printable(s);
}

static bool check_port(struct str s)
{
	uint64_t port;
	return s.len <= 5 && str_to_u64(s, &port) && port <= 65535;
}

bool check_receiver(struct str s)
{
	return str_eq(s, STR("off")) || listen_valid(s);
}

bool check_store(struct str s)
{
	struct str engine = STR("clickhouse+");

	return str_starts(s, engine) ? check_url(str_from(s, engine.len)) : check_name(s);
}

/* NAME=ACTION or NAME=ACTION:PATTERN; the room compiles the pattern. */
bool check_redact_rule(struct str s)
{
	ptrdiff_t eq = str_find(s, '='), colon = str_find(s, ':');
	size_t end = colon < 0 ? s.len : (size_t)colon;
	struct str action;

	if (eq < 1 || end < (size_t)eq || end + 1 == s.len)
		return false;
	action = (struct str){ s.p + eq + 1, end - (size_t)eq - 1 };
	return str_eq(action, STR("mask")) || str_eq(action, STR("hash")) ||
	       str_eq(action, STR("drop"));
}

bool check_sampling_service(struct str s)
{
	ptrdiff_t eq = str_find(s, '=');
	char number[32], *end;
	struct str how;

	if (eq < 1)
		return false;
	how = str_from(s, (size_t)eq + 1);
	if (str_eq(how, STR("always")) || str_eq(how, STR("never")))
		return true;
	if (!how.len || how.len >= sizeof(number))
		return false;
	memcpy(number, how.p, how.len);
	number[how.len] = '\0';
	return strtod(number, &end) >= 0 && strtod(number, NULL) <= 1 && !*end;
}

static bool host_char(char c)
{
	return isalnum((unsigned char)c) || strchr("-._~%", c);
}

static bool numeric_v6(struct str s)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (s.len >= sizeof(host))
		return false;
	memcpy(host, s.p, s.len);
	host[s.len] = '\0';
	return inet_pton(AF_INET6, host, &addr) == 1;
}

/* Perhaps a user, a host, perhaps a port (RFC 3986, 3.2). */
static bool check_authority(struct str host)
{
	size_t end = 0;

	for (size_t i = host.len; i-- > 0;) {
		if (host.p[i] == '@') {
			host = str_from(host, i + 1);
			break;
		}
	}
	if (host.len && host.p[0] == '[') {
		ptrdiff_t close = str_find(host, ']');
		if (close < 0 || !numeric_v6((struct str){ host.p + 1, (size_t)close - 1 }))
			return false;
		host = str_from(host, (size_t)close + 1);
		return host.len == 0 || (host.p[0] == ':' && check_port(str_from(host, 1)));
	}
	while (end < host.len && host_char(host.p[end]))
		end++;
	if (!end || end > HOST_MAX)
		return false;
	host = str_from(host, end);
	return host.len == 0 || (host.p[0] == ':' && check_port(str_from(host, 1)));
}

/* http or https, and perhaps a path. */
bool check_url(struct str s)
{
	struct str rest;
	size_t end = 0;

	if (!printable(s) || str_find(s, ' ') >= 0 || str_find(s, '#') >= 0)
		return false;
	if (s.len > 7 && strncasecmp(s.p, "http://", 7) == 0)
		rest = str_from(s, 7);
	else if (s.len > 8 && strncasecmp(s.p, "https://", 8) == 0)
		rest = str_from(s, 8);
	else
		return false;
	while (end < rest.len && rest.p[end] != '/' && rest.p[end] != '?')
		end++;
	return check_authority((struct str){ rest.p, end });
}

/* A URL; or HOST:PORT, which is enough for gRPC. */
bool check_endpoint(struct str s)
{
	return check_url(s) || (str_find(s, ':') > 0 && str_find(s, '@') < 0 && check_authority(s));
}

/* k=v,k2=v2; keys are tokens of RFC 9110, 5.6.2; values are percent-encoded (W3C baggage). */
bool check_headers(struct str s)
{
	if (!printable(s))
		return false;
	while (s.len) {
		ptrdiff_t comma = str_find(s, ',');
		struct str item = str_trim(comma < 0 ? s : (struct str){ s.p, (size_t)comma });
		ptrdiff_t eq = str_find(item, '=');

		s = comma < 0 ? str_from(s, s.len) : str_from(s, (size_t)comma + 1);
		if (item.len == 0)
			continue;
		if (eq < 0)
			return false;
		item = str_trim((struct str){ item.p, (size_t)eq });
		if (!item.len)
			return false;
		for (size_t i = 0; i < item.len; i++) {
			if (!isalnum((unsigned char)item.p[i]) &&
			    !strchr("!#$%&'*+-.^_`|~", item.p[i]))
				return false;
		}
	}
	return true;
}
