/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: pages, and one consistent reading of all books. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H

#include "api/api.h"
#include "core/books.h"

#define STAGES_MAX 64

/* Every stage once; books of one stage and unit are added up. */
struct ledger {
	struct books stage[STAGES_MAX];
	size_t cnt;
};

void ledger_read(struct ledger *l);

/* About this process; 0 where /proc does not tell. */
struct self {
	double cpu_s;
	double rss_bytes;
	double start_s; /* Unix time */
	double open_fds;
};

void self_read(struct self *s);

/* Pages, appended to out; check out->failed. */
void page_metrics(const struct api_cfg *cfg, struct buf *out, bool openmetrics);
void page_status(const struct api_cfg *cfg, struct buf *out);
/* Returns whether all parts are ok. */
bool page_health(const struct api_cfg *cfg, enum api_health kind, struct buf *out);

/* Whether an Accept header (empty: none) prefers OpenMetrics to the text format. */
bool accept_openmetrics(struct str accept);
/* Whether a Host header (empty: none) names this machine or is an address. */
bool host_is_local(struct str host);

#endif
