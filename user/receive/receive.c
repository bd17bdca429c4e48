/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: which servers there are, and their threads. */
#include "receive/receive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/listen.h"
#include "receive/server.h"

#define THREADS_MAX   16
#define FDS_OF_OTHERS 256 /* of the process, besides connections */

struct receive {
	struct gate gate;
	uint16_t http_port, grpc_port;
	struct http_server *http[THREADS_MAX];
	struct grpc_server *grpc[THREADS_MAX];
};

/* As many descriptors as may be had; no more connections than there are descriptors for. */
static void fit_connections(struct receive_cfg *cfg)
{
	uint32_t servers =
		(cfg->http ? cfg->http_threads : 0) + (cfg->grpc ? cfg->grpc_threads : 0);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || !servers)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) && getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		return;
	limit.rlim_cur =
		limit.rlim_cur > 2 * FDS_OF_OTHERS ? limit.rlim_cur - FDS_OF_OTHERS : FDS_OF_OTHERS;
	cfg->connections_max =
		(uint32_t)MIN((rlim_t)cfg->connections_max, limit.rlim_cur / servers);
}

static int check(const struct receive_cfg *cfg, char why[RECEIVE_WHY_MAX])
{
	if (cfg->cert_file || cfg->key_file || cfg->client_ca_file) {
		snprintf(why, RECEIVE_WHY_MAX,
			 "TLS is not offered by the receivers; put a proxy in front of them");
		return -EOPNOTSUPP;
	}
	if (cfg->http_threads > THREADS_MAX || cfg->grpc_threads > THREADS_MAX) {
		snprintf(why, RECEIVE_WHY_MAX, "at most %d threads of each receiver", THREADS_MAX);
		return -EINVAL;
	}
	return 0;
}

static int open_socket(const char *where, const char *what, struct listening *ret,
		       char why[RECEIVE_WHY_MAX])
{
	int err = listen_open(where, ret);

	if (err == -EINVAL)
		snprintf(why, RECEIVE_WHY_MAX, "%s: \"%s\" is no ADDR:PORT or [ADDR]:PORT", what,
			 where);
	else if (err)
		snprintf(why, RECEIVE_WHY_MAX, "%s: listen on %s: %s%s", what, where,
			 strerror(-err), listen_advice(err));
	return err;
}

static int start_http(struct receive *r, char why[RECEIVE_WHY_MAX])
{
	const struct receive_cfg *cfg = &r->gate.cfg;
	struct listening at;
	int err = open_socket(cfg->http, "OTLP/HTTP", &at, why);

	if (err)
		return err;
	r->http_port = at.port;
	for (uint32_t i = 0; i < cfg->http_threads && !err; i++)
		err = http_server_new(&r->gate, at.fd, &r->http[i], why);
	close(at.fd);
	return err;
}

static int start_grpc(struct receive *r, char why[RECEIVE_WHY_MAX])
{
	const struct receive_cfg *cfg = &r->gate.cfg;
	struct listening at;
	int err = open_socket(cfg->grpc, "OTLP/gRPC", &at, why);

	if (err)
		return err;
	r->grpc_port = at.port;
	for (uint32_t i = 0; i < cfg->grpc_threads && !err; i++)
		err = grpc_server_new(&r->gate, at.fd, &r->grpc[i], why);
	close(at.fd);
	return err;
}

int receive_new(const struct receive_cfg *cfg, struct receive **ret_receive,
		char why[RECEIVE_WHY_MAX])
{
	struct receive *r;
	int err = check(cfg, why);

	if (err)
		return err;
	r = calloc(1, sizeof(*r));
	if (!r) {
		snprintf(why, RECEIVE_WHY_MAX, "receivers: no memory");
		return -ENOMEM;
	}
	gate_init(&r->gate, cfg);
	fit_connections(&r->gate.cfg);
	err = cfg->http ? start_http(r, why) : 0;
	if (!err && cfg->grpc)
		err = start_grpc(r, why);
	if (err) {
		receive_free(r);
		return err;
	}
	*ret_receive = r;
	return 0;
}

uint16_t receive_http_port(const struct receive *r)
{
	return r->http_port;
}

uint16_t receive_grpc_port(const struct receive *r)
{
	return r->grpc_port;
}

void receive_free(struct receive *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < THREADS_MAX; i++) {
		http_server_free(r->http[i]);
		grpc_server_free(r->grpc[i]);
	}
	gate_fini(&r->gate);
	free(r);
}
