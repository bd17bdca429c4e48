/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of exporters share: spans to push, books to read, a folder of their own. */
#ifndef TESTS_EXPORT_RIG_H
#define TESTS_EXPORT_RIG_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "export/internal.h"
#include "span_gen.h"

static const struct retry_policy rig_quick = { 5, 20 };
static struct resource *rig_resource[3];
static char rig_dir[] = "/tmp/telltale_export.XXXXXX";
static const char *rig_stage;

static inline void rig_copy_books(void *ctx, const struct books *b)
{
	if (!strcmp(b->stage, rig_stage))
		*(struct books *)ctx = *b;
}

static inline struct books rig_books(const char *stage)
{
	struct books b = { 0 };

	rig_stage = stage;
	books_each(rig_copy_books, &b);
	return b;
}

static inline uint64_t rig_lost(const struct books *b, const char *reason)
{
	uint64_t sum = 0;

	for (int i = 0; i < BOOKS_REASONS && b->reason[i]; i++)
		if (!reason || !strcmp(b->reason[i], reason))
			sum += b->dropped[i];
	return sum;
}

/* Waits until all that came in went out or was dropped, for at most 20 s. */
static inline struct books rig_settle(const char *stage)
{
	struct books b = rig_books(stage);

	for (int i = 0; i < 4000 && (b.held || b.in != b.out + rig_lost(&b, NULL)); i++) {
		usleep(5000);
		b = rig_books(stage);
	}
	assert_int_equal(b.held, 0);
	assert_int_equal(b.in, b.out + rig_lost(&b, NULL));
	return b;
}

static inline void rig_push(struct exporter *e, uint32_t cnt)
{
	struct gen g = { 11, arena_new(0) };

	for (uint32_t i = 0; i < cnt; i++)
		exporter_push(e, gen_http_span(&g, rig_resource[i % 3]));
	arena_free(g.mem);
}

/* An exporter of quick retries and short delays, to one endpoint unless cfg says others. */
static inline struct exporter *rig_start(struct exporter_cfg cfg, const char *endpoint)
{
	char why[EXPORTER_WHY_MAX] = "";
	struct exporter *e = NULL;

	if (!cfg.endpoint_cnt) {
		cfg.endpoints = &endpoint;
		cfg.endpoint_cnt = 1;
	}
	cfg.delay_ms = cfg.delay_ms ? cfg.delay_ms : 300; /* full batches do not wait */
	if (exporter_new_with(&cfg, &rig_quick, &e, why))
		fail_msg("%s", why);
	return e;
}

static inline int rig_refused(struct exporter_cfg cfg, const char *endpoint, const char *want)
{
	char why[EXPORTER_WHY_MAX] = "";
	struct exporter *e = NULL;
	int err;

	cfg.endpoints = &endpoint;
	cfg.endpoint_cnt = 1;
	err = exporter_new(&cfg, &e, why);
	assert_null(e);
	if (!strstr(why, want))
		fail_msg("\"%s\" does not say \"%s\"", why, want);
	return err;
}

/* A path in the folder, kept until the second next call. */
static inline const char *rig_path(const char *name)
{
	static char path[4][128];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", rig_dir, name);
	return path[turn];
}

static inline int rig_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static inline int rig_setup(void **state)
{
	struct gen g = { 42, NULL };

	unsetenv("http_proxy");
	unsetenv("https_proxy");
	unsetenv("HTTPS_PROXY");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	for (uint32_t i = 0; i < ARRAY_LEN(rig_resource); i++)
		rig_resource[i] = gen_resource(&g, i);
	return mkdtemp(rig_dir) ? 0 : -1;
}

static inline int rig_teardown(void **state)
{
	for (uint32_t i = 0; i < ARRAY_LEN(rig_resource); i++)
		resource_put(rig_resource[i]);
	return nftw(rig_dir, rig_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
