/* SPDX-License-Identifier: Apache-2.0 */
/* Encryption at rest: one key, a random nonce a box, the box bound to its place. */
#include "store/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN	  crypto_aead_xchacha20poly1305_ietf_ABYTES

/* 64 hex digits, white space around them allowed. */
static bool parse_hex(struct str text, uint8_t key[32])
{
	size_t len = 0;

	text = str_trim(text);
	return text.len == 64 && !sodium_hex2bin(key, 32, text.p, text.len, NULL, &len, NULL) &&
	       len == 32;
}

static int load_file(const char *path, uint8_t key[32], char why[STORE_WHY_MAX])
{
	char bytes[128];
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t len;

	len = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
	if (len < 0) {
		err = -errno;
		snprintf(why, STORE_WHY_MAX, "key file %s: %s", path, strerror(-err));
	} else if (len == 32) {
		memcpy(key, bytes, 32);
	} else if (!parse_hex((struct str){ bytes, (size_t)len }, key)) {
		err = -EKEYREJECTED;
		snprintf(why, STORE_WHY_MAX, "key file %s: not 32 bytes and not 64 hex digits",
			 path);
	}
	if (fd >= 0)
		close(fd);
	sodium_memzero(bytes, sizeof(bytes));
	return err;
}

int crypt_load(const struct store_cfg *cfg, struct crypt *ret, char why[STORE_WHY_MAX])
{
	struct crypt c = { 0 };
	int err = 0;

	if (sodium_init() < 0) {
		snprintf(why, STORE_WHY_MAX, "libsodium does not start");
		return -ENOSYS;
	}
	if (cfg->key_file) {
		err = load_file(cfg->key_file, c.key, why);
		c.on = true;
	} else if (cfg->key) {
		c.on = true;
		if (!parse_hex(str_of(cfg->key), c.key)) {
			err = -EKEYREJECTED;
			snprintf(why, STORE_WHY_MAX, "the store's key is not 64 hex digits");
		}
	}
	if (!err)
		*ret = c;
	sodium_memzero(&c, sizeof(c));
	return err;
}

int crypt_seal(const struct crypt *c, struct place at, struct str plain, struct buf *out)
{
	uint8_t *box;
	int err;

	if (!c->on)
		return buf_add_str(out, plain);
	err = buf_reserve(out, NONCE_LEN + plain.len + TAG_LEN);
	if (err)
		return err;
	box = (uint8_t *)out->p + out->len;
	randombytes_buf(box, NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(box + NONCE_LEN, NULL, (const uint8_t *)plain.p,
						   plain.len, (const uint8_t *)&at, sizeof(at),
						   NULL, box, c->key);
	out->len += NONCE_LEN + plain.len + TAG_LEN;
	return 0;
}

int crypt_open(const struct crypt *c, struct place at, struct str box, struct buf *out)
{
	const uint8_t *b = (const uint8_t *)box.p;
	unsigned long long len = 0;
	int err;

	if (!c->on)
		return buf_add_str(out, box);
	if (box.len < NONCE_LEN + TAG_LEN)
		return -EBADMSG;
	err = buf_reserve(out, box.len);
	if (err)
		return err;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt((uint8_t *)out->p + out->len, &len, NULL,
						       b + NONCE_LEN, box.len - NONCE_LEN,
						       (const uint8_t *)&at, sizeof(at), b, c->key))
		return -EBADMSG;
	out->len += len;
	return 0;
}
