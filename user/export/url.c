/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: what of them may be shown, and whether they are our own. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "export/internal.h"

int url_without_secrets(const char *url, char **ret_url)
{
	static const CURLUPart secret[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
					    CURLUPART_FRAGMENT };
	CURLU *u = curl_url();
	char *text = NULL;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, 0))
		goto out;
	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		curl_url_set(u, secret[i], NULL, 0);
	if (curl_url_get(u, CURLUPART_URL, &text, 0))
		goto out;
	*ret_url = strdup(text);
	err = *ret_url ? 0 : -ENOMEM;
out:
	curl_free(text);
	curl_url_cleanup(u);
	return err;
}

/* ---- our own ---- */

/* Addresses are compared as IPv6, where IPv4 has its place (RFC 4291, 2.5.5.2). */
static struct in6_addr v4_to_in6(const struct in_addr *v4)
{
	struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	memcpy(a.s6_addr + 12, v4, sizeof(*v4));
	return a;
}

static bool to_in6(const struct sockaddr *a, struct in6_addr *ret)
{
	if (a && a->sa_family == AF_INET6)
		*ret = ((const struct sockaddr_in6 *)a)->sin6_addr;
	else if (a && a->sa_family == AF_INET)
		*ret = v4_to_in6(&((const struct sockaddr_in *)a)->sin_addr);
	else
		return false;
	return true;
}

static bool text_to_in6(const char *text, struct in6_addr *ret)
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, ret) == 1)
		return true;
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	*ret = v4_to_in6(&v4);
	return true;
}

static bool is_any(const struct in6_addr *a)
{
	static const uint8_t v4_any[16] = { [10] = 0xff, [11] = 0xff };

	return IN6_IS_ADDR_UNSPECIFIED(a) || !memcmp(a, v4_any, sizeof(v4_any));
}

static bool is_loopback(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* Whether this machine has that address. */
static bool is_local(const struct in6_addr *a)
{
	struct ifaddrs *list = NULL;
	struct in6_addr one;
	bool found = is_loopback(a) || is_any(a);

	if (found || getifaddrs(&list))
		return found;
	for (struct ifaddrs *i = list; i && !found; i = i->ifa_next)
		found = to_in6(i->ifa_addr, &one) && !memcmp(a, &one, sizeof(one));
	freeifaddrs(list);
	return found;
}

static bool is_ours(const struct in6_addr *to, const struct own_address *own)
{
	struct in6_addr listens;

	if (!text_to_in6(own->host, &listens))
		return false;
	if (is_any(&listens))
		return is_local(to);
	/* Connecting to no address reaches this machine's loopback. */
	return !memcmp(to, &listens, sizeof(listens)) || (is_any(to) && is_loopback(&listens));
}

/* Host and port of a URL, or of HOST:PORT. 0, -EINVAL or -ENOMEM. */
static int split(const char *url, char **ret_host, char **ret_port)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL;
	unsigned int flags = strstr(url, "://") ? 0 : CURLU_GUESS_SCHEME;
	size_t len;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, url, flags) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		goto out;
	len = strlen(host);
	if (len > 2 && host[0] == '[')
		*ret_host = strndup(host + 1, len - 2);
	else
		*ret_host = strdup(host);
	*ret_port = strdup(port);
	err = *ret_host && *ret_port ? 0 : -ENOMEM;
out:
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return err;
}

/* libcurl, like RFC 6761, takes localhost and what ends in .localhost for both loopbacks, whatever
 * the resolver says. */
static bool is_localhost(const char *host)
{
	struct str name = str_of(host), top = STR("localhost");

	if (name.len && name.p[name.len - 1] == '.')
		name.len--;
	if (name.len > top.len && name.p[name.len - top.len - 1] != '.')
		return false;
	return name.len >= top.len && str_eq_nocase(str_from(name, name.len - top.len), top);
}

static bool localhost_is(const struct own_address *own)
{
	static const char *const loopback[] = { "127.0.0.1", "::1" };
	struct in6_addr to;

	for (size_t i = 0; i < ARRAY_LEN(loopback); i++)
		if (text_to_in6(loopback[i], &to) && is_ours(&to, own))
			return true;
	return false;
}

int exporter_is_own(const char *url, const struct own_address *own, size_t cnt)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char *host = NULL, *port = NULL;
	struct in6_addr to;
	int result = split(url, &host, &port);
	unsigned long number;

	if (result)
		goto out;
	number = strtoul(port, NULL, 10);
	for (size_t i = 0; i < cnt && !result; i++)
		result = own[i].port == number;
	/* The name is asked for only where the port would fit. */
	if (!result)
		goto out;
	result = 0;
	if (is_localhost(host)) {
		for (size_t i = 0; i < cnt && !result; i++)
			result = own[i].port == number && localhost_is(&own[i]);
		goto out;
	}
	if (getaddrinfo(host, port, &hint, &list)) {
		result = -EHOSTUNREACH;
		goto out;
	}
	for (struct addrinfo *a = list; a && !result; a = a->ai_next)
		for (size_t i = 0; i < cnt && !result; i++)
			result = own[i].port == number && to_in6(a->ai_addr, &to) &&
				 is_ours(&to, &own[i]);
out:
	if (list)
		freeaddrinfo(list);
	free(host);
	free(port);
	return result;
}
