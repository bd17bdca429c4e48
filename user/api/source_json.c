/* SPDX-License-Identifier: Apache-2.0 */
/* One source in JSON, in and out, and whether it makes sense. */
#include "api/source_json.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#define KIND_MAX 16

/* A source as it is written: its kind is a word. */
struct written {
	struct source s;
	char kind[KIND_MAX];
};

#define FIELD(type, member, most)                                  \
	{                                                          \
#member, type, offsetof(struct written, s.member), \
			sizeof(((struct source *)0)->member), most \
	}

static const struct body_field fields[] = {
	{ "kind", BODY_TEXT, offsetof(struct written, kind), KIND_MAX, KIND_MAX - 1 },
	FIELD(BODY_TEXT, id, SOURCE_ID_MAX - 1),
	FIELD(BODY_BOOL, enabled, 1),
	FIELD(BODY_BOOL, exclude, 1),
	FIELD(BODY_UINT, pid, 4194304),
	FIELD(BODY_UINT, port, 65535),
	FIELD(BODY_TEXT, name, SOURCE_TEXT_MAX - 1),
	FIELD(BODY_TEXT, cgroup, SOURCE_TEXT_MAX - 1),
	FIELD(BODY_TEXT, protocol, 15),
	FIELD(BODY_TEXT, listen, 63),
	FIELD(BODY_TEXT, note, SOURCE_TEXT_MAX - 1),
};

static bool is_printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return false;
	return true;
}

static bool is_address(const char *s)
{
	const char *colon = strrchr(s, ':');
	uint64_t port;

	return colon && colon > s && str_to_u64(str_of(colon + 1), &port) && port && port <= 65535;
}

/* What is wrong with it, or NULL. */
static const char *fault_of(const struct source *s)
{
	if (!is_printable(s->name) || !is_printable(s->cgroup) || !is_printable(s->note) ||
	    !is_printable(s->listen))
		return "control characters are not allowed";
	if (s->kind == SOURCE_RECEIVER) {
		if (strcmp(s->protocol, "otlp-http") && strcmp(s->protocol, "otlp-grpc") &&
		    strcmp(s->protocol, "zipkin"))
			return "protocol of a receiver is otlp-http, otlp-grpc or zipkin";
		if (!is_address(s->listen))
			return "listen of a receiver is ADDR:PORT";
		if (s->pid || s->port || s->name[0] || s->cgroup[0] || s->exclude)
			return "pid, port, name, cgroup and exclude are for processes";
		return NULL;
	}
	if (s->protocol[0] || s->listen[0])
		return "protocol and listen are for receivers";
	if (!s->pid && !s->port && !s->name[0] && !s->cgroup[0])
		return "a process needs a pid, a port, a name or a cgroup";
	if (strchr(s->name, '/'))
		return "name is a program's name, without a path";
	if (s->cgroup[0] && (s->cgroup[0] != '/' || strstr(s->cgroup, "/..")))
		return "cgroup is a path from the root of the hierarchy";
	return NULL;
}

int source_read(const json_t *object, struct source *ret, char why[BODY_WHY_MAX])
{
	struct written w = { .s = { .enabled = true } };
	int err = body_read(object, fields, ARRAY_LEN(fields), &w, why);
	const char *fault;

	if (err)
		return err;
	if (strcmp(w.kind, "process") && strcmp(w.kind, "receiver")) {
		snprintf(why, BODY_WHY_MAX, "kind must be process or receiver");
		return -EINVAL;
	}
	w.s.kind = w.kind[0] == 'p' ? SOURCE_PROCESS : SOURCE_RECEIVER;
	fault = fault_of(&w.s);
	if (fault) {
		snprintf(why, BODY_WHY_MAX, "%s", fault);
		return -EINVAL;
	}
	*ret = w.s;
	return 0;
}

void source_write(struct json *j, const struct source *s)
{
	json_open(j, '{');
	json_opt_str(j, "id", str_of(s->id));
	json_opt_str(j, "kind", str_of(s->kind == SOURCE_PROCESS ? "process" : "receiver"));
	json_key(j, "enabled");
	json_bool(j, s->enabled);
	if (s->kind == SOURCE_PROCESS) {
		json_key(j, "exclude");
		json_bool(j, s->exclude);
	}
	json_opt_u64(j, "pid", s->pid);
	json_opt_u64(j, "port", s->port);
	json_opt_str(j, "name", str_of(s->name));
	json_opt_str(j, "cgroup", str_of(s->cgroup));
	json_opt_str(j, "protocol", str_of(s->protocol));
	json_opt_str(j, "listen", str_of(s->listen));
	json_opt_str(j, "note", str_of(s->note));
	json_close(j, '}');
}
