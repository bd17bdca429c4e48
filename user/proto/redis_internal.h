/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of the Redis protocol share: a command as it is read, and its text. */
#ifndef PROTO_REDIS_INTERNAL_H
#define PROTO_REDIS_INTERNAL_H

#include "proto/parser.h"

#define REDIS_TEXT_MAX 1024 /* bytes of db.query.text */
#define REDIS_WORD_MAX 64

/* What a command does to the conversation. */
enum redis_effect {
	REDIS_PLAIN,
	REDIS_SETUP,	 /* of the connection: no span unless it fails */
	REDIS_SELECT,	 /* set-up that changes db.namespace */
	REDIS_SUBSCRIBE, /* answered once an argument, then the server speaks by itself */
	REDIS_MULTI,
	REDIS_EXEC,
	REDIS_DISCARD,
	REDIS_REPLY,  /* CLIENT REPLY */
	REDIS_STREAM, /* MONITOR, SYNC, PSYNC: from here on it is no conversation */
};

struct redis_command {
	char word[2][REDIS_WORD_MAX]; /* upper case; the second empty unless it is a sub-command */
	struct str arg;		      /* the first, or the second after a sub-command */
	enum redis_effect effect;
	uint32_t shown; /* arguments that may be shown, the command counted; others become ? */
	bool full;	/* no more goes into the text */
	size_t len;	/* of text */
	char text[REDIS_TEXT_MAX];
};

/* Room for the next argument's characters; 0: the text is full. */
size_t redis_room(const struct redis_command *cmd);

/*
 * Adds the argument number i, of 'len' bytes of which 'arg' is there. No more than redis_room()
 * bytes of it are looked at, so that the text does not depend on how much of a long argument is at
 * hand. False when it cannot be a command.
 */
bool redis_add_arg(struct redis_command *cmd, uint32_t i, struct str arg, uint64_t len);

/* Splits an inline command into arguments; false when it is none. */
bool redis_add_inline(struct redis_command *cmd, struct str line, uint32_t *ret_cnt);

/* Letters, digits after the first, '.', '-' and '_': may be a command's name. */
bool redis_is_word(struct str s);
bool redis_is_known(struct str word);

/* ---- redis_detect.c ---- */

/* The first bytes of what RESP carries. */
extern const char redis_types[];

/* Takes "<type><number>\r\n"; -1, which says that there is none, is told by *ret_none. */
enum parse redis_take_header(struct cursor *c, char type, uint64_t *ret_n, bool *ret_none);

enum detect redis_detect(const uint8_t *p, size_t len, uint16_t port, bool datagram);
/* Its parts. strict: nothing is known of the stream yet, so only what other protocols hardly say
 * counts. An inline command is never sure: DETECT_MORE, or DETECT_NO. */
enum detect redis_detect_array(const uint8_t *p, size_t len, bool strict);
enum detect redis_detect_reply(const uint8_t *p, size_t len, bool strict);
enum detect redis_detect_inline(const uint8_t *p, size_t len);

#endif
