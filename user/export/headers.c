/* SPDX-License-Identifier: Apache-2.0 */
/* Header lists as OTEL_EXPORTER_OTLP_HEADERS has them (W3C baggage without properties). */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>

#include "export/internal.h"

#define HEADERS_MAX 64

static bool is_token(const char *s)
{
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || strchr("()<>@,;:\\\"/[]?={}", *s))
			return false;
	return true;
}

/* A decoded line end would forge another header, a NUL would hide what follows. */
static bool is_value(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((uint8_t)s[i] < ' ' && s[i] != '\t') || s[i] == 0x7f)
			return false;
	return true;
}

static int decode_pair(struct str pair, int (*add)(void *ctx, const char *name, const char *value),
		       void *ctx)
{
	ptrdiff_t eq = str_find(pair, '=');
	struct str value;
	char *name, *plain;
	int len = 0, err = -EBADMSG;

	if (eq <= 0)
		return -EBADMSG;
	value = str_trim(str_from(pair, (size_t)eq + 1));
	pair = str_trim((struct str){ pair.p, (size_t)eq });
	name = strndup(pair.p, pair.len);
	plain = curl_easy_unescape(NULL, value.len ? value.p : "", (int)value.len, &len);
	if (!name || !plain)
		err = -ENOMEM;
	else if (name[0] && is_token(name) && is_value(plain, (size_t)len))
		err = add(ctx, name, plain);
	curl_free(plain);
	free(name);
	return err;
}

int headers_each(const char *list, int (*add)(void *ctx, const char *name, const char *value),
		 void *ctx)
{
	struct str left = str_of(list);
	int err = 0;

	for (int i = 0; !err && left.len; i++) {
		ptrdiff_t comma = str_find(left, ',');
		struct str pair = { left.p, comma < 0 ? left.len : (size_t)comma };

		left = str_from(left, pair.len + 1);
		if (str_trim(pair).len)
			err = i < HEADERS_MAX ? decode_pair(str_trim(pair), add, ctx) : -EBADMSG;
	}
	return err;
}
