/* SPDX-License-Identifier: Apache-2.0 */
/* Rules, keys and the hash key as users write them. */
#include "redact/redact.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#define KEY_FILE_MIN 16
#define KEY_FILE_MAX 4096

static const char *const action_names[] = {
	[REDACT_MASK] = "mask",
	[REDACT_HASH] = "hash",
	[REDACT_DROP] = "drop",
};

static bool action_of(struct str name, enum redact_action *ret_action)
{
	for (size_t i = 0; i < ARRAY_LEN(action_names); i++)
		if (str_eq(name, str_of(action_names[i]))) {
			*ret_action = (enum redact_action)i;
			return true;
		}
	return false;
}

int redact_rule_parse(struct str text, struct redact_rule_cfg *ret_rule, char why[REDACT_WHY_MAX])
{
	ptrdiff_t equals = str_find(text, '='), colon;
	struct redact_rule_cfg rule = { .name = text };
	struct str action;

	if (equals <= 0) {
		snprintf(why, REDACT_WHY_MAX,
			 "redaction rule '%.*s': expected NAME=ACTION:PATTERN or NAME=ACTION",
			 (int)MIN(text.len, 64), text.p);
		return -EINVAL;
	}
	rule.name.len = (size_t)equals;
	action = str_from(text, (size_t)equals + 1);
	colon = str_find(action, ':');
	if (colon >= 0) {
		rule.pattern = str_from(action, (size_t)colon + 1);
		action.len = (size_t)colon;
	}
	if (!action_of(action, &rule.action) || (colon >= 0 && !rule.pattern.len)) {
		snprintf(why, REDACT_WHY_MAX,
			 "redaction rule %.*s: %s, expected mask, hash or drop, and for a new rule "
			 "a colon and its pattern",
			 (int)MIN(rule.name.len, 64), rule.name.p,
			 colon >= 0 && !rule.pattern.len ? "its pattern is empty"
							 : "its action is none");
		return -EINVAL;
	}
	*ret_rule = rule;
	return 0;
}

int redact_key_parse(struct str text, struct redact_key_cfg *ret_key, char why[REDACT_WHY_MAX])
{
	struct redact_key_cfg key = { .key = text };
	const char *equals = text.len ? memrchr(text.p, '=', text.len) : NULL;

	/* a key may hold a = of its own */
	if (equals && action_of(str_from(text, (size_t)(equals - text.p) + 1), &key.action))
		key.key.len = (size_t)(equals - text.p);
	if (!key.key.len || key.key.len > REDACT_PATTERN_MAX) {
		snprintf(why, REDACT_WHY_MAX,
			 "redaction: expected KEY or KEY=ACTION, the key of 1 to %d bytes",
			 REDACT_PATTERN_MAX);
		return -EINVAL;
	}
	*ret_key = key;
	return 0;
}

int redact_hash_key_read(const char *path, uint8_t ret_key[REDACT_HASH_KEY_LEN],
			 char why[REDACT_WHY_MAX])
{
	char text[KEY_FILE_MAX + 1];
	struct str key = { text, 0 };
	ssize_t got = 0;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err = -errno;
	while (!err && key.len < sizeof(text) &&
	       (got = read(fd, text + key.len, sizeof(text) - key.len)) > 0)
		key.len += (size_t)got;
	if (!err && got < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err) {
		snprintf(why, REDACT_WHY_MAX, "redaction key %s: %s", path, strerror(-err));
		goto out;
	}
	key = str_trim(key);
	if (key.len < KEY_FILE_MIN || key.len > KEY_FILE_MAX) {
		snprintf(why, REDACT_WHY_MAX, "redaction key %s: expected %d to %d bytes", path,
			 KEY_FILE_MIN, KEY_FILE_MAX);
		err = -EINVAL;
		goto out;
	}
	crypto_generichash(ret_key, REDACT_HASH_KEY_LEN, (const uint8_t *)key.p, key.len, NULL, 0);
out:
	sodium_memzero(text, sizeof(text));
	return err;
}
