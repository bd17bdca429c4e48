/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies that wait on disk, in order, and survive the process. A folder of append-only segments;
 * each record carries checksums of its head and of its body, and a mark that is set in place when
 * it has been dealt with. A segment whose records are all marked is unlinked, the last one emptied.
 * At the start a torn tail is cut off. A record is durable (fdatasync) when spool_add returns.
 *
 * One thread adds, one takes. flock keeps a second process out.
 */
#ifndef EXPORT_SPOOL_H
#define EXPORT_SPOOL_H

#include "export/internal.h"

struct spool;

struct spool_resumed {
	uint64_t spans;	     /* that wait */
	uint64_t torn_spans; /* of a record whose end was cut off, when its head tells */
	uint64_t torn_bytes;
};

/* format: its name; a spool in which spans wait in another format is refused. 0, or an error
 * (-EBUSY: another process has it) and why. */
int spool_open(const char *dir, const char *format, uint64_t bytes_max, struct spool **ret_spool,
	       struct spool_resumed *ret_resumed, char why[EXPORTER_WHY_MAX]);
void spool_close(struct spool *s);
/* 0, -ENOBUFS when it is full, or -errno of the disk. */
int spool_add(struct spool *s, struct str body, uint32_t spans);

struct spool_record {
	struct str body; /* the spool's, until the next call */
	uint64_t spans;
	bool damaged; /* its checksum is wrong, or it cannot be read: deal with it as lost */
};
/* The oldest record that is not done; 0, or -ENOENT when there is none. */
int spool_peek(struct spool *s, struct spool_record *ret);
/* The record peeked at has been dealt with. */
void spool_done(struct spool *s);
uint64_t spool_size(struct spool *s); /* bytes on disk; from any thread */

#endif
