/* SPDX-License-Identifier: Apache-2.0 */
/* Names from arguments and environment; secrets kept out of command lines; clean text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "discover/internal.h"

/* Words with single spaces become NUL-terminated arguments; "~" stands for a space. */
static struct str args_of(const char *words)
{
	static char text[4096];
	size_t len = strlen(words);

	assert_true(len + 1 < sizeof(text));
	for (size_t i = 0; i <= len; i++)
		text[i] = words[i] == ' ' ? '\0' : words[i] == '~' ? ' ' : words[i];
	return (struct str){ text, len ? len + 1 : 0 };
}

static void named(enum runtime r, const char *exe, const char *words, const char *name)
{
	struct facts f = { .proc_fd = -1, .runtime = r, .exe = str_of(exe), .comm = STR("comm") };
	char out[SHORT_MAX];
	struct str got;

	f.args = args_of(words);
	got = service_name(&f, out);
	if (!str_eq(got, str_of(name)))
		fail_msg("%s: \"" STR_FMT "\", not \"%s\"", words, STR_ARG(got), name);
}

static void python_programs_are_named_by_script_or_module(void **state)
{
	const char *exe = "/usr/bin/python3.11";
	const struct {
		const char *words, *name;
	} rows[] = {
		{ "python3 app.py", "app" },
		{ "python3 -u -W ignore /srv/shop/app.py --port 80", "app" },
		{ "python3 -m pkg", "pkg" },
		{ "python3 -m http.server 8000", "http.server" },
		{ "python3 -Im pkg x", "pkg" },
		{ "python3 -mpkg", "pkg" },
		{ "python3 -c print(1) app.py", "python3.11" },
		{ "python3", "python3.11" },
		{ "python3 /srv/shop/__main__.py", "shop" },
		{ "python3 /usr/bin/gunicorn -w 4 -b 127.0.0.1:8000 shop.wsgi:application",
		  "shop" },
		{ "python3 /usr/bin/gunicorn --bind localhost:8000 shop.wsgi", "shop" },
		{ "python3 -m uvicorn app:app --host 0.0.0.0", "app" },
		{ "python3 /usr/bin/celery -A orders worker", "orders" },
		{ "python3 /usr/bin/flask run", "flask" },
		{ "gunicorn:~master~[shop]", "shop" },
		{ "python3 --check-hash-based-pycs always app.py", "app" },
		{ "python3 -- app.py", "app" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		named(RUNTIME_PYTHON, exe, rows[i].words, rows[i].name);
}

static void other_interpreters_are_named_by_what_they_run(void **state)
{
	named(RUNTIME_NODE, "/usr/bin/node", "node server.js", "server");
	named(RUNTIME_NODE, "/usr/bin/node", "node -r ./x.js --inspect /srv/a/main.mjs", "main");
	named(RUNTIME_NODE, "/usr/bin/node", "node /srv/shop/index.js", "shop");
	named(RUNTIME_NODE, "/usr/bin/node", "node -e 1+1", "node");
	named(RUNTIME_NODE, "/usr/bin/node", "node --eval 1+1", "node");
	named(RUNTIME_RUBY, "/usr/bin/ruby3.1", "ruby -I lib bin/shop.rb", "shop");
	named(RUNTIME_RUBY, "/usr/bin/ruby3.1", "puma~6.4~(tcp://0.0.0.0:80)~[shop]", "shop");
	named(RUNTIME_PERL, "/usr/bin/perl", "perl -w /srv/shop.pl", "shop");
	named(RUNTIME_PERL, "/usr/bin/perl", "perl -e 1", "perl");
	named(RUNTIME_PHP, "/usr/bin/php8.2", "php -S 127.0.0.1:80 router.php", "router");
	named(RUNTIME_PHP, "/usr/sbin/php-fpm8.2", "php-fpm:~pool~www", "php-fpm8.2");
}

static void java_programs_are_named_by_jar_or_class(void **state)
{
	const char *exe = "/usr/lib/jvm/java-17/bin/java";

	named(RUNTIME_JAVA, exe, "java -Xmx1g -jar /srv/shop-1.2.3-SNAPSHOT.jar --x", "shop");
	named(RUNTIME_JAVA, exe, "java -cp a.jar:b.jar com.acme.ShopServer", "ShopServer");
	named(RUNTIME_JAVA, exe, "java -classpath x com.acme.shop.Main", "shop");
	named(RUNTIME_JAVA_VIRTUAL, exe, "java -m acme.shop/com.acme.Shop", "Shop");
	named(RUNTIME_JAVA, exe, "java -Dspring.application.name=orders -jar x.jar", "orders");
	named(RUNTIME_JAVA, exe, "java Shop.java", "Shop");
	named(RUNTIME_JAVA, exe, "java -jar", "java");
	named(RUNTIME_DOTNET, "/usr/bin/dotnet", "dotnet /srv/Shop.dll", "Shop");
	named(RUNTIME_BEAM, "/usr/lib/erlang/bin/beam.smp", "beam.smp -- -sname shop@host", "shop");
}

static void everything_else_is_named_by_its_executable(void **state)
{
	named(RUNTIME_NATIVE, "/usr/sbin/nginx", "nginx:~worker~process", "nginx");
	named(RUNTIME_NATIVE, "/usr/bin/redis-server (deleted)", "redis-server *:6379",
	      "redis-server");
	named(RUNTIME_PYTHON, "/usr/bin/uwsgi", "uwsgi --ini app.py", "uwsgi");
	named(RUNTIME_UNKNOWN, "", "/opt/x/tool a b", "tool");
	named(RUNTIME_UNKNOWN, "", "", "comm");
}

static void a_file_of_several_programs_is_named_as_it_was_called(void **state)
{
	struct facts f = { .proc_fd = -1,
			   .runtime = RUNTIME_NATIVE,
			   .exe = STR("/usr/bin/redis-check-rdb"),
			   .comm = STR("redis-server") };
	char out[SHORT_MAX];

	f.args = args_of("redis-server~127.0.0.1:6379");
	assert_true(str_eq(service_name(&f, out), STR("redis-server")));
	f.args = args_of("something-else");
	assert_true(str_eq(service_name(&f, out), STR("redis-check-rdb")));
	f.comm = STR("a-thread");
	f.args = args_of("redis-server");
	assert_true(str_eq(service_name(&f, out), STR("redis-check-rdb")));
}

static void own_word_goes_before_unit_before_script(void **state)
{
	static const char env[] = "A=1\0OTEL_RESOURCE_ATTRIBUTES=service.name=from%20attrs,x=y\0"
				  "OTEL_SERVICE_NAME=own";
	struct facts f = { .proc_fd = -1,
			   .runtime = RUNTIME_PYTHON,
			   .exe = STR("/usr/bin/python3"),
			   .env = { env, sizeof(env) } };
	char out[SHORT_MAX];

	f.args = args_of("python3 app.py");
	f.cgroup.unit = STR("unit");
	assert_true(str_eq(service_name(&f, out), STR("own")));
	f.env.len -= sizeof("OTEL_SERVICE_NAME=own");
	assert_true(str_eq(service_name(&f, out), STR("from attrs")));
	f.env.len = 0;
	assert_true(str_eq(service_name(&f, out), STR("unit")));
	f.cgroup.unit = STR("cron");
	assert_true(str_eq(service_name(&f, out), STR("app")));
	f.cgroup.unit = STR("");
	f.cgroup.container = STR("web");
	assert_true(str_eq(service_name(&f, out), STR("app")));
	f.cgroup.lxc = true;
	assert_true(str_eq(service_name(&f, out), STR("web")));
}

static void attributes_of_the_environment_are_taken_over(void **state)
{
	static const char env[] =
		"OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop%2Ceu, team = a ,"
		"process.pid=1,bad=%zz,worse=%0,nul=a%00b,=x,empty=,service.name=n";
	struct facts f = { .proc_fd = -1, .env = { env, sizeof(env) - 1 } };
	char mem[512];
	struct text t = { mem, 0, sizeof(mem) };
	static const char want[] = "service.namespace\0shop,eu\0team\0a\0service.name\0n";

	service_attributes(&f, &t);
	assert_int_equal(t.len, sizeof(want));
	assert_memory_equal(t.p, want, sizeof(want));
}

static void masked(const char *words, const char *line)
{
	char out[1025];
	size_t len = mask_command_line(args_of(words), out, sizeof(out));

	assert_int_equal(len, strlen(out));
	assert_string_equal(out, line);
}

static void command_lines_show_no_secrets(void **state)
{
	masked("app --password=hunter2 x", "app --password=REDACTED x");
	masked("app --password hunter2 x", "app --password REDACTED x");
	masked("app --api-key k --port 80", "app --api-key REDACTED --port 80");
	masked("redis-server --requirepass s3 --masterauth t",
	       "redis-server --requirepass REDACTED "
	       "--masterauth REDACTED");
	masked("mysql -psecret -uroot db", "mysql -pREDACTED -uroot db");
	masked("/usr/bin/mysqldump -p db", "/usr/bin/mysqldump -p db");
	masked("redis-cli -a s3 GET x", "redis-cli -a REDACTED GET x");
	masked("sshpass -ps3 ssh h", "sshpass -pREDACTED ssh h");
	masked("curl -u bob:pw http://h/", "curl -u REDACTED http://h/");
	masked("curl https://bob:p@ss@h/x?a=1", "curl https://REDACTED@h/x?a=1");
	masked("curl http://h/?access_token=abc&b=2", "curl http://h/?access_token=REDACTED&b=2");
	masked("curl -H Authorization:~Bearer~abc http://h/",
	       "curl -H Authorization:REDACTED http://h/");
	masked("psql host=h~user=u~password='a~b'~dbname=d",
	       "psql host=h user=u password=REDACTED dbname=d");
	masked("java -Ddb.password=a;b -jar x.jar", "java -Ddb.password=REDACTED -jar x.jar");
	masked("java jdbc:mysql://h/d?user=u&password=p&x=1",
	       "java jdbc:mysql://h/d?user=u&password=REDACTED&x=1");
	masked("env TOKEN=abc cmd", "env TOKEN=REDACTED cmd");
	masked("app --token", "app --token");
	masked("app --secret --port 80", "app --secret --port 80");
}

static void harmless_arguments_stay(void **state)
{
	masked("app -p 80 --port=80 --author=me", "app -p 80 --port=80 --author=me");
	masked("curl http://h:80/a@b", "curl http://h:80/a@b");
	masked("nginx: worker process", "nginx: worker process");
	masked("", "");
}

static void long_command_lines_are_cut(void **state)
{
	char args[3000], out[1025];

	memset(args, 'x', sizeof(args));
	assert_int_equal(mask_command_line((struct str){ args, sizeof(args) }, out, sizeof(out)),
			 1024);
	memcpy(args, "app\0--password=", 15);
	mask_command_line((struct str){ args, sizeof(args) }, out, sizeof(out));
	assert_string_equal(out, "app --password=REDACTED");
}

static void text_is_made_clean_and_fits(void **state)
{
	char mem[64];
	struct text t = { mem, 0, sizeof(mem) };

	text_add(&t, "a", STR("x\033[31m\xff\xc3\xa9\xc2\x9b\xc0\x80"), 100);
	assert_memory_equal(t.p, "a\0x?[31m?\xc3\xa9???", t.len);
	text_add(&t, "a", STR("again"), 100);
	text_add(&t, "b", STR(""), 100);
	text_add(&t, "c", STR("12345\xc3\xa9"), 6);
	assert_true(text_has(&t, STR("c")));
	assert_false(text_has(&t, STR("b")));
	assert_string_equal(t.p + t.len - 6, "12345");
	for (int i = 0; i < 10; i++) {
		char key[2] = { (char)('k' + i), 0 };
		text_add(&t, key, STR("0123456789"), 100);
	}
	assert_true(t.len <= t.cap);
	assert_int_equal(t.p[t.len - 1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(python_programs_are_named_by_script_or_module),
		cmocka_unit_test(other_interpreters_are_named_by_what_they_run),
		cmocka_unit_test(java_programs_are_named_by_jar_or_class),
		cmocka_unit_test(everything_else_is_named_by_its_executable),
		cmocka_unit_test(a_file_of_several_programs_is_named_as_it_was_called),
		cmocka_unit_test(own_word_goes_before_unit_before_script),
		cmocka_unit_test(attributes_of_the_environment_are_taken_over),
		cmocka_unit_test(command_lines_show_no_secrets),
		cmocka_unit_test(harmless_arguments_stay),
		cmocka_unit_test(long_command_lines_are_cut),
		cmocka_unit_test(text_is_made_clean_and_fits),
	};
	return cmocka_run_group_tests_name("discover/service", tests, NULL, NULL);
}
