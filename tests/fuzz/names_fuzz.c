/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile files of container runtimes: what they tell is whole or nothing. */
#include "discover/internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void check(const char field[SHORT_MAX])
{
	if (!memchr(field, 0, SHORT_MAX))
		abort();
}

static void check_all(const struct names *n, bool told)
{
	static const struct names none;

	if (!told && memcmp(n, &none, sizeof(none)) != 0)
		abort();
	check(n->service);
	check(n->container);
	check(n->image);
	check(n->k8s_namespace);
	check(n->k8s_pod);
	check(n->k8s_pod_uid);
	check(n->k8s_container);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool (*const readers[])(struct str, struct str, struct names *) = {
		names_from_docker, names_from_oci,     names_from_storage,
		names_from_log,	   names_from_pod_dir,
	};
	struct str text = { (const char *)data, size };

	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		struct names n = { 0 };
		bool told = readers[i](text, STR(ID), &n);

		check_all(&n, told);
	}
	return 0;
}
