/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a recording; written by recorder.c, read by replay.c. */
#ifndef RING_FILE_H
#define RING_FILE_H

#include <stdint.h>

#define FILE_MAGIC   "telltale"
#define FILE_VERSION 1
#define FILE_ORDER   0x01020304u /* reads differently on a machine of the other byte order */
#define FILE_ALIGN   8

struct file_head {
	char magic[8]; /* FILE_MAGIC without its NUL */
	uint32_t version;
	uint32_t order;
};
_Static_assert(sizeof(struct file_head) == 16, "file layout");

/* Bytes a record takes in the file. */
static inline uint32_t file_size_of(uint16_t record_size)
{
	return ((uint32_t)record_size + FILE_ALIGN - 1) & ~(uint32_t)(FILE_ALIGN - 1);
}

#endif
