/* SPDX-License-Identifier: Apache-2.0 */
/* What an interpreter runs, from its arguments: script, module, jar or main class. */
#include "discover/internal.h"

#include <ctype.h>

/* How one interpreter's options are to be stepped over. */
struct grammar {
	const char *with_value; /* letters of short options that take the next argument */
	const char *const *long_with_value; /* the same for long ones; ended by NULL */
	const char *inline_code;	    /* letters whose argument is the program itself */
	const char *module;		    /* letters whose argument is a module's name */
};

static const char *const node_long[] = {
	"--require",	"--import",   "--loader", "--experimental-loader",
	"--conditions", "--env-file", NULL
};
static const char *const node_code[] = { "--eval", "--print", NULL };
static const char *const java_long[] = { "-cp",
					 "-classpath",
					 "--class-path",
					 "-p",
					 "--module-path",
					 "--add-opens",
					 "--add-exports",
					 "--add-modules",
					 "--add-reads",
					 "--patch-module",
					 "--upgrade-module-path",
					 "--limit-modules",
					 NULL };
static const char *const no_long[] = { NULL };
static const char *const python_long[] = { "--check-hash-based-pycs", NULL };

static const struct grammar grammar_python = { "WX", python_long, "c", "m" };
static const struct grammar grammar_node = { "rC", node_long, "ep", "" };
static const struct grammar grammar_ruby = { "IrCE", no_long, "e", "" };
static const struct grammar grammar_perl = { "", no_long, "eE", "" };
static const struct grammar grammar_php = { "cdtzS", no_long, "rBRE", "" };

bool args_next(struct str *args, struct str *ret)
{
	ptrdiff_t end;

	if (!args->len)
		return false;
	end = str_find(*args, '\0');
	*ret = end < 0 ? *args : (struct str){ args->p, (size_t)end };
	*args = end < 0 ? str_from(*args, args->len) : str_from(*args, (size_t)end + 1);
	return true;
}

static bool is_one_of(struct str s, const char *const *names)
{
	for (; *names; names++) {
		if (str_eq(s, str_of(*names)))
			return true;
	}
	return false;
}

static struct str strip_end(struct str s, const char *end)
{
	size_t len = strlen(end);

	if (s.len > len && memcmp(s.p + s.len - len, end, len) == 0)
		s.len -= len;
	return s;
}

static bool is_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!isalnum((unsigned char)s.p[i]) && !strchr("._-", s.p[i]))
			return false;
	}
	return s.len > 0 && !isdigit((unsigned char)s.p[0]) && s.p[0] != '-';
}

/* Takes options off args. False: the program is in the arguments, or there is none. */
static bool skip_options(const struct grammar *g, struct str *args, struct str *ret_word,
			 bool *ret_module)
{
	struct str arg;

	*ret_module = false;
	while (args_next(args, &arg)) {
		if (arg.len < 2 || arg.p[0] != '-') {
			*ret_word = arg;
			return arg.len > 0 && arg.p[0] != '-';
		}
		if (str_eq(arg, STR("--")))
			return args_next(args, ret_word);
		if (is_one_of(arg, g->long_with_value)) {
			args_next(args, &arg);
			continue;
		}
		if (arg.p[1] == '-') {
			if (is_one_of(arg, node_code))
				return false;
			continue;
		}
		for (size_t i = 1; i < arg.len; i++) {
			bool last = i + 1 == arg.len;

			if (strchr(g->inline_code, arg.p[i]))
				return false;
			if (strchr(g->module, arg.p[i])) {
				*ret_module = true;
				*ret_word = str_from(arg, i + 1);
				return last ? args_next(args, ret_word) : true;
			}
			if (!strchr(g->with_value, arg.p[i]))
				continue;
			if (last)
				args_next(args, &arg);
			break;
		}
	}
	return false;
}

/* "shop.wsgi:application": a module and what to call in it. */
static bool is_application(struct str s)
{
	ptrdiff_t colon = str_find(s, ':');

	return colon > 0 && is_name((struct str){ s.p, (size_t)colon }) &&
	       is_name(str_from(s, (size_t)colon + 1));
}

static struct str package_of(struct str module)
{
	ptrdiff_t end = str_find(module, ':');

	if (end >= 0)
		module.len = (size_t)end;
	end = str_find(module, '.');
	return end > 0 ? (struct str){ module.p, (size_t)end } : module;
}

/* Servers that run an application named in their arguments are named after it. */
static struct str served_application(struct str server, struct str args)
{
	static const char *const servers[] = { "gunicorn", "uvicorn",	     "hypercorn", "daphne",
					       "granian",  "waitress-serve", NULL };
	static const char *const by_option[] = { "celery", "flask", NULL };
	static const char *const app_options[] = { "-A", "--app", NULL };
	struct str arg, before = { "", 0 };

	if (is_one_of(server, by_option)) {
		while (args_next(&args, &arg)) {
			if (is_one_of(arg, app_options) && args_next(&args, &arg))
				return package_of(arg);
			if (str_starts(arg, STR("--app=")))
				return package_of(str_from(arg, 6));
		}
		return server;
	}
	if (!is_one_of(server, servers))
		return server;
	for (struct str left = args; args_next(&left, &arg);) {
		if (is_application(arg))
			return package_of(arg);
	}
	/* gunicorn takes a bare module too: the first word that is no option's value */
	for (; args_next(&args, &arg); before = arg) {
		if (is_name(arg) && (before.len == 0 || before.p[0] != '-'))
			return package_of(arg);
	}
	return server;
}

/* "app.py" is app; "shop/__main__.py" and "shop/index.js" are shop. */
static struct str script_base(struct str path)
{
	static const char *const ends[] = { ".py", ".pyc", ".js", ".mjs", ".cjs",
					    ".ts", ".rb",  ".pl", ".php" };
	struct str base = path_base(path);

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		base = strip_end(base, ends[i]);
	if (str_eq(base, STR("__main__")) || str_eq(base, STR("index"))) {
		struct str dir = path_base(path_dir(path));
		if (dir.len && !str_eq(dir, STR(".")) && !str_eq(dir, STR("..")))
			return dir;
	}
	return base;
}

/* "puma 6.4.0 (tcp://0.0.0.0:80) [shop]": a title that the program wrote over its arguments. */
static struct str title_name(struct str title)
{
	const char *open = title.len ? memrchr(title.p, '[', title.len) : NULL;

	if (!open || title.p[title.len - 1] != ']' || open == title.p || open[-1] != ' ')
		return (struct str){ NULL, 0 };
	return (struct str){ open + 1, (size_t)(title.p + title.len - 1 - (open + 1)) };
}

/* shop-1.2.3-SNAPSHOT.jar is shop. */
static struct str jar_name(struct str path)
{
	struct str base = strip_end(strip_end(path_base(path), ".jar"), ".war");

	for (size_t i = 1; i + 1 < base.len; i++) {
		if (base.p[i] == '-' && isdigit((unsigned char)base.p[i + 1]))
			return (struct str){ base.p, i };
	}
	return base;
}

/* com.acme.shop.Main is shop, com.acme.ShopServer is ShopServer. */
static struct str class_name(struct str name)
{
	static const char *const plain[] = { "Main",   "App",	    "Application", "Launcher",
					     "Server", "Bootstrap", NULL };
	ptrdiff_t slash = str_find(name, '/');
	const char *dot;
	struct str last;

	if (slash >= 0)
		name = str_from(name, (size_t)slash + 1);
	dot = name.len ? memrchr(name.p, '.', name.len) : NULL;
	last = dot ? str_from(name, (size_t)(dot - name.p) + 1) : name;
	if (!dot || !is_one_of(last, plain))
		return last;
	name.len = (size_t)(dot - name.p);
	dot = memrchr(name.p, '.', name.len);
	return dot ? str_from(name, (size_t)(dot - name.p) + 1) : name;
}

static struct str java_script(struct str args)
{
	static const char *const names[] = { "-Dotel.service.name=", "-Dspring.application.name=" };
	static const char *const modules[] = { "-m", "--module", NULL };
	struct str arg;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		for (struct str left = args; args_next(&left, &arg);) {
			if (str_starts(arg, str_of(names[i])))
				return str_from(arg, strlen(names[i]));
		}
	}
	while (args_next(&args, &arg)) {
		if (str_eq(arg, STR("-jar")))
			return args_next(&args, &arg) ? jar_name(arg) : (struct str){ NULL, 0 };
		if (is_one_of(arg, modules))
			return args_next(&args, &arg) ? class_name(arg) : (struct str){ NULL, 0 };
		if (is_one_of(arg, java_long))
			args_next(&args, &arg);
		else if (arg.len && arg.p[0] != '-' && arg.p[0] != '@')
			return class_name(strip_end(arg, ".java"));
	}
	return (struct str){ NULL, 0 };
}

/* A release is named by -sname or -name: shop@host. */
static struct str beam_script(struct str args)
{
	static const char *const options[] = { "-sname", "-name", NULL };
	struct str arg;

	while (args_next(&args, &arg)) {
		if (is_one_of(arg, options) && args_next(&args, &arg)) {
			ptrdiff_t at = str_find(arg, '@');
			return at > 0 ? (struct str){ arg.p, (size_t)at } : arg;
		}
	}
	return (struct str){ NULL, 0 };
}

static struct str dotnet_script(struct str args)
{
	struct str arg;

	while (args_next(&args, &arg)) {
		struct str base = strip_end(path_base(arg), ".dll");
		if (base.len != path_base(arg).len)
			return base;
	}
	return (struct str){ NULL, 0 };
}

static const struct grammar *grammar_of(enum runtime r)
{
	switch (r) {
	case RUNTIME_PYTHON: return &grammar_python;
	case RUNTIME_NODE: return &grammar_node;
	case RUNTIME_RUBY: return &grammar_ruby;
	case RUNTIME_PERL: return &grammar_perl;
	case RUNTIME_PHP: return &grammar_php;
	default: return NULL;
	}
}

struct str script_name(enum runtime r, struct str args, struct str *ret_script)
{
	const struct grammar *g = grammar_of(r);
	struct str none = { NULL, 0 }, program, word = none;
	bool module;

	*ret_script = none;
	if (!args_next(&args, &program))
		return none;
	if (r == RUNTIME_JAVA || r == RUNTIME_JAVA_VIRTUAL)
		return java_script(args);
	if (r == RUNTIME_BEAM)
		return beam_script(args);
	if (r == RUNTIME_DOTNET)
		return dotnet_script(args);
	if (!g)
		return none;
	word = title_name(program);
	if (word.len)
		return word;
	if (!skip_options(g, &args, &word, &module) || !word.len)
		return none;
	if (module)
		return is_name(word) ? served_application(word, args) : none;
	*ret_script = word;
	return served_application(script_base(word), args);
}
