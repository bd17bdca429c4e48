/* SPDX-License-Identifier: Apache-2.0 */
/* What a process is called: its own word first, then its container or unit, then what it runs. */
#include "discover/internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define ATTRIBUTES_MAX 64
#define KEY_MAX	       128
#define VALUE_MAX      512
#define PACKAGE_MAX    (64u << 10)

struct str env_value(struct str env, const char *name)
{
	size_t len = strlen(name);
	struct str line;

	while (args_next(&env, &line)) {
		if (line.len > len && line.p[len] == '=' && memcmp(line.p, name, len) == 0)
			return str_from(line, len + 1);
	}
	return (struct str){ NULL, 0 };
}

/* False when it is not well formed, holds a NUL or does not fit. */
static bool percent_decode(struct str s, char *out, size_t size, struct str *ret)
{
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		int c = (unsigned char)s.p[i];

		if (c == '%') {
			if (s.len - i < 3 || char_hex(s.p[i + 1]) < 0 || char_hex(s.p[i + 2]) < 0)
				return false;
			c = char_hex(s.p[i + 1]) << 4 | char_hex(s.p[i + 2]);
			i += 2;
		}
		if (!c || len == size)
			return false;
		out[len++] = (char)c;
	}
	*ret = (struct str){ out, len };
	return true;
}

/* Takes the next "key=value" of OTEL_RESOURCE_ATTRIBUTES. */
static bool attribute_next(struct str *list, struct str *ret_key, struct str *ret_value)
{
	while (list->len) {
		ptrdiff_t comma = str_find(*list, ',');
		struct str item = comma < 0 ? *list : (struct str){ list->p, (size_t)comma };
		ptrdiff_t eq = str_find(item, '=');

		*list = comma < 0 ? str_from(*list, list->len) : str_from(*list, (size_t)comma + 1);
		if (eq <= 0)
			continue;
		*ret_key = str_trim((struct str){ item.p, (size_t)eq });
		*ret_value = str_trim(str_from(item, (size_t)eq + 1));
		if (ret_key->len && ret_value->len)
			return true;
	}
	return false;
}

/* What is known better here than by whoever set the variable. */
static bool is_ours(struct str key)
{
	return str_starts(key, STR("process.")) || str_starts(key, STR("telemetry.")) ||
	       str_starts(key, STR("telltale."));
}

void service_attributes(const struct facts *f, struct text *t)
{
	struct str list = env_value(f->env, "OTEL_RESOURCE_ATTRIBUTES"), key, value;
	char key_text[KEY_MAX], value_text[VALUE_MAX];
	int cnt = 0;

	while (cnt++ < ATTRIBUTES_MAX && attribute_next(&list, &key, &value)) {
		if (percent_decode(key, key_text, sizeof(key_text), &key) &&
		    percent_decode(value, value_text, sizeof(value_text), &value) && key.len &&
		    !is_ours(key))
			text_add_pair(t, key, value, VALUE_MAX);
	}
}

static struct str own_name(const struct facts *f, char out[SHORT_MAX])
{
	struct str name = str_trim(env_value(f->env, "OTEL_SERVICE_NAME")), list, key, value;

	if (name.len)
		return name;
	list = env_value(f->env, "OTEL_RESOURCE_ATTRIBUTES");
	while (attribute_next(&list, &key, &value)) {
		if (str_eq(key, STR("service.name")) &&
		    percent_decode(value, out, SHORT_MAX, &value))
			return value;
	}
	return (struct str){ NULL, 0 };
}

/* Units that start other people's programs: they name only their own daemon. */
static bool unit_names_process(const struct facts *f)
{
	static const char *const starters[] = { "cron",	 "crond",      "atd",	 "ssh",
						"sshd",	 "containerd", "docker", "podman",
						"inetd", "xinetd",     "k3s",	 "kubelet" };
	struct str base = path_base(strip_deleted(f->exe));

	if (!f->cgroup.unit.len)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(starters); i++) {
		if (str_eq(f->cgroup.unit, str_of(starters[i])))
			return str_starts(base, f->cgroup.unit);
	}
	return true;
}

/* "name" of a package.json text, without its scope. */
static struct str package_name(const char *json, size_t len, char out[SHORT_MAX])
{
	json_t *root = json_loadb(json, len, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "name"));
	struct str base = path_base(str_of(name));

	if (base.len >= SHORT_MAX)
		base.len = 0;
	if (base.len)
		memcpy(out, base.p, base.len);
	json_decref(root);
	return (struct str){ out, base.len };
}

/* package.json beside the script, or one directory up (dist/server.js). */
static struct str node_package(const struct facts *f, struct str script, char out[SHORT_MAX])
{
	char cwd[PATH_LEN] = "", path[PATH_LEN * 2 + 32], *json;
	struct str name = { NULL, 0 };

	if (f->proc_fd < 0)
		return name;
	if (script.p[0] != '/')
		link_at(f->proc_fd, "cwd", cwd, sizeof(cwd));
	json = malloc(PACKAGE_MAX);
	for (int up = 0; json && up < 2 && !name.len; up++) {
		struct str dir = path_dir(script);
		ssize_t n;

		if (dir.len >= PATH_LEN)
			break;
		snprintf(path, sizeof(path), "%s/" STR_FMT "%s/package.json", cwd, STR_ARG(dir),
			 up ? "/.." : "");
		n = read_in_root(f->proc_fd, path, json, PACKAGE_MAX);
		if (n > 0)
			name = package_name(json, (size_t)n, out);
	}
	free(json);
	return name;
}

/* One file may be several programs (redis-server is a link to redis-check-rdb): the name it was
 * called by, where the kernel's name for the process agrees. */
static struct str called_name(const struct facts *f, struct str base)
{
	struct str args = f->args, first, word;
	size_t len = 0;

	if (!args_next(&args, &first) || str_starts(base, f->comm) || !f->comm.len)
		return base;
	while (len < first.len && first.p[len] != ' ' && first.p[len] != ':')
		len++;
	word = path_base((struct str){ first.p, len });
	if (word.len < f->comm.len || !str_starts(word, f->comm))
		return base;
	return f->comm.len == COMM_LEN - 1 || word.len == f->comm.len ? word : base;
}

static struct str program_name(const struct facts *f, char out[SHORT_MAX])
{
	struct str base = path_base(strip_deleted(f->exe)), script, name, program, args = f->args;

	/* an interpreter inside another program (uWSGI, a database) has no script of its own */
	if (runtime_of_exe(base) == RUNTIME_UNKNOWN && f->exe.len && f->runtime != RUNTIME_DOTNET)
		return called_name(f, base);
	name = script_name(f->runtime, f->args, &script);
	if (f->runtime == RUNTIME_NODE && script.len) {
		struct str package = node_package(f, script, out);
		if (package.len)
			return package;
	}
	if (f->runtime == RUNTIME_BEAM && !name.len)
		name = env_value(f->env, "RELEASE_NAME");
	if (name.len)
		return name;
	if (!base.len && args_next(&args, &program))
		base = path_base(program);
	return base.len ? base : f->comm;
}

struct str service_name(const struct facts *f, char out[SHORT_MAX])
{
	struct str name = own_name(f, out);

	if (!name.len && unit_names_process(f))
		name = f->cgroup.unit;
	/* a unit inside of a container says more: cgroup_parse() leaves out those around it */
	if (!name.len && f->names)
		name = str_of(f->names->service);
	if (!name.len && f->cgroup.lxc)
		name = f->cgroup.container;
	if (!name.len)
		name = program_name(f, out);
	return name.len ? name : STR("unknown");
}
