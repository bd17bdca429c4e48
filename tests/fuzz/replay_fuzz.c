/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile recording through the real chain: file, gate, stream. The input is the file's bytes;
 * besides memory errors, chunks that do not touch and books that do not balance are faults.
 */
#include "core/books.h"
#include "stream/stream.h"

#include <stdlib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIDES 4096

static struct stream *stream;
static struct side {
	uint64_t conn, next;
	bool known;
} side[SIDES][2];

static void check_chunk(void *ctx, const struct chunk *c)
{
	struct side *s = &side[c->conn->id % SIDES][c->dir & 1];

	if (c->kind == CHUNK_CLOSE)
		memset(side[c->conn->id % SIDES], 0, sizeof(side[0]));
	if (c->kind != CHUNK_DATA && c->kind != CHUNK_GAP)
		return;
	if (!c->len || (c->kind == CHUNK_DATA) != (c->data != NULL))
		abort();
	if (s->known && s->conn == c->conn->id && c->pos != s->next)
		abort();
	*s = (struct side){ c->conn->id, c->pos + c->len, true };
}

static void take_record(void *ctx, const struct event_hdr *rec)
{
	if (rec->kind == EVENT_TICK)
		stream_tick(stream, rec->ts_ns);
	stream_push(stream, rec);
}

static void check_books(void *ctx, const struct books *b)
{
	uint64_t dropped = 0;

	for (int i = 0; i < BOOKS_REASONS; i++)
		dropped += b->dropped[i];
	if (b->in != b->out + b->held + dropped)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream_cfg cfg = { .max_conns = 16 };
	struct gate *gate = gate_new((struct event_sink){ .push = take_record });
	int fd = memfd_create("recording", MFD_CLOEXEC);
	char path[32];

	memset(side, 0, sizeof(side));
	stream = stream_new(&cfg, (struct chunk_sink){ .push = check_chunk });
	if (fd < 0 || !gate || !stream || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	replay_file(path, gate, NULL);
	stream_flush(stream);
	books_each(check_books, NULL);
	close(fd);
	gate_free(gate);
	stream_free(stream);
	return 0;
}
