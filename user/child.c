/* SPDX-License-Identifier: Apache-2.0 */
/* A forked program held on a pipe; a second pipe that exec closes tells of failure. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/str.h"

/* The rights the program gets. */
struct identity {
	bool change;
	uid_t uid;
	gid_t gid;
	char name[64]; /* empty: not in the password file */
	char home[256];
};

/* What went wrong in the child before it became the program. */
struct failure {
	int err;
	bool exec; /* else: taking on the rights */
};

static bool parse_id(const char *text, unsigned int *ret_id)
{
	uint64_t id;

	if (!text || !str_to_u64(str_of(text), &id) || id >= UINT32_MAX)
		return false;
	*ret_id = (unsigned int)id;
	return true;
}

static void take_passwd(const struct passwd *pw, struct identity *id)
{
	id->uid = pw->pw_uid;
	id->gid = pw->pw_gid;
	snprintf(id->name, sizeof(id->name), "%s", pw->pw_name);
	snprintf(id->home, sizeof(id->home), "%s", pw->pw_dir);
}

static int find_identity(const char *user, struct identity *ret_id, char why[CHILD_WHY_MAX])
{
	struct identity id = { 0 };
	const struct passwd *pw = NULL;
	unsigned int number;

	if (user) {
		pw = getpwnam(user);
		if (!pw && parse_id(user, &number)) {
			pw = getpwuid(number);
			id.uid = id.gid = number;
		} else if (!pw) {
			snprintf(why, CHILD_WHY_MAX, "there is no user '%s' (--user)", user);
			return -ENOENT;
		}
	} else {
		if (geteuid() != 0 || !parse_id(getenv("SUDO_UID"), &id.uid) || id.uid == 0)
			return 0;
		pw = getpwuid(id.uid);
		id.gid = id.uid;
	}
	id.change = true;
	if (pw)
		take_passwd(pw, &id);
	if (!user && parse_id(getenv("SUDO_GID"), &number))
		id.gid = number;
	*ret_id = id;
	return 0;
}

static int become(const struct identity *id)
{
	if (!id->change || (geteuid() == id->uid && getegid() == id->gid))
		return 0;
	if (id->name[0] ? initgroups(id->name, id->gid) : setgroups(1, &id->gid))
		return -errno;
	if (setresgid(id->gid, id->gid, id->gid) || setresuid(id->uid, id->uid, id->uid))
		return -errno;
	if (id->name[0]) {
		setenv("HOME", id->home, 1);
		setenv("USER", id->name, 1);
		setenv("LOGNAME", id->name, 1);
	}
	return 0;
}

static void report(int fd, int err, bool exec)
{
	struct failure f = { .err = err, .exec = exec };
	ssize_t n = write(fd, &f, sizeof(f));

	_exit(n == sizeof(f) && err == ENOENT ? 127 : 126);
}

static void run_child(const struct child_cfg *cfg, const struct identity *id, int go_fd,
		      int exec_fd)
{
	char go;
	int err;

	/* nothing to read: the tracer has gone or could not attach */
	if (read(go_fd, &go, 1) != 1)
		_exit(125);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, cfg->sigmask, NULL);
	err = become(id);
	if (err)
		report(exec_fd, -err, false);
	execvp(cfg->argv[0], cfg->argv);
	report(exec_fd, errno, true);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int child_start(const struct child_cfg *cfg, struct child *ret_child, char why[CHILD_WHY_MAX])
{
	struct child c = { .pidfd = -1, .go_fd = -1, .exec_fd = -1 };
	struct identity id = { 0 };
	int go[2] = { -1, -1 }, exec[2] = { -1, -1 }, err;

	err = find_identity(cfg->user, &id, why);
	if (err)
		return err;
	if (pipe2(go, O_CLOEXEC) || pipe2(exec, O_CLOEXEC) || (c.pid = fork()) < 0) {
		err = -errno;
		goto out;
	}
	if (c.pid == 0) {
		close(go[1]);
		run_child(cfg, &id, go[0], exec[1]);
		_exit(125);
	}
	c.go_fd = go[1];
	c.exec_fd = exec[0];
	go[1] = exec[0] = -1;
	c.pidfd = (int)syscall(SYS_pidfd_open, c.pid, 0);
	if (c.pidfd < 0) {
		err = -errno;
		child_fini(&c);
		goto out;
	}
	*ret_child = c;
out:
	if (err)
		snprintf(why, CHILD_WHY_MAX, "cannot start '%s': %s", cfg->argv[0], strerror(-err));
	for (int i = 0; i < 2; i++) {
		close_fd(&go[i]);
		close_fd(&exec[i]);
	}
	return err;
}

int child_release(struct child *c, char why[CHILD_WHY_MAX])
{
	struct failure f;
	ssize_t n;

	n = write(c->go_fd, "g", 1);
	close_fd(&c->go_fd);
	if (n == 1)
		do {
			n = read(c->exec_fd, &f, sizeof(f));
		} while (n < 0 && errno == EINTR);
	close_fd(&c->exec_fd);
	if (n != sizeof(f))
		return 0;
	waitpid(c->pid, &c->status, 0);
	c->ended = true;
	snprintf(why, CHILD_WHY_MAX, "%s: %s", f.exec ? "cannot run it" : "cannot become that user",
		 strerror(f.err));
	return -f.err;
}

bool child_poll(struct child *c)
{
	pid_t got;

	if (c->ended || c->pid <= 0)
		return c->ended;
	do {
		got = waitpid(c->pid, &c->status, WNOHANG);
	} while (got < 0 && errno == EINTR);
	c->ended = got != 0;
	return c->ended;
}

void child_fini(struct child *c)
{
	bool held = c->go_fd >= 0;

	if (c->pid <= 0)
		return;
	close_fd(&c->go_fd); /* one that was never released ends by this */
	close_fd(&c->exec_fd);
	close_fd(&c->pidfd);
	if (held && !c->ended)
		waitpid(c->pid, &c->status, 0);
	c->pid = 0;
}

int child_exit_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

void child_die_alike(int wait_status)
{
	if (WIFSIGNALED(wait_status)) {
		const struct rlimit none = { 0, 0 };
		int sig = WTERMSIG(wait_status);
		sigset_t set;

		/* the core that matters is the child's */
		setrlimit(RLIMIT_CORE, &none);
		signal(sig, SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, sig);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		raise(sig);
	}
	exit(child_exit_status(wait_status));
}
