/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of OTLP/gRPC share: the wire below HTTP/2, and what an answer means. */
#ifndef EXPORT_GRPC_H
#define EXPORT_GRPC_H

#include <sys/types.h>

#include "export/internal.h"

/* ---- the wire: TCP by libcurl (names, proxies, waiting), TLS by GnuTLS ---------------------- */

struct wire;
int wire_new(const struct exporter_cfg *cfg, const char *endpoint, struct wire **ret_wire,
	     char why[EXPORTER_WHY_MAX]);
void wire_free(struct wire *w);
const char *wire_scheme(const struct wire *w);	  /* "http", "https" */
const char *wire_authority(const struct wire *w); /* HOST:PORT */
bool wire_is_up(const struct wire *w);
/* Connects, until deadline_ns (monotonic) or *stop_ns. 0, or an error and why. */
int wire_open(struct wire *w, uint64_t deadline_ns, const uint64_t *stop_ns, char why[ANSWER_TEXT]);
void wire_close(struct wire *w);
/* Bytes moved, -EAGAIN, or -EIO; 0 of a receive is the peer's end. */
ssize_t wire_send(struct wire *w, const void *p, size_t len);
ssize_t wire_recv(struct wire *w, void *p, size_t len);
/* Waits until it can be read from, or written to when 'writing'. 0, -ETIMEDOUT, or -ECANCELED. */
int wire_wait(struct wire *w, bool writing, uint64_t deadline_ns, const uint64_t *stop_ns);
const char *wire_error(const struct wire *w); /* why it ended */
void wire_wake(struct wire *w);		      /* from another thread */

/* ---- the answer --------------------------------------------------------------------------- */

struct grpc_reply {
	uint32_t http_status; /* 0: none came */
	bool has_status;
	uint32_t status;	   /* grpc-status */
	char message[ANSWER_TEXT]; /* grpc-message, decoded; printable */
	struct answer details;	   /* grpc-status-details-bin */
	struct buf body;	   /* messages with their frames; capped */
};

/* One header or trailer; others than gRPC's are left alone. */
void grpc_reply_header(struct grpc_reply *r, struct str name, struct str value);
void grpc_reply_judge(const struct grpc_reply *r, struct verdict *ret);

#endif
