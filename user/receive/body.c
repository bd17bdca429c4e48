/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body, decompressed as it comes, so that a bomb ends when it passes the limit and not
 * later. What grows far beyond what came is one, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "receive/server.h"

#define STEP_BYTES	(64u << 10)
#define RATIO_MAX	256
#define RATIO_FROM	(4u << 20) /* smaller bodies may be as regular as they like */
#define ZSTD_WINDOW_LOG 23	   /* 8 MiB, what decoders are asked to support */

enum coding coding_of(struct str name)
{
	if (!name.len || str_eq_nocase(name, STR("identity")))
		return CODING_IDENTITY;
	if (str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip")))
		return CODING_GZIP;
	return str_eq_nocase(name, STR("zstd")) ? CODING_ZSTD : CODING_UNKNOWN;
}

void body_init(struct body *b, struct gate *g, enum coding c)
{
	*b = (struct body){ .gate = g, .coding = c, .data = { .cap = g->cfg.body_max } };
}

/* Room for at least one byte more, at most len; 0 or -errno. */
static int make_room(struct body *b, size_t len)
{
	size_t left = b->data.cap - b->data.len, had = b->data.size, more;

	if (!left)
		return -EFBIG;
	len = MIN(len, left);
	if (b->data.p && b->data.size - b->data.len >= len)
		return 0;
	/* asked for before it is allocated; doubling is the most that a buffer grows by */
	more = MAX(b->data.len + len, 2 * had);
	if (!gate_hold(b->gate, more - had))
		return -ENOBUFS;
	if (buf_reserve(&b->data, len)) {
		gate_release(b->gate, more - had);
		return -ENOMEM;
	}
	gate_release(b->gate, more - had);
	__atomic_add_fetch(&b->gate->held, b->data.size - had, __ATOMIC_RELAXED);
	return 0;
}

static int add_plain(struct body *b, const void *p, size_t len)
{
	int err;

	if (len > b->data.cap - b->data.len)
		return -EFBIG;
	err = len ? make_room(b, len) : 0;
	return err ? err : buf_add(&b->data, p, len);
}

static int check_ratio(const struct body *b)
{
	return b->data.len > RATIO_FROM && b->data.len / RATIO_MAX > b->wire ? -EFBIG : 0;
}

/* One step of zlib; 1: all input was taken. */
static int step_gzip(struct body *b, z_stream *z)
{
	size_t room;
	int ret;

	/* another member may follow the first */
	if (b->ended) {
		if (inflateReset(z) != Z_OK)
			return -EBADMSG;
		b->ended = false;
	}
	room = b->data.size - b->data.len;
	z->next_out = (Bytef *)b->data.p + b->data.len;
	z->avail_out = (uInt)MIN(room, b->data.cap - b->data.len);
	room = z->avail_out;
	ret = inflate(z, Z_NO_FLUSH);
	b->data.len += room - z->avail_out;
	if (ret == Z_STREAM_END)
		b->ended = true;
	else if (ret != Z_OK && ret != Z_BUF_ERROR)
		return ret == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
	return !z->avail_in && (b->ended || z->avail_out);
}

static int add_gzip(struct body *b, const void *p, size_t len)
{
	z_stream *z = b->decompressor;
	int err = 0;

	if (!z) {
		z = b->decompressor = calloc(1, sizeof(*z));
		if (!z || inflateInit2(z, 16 + MAX_WBITS) != Z_OK)
			return -ENOMEM;
	}
	z->next_in = (Bytef *)p;
	z->avail_in = (uInt)len;
	while (!err) {
		err = make_room(b, STEP_BYTES);
		if (!err)
			err = step_gzip(b, z);
		if (!err || err == 1) {
			int bomb = check_ratio(b);
			err = bomb ? bomb : err;
		}
	}
	return err == 1 ? 0 : err;
}

static int add_zstd(struct body *b, const void *p, size_t len)
{
	ZSTD_DStream *z = b->decompressor;
	ZSTD_inBuffer in = { p, len, 0 };
	bool full = true;
	int err = 0;

	if (!z) {
		z = b->decompressor = ZSTD_createDStream();
		if (!z)
			return -ENOMEM;
		ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	}
	/* what is left inside comes out when there was no more room for it */
	while (!err && (in.pos < in.size || full)) {
		ZSTD_outBuffer out;
		size_t left;

		err = make_room(b, STEP_BYTES);
		if (err)
			break;
		out = (ZSTD_outBuffer){ b->data.p, MIN(b->data.size, b->data.cap), b->data.len };
		left = ZSTD_decompressStream(z, &out, &in);
		if (ZSTD_isError(left))
			return -EBADMSG;
		full = out.pos == out.size && left;
		b->data.len = out.pos;
		b->ended = left == 0;
		err = check_ratio(b);
	}
	return err;
}

int body_add(struct body *b, const void *p, size_t len)
{
	size_t before = b->data.len;
	int err;

	b->wire += len;
	if (!len)
		return 0;
	switch (b->coding) {
	case CODING_IDENTITY: err = add_plain(b, p, len); break;
	case CODING_GZIP: err = add_gzip(b, p, len); break;
	case CODING_ZSTD: err = add_zstd(b, p, len); break;
	default: err = -EBADMSG;
	}
	gate_charge(b->gate, b->data.len - before);
	return err;
}

int body_end(const struct body *b)
{
	return b->coding == CODING_IDENTITY || !b->wire || b->ended ? 0 : -EBADMSG;
}

void body_fini(struct body *b)
{
	if (!b->gate)
		return;
	if (b->decompressor && b->coding == CODING_GZIP) {
		inflateEnd(b->decompressor);
		free(b->decompressor);
	} else if (b->decompressor) {
		ZSTD_freeDStream(b->decompressor);
	}
	gate_release(b->gate, b->data.size);
	buf_fini(&b->data);
	*b = (struct body){ 0 };
}
