/* SPDX-License-Identifier: Apache-2.0 */
/* Redis commands: names, what they do to the conversation, and their text. */
#include "proto/redis_internal.h"

/* By these a request is told from an array in a response; the commands clients send most. */
static const char known[] =
	" ACL APPEND AUTH BITCOUNT BITFIELD BITOP BITPOS BLMOVE BLPOP BRPOP BRPOPLPUSH BZPOPMAX "
	"BZPOPMIN CLIENT CLUSTER COMMAND CONFIG COPY DBSIZE DEBUG DECR DECRBY DEL DISCARD DUMP "
	"ECHO EVAL EVALSHA EXEC EXISTS EXPIRE EXPIREAT FCALL FLUSHALL FLUSHDB FUNCTION GEOADD "
	"GEODIST GEOHASH GEOPOS GEOSEARCH GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO "
	"HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET "
	"HSETNX HSTRLEN HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LASTSAVE LATENCY LINDEX LINSERT "
	"LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM MEMORY MGET MIGRATE "
	"MODULE MONITOR MOVE MSET MSETNX MULTI OBJECT PERSIST PEXPIRE PEXPIREAT PFADD PFCOUNT "
	"PFMERGE PING PSETEX PSUBSCRIBE PSYNC PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT RANDOMKEY "
	"READONLY READWRITE RENAME RENAMENX REPLCONF RESET RESTORE ROLE RPOP RPOPLPUSH RPUSH "
	"RPUSHX SADD SAVE SCAN SCARD SCRIPT SDIFF SDIFFSTORE SELECT SENTINEL SET SETBIT SETEX "
	"SETNX SETRANGE SINTER SINTERCARD SINTERSTORE SISMEMBER SLOWLOG SMEMBERS SMISMEMBER SMOVE "
	"SORT SPOP SPUBLISH SRANDMEMBER SREM SSCAN SSUBSCRIBE STRLEN SUBSCRIBE SUNION SUNIONSTORE "
	"SUNSUBSCRIBE SWAPDB SYNC TIME TOUCH TTL TYPE UNLINK UNSUBSCRIBE UNWATCH WAIT WATCH XACK "
	"XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE "
	"XTRIM ZADD ZCARD ZCOUNT ZDIFF ZINCRBY ZINTER ZINTERSTORE ZLEXCOUNT ZMSCORE ZPOPMAX "
	"ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM "
	"ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE "
	"ZUNION ZUNIONSTORE ";

/* Commands whose second word belongs to the name. */
static const char containers[] =
	" ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB "
	"SCRIPT SENTINEL SLOWLOG XGROUP XINFO ";

/* What is not plain; secrets among the arguments are never shown. */
static const struct {
	const char *word, *sub; /* sub: NULL for any */
	enum redis_effect effect;
	uint32_t shown;
} special[] = {
	{ "AUTH", NULL, REDIS_SETUP, 1 },
	{ "HELLO", NULL, REDIS_SETUP, 2 },
	{ "SELECT", NULL, REDIS_SELECT, UINT32_MAX },
	{ "READONLY", NULL, REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "SETNAME", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "SETINFO", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "NO-EVICT", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "NO-TOUCH", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "TRACKING", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "ID", REDIS_SETUP, UINT32_MAX },
	{ "CLIENT", "REPLY", REDIS_REPLY, UINT32_MAX },
	{ "CONFIG", "SET", REDIS_PLAIN, 3 },
	{ "ACL", "SETUSER", REDIS_PLAIN, 3 },
	{ "MIGRATE", NULL, REDIS_PLAIN, 1 },
	{ "SENTINEL", "SET", REDIS_PLAIN, 3 },
	{ "SUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "PSUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "SSUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "UNSUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "PUNSUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "SUNSUBSCRIBE", NULL, REDIS_SUBSCRIBE, UINT32_MAX },
	{ "MULTI", NULL, REDIS_MULTI, UINT32_MAX },
	{ "EXEC", NULL, REDIS_EXEC, UINT32_MAX },
	{ "DISCARD", NULL, REDIS_DISCARD, UINT32_MAX },
	{ "MONITOR", NULL, REDIS_STREAM, UINT32_MAX },
	{ "SYNC", NULL, REDIS_STREAM, UINT32_MAX },
	{ "PSYNC", NULL, REDIS_STREAM, UINT32_MAX },
};

static bool listed(const char *list, const char *word, size_t len)
{
	char spaced[REDIS_WORD_MAX + 2];

	if (!len || len + 2 > sizeof(spaced) - 1)
		return false;
	spaced[0] = spaced[len + 1] = ' ';
	memcpy(spaced + 1, word, len);
	spaced[len + 2] = 0;
	return strstr(list, spaced);
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

bool redis_is_word(struct str s)
{
	if (!s.len || s.len >= REDIS_WORD_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = upper(s.p[i]);

		if (!(c >= 'A' && c <= 'Z') &&
		    !(i && ((c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_')))
			return false;
	}
	return true;
}

bool redis_is_known(struct str word)
{
	char name[REDIS_WORD_MAX];

	if (!redis_is_word(word))
		return false;
	for (size_t i = 0; i < word.len; i++)
		name[i] = upper(word.p[i]);
	return listed(known, name, word.len);
}

size_t redis_room(const struct redis_command *cmd)
{
	return cmd->full ? 0 : sizeof(cmd->text) - cmd->len;
}

static void put(struct redis_command *cmd, const char *p, size_t n)
{
	/* whole or not at all: half an escape would be another character */
	cmd->full |= n >= redis_room(cmd);
	if (n > sizeof(cmd->text) - cmd->len)
		return;
	memcpy(cmd->text + cmd->len, p, n);
	cmd->len += n;
}

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return s.len > 0;
}

/* Cut where the room ends: what is plain in part is plain. */
static void put_plain(struct redis_command *cmd, struct str s)
{
	put(cmd, s.p, MIN(s.len, redis_room(cmd)));
}

static void put_quoted(struct redis_command *cmd, struct str s, bool closed)
{
	static const char digits[] = "0123456789abcdef";

	put(cmd, "\"", 1);
	for (size_t i = 0; i < s.len && !cmd->full; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			put(cmd, (char[2]){ '\\', (char)c }, 2);
		else if (c >= ' ' && c <= '~')
			put(cmd, &s.p[i], 1);
		else
			put(cmd, (char[4]){ '\\', 'x', digits[c >> 4], digits[c & 15] }, 4);
	}
	if (closed && !cmd->full)
		put(cmd, "\"", 1);
}

static void take_word(char *to, struct str word)
{
	for (size_t i = 0; i < word.len; i++)
		to[i] = upper(word.p[i]);
	to[word.len] = 0;
}

/* What is special about the words so far. */
static void classify(struct redis_command *cmd)
{
	for (size_t i = 0; i < ARRAY_LEN(special); i++) {
		if (special[i].word[0] != cmd->word[0][0] ||
		    strcmp(special[i].word, cmd->word[0]) != 0 ||
		    (special[i].sub && strcmp(special[i].sub, cmd->word[1]) != 0))
			continue;
		cmd->effect = special[i].effect;
		cmd->shown = special[i].shown;
		return;
	}
}

bool redis_add_arg(struct redis_command *cmd, uint32_t i, struct str arg, uint64_t len)
{
	size_t room = redis_room(cmd);
	bool whole = arg.len == len && len <= room;

	if (i == 0) {
		if (!whole || !redis_is_word(arg))
			return false;
		cmd->shown = UINT32_MAX;
		take_word(cmd->word[0], arg);
		classify(cmd);
		put(cmd, cmd->word[0], arg.len);
		return true;
	}
	if (i == 1 && whole && redis_is_word(arg) &&
	    listed(containers, cmd->word[0], strlen(cmd->word[0]))) {
		take_word(cmd->word[1], arg);
		classify(cmd);
	} else if (whole && !cmd->arg.p) {
		cmd->arg = arg;
	}
	put(cmd, " ", 1);
	if (i >= cmd->shown) {
		put(cmd, "?", 1);
	} else if (whole && is_plain(arg)) {
		put_plain(cmd, arg);
	} else {
		/* one that is not whole has no closing quote: it is masked to its end later */
		arg.len = MIN(arg.len, room);
		put_quoted(cmd, arg, whole);
	}
	cmd->full |= len > room;
	return true;
}

bool redis_add_inline(struct redis_command *cmd, struct str line, uint32_t *ret_cnt)
{
	uint32_t cnt = 0;

	for (size_t at = 0; at < line.len;) {
		struct str arg = { line.p + at, 0 };

		while (at < line.len && line.p[at] != ' ' && line.p[at] != '\t')
			at++;
		arg.len = (size_t)(line.p + at - arg.p);
		at++;
		if (!arg.len)
			continue;
		/* the name alone decides; what is beyond the text's room is only counted */
		if ((cnt == 0 || redis_room(cmd)) && !redis_add_arg(cmd, cnt, arg, arg.len))
			return false;
		cnt++;
	}
	*ret_cnt = cnt;
	return cnt > 0;
}
