/* SPDX-License-Identifier: Apache-2.0 */
/* gateway: the backend alone. Receives spans, keeps, exports and serves them until it is ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "backend.h"
#include "command.h"
#include "core/clock.h"
#include "core/listen.h"
#include "core/log.h"
#include "notify.h"
#include "reload.h"
#include "serve.h"

#define TICK_NS (100 * NS_PER_MS)

static void loop(struct backend *b, struct serve *s, struct reload *r, const sigset_t *signals)
{
	const struct timespec tick = { .tv_nsec = TICK_NS };
	int got;

	do {
		uint64_t now_ns = clock_mono_ns();

		backend_tick(b, now_ns);
		serve_beat(s, now_ns);
		got = sigtimedwait(signals, NULL, &tick);
		if (got == SIGHUP)
			reload_hangup(r);
	} while (got != SIGINT && got != SIGTERM);
}

int command_gateway(const struct config *c)
{
	struct backend *b = NULL;
	struct sourcing *sources = NULL;
	struct reload reload = { .start = c };
	struct serve *s = NULL;
	char store[256];
	sigset_t signals;
	int err;

	/* before any thread, so that signals come to the loop alone */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	err = backend_open(c, &b);
	if (!err)
		err = backend_receive(b);
	if (!err)
		err = sourcing_open(c, b, false, &sources);
	if (!err)
		err = serve_new(c->listen, b, sources, false, &s);
	if (!err) {
		config_show_urls(str_of(c->store ? c->store : "no store"), store, sizeof(store));
		log_info("traces in %s, served on http://%s%s", store, c->listen,
			 listen_reach(c->listen));
		notify_manager("READY=1");
		loop(b, s, &reload, &signals);
		notify_manager("STOPPING=1");
	}
	backend_quiet(b);
	serve_free(s);
	sourcing_close(sources);
	reload_fini(&reload);
	backend_close(b);
	return err ? EXIT_FAILED : 0;
}
