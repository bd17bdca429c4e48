/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: libmicrohttpd on one thread takes requests and sends answers; calls that may
 * take long are answered by workers, while their connection is suspended.
 */
#include "api/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/call.h"
#include "api/live.h"
#include "core/clock.h"
#include "core/listen.h"
#include "core/log.h"
#include "core/patience.h"

#define CONNECTIONS_MIN 64
#define CONNECTIONS_MAX 1200
#define REQUEST_BYTES	(32u << 10) /* a connection's memory in libmicrohttpd */
#define CLOSING_MAX	32	    /* connections that were shut and are about to go */
#define TIMEOUT_S	10u
#define REQUEST_S	30u
#define ANSWER_S	120u
#define WORKERS_DEFAULT 3
#define WORKERS_MAX	16
#define QUEUE_MAX	64
#define TICK_NS		NS_PER_S
#define LIVE_BLOCK	(16u << 10)
#define ANSWERS_MAX	(256u << 20) /* bytes that clients are about to take */

/* A call and where it stands between libmicrohttpd and a worker. */
struct job {
	struct api *api;
	struct MHD_Connection *conn;
	struct call call;
	char *target;
	struct buf body;
	bool routed;	 /* the headers were looked at */
	bool dispatched; /* answered, or a worker will */
	size_t held;	 /* of the answer, in memory until the client took it */
};

struct api {
	struct api_cfg cfg;
	struct MHD_Daemon *daemon;
	struct patience *patience;
	uint64_t late;
	struct gauge late_gauge;
	size_t held;	     /* of all answers; the daemon's thread alone */
	struct listening at; /* fd is the daemon's once it runs */
	struct api_live *live;
	pthread_t worker[WORKERS_MAX];
	uint32_t workers;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *queue[QUEUE_MAX]; /* from first on, around */
	uint32_t first, queued;
	bool stopping;
};

/* ---- deadlines ---- */

static void wait_for(struct MHD_Connection *conn, enum patience_for what, uint32_t seconds)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	patience_wait(info ? info->socket_context : NULL, what, seconds);
}

static void on_connection(void *ctx, struct MHD_Connection *conn, void **client,
			  enum MHD_ConnectionNotificationCode what)
{
	struct api *a = ctx;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		patience_leave(*client);
	else if (info)
		*client = patience_join(a->patience, info->connect_fd, 2 * TIMEOUT_S);
}

static double read_late(void *ctx)
{
	return (double)book_read(ctx);
}

/* ---- answers ---- */

static ssize_t read_live(void *ctx, uint64_t pos, char *to, size_t size)
{
	ssize_t n = live_read(ctx, to, size);

	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void free_live(void *ctx)
{
	live_leave(ctx);
}

/* Suspends the follower's connection until there is something to read. */
static void pause_live(void *ctx)
{
	MHD_suspend_connection(ctx);
}

static void resume_live(void *ctx)
{
	MHD_resume_connection(ctx);
}

static struct MHD_Response *make_response(struct job *job)
{
	struct call *c = &job->call;
	struct MHD_Response *r;

	if (c->follow) {
		live_attach(c->follow, pause_live, resume_live, job->conn);
		r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, LIVE_BLOCK, read_live,
						      c->follow, free_live);
		if (r)
			c->follow = NULL;
		return r;
	}
	if (c->page.failed)
		return NULL;
	r = MHD_create_response_from_buffer(c->page.len, c->page.p, MHD_RESPMEM_MUST_FREE);
	if (r)
		c->page = (struct buf){ 0 };
	return r;
}

static enum MHD_Result send_answer(struct job *job)
{
	struct call *c = &job->call;
	bool follows = c->follow;
	struct MHD_Response *r;
	enum MHD_Result sent;

	job->held = c->page.len;
	job->api->held += job->held;
	r = make_response(job);
	if (!r)
		return MHD_NO;
	/* who follows may do so for ever; live.c drops those that do not keep up */
	wait_for(job->conn, follows ? PATIENCE_OURS : PATIENCE_ANSWER, ANSWER_S);
	MHD_add_response_header(r, "Content-Type", c->type);
	MHD_add_response_header(r, "Cache-Control", "no-store");
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (c->allow)
		MHD_add_response_header(r, "Allow", c->allow);
	if (c->status == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(r, "Retry-After", "1");
	sent = MHD_queue_response(job->conn, c->status, r);
	MHD_destroy_response(r);
	return sent;
}

/* ---- workers ---- */

static struct job *take_job(struct api *a)
{
	struct timespec until;
	struct job *job = NULL;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec++;
	if (!a->queued && !a->stopping)
		pthread_cond_timedwait(&a->wake, &a->lock, &until);
	if (a->queued) {
		job = a->queue[a->first];
		a->first = (a->first + 1) % QUEUE_MAX;
		a->queued--;
	}
	return job;
}

static void *run_worker(void *arg)
{
	struct api *a = arg;
	bool stopping = false;

	while (!stopping) {
		struct job *job;
		bool refuse;

		pthread_mutex_lock(&a->lock);
		job = take_job(a);
		refuse = a->stopping;
		stopping = a->stopping && !a->queued;
		pthread_mutex_unlock(&a->lock);
		if (job) {
			if (refuse)
				call_error(&job->call, 503, "the server is ending");
			else
				call_answer(&job->call);
			MHD_resume_connection(job->conn);
		}
		live_tick(a->live, clock_mono_ns());
	}
	return NULL;
}

/* The connection is suspended before a worker can resume it. */
static bool give_to_worker(struct job *job)
{
	struct api *a = job->api;
	bool given;

	pthread_mutex_lock(&a->lock);
	given = !a->stopping && a->queued < QUEUE_MAX;
	if (given) {
		wait_for(job->conn, PATIENCE_OURS, 0);
		MHD_suspend_connection(job->conn);
		a->queue[(a->first + a->queued++) % QUEUE_MAX] = job;
		pthread_cond_signal(&a->wake);
	}
	pthread_mutex_unlock(&a->lock);
	return given;
}

static int start_workers(struct api *a)
{
	uint32_t want = a->cfg.workers ? MIN(a->cfg.workers, WORKERS_MAX) : WORKERS_DEFAULT;
	int err = 0;

	while (!err && a->workers < want) {
		err = pthread_create(&a->worker[a->workers], NULL, run_worker, a);
		a->workers += !err;
	}
	return -err;
}

static void stop_workers(struct api *a)
{
	pthread_mutex_lock(&a->lock);
	a->stopping = true;
	pthread_cond_broadcast(&a->wake);
	pthread_mutex_unlock(&a->lock);
	while (a->workers)
		pthread_join(a->worker[--a->workers], NULL);
}

/* ---- requests ---- */

/* libmicrohttpd decodes a path as a whole; what is asked for is taken before. */
static void *on_target(void *ctx, const char *target, struct MHD_Connection *conn)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->api = ctx;
	job->conn = conn;
	job->target = strdup(target);
	if (!job->target || !call_init(&job->call, &job->api->cfg)) {
		free(job->target);
		free(job);
		return NULL;
	}
	job->call.live = job->api->live;
	job->call.loopback = job->api->at.loopback;
	return job;
}

static struct str header(struct job *job, const char *name)
{
	return str_of(MHD_lookup_connection_value(job->conn, MHD_HEADER_KIND, name));
}

static void read_headers(struct job *job, const char *method)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(job->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *peer = info ? info->client_addr : NULL;
	struct request *r = &job->call.req;

	*r = (struct request){
		.method = str_of(method),
		.target = str_of(job->target),
		.accept = header(job, "Accept"),
		.host = header(job, "Host"),
		.origin = header(job, "Origin"),
		.tenant = header(job, "X-Scope-OrgID"),
		.body_type = header(job, "Content-Type"),
	};
	if (peer && peer->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, r->peer,
			  sizeof(r->peer));
	else if (peer && peer->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, r->peer,
			  sizeof(r->peer));
}

/* A body that is not wanted, or is too long by its own account, is refused before it comes. */
static bool begin_call(struct job *job, const char *method)
{
	struct str length;
	uint64_t len = 0;

	read_headers(job, method);
	if (!call_route(&job->call))
		return false;
	length = header(job, "Content-Length");
	if (length.len && str_to_u64(length, &len) && len > job->call.end->body_max) {
		call_error(&job->call, 413, "a body of %llu bytes is too much",
			   (unsigned long long)len);
		return false;
	}
	job->body.cap = job->call.end->body_max + 1;
	return true;
}

static enum MHD_Result dispatch(struct job *job)
{
	job->dispatched = true;
	job->call.req.body = buf_str(&job->body);
	if (!job->call.end->slow) {
		call_answer(&job->call);
		return send_answer(job);
	}
	if (job->api->held > ANSWERS_MAX)
		call_error(&job->call, 503, "too many answers are being sent; try again");
	else if (give_to_worker(job))
		return MHD_YES;
	else
		call_error(&job->call, 503, "too many questions at once; try again");
	return send_answer(job);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *conn, const char *path,
				  const char *method, const char *version, const char *body,
				  size_t *body_len, void **req)
{
	struct job *job = *req;

	if (!job)
		return MHD_NO;
	if (!job->routed) {
		job->routed = true;
		wait_for(conn, PATIENCE_REQUEST, REQUEST_S);
		return begin_call(job, method) ? MHD_YES : send_answer(job);
	}
	if (*body_len) {
		/* past the cap the rest is read and forgotten: the answer comes at its end */
		if (buf_add(&job->body, body, *body_len))
			buf_add(&job->body, body, job->body.cap - job->body.len);
		*body_len = 0;
		return MHD_YES;
	}
	return job->dispatched ? send_answer(job) : dispatch(job);
}

static void on_completed(void *ctx, struct MHD_Connection *conn, void **req,
			 enum MHD_RequestTerminationCode why)
{
	struct job *job = *req;

	wait_for(conn, PATIENCE_IDLE, 2 * TIMEOUT_S);
	if (!job)
		return;
	job->api->held -= job->held;
	live_leave(job->call.follow);
	call_fini(&job->call);
	buf_fini(&job->body);
	free(job->target);
	free(job);
	*req = NULL;
}

static void on_log(void *ctx, const char *fmt, va_list ap)
{
	char line[256];

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = 0;
	log_debug("api: %s", line);
}

/* ---- the server ---- */

/* At most half of the descriptors that the process may have. */
static unsigned int connections_max(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur / 2 > CONNECTIONS_MAX)
		return CONNECTIONS_MAX;
	return MAX((unsigned int)files.rlim_cur / 2, CONNECTIONS_MIN);
}

static int start_daemon(struct api *a)
{
	unsigned int max = connections_max();
	int err = patience_new(max, &a->late, &a->patience);

	if (err)
		return err;
	a->daemon = MHD_start_daemon(
		MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG |
			MHD_ALLOW_SUSPEND_RESUME,
		0, NULL, NULL, on_request, a, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, a, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_LISTEN_SOCKET, a->at.fd, MHD_OPTION_CONNECTION_LIMIT,
		max + CLOSING_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, a, MHD_OPTION_END);
	if (!a->daemon)
		return -ENOMEM;
	a->at.fd = -1;
	return 0;
}

static int start(struct api *a)
{
	sigset_t all, was;
	int err;

	/* Signals are for the thread that runs the program. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = start_workers(a);
	if (!err)
		err = start_daemon(a);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err;
}

int api_new(const struct api_cfg *cfg, struct api **ret_api)
{
	pthread_condattr_t attr;
	struct listening at;
	struct api *a;
	int err = listen_open(cfg->listen ? cfg->listen : API_LISTEN_DEFAULT, &at);

	if (err)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a) {
		close(at.fd);
		return -ENOMEM;
	}
	a->cfg = *cfg;
	a->at = at;
	a->late_gauge = (struct gauge){
		.name = "api_late_total",
		.help = "Connections ended: too slow in sending a question or in taking its "
			"answer.",
		.type = "counter",
		.read = read_late,
		.ctx = &a->late,
	};
	/* without room in the registry it is not shown */
	gauges_register(&a->late_gauge);
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->wake, &attr);
	pthread_condattr_destroy(&attr);
	a->live = live_new();
	err = a->live ? start(a) : -ENOMEM;
	if (err) {
		api_free(a);
		return err;
	}
	*ret_api = a;
	return 0;
}

uint16_t api_port(const struct api *a)
{
	return a->at.port;
}

void api_live_push(struct api *a, const struct span *s)
{
	live_push(a->live, s);
}

/* Suspended connections must be resumed before the daemon is stopped. */
void api_free(struct api *a)
{
	if (!a)
		return;
	stop_workers(a);
	live_stop(a->live);
	if (a->daemon)
		MHD_stop_daemon(a->daemon);
	patience_free(a->patience);
	gauges_unregister(&a->late_gauge);
	if (a->at.fd >= 0)
		close(a->at.fd);
	live_free(a->live);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
