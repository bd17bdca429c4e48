/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is traced, as it can be changed at run time: filters of processes, and receivers. The list
 * is kept in a JSON file that is replaced as a whole (mode 0600); every change appends one line to
 * an audit file: when, who, what it was before and what after.
 */
#ifndef API_SOURCES_H
#define API_SOURCES_H

#include "core/str.h"

#define SOURCES_MAX	64
#define SOURCE_WHY_MAX	256
#define SOURCE_ID_MAX	40
#define SOURCE_TEXT_MAX 256
#define SOURCE_PEER_MAX 64

enum source_kind { SOURCE_PROCESS, SOURCE_RECEIVER };

/* A process filter matches what satisfies all that is set, at least one of pid, name, cgroup and
 * port. A receiver has a protocol and an address. */
struct source {
	char id[SOURCE_ID_MAX]; /* given by sources_add() */
	enum source_kind kind;
	bool enabled;
	bool failed;		      /* it could not be had at the start; the list's own */
	bool exclude;		      /* SOURCE_PROCESS: what it matches is left alone */
	uint32_t pid;		      /* 0: any */
	uint16_t port;		      /* it listens on; 0: any */
	char name[SOURCE_TEXT_MAX];   /* glob of the program's name */
	char cgroup[SOURCE_TEXT_MAX]; /* path below the cgroup mount; what is below it too */
	char protocol[16];	      /* SOURCE_RECEIVER: otlp-http, otlp-grpc or zipkin */
	char listen[64];	      /* ADDR:PORT */
	char note[SOURCE_TEXT_MAX];
};

/*
 * What /traces/sources asks for. peer is who asked, for the audit. All return 0 or -errno with one
 * line in why: -EINVAL (a 400), -ENOENT (404), -EEXIST, -EBUSY (409), -ENOSPC (507), others 500.
 */
struct api_sources {
	void *ctx;
	int (*list)(void *ctx, void (*row)(void *row_ctx, const struct source *s), void *row_ctx);
	/* s->id is filled in. */
	int (*add)(void *ctx, struct source *s, const char *peer, char why[SOURCE_WHY_MAX]);
	int (*change)(void *ctx, const struct source *s, const char *peer,
		      char why[SOURCE_WHY_MAX]);
	int (*remove)(void *ctx, const char *id, const char *peer, char why[SOURCE_WHY_MAX]);
};

struct sources_cfg {
	const char *file;  /* NULL: nothing is kept */
	const char *audit; /* JSON lines; NULL: none */
	/* Makes a change true before it is kept: before is NULL for a new one, after for one that
	 * goes. Returns 0, or -errno with a line in why: then nothing changes. NULL: all is well.
	 */
	int (*apply)(void *ctx, const struct source *before, const struct source *after,
		     char why[SOURCE_WHY_MAX]);
	void *ctx;
};

struct sources;
/* Reads the file and applies what it holds; one that cannot be applied stays listed, disabled. 0;
 * -EBADMSG: not such a file, why says where. */
int sources_open(const struct sources_cfg *cfg, struct sources **ret_sources,
		 char why[SOURCE_WHY_MAX]);
/* To hand to the server. Valid until sources_close(); thread-safe. */
const struct api_sources *sources_api(const struct sources *s);
void sources_close(struct sources *s);

#endif
