/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container, pod and systemd unit from a cgroup's path. Runtimes agree on nothing but the id of 64
 * hex digits, which stands in the last component that has one: nested runtimes (kind) put theirs
 * behind the outer one's.
 */
#include "discover/internal.h"

#define ID_LEN	64
#define POD_LEN 36 /* 8-4-4-4-12 */
#define MD5_LEN 32 /* static pods: a hash */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool contains(struct str s, const char *word)
{
	return s.len && memmem(s.p, s.len, word, strlen(word));
}

/* The last component, taken off the path's end; the path is empty afterwards when it was alone. */
static struct str component_pop(struct str *path)
{
	struct str base = path_base(*path);

	*path = (struct str){ path->p, path->len - base.len };
	if (path->len)
		path->len--;
	return base;
}

/* The last run of exactly 64 hex digits. */
static struct str hex_run(struct str s)
{
	size_t end = s.len;

	while (end >= ID_LEN) {
		size_t from = end;

		while (from > 0 && is_hex(s.p[from - 1]))
			from--;
		if (end - from == ID_LEN)
			return (struct str){ s.p + from, ID_LEN };
		end = from ? from - 1 : 0;
	}
	return (struct str){ NULL, 0 };
}

/* Processes that look after a container sit beside it, in a group with its id. */
static bool is_monitor(struct str component)
{
	return contains(component, "conmon-") || str_starts(component, STR("lxc.monitor"));
}

/* /lxc/NAME, /lxc.payload.NAME, also /lxc.payload/NAME: names, no ids. */
static struct str lxc_name(struct str component, struct str above)
{
	struct str payload = STR("lxc.payload.");

	if (str_starts(component, payload))
		return str_from(component, payload.len);
	above = path_base(above);
	if (component.len && (str_eq(above, STR("lxc")) || str_eq(above, STR("lxc.payload"))))
		return component;
	return (struct str){ NULL, 0 };
}

static struct str container_find(struct str path, bool *ret_lxc)
{
	*ret_lxc = false;
	while (path.len) {
		struct str component = component_pop(&path), id;

		if (is_monitor(component))
			return (struct str){ NULL, 0 };
		id = hex_run(component);
		if (id.len)
			return id;
		id = lxc_name(component, path);
		if (id.len) {
			*ret_lxc = true;
			return id;
		}
	}
	return (struct str){ NULL, 0 };
}

struct str discover_container_id(struct str cgroup_path)
{
	bool lxc;

	return container_find(cgroup_path, &lxc);
}

/* A uid in dashes or, in systemd's form, underscores; a static pod's is a plain hash. */
static bool pod_uid(struct str s, char out[40])
{
	size_t len = 0;

	while (len < s.len && (is_hex(s.p[len]) || s.p[len] == '-' || s.p[len] == '_'))
		len++;
	if (len != MD5_LEN && len != POD_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool dash = len == POD_LEN && (i == 8 || i == 13 || i == 18 || i == 23);
		if (dash == is_hex(s.p[i]))
			return false;
		out[i] = dash ? '-' : s.p[i];
	}
	out[len] = '\0';
	return true;
}

static void pod_find(struct str path, char out[40])
{
	while (path.len) {
		struct str component = component_pop(&path);

		for (size_t i = component.len; i-- > 0;) {
			struct str rest = str_from(component, i);
			if (str_starts(rest, STR("pod")) && pod_uid(str_from(rest, 3), out))
				return;
		}
	}
}

/* The innermost service, inside the container where there is one; "user@1000.service" and sessions
 * hold people's programs, not one. */
static struct str unit_find(struct str path)
{
	struct str end = STR(".service");

	while (path.len) {
		struct str unit = component_pop(&path);
		ptrdiff_t at;

		if (hex_run(unit).len || lxc_name(unit, path).len || is_monitor(unit))
			break;
		if (unit.len <= end.len || !str_eq(str_from(unit, unit.len - end.len), end))
			continue;
		unit.len -= end.len;
		if (str_starts(unit, STR("user@")))
			return (struct str){ NULL, 0 };
		at = str_find(unit, '@');
		if (at > 0)
			unit.len = (size_t)at;
		return unit;
	}
	return (struct str){ NULL, 0 };
}

/* How much a line is worth asking: 0 for none. "N:CONTROLLERS:PATH", N is 0 for cgroup v2. */
static unsigned int line_rank(struct str line, struct str *ret_path)
{
	ptrdiff_t first = str_find(line, ':'), second;
	struct str names;

	if (first < 0)
		return 0;
	names = str_from(line, (size_t)first + 1);
	second = str_find(names, ':');
	if (second < 0)
		return 0;
	*ret_path = str_from(names, (size_t)second + 1);
	names.len = (size_t)second;
	if (!ret_path->len || ret_path->p[0] != '/')
		return 0;
	if (str_starts(*ret_path, STR("/kubepods")) &&
	    (contains(names, "cpu") || contains(names, "memory")))
		return 4;
	if (!names.len)
		return 3;
	return str_eq(names, STR("name=systemd")) ? 2 : 1;
}

void cgroup_parse(struct str content, struct cgroup *ret)
{
	unsigned int id_rank = 0, unit_rank = 0;
	bool unit_inside = false;

	*ret = (struct cgroup){ 0 };
	while (content.len) {
		ptrdiff_t end = str_find(content, '\n');
		struct str line = end < 0 ? content : (struct str){ content.p, (size_t)end }, path;
		unsigned int rank = line_rank(line, &path);
		struct str id, unit;
		bool lxc;

		content = end < 0 ? str_from(content, content.len)
				  : str_from(content, (size_t)end + 1);
		if (!rank)
			continue;
		if (!ret->pod[0])
			pod_find(path, ret->pod);
		id = container_find(path, &lxc);
		if (id.len && rank > id_rank) {
			ret->container = id;
			ret->lxc = lxc;
			id_rank = rank;
		}
		unit = unit_find(path);
		if (unit.len && rank > unit_rank) {
			ret->unit = unit;
			unit_inside = id.len > 0;
			unit_rank = rank;
		}
	}
	/* that of the container's manager says nothing about the container */
	if (ret->container.len && !unit_inside)
		ret->unit = (struct str){ NULL, 0 };
}
