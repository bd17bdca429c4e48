/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates, errors and durations of every operation, and who calls whom: from every span, before any
 * is sampled away, and for all that each span stands for (span_adjusted_count). Written as
 * Prometheus text under the names of Tempo's metrics generator:
 *
 *   traces_spanmetrics_calls_total, traces_spanmetrics_latency,    service, span_name, span_kind,
 *   traces_spanmetrics_size_total                                  status_code
 *   traces_service_graph_request_total, _request_failed_total,     client, server, connection_type
 *   _request_server_seconds, _request_client_seconds,
 *   _unpaired_spans_total, _dropped_spans_total
 *   traces_target_info                                             service, job, instance, and the
 *                                                                  resource's other attributes
 *
 * A call is a client's span and the server's whose parent it is; the first waits for the other. A
 * client that waits in vain called something that is not traced: its peer's name becomes the
 * server ("virtual_node", "database", "messaging_system"); a server without a parent was called by
 * "user". In OpenMetrics each bucket has the newest trace that fell into it as exemplar.
 *
 * Names are cut after 256 bytes (64 in the graph). A target has at most 32 attributes that are no
 * lists, in the order of their names, each with '_' for what a label's name cannot have; 15 min
 * after its last span it goes.
 *
 * Full: past series_max new operations are counted under span_name "(other)" of service "(other)",
 * so are new pairs of services; spans that cannot wait are counted as dropped. There are at most
 * 1,000 targets.
 */
#ifndef ANALYZE_ANALYZE_H
#define ANALYZE_ANALYZE_H

#include "core/buf.h"
#include "span/span.h"

struct analyze_cfg {
	uint32_t series_max;  /* operations, and pairs of services; default 10000 */
	uint32_t waiting_max; /* spans waiting for their other end; default 65536 */
	uint64_t wait_ns;     /* default 5 s */
};

struct analyze;
struct analyze *analyze_new(const struct analyze_cfg *cfg);
/* Any thread. */
void analyze_push(struct analyze *a, const struct span *s);
/* now_ns: monotonic. */
void analyze_tick(struct analyze *a, uint64_t now_ns);
/* Appends; check out->failed. Any thread. */
void analyze_write(struct analyze *a, bool openmetrics, struct buf *out);
void analyze_free(struct analyze *a);

#endif
