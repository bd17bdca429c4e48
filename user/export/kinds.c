/* SPDX-License-Identifier: Apache-2.0 */
/* The list of kinds: adding one is a file and a line here. */
#include "export/internal.h"

static const struct kind *const kinds[] = { &kind_otlp_http, &kind_otlp_http_json, &kind_otlp_grpc,
					    &kind_otlp_file, &kind_zipkin,	   &kind_kafka };

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	return NULL;
}
