/* SPDX-License-Identifier: Apache-2.0 */
/* The table of Redis commands, private to the room. */
#ifndef REDACT_REDIS_H
#define REDACT_REDIS_H

#include "core/str.h"

#define REDIS_NAME_MAX 24

enum redis_shape {
	REDIS_PLAIN,
	REDIS_SUB,     /* the first argument is a word of the command: CONFIG GET, BITOP AND */
	REDIS_COUNTED, /* the argument at 'count_at' tells how many keys begin at 'step' */
	REDIS_STREAMS, /* the first half of what follows the word STREAMS */
};

struct redis_command {
	const char *name;
	int8_t first; /* argument that is the first key, counted from 1; 0: none */
	int8_t last;  /* below 0: from the end, -1 the last argument */
	int8_t step;
	uint8_t shape; /* enum redis_shape */
	int8_t count_at;
};

/* NULL for a command that is not in the table. */
const struct redis_command *redis_command_find(struct str name);

#endif
