/* SPDX-License-Identifier: Apache-2.0 */
/* Whole looks at trees like /proc: what is told, and what hostile files cannot do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"
#include "unit/discover/tree.h"

#include <errno.h>

#define HEX  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MAPS "7f00-7f10 r-xp 00000000 fe:00 12                         "

static struct tree tree;

static int setup(void **state)
{
	tree_make(&tree);
	return 0;
}

static int teardown(void **state)
{
	tree_remove(&tree);
	return 0;
}

static void expect(const struct event_proc *p, const char *key, const char *value)
{
	if (strcmp(proc_value(p, key), value) != 0)
		fail_msg("%s is \"%s\", not \"%s\"", key, proc_value(p, key), value);
}

static void a_process_is_told_of_whole(void **state)
{
	static const char args[] = "python3\0/srv/shop/app.py\0--password\0hunter2";
	static const char env[] = "HOME=/\0OTEL_RESOURCE_ATTRIBUTES=service.namespace=eu\0";
	struct event_proc *p;

	tree_bytes(&tree, "cmdline", args, sizeof(args));
	tree_bytes(&tree, "environ", env, sizeof(env));
	tree_file(&tree, "cgroup", "0::/docker/" HEX "\n");
	tree_link(&tree, "exe", "/nowhere/python3.11");
	p = tree_look(&tree, NULL);
	assert_int_equal(p->h.tgid, TREE_PID);
	assert_int_equal(p->h.kind, EVENT_PROC);
	assert_int_equal(p->runtime, RUNTIME_PYTHON);
	expect(p, "service.name", "app");
	expect(p, "process.pid", "4242");
	expect(p, "process.executable.name", "python3.11");
	expect(p, "process.executable.path", "/nowhere/python3.11");
	expect(p, "process.runtime.name", "cpython");
	expect(p, "process.command_line", "python3 /srv/shop/app.py --password REDACTED");
	expect(p, "container.id", HEX);
	expect(p, "service.namespace", "eu");
	assert_non_null(strstr(proc_value(p, "process.creation.time"), "Z"));
	free(p);
}

static void a_process_without_files_has_its_name_from_stat(void **state)
{
	struct event_proc *p = tree_look(&tree, NULL);

	expect(p, "service.name", "a) b");
	expect(p, "process.executable.name", "a) b");
	assert_int_equal(p->runtime, RUNTIME_UNKNOWN);
	free(p);
}

static void a_process_that_has_gone_is_told_of_by_its_exec_record(void **state)
{
	struct event_exec hint = { .comm = "python3", .uid = 0, .args_len = 15, .env_len = 23 };
	struct event_proc *p = calloc(1, sizeof(*p) + PROC_TEXT_MAX);

	memcpy(hint.args, "python3\0app.py", 15);
	memcpy(hint.env, "OTEL_SERVICE_NAME=short", 23);
	assert_int_equal(discover_process(tree.dir, 1, NULL, p, sizeof(*p) + PROC_TEXT_MAX),
			 -ESRCH);
	assert_int_equal(discover_process(tree.dir, 1, &hint, p, sizeof(*p) + PROC_TEXT_MAX), 0);
	expect(p, "service.name", "short");
	expect(p, "process.executable.name", "python3");
	expect(p, "process.command_line", "python3 app.py");
	assert_int_equal(p->runtime, RUNTIME_PYTHON);
	hint.env_len = 0;
	assert_int_equal(discover_process(tree.dir, 1, &hint, p, sizeof(*p) + PROC_TEXT_MAX), 0);
	expect(p, "service.name", "app");
	hint.args_len = 0;
	assert_int_equal(discover_process(tree.dir, 1, &hint, p, sizeof(*p) + PROC_TEXT_MAX), 0);
	expect(p, "service.name", "python3");
	hint.args_len = hint.env_len = UINT32_MAX;
	memset(hint.args, 'x', sizeof(hint.args));
	memset(hint.env, 'x', sizeof(hint.env));
	memset(hint.comm, 'x', sizeof(hint.comm));
	assert_int_equal(discover_process(tree.dir, 1, &hint, p, sizeof(*p) + PROC_TEXT_MAX), 0);
	assert_int_equal(event_check(p, p->h.size), 0);
	free(p);
}

static void a_small_record_holds_whole_pairs_only(void **state)
{
	struct event_proc *p = calloc(1, sizeof(*p) + PROC_TEXT_MAX);

	for (size_t room = 0; room < 200; room++) {
		assert_int_equal(discover_process(tree.dir, TREE_PID, NULL, p, sizeof(*p) + room),
				 0);
		assert_true(p->text_len <= room);
		assert_int_equal(event_check(p, p->h.size), 0);
	}
	assert_int_equal(discover_process(tree.dir, TREE_PID, NULL, p, 8), -EINVAL);
	free(p);
}

static void huge_files_are_read_in_part(void **state)
{
	size_t len = 8u << 20;
	char *big = malloc(len);
	struct event_proc *p;

	assert_non_null(big);
	memset(big, 'A', len);
	tree_bytes(&tree, "cmdline", big, len);
	tree_bytes(&tree, "environ", big, len);
	tree_bytes(&tree, "cgroup", big, len);
	tree_bytes(&tree, "maps", big, len);
	p = tree_look(&tree, NULL);
	assert_int_equal(strlen(proc_value(p, "process.command_line")), 1024);
	free(p);
	memset(big, 0, len);
	tree_bytes(&tree, "cmdline", big, len);
	tree_bytes(&tree, "environ", big, len);
	tree_bytes(&tree, "stat", big, len);
	free(tree_look(&tree, NULL));
	memset(big, '\n', len);
	tree_bytes(&tree, "cgroup", big, len);
	tree_bytes(&tree, "maps", big, len);
	free(tree_look(&tree, NULL));
	free(big);
}

static void loops_pipes_and_directories_do_no_harm(void **state)
{
	static const char args[] = "node\0server.js";
	char path[PATH_LEN];
	struct event_proc *p;

	tree_link(&tree, "exe", "exe");
	tree_link(&tree, "cwd", "cwd");
	tree_link(&tree, "environ", "environ");
	tree_mkdir(&tree, "cgroup");
	tree_path(&tree, "maps", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	free(tree_look(&tree, NULL));
	tree_link(&tree, "exe", "/x/node");
	tree_link(&tree, "cwd", "/");
	tree_bytes(&tree, "cmdline", args, sizeof(args));
	tree_path(&tree, "root/package.json", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
	tree_link(&tree, "root/package.json", "package.json");
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
}

static void a_node_package_names_its_program(void **state)
{
	static const char args[] = "node\0dist/server.js";
	struct event_proc *p;

	tree_link(&tree, "exe", "/usr/bin/node");
	tree_link(&tree, "cwd", "/srv");
	tree_bytes(&tree, "cmdline", args, sizeof(args));
	tree_mkdir(&tree, "root/srv");
	tree_mkdir(&tree, "root/srv/dist");
	tree_file(&tree, "root/srv/package.json", "{\"name\": \"@acme/front\"}");
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "front");
	free(p);
	tree_file(&tree, "root/srv/package.json", "{\"name\": ");
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
	tree_file(&tree, "root/srv/package.json", "{\"name\": {\"a\": 1}}");
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
}

static void links_do_not_lead_out_of_the_process_s_root(void **state)
{
	static const char args[] = "node\0server.js";
	char secret[PATH_LEN];
	struct event_proc *p;

	tree_link(&tree, "exe", "/usr/bin/node");
	tree_link(&tree, "cwd", "/");
	tree_bytes(&tree, "cmdline", args, sizeof(args));
	tree_file(&tree, "outside.json", "{\"name\": \"outside\"}");
	tree_path(&tree, "outside.json", secret);
	tree_link(&tree, "root/package.json", secret);
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
	tree_link(&tree, "root/package.json", "../outside.json");
	p = tree_look(&tree, NULL);
	expect(p, "service.name", "server");
	free(p);
}

struct seen {
	unsigned int cnt;
	char soname[64];
	bool openable;
};

static void see_library(void *ctx, const struct library *lib)
{
	struct seen *s = ctx;
	int fd = open(lib->path, O_RDONLY);

	s->cnt++;
	s->openable = fd >= 0 && lib->inode && lib->tgid == TREE_PID;
	snprintf(s->soname, sizeof(s->soname), "%s", lib->soname);
	if (fd >= 0)
		close(fd);
}

static struct seen libraries_of(const char *maps)
{
	struct seen s = { 0 };
	struct look *l = look_new(tree.dir, NULL, &s, see_library);
	struct event_proc *p = calloc(1, sizeof(*p) + PROC_TEXT_MAX);

	tree_file(&tree, "maps", maps);
	assert_int_equal(look_process(l, TREE_PID, NULL, p, sizeof(*p) + PROC_TEXT_MAX), 0);
	free(p);
	look_free(l);
	return s;
}

static void tls_libraries_are_told_with_a_path_that_opens(void **state)
{
	struct seen s;
	char many[8192] = "";

	tree_mkdir(&tree, "root/lib");
	tree_file(&tree, "root/lib/libssl.so.3", "x");
	tree_file(&tree, "root/lib/libssl-1a.so.1.1", "x");
	s = libraries_of(MAPS "/lib/libssl.so.3\n" MAPS "/lib/libssl.so.3\n");
	assert_int_equal(s.cnt, 1);
	assert_true(s.openable);
	assert_string_equal(s.soname, "libssl.so.3");
	s = libraries_of(MAPS "/lib/libssl-1a.so.1.1\n");
	assert_int_equal(s.cnt, 1);
	s = libraries_of(MAPS "/lib/libssl3.so\n" MAPS "/lib/libssl.so.9\n" MAPS
			      "/lib/libssl.so.3");
	assert_int_equal(s.cnt, 0);
	for (int i = 0; i < 50; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many),
			 "7f00-7f10 r-xp 00000000 fe:00 %d    /lib/libssl.so.3\n", i + 1);
	s = libraries_of(many);
	assert_int_equal(s.cnt, LIBRARIES_MAX);
}

static void mapped_libraries_tell_the_runtime(void **state)
{
	static const struct {
		const char *file;
		enum runtime runtime;
	} rows[] = {
		{ "libpython3.11.so.1.0", RUNTIME_PYTHON }, { "libnode.so.108", RUNTIME_NODE },
		{ "libruby-3.1.so.3.1", RUNTIME_RUBY },	    { "libphp8.2.so", RUNTIME_PHP },
		{ "libperl.so.5.36", RUNTIME_PERL },	    { "libjvm.so", RUNTIME_JAVA_VIRTUAL },
		{ "libcoreclr.so", RUNTIME_DOTNET },	    { "libm.so.6", RUNTIME_UNKNOWN },
	};

	tree_link(&tree, "exe", "/nowhere/program");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char maps[256];
		struct event_proc *p;

		snprintf(maps, sizeof(maps), MAPS "/usr/lib/%s\n", rows[i].file);
		tree_file(&tree, "maps", maps);
		p = tree_look(&tree, NULL);
		assert_int_equal(p->runtime, rows[i].runtime);
		expect(p, "service.name", "program");
		free(p);
	}
}

static void java_s_release_tells_of_virtual_threads(void **state)
{
	static const struct {
		const char *release;
		enum runtime runtime;
	} rows[] = {
		{ "JAVA_VERSION=\"17.0.15\"\n", RUNTIME_JAVA },
		{ "A=\"b\"\nJAVA_VERSION=\"1.8.0_392\"\n", RUNTIME_JAVA },
		{ "JAVA_VERSION=\"21.0.2\"\n", RUNTIME_JAVA_VIRTUAL },
		{ "JAVA_VERSION=\"25\"\n", RUNTIME_JAVA_VIRTUAL },
		{ "JAVA_VERSION=\"\"\n", RUNTIME_JAVA_VIRTUAL },
		{ "", RUNTIME_JAVA_VIRTUAL },
	};

	tree_link(&tree, "exe", "/jdk/bin/java");
	tree_file(&tree, "maps", MAPS "/jdk/lib/server/libjvm.so\n");
	tree_mkdir(&tree, "root/jdk");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct event_proc *p;

		tree_file(&tree, "root/jdk/release", rows[i].release);
		p = tree_look(&tree, NULL);
		assert_int_equal(p->runtime, rows[i].runtime);
		free(p);
	}
}

static void odd_maps_lines_are_passed_over(void **state)
{
	struct mapping m;

	assert_true(maps_line(STR("00-7fffffffffffffff r--p 0 0:0 1 /x y (deleted)"), &m));
	assert_true(str_eq(strip_deleted(m.path), STR("/x y")));
	assert_int_equal(m.end, 0x7fffffffffffffff);
	assert_false(maps_line(STR(""), &m));
	assert_false(maps_line(STR("00-10 r--p 0 0:0 0 [stack]"), &m));
	assert_false(maps_line(STR("00-10 r--p 0 0:0 0"), &m));
	assert_false(maps_line(STR("zz-10 r--p 0 0:0 1 /x"), &m));
	assert_false(maps_line(STR("00-11111111111111111 r--p 0 0:0 1 /x"), &m));
	assert_false(maps_line(STR("00-10 r--p 0 0:0 99999999999999999999 /x"), &m));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_told_of_whole),
		TEST(a_process_without_files_has_its_name_from_stat),
		TEST(a_process_that_has_gone_is_told_of_by_its_exec_record),
		TEST(a_small_record_holds_whole_pairs_only),
		TEST(huge_files_are_read_in_part),
		TEST(loops_pipes_and_directories_do_no_harm),
		TEST(a_node_package_names_its_program),
		TEST(links_do_not_lead_out_of_the_process_s_root),
		TEST(tls_libraries_are_told_with_a_path_that_opens),
		TEST(mapped_libraries_tell_the_runtime),
		TEST(java_s_release_tells_of_virtual_threads),
		TEST(odd_maps_lines_are_passed_over),
	};
	return cmocka_run_group_tests_name("discover/process", tests, NULL, NULL);
}
