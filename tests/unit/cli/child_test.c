/* SPDX-License-Identifier: Apache-2.0 */
/* The program that is held until the tracer is attached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "child.c"

static struct child start(char *const *argv, const char *user)
{
	struct child c;
	sigset_t mask;
	char why[CHILD_WHY_MAX];

	sigemptyset(&mask);
	assert_int_equal(
		child_start(&(struct child_cfg){ .argv = argv, .user = user, .sigmask = &mask }, &c,
			    why),
		0);
	return c;
}

static int run(char *const *argv)
{
	struct child c = start(argv, NULL);
	char why[CHILD_WHY_MAX];
	int status;

	assert_int_equal(child_release(&c, why), 0);
	while (!child_poll(&c))
		usleep(1000);
	status = c.status;
	child_fini(&c);
	return status;
}

static void its_end_is_reported_as_a_shell_would(void **state)
{
	assert_int_equal(child_exit_status(run((char *[]){ "true", NULL })), 0);
	assert_int_equal(child_exit_status(run((char *[]){ "sh", "-c", "exit 7", NULL })), 7);
	assert_int_equal(child_exit_status(run((char *[]){ "sh", "-c", "kill -TERM $$", NULL })),
			 128 + SIGTERM);
}

static void it_does_nothing_before_its_release(void **state)
{
	char path[] = "/tmp/telltale-child-XXXXXX";
	struct stat st;
	struct child c;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	c = start((char *[]){ "touch", path, NULL }, NULL);
	usleep(50000);
	assert_false(child_poll(&c));
	/* never released: it ends without having run */
	child_fini(&c);
	assert_int_equal(stat(path, &st), -1);
}

static void a_program_that_is_not_there_is_told(void **state)
{
	struct child c = start((char *[]){ "/nonexistent/program", NULL }, NULL);
	char why[CHILD_WHY_MAX];

	assert_int_equal(child_release(&c, why), -ENOENT);
	assert_true(c.ended);
	assert_int_equal(child_exit_status(c.status), 127);
	child_fini(&c);
	c = start((char *[]){ "/", NULL }, NULL);
	assert_int_equal(child_release(&c, why), -EACCES);
	assert_int_equal(child_exit_status(c.status), 126);
	child_fini(&c);
}

static void a_user_that_is_not_there_is_told(void **state)
{
	struct child c;
	sigset_t mask;
	char why[CHILD_WHY_MAX] = "";

	sigemptyset(&mask);
	assert_int_equal(child_start(&(struct child_cfg){ .argv = (char *[]){ "true", NULL },
							  .user = "no such user",
							  .sigmask = &mask },
				     &c, why),
			 -ENOENT);
	assert_non_null(strstr(why, "no such user"));
}

static void root_hands_its_rights_down_to_the_user_who_called_sudo(void **state)
{
	if (geteuid() != 0) {
		print_message("SKIP: needs root\n");
		skip();
	}
	setenv("SUDO_UID", "65534", 1);
	setenv("SUDO_GID", "65533", 1);
	assert_int_equal(
		run((char *[]){ "sh", "-c", "test $(id -u):$(id -g) = 65534:65533", NULL }), 0);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_end_is_reported_as_a_shell_would),
		cmocka_unit_test(it_does_nothing_before_its_release),
		cmocka_unit_test(a_program_that_is_not_there_is_told),
		cmocka_unit_test(a_user_that_is_not_there_is_told),
		cmocka_unit_test(root_hands_its_rights_down_to_the_user_who_called_sudo),
	};

	return cmocka_run_group_tests_name("cli/child", tests, NULL, NULL);
}
