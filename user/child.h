/* SPDX-License-Identifier: Apache-2.0 */
/* The program that `trace -- CMD` and `record -- CMD` start: held until probes are attached. */
#ifndef TELLTALE_CHILD_H
#define TELLTALE_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct child_cfg {
	char *const *argv; /* ended by NULL */
	/* Whose rights it gets: a name or a number; NULL: the user who called sudo, else ours. */
	const char *user;
	const sigset_t *sigmask; /* what it runs with */
};

struct child {
	pid_t pid; /* 0: none */
	int pidfd; /* readable once it has ended */
	int go_fd;
	int exec_fd;
	bool ended;
	int status; /* as wait(2), once ended */
};

#define CHILD_WHY_MAX 256

/* Forks; the child waits. 0, or -errno with one line in why. To be called before threads start. */
int child_start(const struct child_cfg *cfg, struct child *ret_child, char why[CHILD_WHY_MAX]);
/* Lets it run. 0, or -errno of its exec or of taking on the user's rights; it has ended then. */
int child_release(struct child *c, char why[CHILD_WHY_MAX]);
/* Takes its status when it has ended. */
bool child_poll(struct child *c);
/* Closes what is ours; ends it when it was never released. */
void child_fini(struct child *c);

/* What a shell would say of a wait status: the exit status, or 128 + signal. */
int child_exit_status(int wait_status);
/* Ends this process as the child has ended: by the same signal, or with its status. */
void child_die_alike(int wait_status) __attribute__((noreturn));

#endif
